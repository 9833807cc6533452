/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the generator has to know from the text of unit files and drop-ins: of each file alone, and
 * of a unit, which is the sum of its files in the order in which systemd reads them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a key was last set to; for a boolean, empty means no. */
enum assignment { NOT_ASSIGNED, ASSIGNED_EMPTY, ASSIGNED };

struct facts {
	bool has_section;
	bool comes_first;            /* the generator's drop-ins must be read after this file */
	enum assignment exec_reload; /* what is left of ExecReload= after the file's last line */
	enum assignment accept;      /* ASSIGNED: Accept=yes */
	char *service;               /* of a socket unit: the last Service=; NULL: none */
	char *sockets;               /* of a service: the words of all Sockets=; NULL: none */
	size_t sockets_length, sockets_room;

	/* Of a service: has it a root directory of its own, and only for its ExecStart=? */
	enum assignment root_directory;
	enum assignment root_image;
	enum assignment root_for_start_only;
};

/*
 * Reads one file. What can't be read says nothing, and is warned about unless it is gone.
 * Give back with facts_clear().
 */
void facts_read(const char *path, struct facts *ret);

/* Adds those of the next file of the unit to the sum. Returns 0 or -ENOMEM. */
int facts_add(struct facts *sum, const struct facts *next);

void facts_clear(struct facts *facts);
