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

#include "../cleanup.h"
#include "../dispatcher.h"
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
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

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
		"  --json          print results as JSON\n"
		"  --help          print this, or after a command what it does, with examples\n"
		"  --version       print the version\n",
		DEFAULT_BPFFS);
}

static void print_help(const struct command *command)
{
	printf("Usage: isomctl [OPTION …] %s %s\n\n%s", command->name, command->arguments,
		command->help);
}

int misused(const struct command *command, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "isomctl: %s: ", command->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nUsage: isomctl [OPTION …] %s %s\nMore: isomctl %s --help\n",
		command->name, command->arguments, command->name);
	return MISUSED;
}

int take_arguments(const struct command *command, int argc, char ***argv, int least, int most)
{
	static const struct option none[] = {{}};

	/* getopt says itself what it doesn't know; a label may begin with "-" after "--". */
	optind = 0;
	while (getopt_long_only(argc, *argv, "", none, NULL) != -1)
		return -misused(command, "it takes no such option");
	argc -= optind;
	*argv += optind;
	if (argc < least)
		return -misused(command, "it needs more arguments than these %d", argc);
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
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return fail(-errno, "cannot enter the network namespace %s: %m", path);
	return 0;
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

	if (argc > 1 && !command) {
		fprintf(stderr, "isomctl: there is no command \"%s\"\n", argv[1]);
		return MISUSED;
	}
	if (command)
		print_help(command);
	else
		print_usage(stdout);
	return 0;
}

static int run_command(const struct options *options, int argc, char **argv)
{
	const struct command *command = find_command(argv[0]);

	if (strcmp(argv[0], "help") == 0)
		return run_help(argc, argv);
	if (!command) {
		fprintf(stderr, "isomctl: there is no command \"%s\": see isomctl --help\n",
			argv[0]);
		return MISUSED;
	}
	if (asks_for_help(argc, argv)) {
		print_help(command);
		return 0;
	}
	return command->run(options, argc, argv);
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
	enum { NETNS = 1, BPFFS, JSON, HELP, VERSION };
	static const struct option long_options[] = {
		{"netns", required_argument, NULL, NETNS},
		{"bpffs", required_argument, NULL, BPFFS},
		{"json", no_argument, NULL, JSON},
		{"help", no_argument, NULL, HELP},
		{"version", no_argument, NULL, VERSION},
		{},
	};
	struct options options = {};
	const char *netns = NULL;
	int option;

	while ((option = getopt_long_only(argc, argv, "+h", long_options, NULL)) != -1) {
		switch (option) {
		case NETNS:
			netns = optarg;
			break;
		case BPFFS:
			options.bpffs = optarg;
			break;
		case JSON:
			options.json = true;
			break;
		case HELP:
		case 'h':
			print_usage(stdout);
			return finish(0);
		case VERSION:
			puts("isomctl " ISOMER_VERSION);
			return finish(0);
		default:
			fputs("See isomctl --help\n", stderr);
			return MISUSED;
		}
	}
	if (optind == argc) {
		print_usage(stderr);
		return MISUSED;
	}
	if (netns && enter_netns(netns) < 0)
		return EXIT_FAILURE;

	return finish(run_command(&options, argc - optind, argv + optind));
}
