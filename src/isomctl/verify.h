/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `isomctl verify` checks, and the parts that do: verify.c finds the units and their files,
 * verify-bindings.c looks at the bindings of all of them together, verify-sockets.c at the sockets
 * that each of them is to have.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "../section.h"
#include "../unitpath.h"
#include "finding.h"
#include "wiring.h"

/* Why a unit is looked at. */
enum role {
	NAMED, /* it was asked for */
	FOUND, /* so were all that have a section */
	OTHER, /* to compare the named ones with: nothing is said of it */
};

/* A unit that is checked. */
struct checked {
	struct unit_name name;
	enum role role;
	const char **files; /* the fragment and drop-ins, in systemd's order; the texts borrowed */
	size_t file_count;
	struct section section;
	struct wiring wiring; /* of the others: none */
	bool only_dropins;    /* there is no such unit */
	struct verification *verification;
};

struct verification {
	struct unitpath unitpath;
	const char *bpffs;
	struct checked **units; /* the others last */
	size_t count;
	size_t checked_count; /* without the others */
	bool by_file;         /* FILEs were given: then what runs on this machine isn't asked */
	struct findings findings;
};

static inline bool is_socket_unit(const struct checked *unit)
{
	return strcmp(unit->name.suffix, "socket") == 0;
}

/*
 * Bindings that can't be beside those of other units or such as were made by hand, that can never
 * win, or whose packets don't arrive. Returns 0 or -ENOMEM, unsaid.
 */
int check_bindings(struct verification *verification);

/* Sockets that the unit doesn't open, or not where its hooks could find them; labels without any.
 */
void check_sockets(struct verification *verification, const struct checked *unit);
