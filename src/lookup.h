/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tables that the program reads: which entries, bits and counts a binding has in ipv4, ipv6
 * and the gate. Knows nothing of who bound what: that is bindings.h.
 *
 * All functions take bindings by key (the owner is ignored) and keep the ledger's counts. They
 * return 0 or a negative errno, unsaid.
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

/* Adds a binding that the tables don't have. Needs room: see lookup_entries(). */
int lookup_add(struct generation *g, const struct bound *entry);

/* Makes a binding that the tables have lead elsewhere than to `last`, with one store. */
int lookup_move(struct generation *g, const struct bound *entry, destination_id last);

/* Removes a binding that the tables have. Packets under way may still see it: wait for them. */
int lookup_remove(struct generation *g, const struct bound *entry);

/* Fills a generation's empty tables. The keys are all different. */
int lookup_build(struct generation *g, const struct bound *entries, size_t count);

/* How many entries the table of the family has. */
uint32_t lookup_entries(const struct generation *g, uint8_t family);
