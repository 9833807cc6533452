/* SPDX-License-Identifier: GPL-2.0-only */
/* The truth, who asked for which binding: see truth.h. */
#include "truth.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "say.h"
#include "shellword.h"

#define READ_CHUNK 65536U /* entries per system call */

/*
 * Owners.
 */

const char *owner_name(const struct dispatcher *d, uint16_t owner)
{
	return owner == ADMINISTRATOR ? "" : d->now.owners[owner - 1].unit;
}

const char *owner_text(const struct dispatcher *d, uint16_t owner)
{
	return owner == ADMINISTRATOR ? "the administrator (isomctl bind)" : owner_name(d, owner);
}

uint16_t owner_find(const struct dispatcher *d, const char *unit)
{
	for (uint16_t owner = 1; owner <= d->now.ledger->owner_places; owner++)
		if (strcmp(owner_name(d, owner), unit) == 0)
			return owner;
	return ADMINISTRATOR;
}

int owner_acquire(struct dispatcher *d, const char *unit, uint16_t *ret)
{
	uint16_t owner = owner_find(d, unit);

	if (owner == ADMINISTRATOR) {
		owner = owner_find(d, "");
		if (owner == ADMINISTRATOR && d->now.ledger->owner_places == MAX_OWNERS)
			return fail(-ENOSPC,
				"cannot bind for %s: %d units have bindings, which "
				"is as many as there can be",
				unit, MAX_OWNERS);
		if (owner == ADMINISTRATOR)
			owner = (uint16_t)++d->now.ledger->owner_places;
		strncpy(d->now.owners[owner - 1].unit, unit, NAME_SIZE - 1);
	}
	*ret = owner;
	return 0;
}

void owner_release(struct dispatcher *d, uint16_t owner)
{
	memset(&d->now.owners[owner - 1], 0, sizeof(struct owner));
}

/*
 * Lists.
 */

static bool is_ipv6(const struct binding_key *key)
{
	const struct prefix prefix = {.length = key->prefix_length};

	if (prefix.length < 96)
		return true;
	return !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)key->address);
}

/* selector_compare(), without taking the keys apart: lists have a million of them. */
int key_compare(const struct binding_key *a, const struct binding_key *b)
{
	int order = is_ipv6(a) - is_ipv6(b);

	if (order == 0)
		order = b->prefix_length - a->prefix_length;
	if (order == 0)
		order = (a->port_high - a->port_low) - (b->port_high - b->port_low);
	if (order == 0)
		order = a->protocol - b->protocol;
	if (order == 0)
		order = memcmp(a->address, b->address, sizeof(a->address));
	if (order == 0)
		order = a->port_low - b->port_low;
	return order ?: a->owner - b->owner;
}

int bound_compare(const void *a, const void *b)
{
	return key_compare(&((const struct bound *)a)->key, &((const struct bound *)b)->key);
}

