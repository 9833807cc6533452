/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The JSON document of bindings: see bindingfile.h. What is between the entries is read here, the
 * entries themselves and all texts are jansson's to parse.
 *
 * A long document is parsed in two parts at once. Where an entry begins in its middle can only be
 * guessed, for what looks like it may stand in a text; but the guess was right if the first part
 * ends just there, and else the second part is thrown away, and the first one goes on to the end.
 */
#include "bindingfile.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "say.h"

#define ENTRY_FLAGS (JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY)
#define REPORT_EACH 1024 /* entries */
#ifndef LONG_DOCUMENT
#define LONG_DOCUMENT (1 << 20) /* bytes; below it a second thread gains nothing */
#endif

#define EXPECTED                                                                                   \
	"expected an object with one key, {\"bindings\": [{\"label\": …, \"prefix\": …, "      \
	"\"port\": …}, …]}"

struct document {
	const char *name;
	const char *text;
	size_t length;
	size_t position;
	size_t entries; /* begun so far */
	struct binding_file *file;
	size_t allocated;
	const char *last_label;
	const struct binding *sought; /* NULL: none */
	struct binding_place found;   /* the last entry that gives it */

	/* What is wrong, and where: said when it is known that the part is one. */
	int error;
	size_t error_position;
	struct reason reason;
};

static void json_decrefp_(json_t **json)
{
	json_decref(*json);
}

/* Notes an error at a place in the text, which is -EINVAL. */
static int fail_at(struct document *document, size_t position, const char *reason)
{
	document->error = -EINVAL;
	document->error_position = position;
	give_reason(&document->reason, "%s", reason);
	return -EINVAL;
}

static struct binding_place place_at(const struct document *document, size_t position)
{
	struct binding_place place = {.line = 1};
	size_t line_start = 0;

	for (size_t i = 0; i < position && i < document->length; i++) {
		if (document->text[i] == '\n') {
			place.line++;
			line_start = i + 1;
		}
	}
	place.column = position - line_start + 1;
	place.entry = document->entries;
	return place;
}

static int say_error_at_place(const struct document *document)
{
	struct binding_place place = place_at(document, document->error_position);

	if (document->error != -EINVAL)
		return fail(
			document->error, "cannot read %s: %m: nothing was changed", document->name);
	return fail(-EINVAL, "%s:%zu:%zu: %s: nothing was changed", document->name, place.line,
		place.column, document->reason.text);
}

static int fail_entry(struct document *document, size_t position, const char *reason)
{
	struct reason text;

	give_reason(&text, "binding %zu: %.500s", document->entries, reason);
	return fail_at(document, position, text.text);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next character that isn't blank, or 0 at the end. */
static char peek(struct document *document)
{
	while (document->position < document->length &&
		is_blank(document->text[document->position]))
		document->position++;
	if (document->position == document->length)
		return '\0';
	return document->text[document->position];
}

static int expect(struct document *document, char wanted)
{
	if (peek(document) == wanted && document->position < document->length) {
		document->position++;
		return 0;
	}
	return fail_at(document, document->position,
		document->position < document->length ? EXPECTED
						      : "the file ends too early: " EXPECTED);
}

/* One value of any kind. */
static int take_value(struct document *document, json_t **ret)
{
	json_error_t error;

	peek(document);
	*ret = json_loadb(document->text + document->position,
		document->length - document->position, ENTRY_FLAGS, &error);
	if (!*ret)
		return fail_at(document,
			document->position + (error.position > 0 ? (size_t)error.position - 1 : 0),
			error.text);
	document->position += (size_t)error.position;
	return 0;
}

/*
 * Entries.
 */

/* A text member of an object; *ret is NULL where it isn't there. */
static int member_text(
	const json_t *object, const char *name, const char **ret, struct reason *reason)
{
	const json_t *member = json_object_get(object, name);

	*ret = NULL;
	if (!member)
		return 0;
	if (!json_is_string(member))
		return refuse(reason, "\"%s\" is not a text", name);
	if (strlen(json_string_value(member)) != json_string_length(member))
		return refuse(reason, "\"%s\" has a NUL in it", name);
	*ret = json_string_value(member);
	return 0;
}

/* "port" may be a number or a text; *ret is in buffer. */
static int member_port(
	const json_t *object, char buffer[32], const char **ret, struct reason *reason)
{
	const json_t *port = json_object_get(object, "port");

	if (json_is_integer(port)) {
		snprintf(buffer, 32, "%lld", (long long)json_integer_value(port));
		*ret = buffer;
		return 0;
	}
	if (port && !json_is_string(port))
		return refuse(reason,
			"\"port\" is neither a whole number nor a text: one port, or one range like \"80-89\", an "
			"entry");
	return member_text(object, "port", ret, reason);
}

static int check_members(const json_t *object, struct reason *reason)
{
	static const char *const known[] = {
		"label", "protocol", "prefix", "port", "units", "by_hand", NULL};
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)object, name, value)
	{
		int i = 0;

		while (known[i] && strcmp(known[i], name) != 0)
			i++;
		if (!known[i])
			return refuse(reason,
				"\"%.64s\" is not a key of a binding: write label, prefix, port, "
				"and maybe protocol",
				name);
	}
	return 0;
}

