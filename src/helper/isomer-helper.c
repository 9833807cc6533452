/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomer-helper: what units call. This file is its table of commands; the commands of
 * isomer.service are in lifecycle.c, those of units with a section in hooks.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helper.h"

#define MISUSED 2

struct command {
	const char *name;
	bool takes_unit;
	const char *summary;
	int (*run)(const char *unit);
};

static const struct command commands[] = {
	{"start", false, "isomer.service: load or upgrade the dispatcher, restore units",
		run_start},
	{"reload", false, "isomer.service: upgrade, apply what units' files say now", run_reload},
	{"stop", false, "isomer.service: unload the dispatcher, but not for a restart", run_stop},
	{"bind", true, "isomer@UNIT.service: bind what UNIT's section says", run_bind},
	{"unbind", true, "isomer@UNIT.service: drop UNIT's bindings", run_unbind},
	{"gate", true, "ExecStartPre= of UNIT: bindings and held sockets are in place", run_gate},
	{"register", true, "ExecStartPost=, ExecReload= of UNIT: register its sockets",
		run_register},
	{"unregister", true, "ExecStopPre=, ExecStopPost= of UNIT: take them out", run_unregister},
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

int main(int argc, char **argv)
{
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
			return command->run(argv[2]) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	print_usage(stderr);
	return MISUSED;
}