bool same_selector(const struct binding_key *a, const struct binding_key *b)
{
	return a->port_low == b->port_low && a->port_high == b->port_high &&
		a->protocol == b->protocol && a->prefix_length == b->prefix_length &&
		memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

bool is_range(const struct binding_key *key)
{
	return ports_kind(&(struct ports){key->port_low, key->port_high}) == PORT_RANGE;
}

bool is_claim(const struct binding_key *key)
{
	return key->owner != ADMINISTRATOR || is_range(key);
}

const struct bound *bound_find(
	const struct bound *list, size_t count, const struct binding_key *key)
{
	struct binding_key first = *key;
	size_t low = 0, high = count;

	first.owner = 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (key_compare(&list[middle].key, &first) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && same_selector(&list[low].key, key) ? &list[low] : NULL;
}

size_t bound_unique(struct bound *list, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (kept == 0 || !same_selector(&list[kept - 1].key, &list[i].key))
			list[kept++] = list[i];
	return kept;
}

int bound_ranges(const struct bound *list, size_t count, struct ranges *ret)
{
	struct bound *ranges = NULL;
	size_t range_count = 0, most = 0;

	for (size_t i = 0; i < count; i++)
		most += is_range(&list[i].key);
	ranges = calloc(most + 1, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (is_range(&list[i].key))
			ranges[range_count++] = list[i];
	*ret = (struct ranges){ranges, bound_unique(ranges, range_count)};
	return 0;
}

int bound_find_conflict(const struct bound *list, size_t count, struct conflict *ret)
{
	struct ranges ranges;
	bool found = false;
	int r;

	*ret = (struct conflict){.kind = NO_CONFLICT};
	for (size_t i = 1; i < count; i++) {
		if (list[i - 1].destination != list[i].destination &&
			same_selector(&list[i - 1].key, &list[i].key)) {
			*ret = (struct conflict){TWO_LABELS, &list[i - 1], &list[i]};
			return 0;
		}
	}
	r = bound_ranges(list, count, &ranges);
	if (r < 0)
		return r;
	r = ranges_find_overlap(&ranges, &found, &ret->a, &ret->b);
	if (found) {
		/* The ranges are copies. */
		ret->kind = OVERLAP;
		ret->a = bound_find(list, count, &ret->a->key);
		ret->b = bound_find(list, count, &ret->b->key);
	}
	free((void *)ranges.ranges);
	return r;
}

static struct binding binding_of(const struct dispatcher *d, const struct bound *bound)
{
	struct binding binding = {.selector = selector_of_key(&bound->key)};

	strcpy(binding.label, d->now.destinations[bound->destination].label);
	return binding;
}

int refuse_conflict(const struct dispatcher *d, const struct conflict *conflict,
	const struct bound *refused, struct refusal *ret)
{
	const struct bound *other = refused == conflict->a ? conflict->b : conflict->a;
	const char *owner = owner_text(d, other->key.owner);
	char text[LONGEST_SELECTOR_TEXT], word[SHELL_WORD_SIZE(NAME_SIZE)];

	ret->refused = binding_of(d, refused);
	ret->other = binding_of(d, other);
	ret->same_owner = other->key.owner == refused->key.owner;
	selector_format(&ret->other.selector, text);
	if (conflict->kind == OVERLAP)
		give_reason(&ret->reason,
			"%s, bound under label \"%s\"%s%s, overlaps it, and neither holds the "
			"other: make one of the two ranges end before the other begins, or hold it",
			text, ret->other.label, ret->same_owner ? "" : " by ",
			ret->same_owner ? "" : owner);
	else if (ret->same_owner)
		give_reason(&ret->reason,
			"label \"%s\" is to have it, too: take one of the two out",
			ret->other.label);
	else if (other->key.owner == ADMINISTRATOR)
		give_reason(&ret->reason,
			"%s has bound it under label \"%s\": use that label, or isomctl unbind %s "
			"%s",
			owner, ret->other.label, shell_word(ret->other.label, word, sizeof(word)),
			text);
	else
		give_reason(&ret->reason,
			"%s has bound it under label \"%s\": use that label, or stop %s", owner,
			ret->other.label, owner);
	return -EADDRINUSE;
}

/*
 * Reading and writing.
 */

static int claims_read(const struct generation *g, struct bound *list, size_t room, size_t *count)
{
	_cleanup_(freep) struct binding_key *keys = calloc(READ_CHUNK, sizeof(*keys));
	_cleanup_(freep) destination_id *values = calloc(READ_CHUNK, sizeof(*values));
	bool first = true, last = false;
	uint32_t position = 0;

	if (!keys || !values)
		return -ENOMEM;
	while (!last) {
		uint32_t got = READ_CHUNK;

		if (bpf_map_lookup_batch(g->maps[MAP_CLAIMS], first ? NULL : &position, &position,
			    keys, values, &got, NULL) < 0) {
			if (errno != ENOENT)
				return -errno;
			last = true;
		}
		first = false;
		if (got > room - *count)
			return -EOVERFLOW;
		for (uint32_t i = 0; i < got; i++)
			list[(*count)++] = (struct bound){keys[i], values[i]};
	}
	return 0;
}

int truth_read(struct dispatcher *d, enum truth what, struct bound **ret, size_t *ret_count)
{
	const struct generation *g = &d->now;
	size_t room = g->capacity[MAP_CLAIMS], count = 0;
	_cleanup_(freep) struct bound *list = NULL;
	int r = 0;

	/* The ledger knows how many there are; but not what a tool left half done. */
	if (what & BY_HAND_IN_TABLES)
		room += g->ledger->changing ? (size_t)g->capacity[MAP_SLOTS] * SLOTS_PER_ENTRY
					    : g->ledger->entries;
	list = array_alloc(room, sizeof(*list));
	if (!list)
		return fail(-ENOMEM, "cannot read the bindings: %m");
	if (what & BY_HAND_IN_TABLES)
		r = lookup_read_by_hand(&d->now, d->writable, list, room, &count);
	if (r == 0 && (g->ledger->range_count || g->ledger->claim_count || g->ledger->changing))
		r = claims_read(g, list, room, &count);
	if (r < 0)
		return fail(r, "cannot read the bindings: %m");
	if (count)
		qsort(list, count, sizeof(*list), bound_compare);
	*ret = take_pointer(list);
	*ret_count = count;
	return 0;
}

int claim_find(const struct generation *g, const struct binding_key *key, destination_id *ret)
{
	if (bpf_map_lookup_elem(g->maps[MAP_CLAIMS], key, ret) == 0)
		return 0;
	*ret = NOWHERE;
	return errno == ENOENT ? 0 : -errno;
}

static int claim_write(
	const struct generation *g, const struct binding_key *key, destination_id destination)
{
	int claims = g->maps[MAP_CLAIMS];

	if (destination == NOWHERE)
		return bpf_map_delete_elem(claims, key) < 0 && errno != ENOENT ? -errno : 0;
	return bpf_map_update_elem(claims, key, &destination, BPF_ANY) < 0 ? -errno : 0;
}

int claims_take_back(const struct generation *g, const struct step *steps, size_t count)
{
	int r = 0;

	while (count-- && r == 0)
		r = claim_write(g, &steps[count].key, steps[count].last);
	return r;
}

int claims_write(
	const struct generation *g, const struct step *steps, size_t count, size_t *ret_written)
{
	int r = 0;

	for (*ret_written = 0; *ret_written < count && r == 0; *ret_written += r == 0)
		r = claim_write(g, &steps[*ret_written].key, steps[*ret_written].next);
	return r;
}

int steps_between(const struct bound *last, size_t last_count, const struct bound *next,
	size_t next_count, struct step **ret, size_t *ret_count)
{
	struct step *steps = array_alloc(last_count + next_count, sizeof(*steps));
	size_t i = 0, j = 0, count = 0;

	if (!steps)
		return -ENOMEM;
	while (i < last_count || j < next_count) {
		int order = i == last_count ? 1
			: j == next_count   ? -1
					    : key_compare(&last[i].key, &next[j].key);
		struct step step = {order <= 0 ? last[i].key : next[j].key,
			order <= 0 ? last[i].destination : NOWHERE,
			order >= 0 ? next[j].destination : NOWHERE};

		i += order <= 0;
		j += order >= 0;
		if (step.last != step.next)
			steps[count++] = step;
	}
	*ret = steps;
	*ret_count = count;
	return 0;
}

/*
 * Deriving: from a sorted list of what is bound, all tables.
 */

struct derived {
	struct layout layout; /* entries of ranges */
	struct ranges ranges;
	struct table_entry *entries; /* entries of single ports and of all ports */
	size_t entry_count;
	struct binding_key *claims;
	destination_id *claims_values;
	uint32_t claim_count;
};

static void derived_free(struct derived *derived)
{
	layout_free(&derived->layout);
	free((void *)derived->ranges.ranges);
	free(derived->entries);
	free(derived->claims);
	free(derived->claims_values);
}

/* Of owners that have the same selector, the administrator comes first in the list. */
static int derive(const struct bound *list, size_t count, struct derived *ret)
{
	int r;

	ret->entries = array_alloc(count, sizeof(*ret->entries));
	for (size_t i = 0; i < count; i++)
		ret->claim_count += is_claim(&list[i].key);
	ret->claims = calloc(ret->claim_count + 1U, sizeof(*ret->claims));
	ret->claims_values = calloc(ret->claim_count + 1U, sizeof(*ret->claims_values));
	if (!ret->entries || !ret->claims || !ret->claims_values)
		return -ENOMEM;

	ret->claim_count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct binding_key *key = &list[i].key;
		struct selector selector;

		if (is_claim(key)) {
			ret->claims[ret->claim_count] = *key;
			ret->claims_values[ret->claim_count++] = list[i].destination;
		}
		if (is_range(key) || (i > 0 && same_selector(&list[i - 1].key, key)))
			continue;
		selector = selector_of_key(key);
		ret->entries[ret->entry_count++] =
			(struct table_entry){place_of_selector(&selector),
				list[i].destination | (key->owner == ADMINISTRATOR ? BY_HAND : 0)};
	}
	r = bound_ranges(list, count, &ret->ranges);
	return r < 0 ? r : layout_make(&ret->ranges, &ret->layout);
}

static void derived_room(const struct derived *derived, uint32_t room[SIZED_MAPS])
{
	room[MAP_SLOTS] = (uint32_t)(derived->entry_count + derived->layout.count);
	room[MAP_CLAIMS] = derived->claim_count;
}

static void count_bindings(struct generation *g, const struct bound *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		bool by_hand = list[i].key.owner == ADMINISTRATOR;

		g->ledger->binding_count += by_hand;
		g->ledger->range_count += by_hand && is_range(&list[i].key);
		g->ledger->claim_count += !by_hand;
		if (i == 0 || !same_selector(&list[i - 1].key, &list[i].key))
			g->ledger->destination_uses[list[i].destination]++;
	}
}

static int fill(struct generation *g, const struct derived *derived, progress_report *progress,
	bool *ret_full)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = BPF_ANY);
	uint32_t inserted = derived->claim_count;
	int r = lookup_fill(g, derived->entries, derived->entry_count, progress);

	if (r == 0)
		r = lookup_fill(g, derived->layout.entries, derived->layout.count, NULL);
	*ret_full = r == -ENOSPC;
	if (r == 0)
		layout_label(g, &derived->layout, &derived->ranges);
	if (r == 0 && derived->claim_count &&
		bpf_map_update_batch(g->maps[MAP_CLAIMS], derived->claims, derived->claims_values,
			&inserted, &options) < 0)
		r = -errno;
	return r;
}