static int text_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* The same text of the same label: once for all bindings. */
static const char *keep_label(struct document *document, const char *label)
{
	char **found;

	if (document->last_label && strcmp(document->last_label, label) == 0)
		return document->last_label;
	found = tfind(label, &document->file->labels, text_compare);
	if (!found) {
		char *copy = strdup(label);

		found = copy ? tsearch(copy, &document->file->labels, text_compare) : NULL;
		if (!found) {
			free(copy);
			return NULL;
		}
	}
	return document->last_label = *found;
}

static int append(struct document *document, const char *label, const struct selector *selector)
{
	struct binding_file *file = document->file;

	if (file->count == document->allocated) {
		size_t allocated = document->allocated ? 2 * document->allocated : 1024;
		struct labelled *more = reallocarray(file->bindings, allocated, sizeof(*more));

		if (!more)
			return -ENOMEM;
		file->bindings = more;
		document->allocated = allocated;
	}
	file->bindings[file->count++] = (struct labelled){label, *selector};
	return 0;
}

/* The texts of an entry. */
struct words {
	const char *label, *protocol, *prefix, *port;
	char port_buffer[32];
};

static int take_words(const json_t *entry, struct words *ret, struct reason *reason)
{
	const char *missing;
	int r;

	if (!json_is_object(entry))
		return refuse(reason, "it is not an object");
	r = check_members(entry, reason);
	if (r == 0)
		r = member_text(entry, "label", &ret->label, reason);
	if (r == 0)
		r = member_text(entry, "protocol", &ret->protocol, reason);
	if (r == 0)
		r = member_text(entry, "prefix", &ret->prefix, reason);
	if (r == 0)
		r = member_port(entry, ret->port_buffer, &ret->port, reason);
	if (r < 0)
		return r;
	missing = !ret->label ? "label" : !ret->prefix ? "prefix" : !ret->port ? "port" : NULL;
	return missing ? refuse(reason, "it has no \"%s\"", missing) : 0;
}

/* A binding, or two where the entry has no protocol. Returns 0, -EINVAL with the reason, or
 * -ENOMEM. */
static int take_entry(struct document *document, const json_t *entry, struct reason *reason)
{
	char label_text[NAME_SIZE];
	struct words words = {};
	struct selector selector;
	const char *label;
	int r = take_words(entry, &words, reason);

	if (r == 0)
		r = label_parse(words.label, label_text, reason);
	if (r == 0 && words.protocol)
		r = protocol_parse(words.protocol, &selector.protocol, reason);
	if (r == 0)
		r = prefix_parse(words.prefix, &selector.prefix, reason);
	if (r == 0)
		r = ports_parse(words.port, &selector.ports, reason);
	if (r < 0 || json_is_false(json_object_get(entry, "by_hand")))
		return r;
	label = keep_label(document, label_text);
	if (!label)
		return -ENOMEM;
	if (words.protocol)
		return append(document, label, &selector);
	for (selector.protocol = 0; selector.protocol < PROTOCOLS && r == 0; selector.protocol++)
		r = append(document, label, &selector);
	return r;
}

/* Is what is sought among the bindings from `first` on, which the entry that starts there gave? */
static void compare_with_sought(struct document *document, size_t first, size_t start)
{
	for (size_t i = first; i < document->file->count; i++) {
		const struct labelled *binding = &document->file->bindings[i];

		if (selector_compare(&binding->selector, &document->sought->selector) == 0 &&
			strcmp(binding->label, document->sought->label) == 0)
			document->found = place_at(document, start);
	}
}

static int take_next_entry(struct document *document)
{
	_cleanup_(json_decrefp_) json_t *entry = NULL;
	size_t start, first = document->file->count;
	struct reason reason;
	int r;

	peek(document);
	start = document->position;
	document->entries++;
	r = take_value(document, &entry);
	if (r < 0)
		return r;
	r = take_entry(document, entry, &reason);
	if (r == -EINVAL)
		return fail_entry(document, start, reason.text);
	if (r == 0 && document->sought)
		compare_with_sought(document, first, start);
	return document->error = r;
}

/*
 * Entries up to the end of the list, or up to `end`, if one begins just there: *ret_met tells
 * which.
 */
static int take_entries(
	struct document *document, size_t end, progress_report *progress, bool *ret_met)
{
	int r;

