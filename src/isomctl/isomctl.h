/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl, the administrator's command: what its commands share. Each file of this folder holds a
 * group of commands, each with its help, its parsing and its work.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define MISUSED                                                                                    \
	2 /* what a command returns, and the exit status, if it can't understand its words */

/* The options that every command takes, before it or among its own words. */
struct options {
	const char *bpffs; /* NULL: the default one */
	const char *netns; /* a name or a path; NULL: the one that isomctl was run in */
	bool json;
};

struct command {
	const char *name;
	const char *arguments; /* "[--label LABEL] [--all] FILE": also tells which options it has */
	const char *summary;   /* one line, for the list of commands */
	const char *help;      /* what it does, and examples */

	/*
	 * Returns 0, MISUSED, or a negative errno; it has said why. argv[0] is the command; its own
	 * options come next, and are known to be right, then "--" and the arguments.
	 */
	int (*run)(const struct options *options, int argc, char **argv);
};

extern const struct command load_command, unload_command, upgrade_command, version_command;
extern const struct command bind_command, unbind_command, bindings_command, load_bindings_command;
extern const struct command register_command, register_pid_command, unregister_command;
extern const struct command status_command, explain_command, verify_command, metrics_command;

/* Says what is wrong with a command's words and how they should be; returns MISUSED. */
int misused(const struct command *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Checks that a command got between least and most arguments, and no options; afterwards *argv
 * points to the first argument. Returns their number, or MISUSED negated.
 */
int take_arguments(const struct command *command, int argc, char ***argv, int least, int most);

/*
 * A table with aligned columns. Its rows are shown twice: the first time to measure them, the
 * second time to print them, so that a million rows need no memory.
 *
 *	for (table_begin(&table); table_pass(&table);)
 *		for each row: table_row(&table, cells);
 */
#define MAX_COLUMNS 16
struct table {
	const char *const *titles; /* NULL at the end */
	int pass;
	int widths[MAX_COLUMNS];
};

void table_begin(struct table *table, const char *const titles[]);
bool table_pass(struct table *table);
void table_row(struct table *table, const char *const cells[]);

/* Text may be coloured (terminal.h): that takes no room. */

/* A text from elsewhere for a terminal: control characters are shown as \xNN. Returns buffer. */
const char *printable(const char *text, char *buffer, size_t size);

/* A text from elsewhere for JSON, which is UTF-8: other bytes become U+FFFD. */
json_t *json_text(const char *text);
