/* SPDX-License-Identifier: GPL-2.0-only */
/* isomctl load-bindings: all of the administrator's bindings replaced in one step. */
#include "../bindingfile.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../say.h"
#include "isomctl.h"
#include "progress.h"

#define READ_SIZE ((size_t)1 << 20)

/*
 * The file.
 */

static int open_file(const char *name)
{
	int fd = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? fail(-errno, "cannot open %s: %m: nothing was changed", name) : fd;
}

static int read_all(int fd, char **ret_text, size_t *ret_length)
{
	_cleanup_(freep) char *text = NULL;
	size_t length = 0, room = 0;
	ssize_t n;

	do {
		if (length == room) {
			char *more = realloc(text, room = room ? 2 * room : READ_SIZE);

			if (!more)
				return -ENOMEM;
			text = more;
		}
		n = read(fd, text + length, room - length);
		if (n < 0 && errno != EINTR)
			return -errno;
		length += n > 0 ? (size_t)n : 0;
	} while (n != 0);
	*ret_text = take_pointer(text);
	*ret_length = length;
	return 0;
}

/* What was read, and what it says. */
struct input {
	const char *name;
	char *text;
	size_t length;
	struct binding_file file;
};

static int read_file(const char *name, struct input *ret)
{
	int r, fd = open_file(name);

	if (fd < 0)
		return fd;
	ret->name = name;
	r = read_all(fd, &ret->text, &ret->length);
	if (fd != STDIN_FILENO)
		close(fd);
	if (r < 0)
		return fail(r, "cannot read %s: %m: nothing was changed", name);
	progress_step("reading", 0.0, 0.7);
	return binding_file_parse(name, ret->text, ret->length, progress_show, &ret->file);
}

static void input_free(struct input *input)
{
	binding_file_free(&input->file);
	free(input->text);
}

/* Says that two bindings can't both be, one of which the file asks for, or both. */
static int say_refusal(const struct input *input, const struct refusal *refusal)
{
	struct binding_place place, other = {};
	char text[LONGEST_SELECTOR_TEXT], other_text[64] = "";

	place = binding_file_find(input->text, input->length, &refusal->refused);
	if (refusal->same_owner)
		other = binding_file_find(input->text, input->length, &refusal->other);
	if (other.line)
		snprintf(other_text, sizeof(other_text), " (the other is binding %zu, at line %zu)",
			other.entry, other.line);
	return fail(-EADDRINUSE,
		"%s:%zu:%zu: binding %zu: cannot bind %s under label \"%s\": %s%s: nothing was "
		"changed",
		input->name, place.line, place.column, place.entry,
		selector_format(&refusal->refused.selector, text), refusal->refused.label,
		refusal->reason.text, other_text);
}

/*
 * What it made different.
 */

struct summary {
	size_t added, removed, moved;
};

static void print_difference(const char *mark, const char *label, const struct selector *selector)
{
	char text[LONGEST_SELECTOR_TEXT], label_text[4 * NAME_SIZE];

	fputs(mark, stdout);
	fputs(printable(label, label_text, sizeof(label_text)), stdout);
	putc_unlocked(' ', stdout);
	fputs(selector_format(selector, text), stdout);
	putc_unlocked('\n', stdout);
}

static void print_differences(const struct replacement *replacement, struct summary *summary)
{
	for (size_t i = 0; i < replacement->count; i++) {
		const struct difference *difference = &replacement->differences[i];

		if (difference->last)
			print_difference("- ", difference->last, &difference->selector);
		if (difference->next)
			print_difference("+ ", difference->next, &difference->selector);
		summary->added += !difference->last;
		summary->removed += !difference->next;
		summary->moved += difference->last && difference->next;
	}
}

static json_t *json_difference(const struct difference *difference)
{
	char prefix[LONGEST_PREFIX_TEXT], ports[LONGEST_PORTS_TEXT];

	return json_pack("{s:o, s:o, s:s, s:s, s:s}", "was",
		difference->last ? json_text(difference->last) : json_null(), "is",
		difference->next ? json_text(difference->next) : json_null(), "protocol",
		protocol_name(difference->selector.protocol), "prefix",
		prefix_format(&difference->selector.prefix, prefix), "port",
		ports_format(&difference->selector.ports, ports));
}

