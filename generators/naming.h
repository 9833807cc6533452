/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the generator's drop-ins are called, so that each is read, and read once: 50-isomer.conf,
 * unless the user's own drop-ins don't let it be.
 *
 * Drop-ins for several names may apply to one unit: those of an instance, of its template, of a
 * prefix of its name, of an alias. Of equal names systemd reads the most specific one alone, so
 * ours, of all the names that could meet in a unit (a family), are called the same. What a user's
 * drop-in asks of one family's name is no other family's affair.
 */
#pragma once

#include <stddef.h>

#include "../src/unitpath.h"

struct naming {
	const struct unitpath *unitpath;
	char *const *owners; /* all names that could get a drop-in, sorted */
	size_t owner_count;
	struct family *families; /* sorted by their keys */
	size_t family_count;
};

/*
 * Finds the families; the owners and the unit path are borrowed. Returns 0 or -ENOMEM; give back
 * with naming_free() in either case.
 */
int naming_init(const struct unitpath *unitpath, char *const *owners, size_t owner_count,
	struct naming *ret);
void naming_free(struct naming *naming);

/* Notes that the owner gets a drop-in, to be read after that one of the user's (NULL: after none).
 */
void naming_add(
	struct naming *naming, const char *owner, const struct unitpath_dropin *read_before);

/* Once all are added: chooses the names. Warns where none is read as late as it should. */
void naming_choose(struct naming *naming);

/* The name of the owner's drop-in. */
const char *naming_name(const struct naming *naming, const char *owner);