/*
 * A generation with all of it. Where the table turns out to be too small, *ret_full is true and all
 * else as it was: that is not to be taken for any other lack of space.
 */
static int make_generation(const struct dispatcher *d, const struct bound *list, size_t count,
	const struct derived *derived, const uint32_t room[SIZED_MAPS], progress_report *progress,
	struct generation *ret, bool *ret_full)
{
	int r = generation_create(&d->now, room, ret);

	*ret_full = false;
	if (r < 0)
		return r;
	count_bindings(ret, list, count);
	r = fill(ret, derived, progress, ret_full);
	if (r == 0)
		return 0;
	generation_free(ret);
	if (*ret_full)
		return 0;
	return fail(r, "cannot fill the tables for %zu bindings: %m: nothing was changed", count);
}

int truth_put(struct dispatcher *d, const struct bound *list, size_t count,
	const uint32_t room[SIZED_MAPS], progress_report *progress)
{
	_cleanup_(generation_free) struct generation next = GENERATION_NONE;
	_cleanup_(derived_free) struct derived derived = {};
	uint32_t needed[SIZED_MAPS] = {};
	bool full = false;
	int r = derive(list, count, &derived);

	if (r == -E2BIG)
		return fail(r,
			"the ranges of ports cut each other into too many pieces: use fewer "
			"different ranges: nothing was changed");
	if (r < 0)
		return fail(r, "cannot lay out %zu bindings: %m: nothing was changed", count);
	derived_room(&derived, needed);
	for (enum map map = 0; map < SIZED_MAPS; map++)
		if (room && room[map] > needed[map])
			needed[map] = room[map];
	/* By misfortune an entry's probes may all be taken: in a larger table they aren't. */
	do {
		if (full)
			needed[MAP_SLOTS] = 2 * needed[MAP_SLOTS] + 1;
		r = make_generation(d, list, count, &derived, needed, progress, &next, &full);
		if (r < 0)
			return r;
	} while (full);

	next.ledger->changing = 1;
	r = dispatcher_switch(d, &next);
	if (r < 0)
		return r;
	dispatcher_wait_for_packets();
	d->now.ledger->changing = 0;
	return 0;
}