/* An object at a time: a million make a long document. */
static void print_json(const struct replacement *replacement, bool dry_run)
{
	printf("{\n  \"loaded\": %s,\n  \"unchanged\": %zu,\n  \"differences\": [",
		dry_run ? "false" : "true", replacement->unchanged);
	for (size_t i = 0; i < replacement->count; i++) {
		json_t *object = json_difference(&replacement->differences[i]);

		fputs(i > 0 ? ",\n    " : "\n    ", stdout);
		json_dumpf(object, stdout, 0);
		json_decref(object);
	}
	fputs("\n  ]\n}\n", stdout);
}

static void print_replacement(const struct replacement *replacement, bool dry_run)
{
	struct summary summary = {};
	size_t count;

	print_differences(replacement, &summary);
	count = summary.added + summary.moved + replacement->unchanged;
	printf("%s %zu binding%s: %zu added, %zu removed, %zu moved, %zu unchanged\n",
		dry_run ? "would load" : "loaded", count, count == 1 ? "" : "s", summary.added,
		summary.removed, summary.moved, replacement->unchanged);
}

/*
 * The command.
 */

static int take_options(int argc, char ***argv, bool *ret_dry_run)
{
	enum { DRY_RUN = 1 };
	static const struct option long_options[] = {{"dry-run", no_argument, NULL, DRY_RUN}, {}};
	int option;

	*ret_dry_run = false;
	optind = 0;
	while ((option = getopt_long_only(argc, *argv, "", long_options, NULL)) != -1) {
		if (option != DRY_RUN)
			return misused(&load_bindings_command, "it takes no such option");
		*ret_dry_run = true;
	}
	*argv += optind;
	if (argc - optind != 1)
		return misused(&load_bindings_command,
			argc == optind ? "it needs FILE" : "it takes one FILE");
	return 0;
}

static void replacement_free(struct replacement *replacement)
{
	free(replacement->differences);
}

static int run_load_bindings(const struct options *options, int argc, char **argv)
{
	_cleanup_(replacement_free) struct replacement replacement = {};
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	_cleanup_(input_free) struct input input = {};
	struct refusal refusal = {};
	bool dry_run;
	int r = take_options(argc, &argv, &dry_run);

	if (r != 0)
		return r;
	progress_begin();
	r = read_file(argv[0], &input);
	if (r == 0)
		r = dry_run ? dispatcher_open(options->bpffs, false, MISSING_IS_ERROR, &d)
			    : change_begin(options->bpffs, MISSING_IS_ERROR, &d);
	if (r == 0) {
		progress_step("loading", 0.7, 1.0);
		r = bindings_replace(d, input.file.bindings, input.file.count, progress_show,
			&replacement, &refusal);
	}
	progress_end();
	if (r == -EADDRINUSE)
		say_refusal(&input, &refusal);
	if (r < 0)
		return r;
	dispatcher_unlock(d); /* whoever reads this may be slow */
	if (options->json)
		print_json(&replacement, dry_run);
	else
		print_replacement(&replacement, dry_run);
	return 0;
}

const struct command load_bindings_command = {
	.name = "load-bindings",
	.arguments = "[--dry-run] FILE",
	.summary = "replace the administrator's bindings by those of a JSON file",
	.help = "FILE, or - for standard input, holds\n\n"
		"  {\"bindings\": [\n"
		"    {\"label\": \"web\", \"prefix\": \"192.0.2.0/24\", \"port\": 80},\n"
		"    {\"label\": \"ftp\", \"prefix\": \"192.0.2.7\", \"port\": \"50000-50099\", "
		"\"protocol\": \"tcp\"}\n"
		"  ]}\n\n"
		"An entry without a protocol is for TCP and UDP. \"port\" is a number (0: all) or a\n"
		"text as 'bind' takes it. All that 'bind' and earlier files bound is replaced in\n"
		"one step: whatever the file does not have is no longer bound. What units bind\n"
		"stays; entries with \"by_hand\": false, as 'isomctl --json bindings' lists them,\n"
		"are passed over. If anything is wrong with the file, nothing is changed.\n\n"
		"It prints a line for each binding that comes (+) or goes (-), and a summary.\n\n"
		"--dry-run  print this, and change nothing\n\n"
		"Examples:\n"
		"  isomctl load-bindings /etc/isomer/bindings.json\n"
		"  isomctl --json bindings > saved.json\n"
		"  isomctl load-bindings --dry-run saved.json\n",
	.run = run_load_bindings,
};
