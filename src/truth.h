/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The truth: who asked for which binding. What the administrator bound to one port or to all stands
 * in the tables that the program reads, marked BY_HAND; all else in the map `claims`
 * (dispatcher.h). This module reads and writes it, and tells what in it can't be; which changes
 * there are is for bindings.h to say.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dispatcher.h"
#include "lookup.h"
#include "ranges.h"

#define ADMINISTRATOR 0          /* as an owner */
#define NOWHERE       UINT32_MAX /* as a destination_id: not bound */

/*
 * Owners.
 */

/* The unit's name; "" for the administrator. Valid as long as the dispatcher. */
const char *owner_name(const struct dispatcher *dispatcher, uint16_t owner);

/* "nginx.service", or who bound by hand. */
const char *owner_text(const struct dispatcher *dispatcher, uint16_t owner);

/* ADMINISTRATOR where the unit has no place. */
uint16_t owner_find(const struct dispatcher *dispatcher, const char *unit);

/* Finds it or takes a free place for it, within a change. Returns 0 or a negative errno, said. */
int owner_acquire(struct dispatcher *dispatcher, const char *unit, uint16_t *ret);
void owner_release(struct dispatcher *dispatcher, uint16_t owner);

/*
 * Lists of bindings, sorted: in the order of precedence, and those of one selector by owner.
 */

int key_compare(const struct binding_key *a, const struct binding_key *b);
int bound_compare(const void *a, const void *b); /* for qsort() */
bool same_selector(const struct binding_key *a, const struct binding_key *b);
bool is_range(const struct binding_key *key);

/* Is it in `claims`, rather than in the tables that the program reads? */
bool is_claim(const struct binding_key *key);

/* The first of a selector in a sorted list, whoever owns it; NULL where there is none. */
const struct bound *bound_find(
	const struct bound *list, size_t count, const struct binding_key *key);

/* Of each selector the first; in place. Returns how many are left. */
size_t bound_unique(struct bound *list, size_t count);

/* The ranges of a sorted list, each selector once. The caller frees the array. -ENOMEM, unsaid. */
int bound_ranges(const struct bound *list, size_t count, struct ranges *ret);

/* Two bindings that can't both be. */
struct conflict {
	enum { NO_CONFLICT, TWO_LABELS, OVERLAP } kind;
	const struct bound *a, *b;
};

/* Finds two in a sorted list, for one selector or of ranges that cut each other. -ENOMEM, unsaid.
 */
int bound_find_conflict(const struct bound *list, size_t count, struct conflict *ret);

/* Fills in that one of the two can't be. Returns -EADDRINUSE, for the caller to say the reason. */
int refuse_conflict(const struct dispatcher *dispatcher, const struct conflict *conflict,
	const struct bound *refused, struct refusal *ret);

/*
 * Reading and writing.
 */

/* All claims, or all that the administrator bound, or both: sorted. 0 or a negative errno, said. */
enum truth { CLAIMS = 1, BY_HAND_IN_TABLES = 2, WHOLE_TRUTH = 3 };
int truth_read(
	struct dispatcher *dispatcher, enum truth what, struct bound **ret, size_t *ret_count);

/* Where the owner has a claim lead to, or NOWHERE. Returns 0 or a negative errno, unsaid. */
int claim_find(const struct generation *g, const struct binding_key *key, destination_id *ret);

/* A claim that comes (last is NOWHERE), goes (next is), or leads elsewhere. */
struct step {
	struct binding_key key;
	destination_id last;
	destination_id next;
};

/*
 * Takes the steps, or on an error the first of them, and says how many: claims_take_back() these.
 * Returns 0 or a negative errno, unsaid.
 */
int claims_write(
	const struct generation *g, const struct step *steps, size_t count, size_t *ret_written);

/* Takes the steps back, from the last one to the first. Returns 0 or a negative errno, unsaid. */
int claims_take_back(const struct generation *g, const struct step *steps, size_t count);

/* The steps from one sorted list of claims to another. The caller frees the array. -ENOMEM, unsaid.
 */
int steps_between(const struct bound *last, size_t last_count, const struct bound *next,
	size_t next_count, struct step **ret, size_t *ret_count);

/*
 * Deriving.
 */

/*
 * Puts a new generation into place in which this sorted list is what is bound, with room for at
 * least so many entries by map (NULL: for what there is). 0, or a negative errno, said, with
 * nothing changed.
 */
int truth_put(struct dispatcher *dispatcher, const struct bound *list, size_t count,
	const uint32_t room[SIZED_MAPS], progress_report *progress);
