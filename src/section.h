/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The [Isomer] section of a unit ([X-Isomer] means the same): what it says, read from the files
 * that systemd loaded the unit from, checked, with specifiers expanded.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "binding.h"
#include "unitfile.h"

/* Where something stands. */
struct section_place {
	const char *path; /* one of the files that were read, the caller's own text */
	unsigned int line;
	unsigned int column;
};

/* One Socket= line: the socket that listens there goes under the label. */
struct section_socket {
	char label[NAME_SIZE];
	uint8_t protocol;
	struct in6_addr address; /* IPv4 mapped */
	uint16_t port;
	char *where; /* "FILE:LINE: Socket=value", for errors */
	struct section_place place;
};

struct section {
	bool present; /* was there a section at all? */
	char label[NAME_SIZE];
	struct binding *bindings; /* each one once, in the order of selector_compare() */
	struct section_place *binding_places; /* of each of them, its Bind= line */
	size_t binding_count;
	struct section_socket *sockets; /* each one once, sorted likewise */
	size_t socket_count;
	bool required;
	unsigned long long socket_timeout_usec;    /* FOREVER: infinity */
	struct section_place socket_timeout_place; /* path NULL: it is the default */
};

/*
 * So many Bind= and Socket= lines may one section have; whoever has more wants load-bindings.
 * Keeps what a unit file can make the helper allocate within bounds.
 */
#define SECTION_MOST_LINES 100000

/* Does it put sockets under the label, by Socket= lines or, without any, by Label=? */
bool section_serves(const struct section *section, const char *label);

/* Is this the name of the section? */
bool section_is_isomer(const char *name);

/*
 * Is the file one of service.d or socket.d, for all units of a type? A section there would apply to
 * Isomer's own units, too: it is passed over.
 */
bool section_is_passed_over(const char *path);

/*
 * Reads the section from a unit's fragment and drop-ins, in the order in which systemd reads them.
 * Later lines add, an empty value clears the list, keys that begin with X- are the user's own. The
 * files for all units of a type are left out.
 *
 * Every error is said, with FILE:LINE, the key, the value and what was expected; then -EINVAL is
 * returned (or the errno of a file that can't be read), and *ret still tells whether the section
 * is present and what Required= said, as far as it could be read (yes where it couldn't). Give
 * back with section_free() in either case.
 */
int section_read(
	const struct unit_name *unit, const char *const *files, size_t count, struct section *ret);

/* Something wrong with a section, for section_check(). */
struct section_problem {
	struct section_place place; /* line 0: the file as a whole */
	const char *line;           /* "Bind=tpc 192.0.2.0/24 80" */
	const char *text;           /* what is wrong with it, and what was expected */
};

typedef void section_report(const struct section_problem *problem, void *context);

/*
 * The same, but says nothing: each error is reported, with the place of the word that is wrong.
 * Also on error *ret has what is right.
 */
int section_check(const struct unit_name *unit, const char *const *files, size_t count,
	section_report *report, void *context, struct section *ret);

/* A report for whom what is right is enough. */
void section_ignore(const struct section_problem *problem, void *context);

void section_free(struct section *section);