	*ret_met = false;
	if (peek(document) == ']') {
		document->position++;
		return 0;
	}
	for (;;) {
		r = take_next_entry(document);
		if (r < 0)
			return r;
		if (progress && document->entries % REPORT_EACH == 0)
			progress((double)document->position / (double)document->length);
		if (peek(document) == ']') {
			document->position++;
			return 0;
		}
		if (peek(document) != ',')
			return fail_at(document, document->position,
				document->position < document->length
					? "expected , or ] after an entry"
					: "the file ends too early: expected , or ] after an entry");
		document->position++;
		peek(document);
		if (document->position == end) {
			*ret_met = true;
			return 0;
		}
	}
}

/* From the first entry to the end of the document. */
static int take_rest(
	struct document *document, size_t end, progress_report *progress, bool *ret_met)
{
	int r = take_entries(document, end, progress, ret_met);

	if (r < 0 || *ret_met)
		return r;
	r = expect(document, '}');
	if (r == 0 && (peek(document) || document->position < document->length))
		r = fail_at(document, document->position, "nothing may follow the object");
	return r;
}

/* Up to where the entries begin. */
static int take_head(struct document *document)
{
	_cleanup_(json_decrefp_) json_t *key = NULL;
	size_t start;
	int r = expect(document, '{');

	if (r == 0 && peek(document) != '"')
		return expect(document, '"');
	start = document->position;
	if (r == 0)
		r = take_value(document, &key);
	if (r < 0)
		return r;
	if (!json_is_string(key) || strcmp(json_string_value(key), "bindings") != 0)
		return fail_at(document, start, EXPECTED);
	r = expect(document, ':');
	return r < 0 ? r : expect(document, '[');
}

/*
 * Two parts.
 */

/* The first { behind a comma behind a }, from the middle on; 0 where there is none. */
static size_t guess_middle(struct document *document)
{
	struct document ahead = {.text = document->text, .length = document->length};
	const char *end = document->text + document->length;

	ahead.position = document->position + (document->length - document->position) / 2;
	for (;;) {
		const char *brace = memchr(ahead.text + ahead.position, '}',
			(size_t)(end - ahead.text) - ahead.position);

		if (!brace)
			return 0;
		ahead.position = (size_t)(brace - ahead.text) + 1;
		if (peek(&ahead) != ',')
			continue;
		ahead.position++;
		if (peek(&ahead) == '{')
			return ahead.position;
	}
}

static void *take_second_part(void *part)
{
	bool met;

	take_rest(part, SIZE_MAX, NULL, &met);
	return NULL;
}

/* Appends the second part's bindings to the first's, whose labels are kept where theirs are. */
static int join(struct document *first, struct document *second)
{
	struct binding_file *part = second->file;
	int r = 0;

	for (size_t i = 0; i < part->count && r == 0; i++) {
		const char *label = keep_label(first, part->bindings[i].label);

		r = label ? append(first, label, &part->bindings[i].selector) : -ENOMEM;
	}
	return first->error = r;
}

static int take_two_parts(struct document *first, size_t middle, progress_report *progress)
{
	_cleanup_(binding_file_free) struct binding_file file = {};
	struct document second = {.name = first->name,
		.text = first->text,
		.length = first->length,
		.position = middle,
		.file = &file};
	pthread_t thread;
	bool met = false;
	int r = pthread_create(&thread, NULL, take_second_part, &second);

	if (r != 0)
		return take_rest(first, SIZE_MAX, progress, &met);
	r = take_rest(first, middle, progress, &met);
	pthread_join(thread, NULL);
	if (r < 0 || !met)
		return r;
	if (second.error == 0)
		return join(first, &second);
	if (second.error != -EINVAL)
		return first->error = second.error;
	/* Again, for the number of the entry. */
	return take_rest(first, SIZE_MAX, NULL, &met);
}

int binding_file_parse(const char *name, const char *text, size_t length, progress_report *progress,
	struct binding_file *ret)
{
	struct document document = {.name = name, .text = text, .length = length, .file = ret};
	size_t middle = 0;
	bool met;
	int r;

	*ret = (struct binding_file){};
	json_object_seed(0); /* before there are threads */
	r = take_head(&document);
	if (r == 0 && length > LONG_DOCUMENT)
		middle = guess_middle(&document);
	if (r == 0)
		r = middle ? take_two_parts(&document, middle, progress)
			   : take_rest(&document, SIZE_MAX, progress, &met);
	return r < 0 ? say_error_at_place(&document) : 0;
}

struct binding_place binding_file_find(
	const char *text, size_t length, const struct binding *binding)
{
	_cleanup_(binding_file_free) struct binding_file file = {};
	struct document document = {
		.text = text, .length = length, .file = &file, .sought = binding};
	bool met;

	if (take_head(&document) == 0)
		take_rest(&document, SIZE_MAX, NULL, &met);
	return document.found;
}

void binding_file_free(struct binding_file *file)
{
	tdestroy(file->labels, free);
	free(file->bindings);
	*file = (struct binding_file){};
}
