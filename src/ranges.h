/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ranges of ports, and how they stand in the tables that the program reads.
 *
 * The program finds the class of a packet's port with one load and looks that up (dispatcher.h). A
 * range begins at a cut and ends before one; the ports between two cuts are a class, if they lie in
 * any range. A range has an entry in each of its classes, unless a narrower one of the same prefix
 * has it: so precedence among ranges is settled here, and costs a packet nothing.
 *
 * All functions return 0 or a negative errno, unsaid.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lookup.h"

/* The ranges among bindings: of each selector one, in the order of selector_compare(). */
struct ranges {
	const struct bound *ranges;
	size_t count;
};

/*
 * Do two ranges of the same prefix and protocol overlap, neither holding the other? Then a packet
 * could prefer neither. The two are *ret_a and *ret_b. -ENOMEM where that can't be found out.
 */
int ranges_find_overlap(const struct ranges *ranges, bool *ret_found, const struct bound **ret_a,
	const struct bound **ret_b);

/* All ranges laid out: their entries, each place once, and the class of each port. */
struct layout {
	struct table_entry *entries;
	size_t count;
	struct classes *classes; /* of each protocol */
};

/* -E2BIG where they cut each other into too many pieces. Give back with layout_free(). */
int layout_make(const struct ranges *ranges, struct layout *ret);
void layout_free(struct layout *layout);

/* Gives the ports of a generation that has no ranges their classes, and counts the cuts. */
void layout_label(struct generation *g, const struct layout *layout, const struct ranges *ranges);

/*
 * Plans what one range of a protocol makes different: it comes (`ranges` has it, and the tables
 * don't), it goes (the other way round), or it leads elsewhere (both have it). The cuts are counted
 * by ranges_count(), when the plan has been carried out.
 */
int ranges_plan(const struct generation *g, const struct ranges *ranges,
	const struct selector *changed, struct plan *plan);

/*
 * The same for a range that comes, without knowledge of the others: *ret_planned is false, and what
 * the plan has got is of no use, where it makes new cuts or its prefix has another range there.
 */
int ranges_plan_alone(const struct generation *g, const struct bound *range, struct plan *plan,
	bool *ret_planned);

/* Counts the cuts of a range that came (1) or went (-1). */
void ranges_count(struct generation *g, const struct selector *range, int difference);
