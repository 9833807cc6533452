/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tables that the program reads: which entries they have, and the bits of the gate and the
 * counts of the ledger that go with them. Knows nothing of who bound what (bindings.h), nor of how
 * ranges of ports are cut into classes (ranges.h).
 *
 * All functions return 0 or a negative errno, unsaid.
 */
#pragma once

#include "binding.h"
#include "dispatcher.h"

struct selector selector_of_key(const struct binding_key *key);
struct binding_key key_of_selector(const struct selector *selector, uint16_t owner);

/* A binding of an owner, and where it leads. */
struct bound {
	struct binding_key key;
	destination_id destination;
};

/* Where an entry stands. */
struct place {
	struct prefix prefix;
	uint8_t protocol;
	uint8_t kind;
	uint16_t port; /* the port, of PORT_RANGE the class, of ALL_PORTS 0 */
};

struct table_entry {
	struct place place;
	uint32_t value; /* a destination, and maybe BY_HAND */
};

struct place place_make(const struct prefix *prefix, uint8_t protocol, uint8_t kind, uint16_t port);

int place_compare(const struct place *a, const struct place *b); /* any order, 0: the same */

/* The place of a binding of one port or of all ports. */
struct place place_of_selector(const struct selector *selector);

/* The value that stands there; -ENOENT where none does. */
int lookup_get(const struct generation *g, const struct place *place, uint32_t *ret);

/* Is told now and then what share of a long work is done, 0 to 1. May be NULL. */
typedef void progress_report(double share);

/* Puts entries, whose places are all different, into a new generation's table. -ENOSPC: too small.
 */
int lookup_fill(struct generation *g, const struct table_entry *entries, size_t count,
	progress_report *progress);

/* Reads all entries that are marked BY_HAND: at most `room` of them. */
int lookup_read_by_hand(
	struct generation *g, bool writable, struct bound *list, size_t room, size_t *ret_count);

/* Gives the ports from low to high a class; 0 takes it from them. */
void lookup_set_class(
	struct generation *g, uint8_t protocol, uint16_t low, uint16_t high, uint16_t class);

/* Ports that change their class. */
struct relabel {
	uint8_t protocol;
	uint16_t low;
	uint16_t high;
	uint16_t class;
};

/*
 * A change of the tables, put together before anything is touched: what comes, which ports change
 * their class, what leads elsewhere, what goes. An entry that is there twice is there once.
 */
struct plan {
	struct table_entry *additions;
	struct relabel *relabels;
	struct table_entry *moves;
	struct table_entry *removals; /* their values count for nothing */
	size_t addition_count, relabel_count, move_count, removal_count;
};

void plan_free(struct plan *plan);
int plan_add(struct plan *plan, const struct place *place, uint32_t value);
int plan_move(struct plan *plan, const struct place *place, uint32_t value);
int plan_remove(struct plan *plan, const struct place *place);
int plan_relabel(struct plan *plan, uint8_t protocol, uint16_t low, uint16_t high, uint16_t class);
void plan_settle(struct plan *plan); /* drops what is there twice */

/*
 * Carries a plan out in place, in an order in which each packet meets what was or what will be, and
 * waits until none is under way that could have seen what is gone. In two steps: the first one adds
 * what comes. -ENOSPC: there is no slot for an entry. On an error the tables are as they were.
 */
int plan_begin(struct generation *g, const struct plan *plan);

/* The second one does the rest, or takes the first one back. */
void plan_abandon(struct generation *g, const struct plan *plan);

/*
 * Of a plan with more than one step this can't fail, but with -ENOENT: the tables aren't what the
 * plan was made of, and have to be made anew. Otherwise, they are as they were on an error.
 */
int plan_finish(struct generation *g, const struct plan *plan);
