/* SPDX-License-Identifier: GPL-2.0-only */
/* Ranges of ports in the tables: see ranges.h. */
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define MOST_ENTRIES (1U << 28) /* more need more memory than the kernel would give a table */

/*
 * Overlaps: in the order of nested parentheses, a range that another one cuts comes after it,
 * begins in it and ends behind it.
 */

static int nesting_compare(const void *a, const void *b)
{
	const struct binding_key *x = &(*(const struct bound *const *)a)->key;
	const struct binding_key *y = &(*(const struct bound *const *)b)->key;
	int order = x->protocol - y->protocol ?: x->prefix_length - y->prefix_length;

	return order ?: memcmp(x->address, y->address, sizeof(x->address))
				?: x->port_low - y->port_low
						   ?: y->port_high - x->port_high;
}

static bool same_prefix(const struct binding_key *a, const struct binding_key *b)
{
	return a->protocol == b->protocol && a->prefix_length == b->prefix_length &&
		memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

int ranges_find_overlap(const struct ranges *ranges, bool *ret_found, const struct bound **ret_a,
	const struct bound **ret_b)
{
	_cleanup_(freep) const struct bound **sorted = calloc(ranges->count + 1, sizeof(*sorted));
	_cleanup_(freep) const struct bound **open = calloc(ranges->count + 1, sizeof(*open));
	size_t depth = 0;

	*ret_found = false;
	if (!sorted || !open)
		return -ENOMEM;
	for (size_t i = 0; i < ranges->count; i++)
		sorted[i] = &ranges->ranges[i];
	qsort(sorted, ranges->count, sizeof(*sorted), nesting_compare);
	for (size_t i = 0; i < ranges->count; i++) {
		const struct binding_key *key = &sorted[i]->key;

		while (depth &&
			(!same_prefix(&open[depth - 1]->key, key) ||
				open[depth - 1]->key.port_high < key->port_low))
			depth--;
		if (depth && open[depth - 1]->key.port_high < key->port_high) {
			*ret_found = true;
			*ret_a = open[depth - 1];
			*ret_b = sorted[i];
			return 0;
		}
		open[depth++] = sorted[i];
	}
	return 0;
}

/*
 * Classes.
 */

struct classes {
	uint16_t of[PORTS];  /* the class of each port: its first port, or 0 for none */
	uint16_t end[PORTS]; /* the last port of each class */
};

static int classes_make(const struct ranges *ranges, uint8_t protocol, struct classes *ret)
{
	/* How many ranges more lie over a port than over the one before it, and the cuts. */
	_cleanup_(freep) int32_t *difference = calloc(PORTS + 1, sizeof(*difference));
	_cleanup_(freep) bool *cut = calloc(PORTS + 1, sizeof(*cut));
	uint16_t class = 0;
	int32_t depth = 0;

	if (!difference || !cut)
		return -ENOMEM;
	for (size_t i = 0; i < ranges->count; i++) {
		const struct binding_key *key = &ranges->ranges[i].key;

		if (key->protocol != protocol)
			continue;
		difference[key->port_low]++;
		difference[key->port_high + 1]--;
		cut[key->port_low] = cut[key->port_high + 1] = true;
	}
	for (uint32_t port = 0; port < PORTS; port++) {
		depth += difference[port];
		if (cut[port])
			class = (uint16_t)port;
		ret->of[port] = depth ? class : 0;
		ret->end[class] = (uint16_t)port;
	}
	return 0;
}

static uint16_t class_in_gate(const struct generation *g, uint8_t protocol, uint32_t port)
{
	return g->gate->ports[protocol][port] & PORT_CLASS;
}

void ranges_count(struct generation *g, const struct selector *range, int difference)
{
	struct port_uses *uses = &g->port_uses[(size_t)range->protocol * PORTS];

	uses[range->ports.low].cuts += (uint32_t)difference;
	if (range->ports.high < PORTS - 1)
		uses[range->ports.high + 1].cuts += (uint32_t)difference;
}

/*
 * All ranges at once.
 */

/* An entry of a range in one of its classes; of two for one place, the one found first holds. */
struct piece {
	struct table_entry entry;
	size_t order;
};

struct pieces {
	struct piece *pieces;
	size_t count;
	size_t allocated;
};

static void pieces_free(struct pieces *pieces)
{
	free(pieces->pieces);
}

static int pieces_add(struct pieces *pieces, const struct table_entry *entry)
{
	if (pieces->count == MOST_ENTRIES)
		return -E2BIG;
	if (pieces->count == pieces->allocated) {
		size_t allocated = pieces->allocated ? 2 * pieces->allocated : 64;
		struct piece *more =
			reallocarray(pieces->pieces, allocated, sizeof(*pieces->pieces));

		if (!more)
			return -ENOMEM;
		pieces->pieces = more;
		pieces->allocated = allocated;
	}
	pieces->pieces[pieces->count] = (struct piece){*entry, pieces->count};
	pieces->count++;
	return 0;
}

static int piece_compare(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;
	int order = place_compare(&x->entry.place, &y->entry.place);

	return order ?: (x->order > y->order) - (x->order < y->order);
}

static int cut_up(const struct bound *range, const struct classes *classes, struct pieces *pieces)
{
	struct selector selector = selector_of_key(&range->key);
	uint32_t class = selector.ports.low;
	int r = 0;

	for (; class <= selector.ports.high && r == 0; class = classes->end[class] + 1U) {
		struct table_entry entry = {place_make(&selector.prefix, selector.protocol,
						    PORT_RANGE, (uint16_t) class),
			range->destination};

		r = pieces_add(pieces, &entry);
	}
	return r;
}

/* The first of each place, which is the narrowest range's: in that order they were cut up. */
static int pieces_settle(struct pieces *pieces, struct table_entry **ret_entries, size_t *ret_count)
{
	struct table_entry *entries = calloc(pieces->count + 1, sizeof(*entries));
	size_t count = 0;

	if (!entries)
		return -ENOMEM;
	if (pieces->count)
		qsort(pieces->pieces, pieces->count, sizeof(*pieces->pieces), piece_compare);
	for (size_t i = 0; i < pieces->count; i++) {
		const struct table_entry *entry = &pieces->pieces[i].entry;

		if (count == 0 || place_compare(&entries[count - 1].place, &entry->place) != 0)
			entries[count++] = *entry;
	}
	*ret_entries = entries;
	*ret_count = count;
	return 0;
}

int layout_make(const struct ranges *ranges, struct layout *ret)
{
	_cleanup_(pieces_free) struct pieces pieces = {};
	int r;

	*ret = (struct layout){.classes = calloc(PROTOCOLS, sizeof(*ret->classes))};
	r = ret->classes ? 0 : -ENOMEM;
	for (uint8_t protocol = 0; protocol < PROTOCOLS && r == 0; protocol++)
		r = classes_make(ranges, protocol, &ret->classes[protocol]);
	for (size_t i = 0; i < ranges->count && r == 0; i++)
		r = cut_up(
			&ranges->ranges[i], &ret->classes[ranges->ranges[i].key.protocol], &pieces);
	return r < 0 ? r : pieces_settle(&pieces, &ret->entries, &ret->count);
}

void layout_free(struct layout *layout)
{
	free(layout->entries);
	free(layout->classes);
	*layout = (struct layout){};
}

void layout_label(struct generation *g, const struct layout *layout, const struct ranges *ranges)
{
	for (uint8_t protocol = 0; protocol < PROTOCOLS; protocol++) {
		const uint16_t *class = layout->classes[protocol].of;

		for (uint32_t port = 0; port < PORTS; port++)
			if (class[port])
				lookup_set_class(
					g, protocol, (uint16_t)port, (uint16_t)port, class[port]);
	}
	for (size_t i = 0; i < ranges->count; i++) {
		struct selector selector = selector_of_key(&ranges->ranges[i].key);

		ranges_count(g, &selector, 1);
	}
}

/*
 * One range among others.
 */

/* What a plan is made from: the ranges that there will be, their classes, and the one that changes.
 */
struct planning {
	const struct generation *g;
	const struct ranges *ranges;
	const struct selector *changed;
	struct classes classes;
	struct plan *plan;
};

static bool key_holds_port(const struct binding_key *key, uint8_t protocol, uint32_t port)
{
	return key->protocol == protocol && key->port_low <= port && port <= key->port_high;
}

/* The narrowest range of a prefix that has the class. */
static const struct bound *narrowest(
	const struct planning *p, const struct prefix *prefix, uint16_t class)
{
	for (size_t i = 0; i < p->ranges->count; i++) {
		const struct bound *range = &p->ranges->ranges[i];

		if (key_holds_port(&range->key, p->changed->protocol, class) &&
			range->key.prefix_length == prefix->length &&
			memcmp(range->key.address, &prefix->address, sizeof(prefix->address)) == 0)
			return range;
	}
	return NULL;
}

/* Plans that the entry of a prefix in a class is what it will have to be. */
static int settle(const struct planning *p, const struct prefix *prefix, uint16_t class)
{
	struct place place = place_make(prefix, p->changed->protocol, PORT_RANGE, class);
	bool will_be = p->classes.of[class] == class;
	const struct bound *range = will_be ? narrowest(p, prefix, class) : NULL;
	uint32_t value;
	int r = lookup_get(p->g, &place, &value);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT)
		return range ? plan_add(p->plan, &place, range->destination) : 0;
	if (!range)
		return plan_remove(p->plan, &place);
	return value == range->destination ? 0 : plan_move(p->plan, &place, range->destination);
}

