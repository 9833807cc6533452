/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the files of service and socket units lie on disk, and which of them systemd would take for
 * a unit: for the generator, which runs before PID 1 can be asked. Follows systemd.unit(5): the
 * search path, masks, aliases, templates, drop-in directories of templates and of name prefixes,
 * and files that hide others of the same name.
 *
 * Reads names and links, not what is in the files: that is unitfile.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "unitfile.h"

/* A unit file; of several with one name, the one in the directory of highest priority. */
struct unitpath_file {
	char *name;
	char *path;
	enum { UNIT_FRAGMENT, UNIT_ALIAS, UNIT_MASK } kind;
	char *target;      /* the unit's name that an alias leads to; else NULL */
	unsigned int rank; /* of the directory, 0 is the highest priority */
};

/* A file DIRECTORY/OWNER.d/NAME; of several with one OWNER and NAME, that of highest priority. */
struct unitpath_dropin {
	char *owner; /* "foo.service", "foo@.service", "foo-.service", "service" for service.d */
	char *name;  /* "10-limits.conf" */
	char *path;
	unsigned int rank;
};

struct unitpath {
	char **directories;          /* NULL-terminated, without links, highest priority first */
	struct unitpath_file *files; /* sorted by name */
	size_t file_count;
	const struct unitpath_file **aliases; /* those of the files that are */
	size_t alias_count;
	struct unitpath_dropin *dropins; /* sorted by owner and name */
	size_t dropin_count;
};

/*
 * Reads all directories of the search path: systemd's own, or $SYSTEMD_UNIT_PATH as systemd takes
 * it (a colon at the end appends the defaults). What can't be used is skipped with a warning.
 * Returns 0 or -ENOMEM; give back with unitpath_free() in either case.
 */
int unitpath_load(struct unitpath *ret);

void unitpath_free(struct unitpath *unitpath);

/*
 * Finds what a unit is loaded from: *ret is its fragment, its mask, or NULL for none; an instance
 * without a file has its template's. *ret_name is the unit's own name where `name` is an alias.
 */
void unitpath_resolve(const struct unitpath *unitpath, const struct unit_name *name,
	struct unit_name *ret_name, const struct unitpath_file **ret);

/*
 * The drop-ins that systemd applies to the unit, which is no alias, in the order in which it reads
 * them; those for its aliases and for all units of its type are among them. The caller frees the
 * list, but not what it points to. Returns 0 or -ENOMEM.
 */
int unitpath_dropins(const struct unitpath *unitpath, const struct unit_name *unit,
	const struct unitpath_dropin ***ret, size_t *ret_count);

/*
 * The next prefix whose drop-ins apply to a unit: "foo-bar-baz" becomes "foo-bar-", that becomes
 * "foo-". False, and it is no use any more, where there is none.
 */
bool unitpath_cut_prefix(char *prefix);
