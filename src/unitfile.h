/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * systemd's unit files as text: reading one line by line in systemd's own grammar
 * (systemd.syntax(7)), unit names and their specifiers (systemd.unit(5)), and the two kinds of
 * values that systemd has words of its own for.
 *
 * Knows nothing of Isomer's section: that is section.h. Where the files lie is unitpath.h.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "say.h"

#define UNIT_NAME_SIZE 256 /* UNIT_NAME_MAX of systemd, which counts the NUL */

/* A piece of a line that is continued: where it begins in the joined text, and on which line. */
struct unitfile_part {
	size_t offset;
	unsigned int number;
};

/* One line of a unit file. All pointers but the path are valid only during the call. */
struct unitfile_line {
	const char *path;
	unsigned int number; /* of the first line, where lines are continued */
	const char *section; /* without brackets; "" before the first */
	const char *key;     /* NULL for a section header, and for a line that is no assignment */
	const char *value;   /* stripped; NULL for a header; the line itself where it is neither */
	const char *text;    /* the joined text, into which key and value point */
	const struct unitfile_part *parts; /* that it was joined from */
	size_t part_count;
};

/*
 * Where a place in the key or the value stands in the file: the line, and the column, from 1, in
 * characters.
 */
void unitfile_locate(const struct unitfile_line *line, const char *at, unsigned int *ret_number,
	unsigned int *ret_column);

/* Returns 0 to go on; anything else ends the reading and is returned. */
typedef int unitfile_visit(const struct unitfile_line *line, void *context);

/*
 * Reads the file and shows each section header, each assignment, and each line that is neither, in
 * order. Comments and empty lines are not shown. Backslash continuation, CRLF and a NUL as the end
 * of a line are taken as systemd takes them.
 *
 * Returns 0, what visit() returned, or a negative errno, unsaid: -ENOENT, -EACCES, -ELOOP,
 * -EISDIR or -EINVAL where it isn't a regular file, -EFBIG where it is larger than 16 MiB. An
 * empty file and /dev/null have no lines.
 */
int unitfile_read(const char *path, unitfile_visit *visit, void *context);

/*
 * The parts of "prefix@instance.suffix" or "prefix.suffix"; instance is NULL for a unit that is
 * neither template nor instance, "" for a template.
 */
struct unit_name {
	char full[UNIT_NAME_SIZE];
	char prefix[UNIT_NAME_SIZE];
	char instance_text[UNIT_NAME_SIZE];
	const char *instance; /* instance_text or NULL */
	char suffix[16];      /* "service", "socket" */
};

int unit_name_parse(const char *text, struct unit_name *ret, struct reason *reason);

/* Makes prefix@instance.suffix, or prefix.suffix where instance is NULL. False: no valid name. */
bool unit_name_build(
	const char *prefix, const char *instance, const char *suffix, struct unit_name *ret);

/* For assignment won't do: a name points into itself. */
void unit_name_copy(const struct unit_name *name, struct unit_name *ret);

bool unit_name_is_template(const struct unit_name *name); /* foo@.service */

/* Isomer's own units, and the prefix that drop-ins of theirs could be shared under: no sections. */
bool unit_name_is_isomers_own(const struct unit_name *name);
bool unit_name_is_instance(const struct unit_name *name); /* foo@bar.service */

/*
 * Replaces %n %N %p %i %I %j %J %H %% as systemd.unit(5) says. Another one, or a lone % at the
 * end, is refused. Returns 0 and the text in *ret, to be freed by the caller, -EINVAL with the
 * reason, or -ENOMEM.
 */
int specifiers_expand(
	const char *text, const struct unit_name *unit, char **ret, struct reason *reason);

/* systemd's boolean words: 1, yes, y, true, t, on and their opposites, in any case of letters. */
int boolean_parse(const char *text, bool *ret, struct reason *reason);

/* "infinity" as a span. */
#define FOREVER ULLONG_MAX

/* systemd.time(7) spans such as "5", "500ms", "1min 30s", "infinity", as microseconds. */
int timespan_parse(const char *text, unsigned long long *ret, struct reason *reason);
