/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl, the administrator's command: the global options, the table of commands, and help. What
 * the commands do stands in the files beside this one.
 */
#include "isomctl.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../binding.h"
#include "../cleanup.h"
#include "../dispatcher.h"
#include "../nearest.h"
#include "../say.h"

static const struct command *const commands[] = {
	&load_command,
	&unload_command,
	&upgrade_command,
	&version_command,
	&bind_command,
	&unbind_command,
	&bindings_command,
	&load_bindings_command,
	&register_command,
	&register_pid_command,
	&unregister_command,
	&status_command,
	&explain_command,
	&verify_command,
	&metrics_command,
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

/* The global options. HELP and those after it stand only before the command. */
enum { NETNS = 1, BPFFS, JSON, HELP, VERSION, OF_COMMAND };

static const struct option global_options[] = {
	{"netns", required_argument, NULL, NETNS},
	{"bpffs", required_argument, NULL, BPFFS},
	{"json", no_argument, NULL, JSON},
	{"help", no_argument, NULL, HELP},
	{"version", no_argument, NULL, VERSION},
	{},
};

#define LONGEST_ARGUMENTS 256 /* of all commands' */
#define MOST_OPTIONS      16  /* global ones, and those of any command */

static void print_usage(FILE *to)
{
	fputs("Usage: isomctl [--netns PATH] [--bpffs PATH] [--json] COMMAND [ARGUMENT …]\n\n"
	      "Decides which socket of this machine gets a packet: subnets, all ports, any mixture.\n\n"
	      "Commands:\n",
		to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-15s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(to,
		"\nOptions:\n"
		"  --netns PATH    work in this network namespace: NAME is /run/netns/NAME\n"
		"  --bpffs PATH    where a BPF file system is mounted (default: %s)\n"
		"  --json          print as JSON what bindings, explain, load-bindings, status, verify and\n"
		"                  version tell\n"
		"  --help          print this, or after a command what it does, with examples\n"
		"  --version       print the version\n"
		"The first three may stand after the command as well.\n",
		DEFAULT_BPFFS);
}

static void print_command_usage(FILE *to, const struct command *command)
{
	fprintf(to, "Usage: isomctl [OPTION …] %s%s%s\n", command->name,
		*command->arguments ? " " : "", command->arguments);
}

static void print_help(const struct command *command)
{
	print_command_usage(stdout, command);
	printf("\n%s", command->help);
}

int misused(const struct command *command, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "isomctl: %s: ", command->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	print_command_usage(stderr, command);
	fprintf(stderr, "More: isomctl %s --help\n", command->name);
	return MISUSED;
}

/* Says that a word stands where another one belongs, as far as that can be told. */
static bool is_misplaced(const struct command *command, const char *name, const char *word)
{
	struct in6_addr address;
	struct reason reason;
	uint8_t protocol;
	bool misplaced = strncmp(name, "PROTOCOL", strlen("PROTOCOL")) == 0
		? protocol_parse(word, &protocol, &reason) < 0
		: strncmp(name, "ADDRESS", strlen("ADDRESS")) == 0 &&
			address_parse(word, &address, &reason) < 0;

	if (misplaced)
		misused(command, "it needs %s, and %s", command->arguments, reason.text);
	return misplaced;
}

/* "it needs PREFIX and PORT as well": the names are those in the command's usage, past options. */
static int misses_arguments(const struct command *command, char **words, int given, int least)
{
	const char *name = command->arguments, *bracket;
	char missing[LONGEST_ARGUMENTS] = "";
	size_t length = 0;

	while ((bracket = strstr(name, "] ")))
		name = bracket + strlen("] ");
	for (int i = 0; i < least; i++) {
		const char *joint = i == given ? "" : i < least - 1 ? ", " : " and ";
		int name_length = (int)strcspn(name, " ");

		if (i < given && is_misplaced(command, name, words[i]))
			return -MISUSED;
		if (i >= given && length < sizeof(missing))
			length += (size_t)snprintf(missing + length, sizeof(missing) - length,
				"%s%.*s", joint, name_length, name);
		name += name_length;
		name += strspn(name, " ");
	}
	return -misused(command, "it needs %s%s", missing, given > 0 ? " as well" : "");
}

int take_arguments(const struct command *command, int argc, char ***argv, int least, int most)
{
	static const struct option none[] = {{}};

	/* Options were taken or refused already; a label may begin with "-" after "--". */
	optind = 0;
	while (getopt_long_only(argc, *argv, "", none, NULL) != -1)
		return -misused(command, "it takes no such option");
	argc -= optind;
	*argv += optind;
	if (argc < least)
		return misses_arguments(command, *argv, argc, least);
	if (argc > most)
		return -misused(command, "\"%s\" is one argument too many", (*argv)[most]);
	return argc;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int enter_netns(const char *path)
{
	char named[PATH_MAX];
	_cleanup_(closep) int fd = -EBADF;

	if (!strchr(path, '/')) {
		snprintf(named, sizeof(named), "/run/netns/%s", path);
		path = named;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && setns(fd, CLONE_NEWNET) == 0)
		return 0;
	return fail(-errno, "cannot enter the network namespace %s: %m%s", path,
		errno == ENOENT           ? ": 'ip netns list' lists those that have a name"
			: errno == EINVAL ? ": write a name, or a path like /proc/PID/ns/net"
			: errno == EPERM  ? ": it takes root, or CAP_SYS_ADMIN"
					  : "");
}

static int say_no_command(const char *name)
{
	const char *names[COMMANDS + 1] = {}, *nearest;

	for (size_t i = 0; i < COMMANDS; i++)
		names[i] = commands[i]->name;
	nearest = nearest_word(name, names);
	fprintf(stderr, "isomctl: there is no command \"%s\": %s%s%ssee isomctl --help\n", name,
		nearest ? "did you mean " : "", nearest ?: "", nearest ? "? Or " : "");
	return MISUSED;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-help") == 0 ||
			strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* isomctl help [COMMAND] */
static int run_help(int argc, char **argv)
{
	const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

	if (argc > 1 && !command)
		return say_no_command(argv[1]);
	if (command)
		print_help(command);
	else
		print_usage(stdout);
	return 0;
}

static void take_global_option(int option, struct options *options)
{
	if (option == NETNS)
		options->netns = optarg;
	else if (option == BPFFS)
		options->bpffs = optarg;
	else if (option == JSON)
		options->json = true;
}

/*
 * All that may stand after a command: global options, and its own, as its `arguments` show them,
 * "[--label LABEL]", "[--watch[=SECONDS]]" or "[--all]". The table ends with an empty option and
 * points into `names`.
 */
static void list_options(const struct command *command, char names[LONGEST_ARGUMENTS],
	struct option list[MOST_OPTIONS])
{
	size_t count = 0;
	char *name;

	for (const struct option *option = global_options; option->val < HELP; option++)
		list[count++] = *option;
	snprintf(names, LONGEST_ARGUMENTS, "%s", command->arguments);
	for (name = names; (name = strstr(name, "[--")) && count < MOST_OPTIONS - 1;) {
		char *end = strpbrk(name += strlen("[--"), " []");

		if (!end)
			break;
		list[count++] = (struct option){name,
			*end == ' '           ? required_argument
				: *end == '[' ? optional_argument
					      : no_argument,
			NULL, OF_COMMAND};
		*end = '\0';
		name = end + 1;
	}
	list[count] = (struct option){};
}

/* Why getopt_long_only() refused a word; it returned ':' or '?'. */
static const char *option_error(int returned, const char *word)
{
	if (returned == ':')
		return "it needs a value";
	if (optopt)
		return "it takes no value";
	return word[0] == '-' && word[1] >= '0' && word[1] <= '9'
		? "no such option, and numbers here are not negative"
		: "no such option";
}

/*
 * Takes the global options out of a command's words, wherever they stand before "--", and refuses
 * what is no option of it. What is left goes to *ret, the caller's to free: the command, its own
 * options, "--", and its arguments.
 */
static int take_options(const struct command *command, struct options *options, int argc,
	char **argv, int *ret_count, char ***ret)
{
	static char end_of_options[] = "--";
	char names[LONGEST_ARGUMENTS];
	struct option list[MOST_OPTIONS];
	char **words = calloc((size_t)argc + 2, sizeof(*words));
	int option, count = 0;

	*ret = words;
	if (!words)
		return fail(-ENOMEM, "cannot read the options: %m");
	list_options(command, names, list);
	words[count++] = argv[0];
	optind = 0;
	while ((option = getopt_long_only(argc, argv, ":", list, NULL)) != -1) {
		if (option == ':' || option == '?')
			return misused(command, "\"%s\": %s", argv[optind - 1],
				option_error(option, argv[optind - 1]));
		take_global_option(option, options);
		if (option == OF_COMMAND && optarg && optarg == argv[optind - 1])
			words[count++] = argv[optind - 2]; /* --label LABEL, not --label=LABEL */
		if (option == OF_COMMAND)
			words[count++] = argv[optind - 1];
	}
	words[count++] = end_of_options;
	while (optind < argc)
		words[count++] = argv[optind++];
	*ret_count = count;
	return 0;
}

static int run_command(struct options *options, int argc, char **argv)
{
	const struct command *command = find_command(argv[0]);
	_cleanup_(freep) char **words = NULL;
	int count = 0, r;

	if (strcmp(argv[0], "help") == 0)
		return run_help(argc, argv);
	if (!command)
		return say_no_command(argv[0]);
	if (asks_for_help(argc, argv)) {
		print_help(command);
		return 0;
	}
	r = take_options(command, options, argc, argv, &count, &words);
	if (r == 0 && options->netns)
		r = enter_netns(options->netns);
	return r == 0 ? command->run(options, count, words) : r;
}

/* The exit code, for a result; what can't be written is a failure, too. */
static int finish(int r)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fail(-errno, "cannot write to standard output: %m");
		return EXIT_FAILURE;
	}
	return r < 0 ? EXIT_FAILURE : r;
}

int main(int argc, char **argv)
{
	struct options options = {};
	int option;

	occupy_standard_streams();
	opterr = 0; /* what is wrong is said here, in one manner */
	while ((option = getopt_long_only(argc, argv, "+:h", global_options, NULL)) != -1) {
		switch (option) {
		case HELP:
		case 'h':
			return finish(run_help(argc - optind + 1, argv + optind - 1));
		case VERSION:
			puts("isomctl " ISOMER_VERSION);
			return finish(0);
		case ':':
		case '?':
			fprintf(stderr, "isomctl: \"%s\": %s: see isomctl --help\n",
				argv[optind - 1], option_error(option, argv[optind - 1]));
			return MISUSED;
		default:
			take_global_option(option, &options);
		}
	}
	if (optind == argc) {
		print_usage(stderr);
		return MISUSED;
	}
	return finish(run_command(&options, argc - optind, argv + optind));
}