/* The same for every prefix that has the class. */
static int settle_all(const struct planning *p, uint16_t class)
{
	int r = settle(p, &p->changed->prefix, class);

	for (size_t i = 0; i < p->ranges->count && r == 0; i++) {
		struct selector selector = selector_of_key(&p->ranges->ranges[i].key);

		if (selector.protocol == p->changed->protocol && ports_hold(&selector.ports, class))
			r = settle(p, &selector.prefix, class);
	}
	return r;
}

static int plan_relabels(const struct planning *p)
{
	uint8_t protocol = p->changed->protocol;
	int r = 0;

	for (uint32_t low = 1, high; low < PORTS && r == 0; low = high + 1) {
		uint16_t class = p->classes.of[low];

		high = low;
		if (class_in_gate(p->g, protocol, low) == class)
			continue;
		while (high + 1 < PORTS && p->classes.of[high + 1] == class &&
			class_in_gate(p->g, protocol, high + 1) != class)
			high++;
		r = plan_relabel(p->plan, protocol, (uint16_t)low, (uint16_t)high, class);
	}
	return r;
}

/*
 * What changes lies between the range's own cuts. Where a class begins that didn't, or none begins
 * any more where one did, it is every prefix's affair; else that of the range's own prefix.
 */
int ranges_plan(const struct generation *g, const struct ranges *ranges,
	const struct selector *changed, struct plan *plan)
{
	_cleanup_(freep) struct planning *p = calloc(1, sizeof(*p));
	uint32_t behind = changed->ports.high + 1U;
	int r;

	if (!p)
		return -ENOMEM;
	p->g = g;
	p->ranges = ranges;
	p->changed = changed;
	p->plan = plan;
	r = classes_make(ranges, changed->protocol, &p->classes);
	for (uint32_t port = changed->ports.low; port <= behind && port < PORTS && r == 0; port++) {
		uint16_t class = (uint16_t)port;
		bool was = class_in_gate(g, changed->protocol, port) == class;
		bool will_be = p->classes.of[port] == class;

		if (was != will_be)
			r = settle_all(p, class);
		else if (was && port < behind)
			r = settle(p, &changed->prefix, class);
	}
	if (r == 0)
		r = plan_relabels(p);
	if (r == 0)
		plan_settle(plan);
	return r;
}

int ranges_plan_alone(
	const struct generation *g, const struct bound *range, struct plan *plan, bool *ret_planned)
{
	struct selector selector = selector_of_key(&range->key);
	const struct port_uses *uses = &g->port_uses[(size_t)selector.protocol * PORTS];
	const struct ports *ports = &selector.ports;
	int r = 0;

	*ret_planned = false;
	if (!uses[ports->low].cuts || (ports->high < PORTS - 1 && !uses[ports->high + 1].cuts))
		return 0;
	for (uint32_t port = ports->low; port <= ports->high && r == 0; port++) {
		uint16_t class = class_in_gate(g, selector.protocol, port);
		struct place place =
			place_make(&selector.prefix, selector.protocol, PORT_RANGE, class);
		uint32_t value;

		if (class == 0)
			return 0;
		if (class != port)
			continue;
		r = lookup_get(g, &place, &value);
		if (r != -ENOENT)
			return r;
		r = plan_add(plan, &place, range->destination);
	}
	*ret_planned = r == 0;
	return r;
}
