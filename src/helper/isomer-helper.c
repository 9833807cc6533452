/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomer-helper: what units call. This file is its table of commands; the commands of
 * isomer.service are in lifecycle.c, those of units with a section in hooks.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../cleanup.h"
#include "../privileges.h"
#include "../say.h"
#include "helper.h"

#define MISUSED 2

struct command {
	const char *name;
	bool takes_unit;
	bool is_hook; /* run from the unit itself, maybe in its network namespace */
	const char *summary;
	int (*run)(const char *unit);
};

static const struct command commands[] = {
	{"start", false, false, "isomer.service: load or upgrade the dispatcher, restore units",
		run_start},
	{"reload", false, false, "isomer.service: the same, to apply what units' files say now",
		run_start},
	{"stop", false, false, "isomer.service: unload the dispatcher, but not for a restart",
		run_stop},
	{"bind", true, false, "isomer-bind@UNIT.service: bind what UNIT's section says", run_bind},
	{"unbind", true, false, "isomer@UNIT.service: drop UNIT's bindings", run_unbind},
	{"register", true, true,
		"ExecStartPost=, ExecReload= of UNIT: bind, and register its sockets",
		run_register},
	{"unregister", true, true, "ExecStopPre=, ExecStopPost= of UNIT: take them out",
		run_unregister},
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

static void print_usage(FILE *to)
{
	fputs("Usage: isomer-helper COMMAND [UNIT]\n\n"
	      "Called by systemd units; for people there is isomctl(8).\n\nCommands:\n",
		to);
	for (const struct command *command = commands; command < commands + COMMANDS; command++)
		fprintf(to, "  %-10s %s  %s\n", command->name,
			command->takes_unit ? "UNIT" : "    ", command->summary);
}

/*
 * Sections work in PID 1's network namespace. The commands of a service with PrivateNetwork= are
 * run in the service's own.
 */
static int enter_network_of_systemd(void)
{
	_cleanup_(closep) int theirs = open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_(closep) int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct stat their_stat, our_stat;

	if (theirs < 0 || ours < 0 || fstat(theirs, &their_stat) < 0 || fstat(ours, &our_stat) < 0)
		return fail(-errno, "cannot open the network namespace of PID 1: %m");
	if (their_stat.st_ino == our_stat.st_ino && their_stat.st_dev == our_stat.st_dev)
		return 0;
	return setns(theirs, CLONE_NEWNET) < 0
		? fail(-errno, "cannot enter the network namespace of PID 1: %m")
		: 0;
}

/*
 * Hooks are run with all of root's privileges. Of these they use: to change and to grow the tables;
 * CHOWN, so that the group of readers may read them; SYS_RESOURCE, for the limits of locked memory
 * (before Linux 5.11) and of open files; PTRACE and DAC_READ_SEARCH, to borrow a server's sockets.
 * Units of Isomer's own give fewer.
 */
#define KEPT                                                                                       \
	(PRIVILEGE(CAP_BPF) | PRIVILEGE(CAP_PERFMON) | PRIVILEGE(CAP_NET_ADMIN) |                  \
		PRIVILEGE(CAP_CHOWN) | PRIVILEGE(CAP_SYS_RESOURCE) | PRIVILEGE(CAP_SYS_PTRACE) |   \
		PRIVILEGE(CAP_DAC_READ_SEARCH))

static int run(const struct command *command, const char *unit)
{
	int r = command->is_hook ? enter_network_of_systemd() : 0;

	if (r == 0 && (r = privileges_keep(KEPT)) < 0)
		fail(r, "cannot give up privileges: %m");
	if (r == 0)
		r = command->run(unit);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void say_misused(const char *name)
{
	const struct command *command = commands;

	while (command < commands + COMMANDS && strcmp(name, command->name) != 0)
		command++;
	if (command == commands + COMMANDS)
		fprintf(stderr, "isomer-helper: there is no command \"%s\"\n", name);
	else
		fprintf(stderr, "isomer-helper: %s takes %s\n", name,
			command->takes_unit ? "one UNIT" : "no argument");
}

int main(int argc, char **argv)
{
	occupy_standard_streams();
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		print_usage(stdout);
		return EXIT_SUCCESS;
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("isomer-helper " ISOMER_VERSION);
		return EXIT_SUCCESS;
	}
	for (const struct command *command = commands; command < commands + COMMANDS; command++)
		if (argc == 2 + command->takes_unit && strcmp(argv[1], command->name) == 0)
			return run(command, argv[2]);
	if (argc > 1)
		say_misused(argv[1]);
	print_usage(stderr);
	return MISUSED;
}
