/* SPDX-License-Identifier: GPL-2.0-only */
/* What is bound, and its changes: see bindings.h. */
#include "bindings.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "destination.h"
#include "say.h"

#define ADMINISTRATOR 0
#define NOWHERE       UINT32_MAX /* a destination_id: not bound */
#define READ_CHUNK    65536U     /* entries per system call */

/*
 * Owners.
 */

const char *owner_name(const struct dispatcher *d, uint16_t owner)
{
	return owner == ADMINISTRATOR ? "" : d->now.owners[owner - 1].unit;
}

static uint16_t owner_find(const struct dispatcher *d, const char *unit)
{
	for (uint16_t owner = 1; owner <= MAX_OWNERS; owner++)
		if (strcmp(owner_name(d, owner), unit) == 0)
			return owner;
	return ADMINISTRATOR;
}

static int owner_acquire(struct dispatcher *d, const char *unit, uint16_t *ret)
{
	uint16_t owner = owner_find(d, unit);

	if (owner == ADMINISTRATOR) {
		owner = owner_find(d, "");
		if (owner == ADMINISTRATOR)
			return fail(-ENOSPC,
				"cannot bind for %s: %d units have bindings, which "
				"is as many as there can be",
				unit, MAX_OWNERS);
		strncpy(d->now.owners[owner - 1].unit, unit, NAME_SIZE - 1);
	}
	*ret = owner;
	return 0;
}

static void owner_release(struct dispatcher *d, uint16_t owner)
{
	memset(&d->now.owners[owner - 1], 0, sizeof(struct owner));
}

/* "nginx.service", or who bound by hand. */
static const char *owner_text(const struct dispatcher *d, uint16_t owner)
{
	return owner == ADMINISTRATOR ? "the administrator (isomctl bind)" : owner_name(d, owner);
}

/*
 * Reading the truth.
 */

static int key_compare(const struct binding_key *a, const struct binding_key *b)
{
	struct selector x = selector_of_key(a), y = selector_of_key(b);

	return selector_compare(&x, &y) ?: a->owner - b->owner;
}

static int entry_compare(const void *a, const void *b)
{
	return key_compare(&((const struct bound *)a)->key, &((const struct bound *)b)->key);
}

static bool same_selector(const struct binding_key *a, const struct binding_key *b)
{
	struct selector x = selector_of_key(a), y = selector_of_key(b);

	return selector_compare(&x, &y) == 0;
}

static int map_of_owner(const struct generation *g, uint16_t owner)
{
	return g->maps[owner == ADMINISTRATOR ? MAP_BINDINGS : MAP_CLAIMS];
}

/* Appends all entries of a map to a list with enough room. */
static int map_read(int map, struct bound *list, size_t room, size_t *count)
{
	_cleanup_(freep) struct binding_key *keys = calloc(READ_CHUNK, sizeof(*keys));
	_cleanup_(freep) destination_id *values = calloc(READ_CHUNK, sizeof(*values));
	bool first = true, last = false;
	uint32_t position = 0;

	if (!keys || !values)
		return -ENOMEM;
	while (!last) {
		uint32_t got = READ_CHUNK;

		if (bpf_map_lookup_batch(map, first ? NULL : &position, &position, keys, values,
			    &got, NULL) < 0) {
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

/* The entries of some maps of the truth, unsorted. The caller frees the array. */
static int truth_read(const struct generation *g, bool bindings, bool claims, struct bound **ret,
	size_t *ret_count)
{
	size_t room =
		(bindings ? g->capacity[MAP_BINDINGS] : 0) + (claims ? g->capacity[MAP_CLAIMS] : 0);
	_cleanup_(freep) struct bound *list = calloc(room + 1, sizeof(*list));
	size_t count = 0;
	int r = 0;

	if (!list)
		return fail(-ENOMEM, "cannot read the bindings: %m");
	if (bindings)
		r = map_read(g->maps[MAP_BINDINGS], list, room, &count);
	if (claims && r == 0)
		r = map_read(g->maps[MAP_CLAIMS], list, room, &count);
	if (r < 0)
		return fail(r, "cannot read the bindings: %m");
	*ret = take_pointer(list);
	*ret_count = count;
	return 0;
}

int bindings_list(const struct dispatcher *d, struct bound **ret, size_t *ret_count)
{
	int r = truth_read(&d->now, true, true, ret, ret_count);

	if (r == 0)
		qsort(*ret, *ret_count, sizeof(**ret), entry_compare);
	return r;
}

/* Where the owner has this selector lead to, or NOWHERE. */
static destination_id truth_find(
	const struct generation *g, const struct binding_key *key, uint16_t owner)
{
	struct binding_key wanted = *key;
	destination_id destination;

	wanted.owner = owner;
	if (bpf_map_lookup_elem(map_of_owner(g, owner), &wanted, &destination) < 0)
		return NOWHERE;
	return destination;
}

/* Where any owner but the key's has this selector lead to, or NOWHERE. */
static destination_id truth_find_other(
	const struct dispatcher *d, const struct binding_key *key, uint16_t *ret_owner)
{
	for (uint32_t owner = 0; owner <= MAX_OWNERS; owner++) {
		destination_id destination;

		if (owner == key->owner || (owner && !owner_name(d, (uint16_t)owner)[0]))
			continue;
		if (owner && d->now.ledger->claim_count == 0)
			break;
		destination = truth_find(&d->now, key, (uint16_t)owner);
		if (destination != NOWHERE) {
			*ret_owner = (uint16_t)owner;
			return destination;
		}
	}
	return NOWHERE;
}

/*
 * Whole generations.
 */

static int map_write(int map, const struct bound *list, size_t count)
{
	_cleanup_(freep) struct binding_key *keys = calloc(count + 1, sizeof(*keys));
	_cleanup_(freep) destination_id *values = calloc(count + 1, sizeof(*values));
	LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = BPF_ANY);
	uint32_t inserted = (uint32_t)count;

	if (!keys || !values)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		keys[i] = list[i].key;
		values[i] = list[i].destination;
	}
	if (count && bpf_map_update_batch(map, keys, values, &inserted, &options) < 0)
		return -errno;
	return 0;
}

/*
 * Sorts a list and leaves one entry of each selector, the lowest owner's. Which owner's is all
 * the same: they lead to the same destination.
 */
static size_t unique(struct bound *list, size_t count)
{
	size_t kept = 0;

	qsort(list, count, sizeof(*list), entry_compare);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || !same_selector(&list[kept - 1].key, &list[i].key))
			list[kept++] = list[i];
	return kept;
}

/* How much room the next generation needs. */
struct room {
	uint32_t entries[SIZED_MAPS];
};

static struct room room_used(const struct generation *g)
{
	return (struct room){{
		[MAP_IPV4] = lookup_entries(g, IPV4),
		[MAP_IPV6] = lookup_entries(g, IPV6),
		[MAP_BINDINGS] = g->ledger->binding_count,
		[MAP_CLAIMS] = g->ledger->claim_count,
	}};
}

/* Counts what a list takes in the tables of the truth, and at most in those of the program. */
static void room_add(struct room *room, const struct bound *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct selector selector = selector_of_key(&list[i].key);

		room->entries[prefix_family(&selector.prefix) == IPV4 ? MAP_IPV4 : MAP_IPV6]++;
		room->entries[list[i].key.owner == ADMINISTRATOR ? MAP_BINDINGS : MAP_CLAIMS]++;
	}
}

/* Puts a generation with this truth into place. The list comes back sorted and shortened. */
static int generation_fill_and_switch(struct dispatcher *d, const struct room *room,
	enum truth truth, struct bound *list, size_t count)
{
	_cleanup_(generation_free) struct generation next = {.program = -EBADF};
	struct room used = {};
	int r;

	for (enum map map = 0; map < MAPS; map++)
		next.maps[map] = -EBADF;
	r = generation_create(&d->now, room->entries, truth, &next);
	if (r < 0)
		return r;

	room_add(&used, list, count);
	next.ledger->binding_count = used.entries[MAP_BINDINGS];
	next.ledger->claim_count = used.entries[MAP_CLAIMS];
	for (enum map map = MAP_BINDINGS; map <= MAP_CLAIMS && r == 0; map++) {
		/* The list has first the one's entries, then the other's. */
		size_t first = map == MAP_CLAIMS ? used.entries[MAP_BINDINGS] : 0;
		bool handed_down = next.capacity[map] == d->now.capacity[map] &&
			!(map == MAP_BINDINGS && truth == NEW_BINDINGS);

		if (!handed_down)
			r = map_write(next.maps[map], list + first, used.entries[map]);
	}
	if (r == 0)
		r = lookup_build(&next, list, unique(list, count));
	if (r < 0)
		return fail(r, "cannot fill the tables for %zu bindings: %m: nothing was changed",
			count);

	next.ledger->changing = 1;
	r = dispatcher_switch(d, &next);
	if (r < 0)
		return r;
	dispatcher_wait_for_packets();
	d->now.ledger->changing = 0;
	return 0;
}

/* The same truth in the next generation, with at least this much room. */
static int rebuild(struct dispatcher *d, const struct room *room)
{
	_cleanup_(freep) struct bound *list = NULL;
	size_t count;
	int r = truth_read(&d->now, true, true, &list, &count);

	return r < 0 ? r : generation_fill_and_switch(d, room, SAME_TRUTH, list, count);
}

int bindings_upgrade(struct dispatcher *d)
{
	struct room room;

	memcpy(room.entries, d->now.capacity, sizeof(room.entries));
	return rebuild(d, &room);
}

/* Units that have no claim left after a tool died between dropping the one and the other. */
static int release_idle_owners(struct dispatcher *d)
{
	_cleanup_(freep) bool *busy = calloc(MAX_OWNERS + 1, sizeof(*busy));
	_cleanup_(freep) struct bound *list = NULL;
	size_t count;
	int r = truth_read(&d->now, false, true, &list, &count);

	if (r < 0)
		return r;
	if (!busy)
		return fail(-ENOMEM, "cannot read the bindings: %m");
	for (size_t i = 0; i < count; i++)
		busy[list[i].key.owner] = true;
	for (uint16_t owner = 1; owner <= MAX_OWNERS; owner++)
		if (!busy[owner])
			owner_release(d, owner);
	return 0;
}

int change_begin(const char *bpffs, enum dispatcher_missing missing, struct dispatcher **ret)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = dispatcher_open(bpffs, true, missing, &d);

	if (r == 0 && d->now.ledger->changing) {
		r = bindings_upgrade(d);
		if (r == 0)
			r = release_idle_owners(d);
	}
	if (r < 0)
		return r;
	destinations_release_idle(d);
	*ret = take_pointer(d);
	return 0;
}

/*
 * Small changes, in place.
 */

struct step {
	struct binding_key key;
	destination_id last; /* NOWHERE: to be bound */
	destination_id next; /* NOWHERE: to be unbound */
};

static struct step step_back(const struct step *step)
{
	return (struct step){step->key, step->next, step->last};
}

static int truth_step(struct generation *g, const struct step *step)
{
	int map = map_of_owner(g, step->key.owner);
	uint32_t *count = step->key.owner == ADMINISTRATOR ? &g->ledger->binding_count
							   : &g->ledger->claim_count;

	if (step->next == NOWHERE) {
		if (bpf_map_delete_elem(map, &step->key) < 0)
			return -errno;
		(*count)--;
		return 0;
	}
	if (bpf_map_update_elem(map, &step->key, &step->next, BPF_ANY) < 0)
		return -errno;
	if (step->last == NOWHERE)
		(*count)++;
	return 0;
}

static int lookup_step(struct generation *g, const struct step *step)
{
	struct bound entry = {step->key, step->next == NOWHERE ? step->last : step->next};

	if (step->next == NOWHERE)
		return lookup_remove(g, &entry);
	if (step->last == NOWHERE)
		return lookup_add(g, &entry);
	return lookup_move(g, &entry, step->last);
}

/* The truth first: the tables can always be derived from it. */
static int step_take(struct dispatcher *d, const struct step *step)
{
	uint16_t other;
	int r = truth_step(&d->now, step);

	/* What another owner binds too is in the tables already, and stays there. */
	if (r < 0 || truth_find_other(d, &step->key, &other) != NOWHERE)
		return r;
	r = lookup_step(&d->now, step);
	if (r < 0) {
		struct step back = step_back(step);

		truth_step(&d->now, &back);
	}
	return r;
}

static bool steps_undo(struct dispatcher *d, const struct step *steps, size_t count)
{
	while (count--) {
		struct step back = step_back(&steps[count]);

		if (step_take(d, &back) < 0)
			return false;
	}
	return true;
}

/* Sees to it that new bindings have room, in tables twice as large if need be. */
static int make_room(struct dispatcher *d, const struct step *steps, size_t count)
{
	struct room room = room_used(&d->now);
	bool enough = true;

	for (size_t i = 0; i < count; i++)
		if (steps[i].last == NOWHERE)
			room_add(&room, &(struct bound){steps[i].key, steps[i].next}, 1);
	for (enum map map = 0; map < SIZED_MAPS; map++) {
		if (room.entries[map] > d->now.capacity[map])
			enough = false;
		else
			room.entries[map] = d->now.capacity[map];
	}
	return enough ? 0 : rebuild(d, &room);
}

/*
 * Takes all steps or none. Whoever removes something waits until no packet is under way that might
 * have seen it, since the kernel gives the entries of a hash map to the next one at once.
 */
static int steps_take(struct dispatcher *d, const struct step *steps, size_t count)
{
	bool undone = true, removed = false;
	size_t taken;
	int r;

	r = make_room(d, steps, count);
	if (r < 0)
		return r;
	d->now.ledger->changing = 1;
	for (taken = 0; taken < count && r == 0; taken++) {
		r = step_take(d, &steps[taken]);
		removed = removed || steps[taken].last != NOWHERE;
	}
	if (r < 0) {
		undone = steps_undo(d, steps, taken - 1);
		removed = true;
		fail(r, "cannot change the bindings: %m: nothing was changed");
	}
	if (removed)
		dispatcher_wait_for_packets();
	if (undone)
		d->now.ledger->changing = 0;
	return r;
}

static int say_conflict(const struct dispatcher *d, const struct binding *binding, uint16_t other,
	destination_id destination)
{
	char text[LONGEST_SELECTOR_TEXT];

	return fail(-EADDRINUSE,
		"cannot bind %s under label \"%s\": %s has bound it under label \"%s\"",
		selector_format(&binding->selector, text), binding->label, owner_text(d, other),
		d->now.destinations[destination].label);
}

/* The step that makes the owner's selector lead to the binding's label. */
static int step_to(
	struct dispatcher *d, const struct binding *binding, uint16_t owner, struct step *ret)
{
	uint8_t family = prefix_family(&binding->selector.prefix);
	struct step step = {.key = key_of_selector(&binding->selector, owner)};
	destination_id others;
	uint16_t other;
	int r;

	r = destination_acquire(d, binding->label, family, binding->selector.protocol, &step.next);
	if (r < 0)
		return r;
	others = truth_find_other(d, &step.key, &other);
	if (others != NOWHERE && others != step.next)
		return say_conflict(d, binding, other, others);
	step.last = truth_find(&d->now, &step.key, owner);
	*ret = step;
	return 0;
}

int bindings_bind(struct dispatcher *d, const struct binding *binding)
{
	struct step step;
	int r = step_to(d, binding, ADMINISTRATOR, &step);

	if (r < 0 || step.last == step.next)
		return r;
	return steps_take(d, &step, 1);
}

int bindings_unbind(struct dispatcher *d, const struct binding *binding)
{
	struct step step = {key_of_selector(&binding->selector, ADMINISTRATOR), NOWHERE, NOWHERE};
	char text[LONGEST_SELECTOR_TEXT];
	uint16_t other;

	selector_format(&binding->selector, text);
	step.last = truth_find(&d->now, &step.key, ADMINISTRATOR);
	if (step.last == NOWHERE) {
		if (truth_find_other(d, &step.key, &other) != NOWHERE)
			return fail(-ENOENT,
				"cannot unbind %s: it belongs to %s: take it out of the unit's "
				"[Isomer] section, or stop the unit",
				text, owner_name(d, other));
		return fail(-ENOENT, "cannot unbind %s: it isn't bound", text);
	}
	if (strcmp(d->now.destinations[step.last].label, binding->label) != 0)
		return fail(-ENOENT, "cannot unbind %s from label \"%s\": it is bound to \"%s\"",
			text, binding->label, d->now.destinations[step.last].label);
	return steps_take(d, &step, 1);
}

static int step_compare(const void *a, const void *b)
{
	return key_compare(&((const struct step *)a)->key, &((const struct step *)b)->key);
}

static bool is_wanted(const struct step *wanted, size_t count, const struct binding_key *key)
{
	struct step step = {.key = *key};

	return bsearch(&step, wanted, count, sizeof(*wanted), step_compare) != NULL;
}

/* Makes the steps from what the unit has to what it wants: first what comes, then what goes. */
static int sync_steps(struct dispatcher *d, uint16_t owner, const struct binding *bindings,
	size_t count, struct step **ret, size_t *ret_count)
{
	_cleanup_(freep) struct bound *claims = NULL;
	_cleanup_(freep) struct step *wanted = calloc(count + 1, sizeof(*wanted));
	struct step *steps;
	size_t claim_count, step_count = 0, unique_count = 0;
	int r;

	r = truth_read(&d->now, false, true, &claims, &claim_count);
	if (r < 0)
		return r;
	steps = calloc(count + claim_count + 1, sizeof(*steps));
	*ret = steps;
	if (!wanted || !steps)
		return fail(-ENOMEM, "cannot change the bindings: %m");

	for (size_t i = 0; i < count; i++) {
		r = step_to(d, &bindings[i], owner, &wanted[i]);
		if (r < 0)
			return r;
	}
	qsort(wanted, count, sizeof(*wanted), step_compare);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || step_compare(&wanted[i - 1], &wanted[i]) != 0)
			wanted[unique_count++] = wanted[i];
	for (size_t i = 0; i < unique_count; i++)
		if (wanted[i].last != wanted[i].next)
			steps[step_count++] = wanted[i];
	for (size_t i = 0; i < claim_count; i++)
		if (claims[i].key.owner == owner &&
			!is_wanted(wanted, unique_count, &claims[i].key))
			steps[step_count++] =
				(struct step){claims[i].key, claims[i].destination, NOWHERE};
	*ret_count = step_count;
	return 0;
}

int bindings_sync(
	struct dispatcher *d, const char *unit, const struct binding *bindings, size_t count)
{
	_cleanup_(freep) struct step *steps = NULL;
	bool known = owner_find(d, unit) != ADMINISTRATOR;
	size_t step_count = 0;
	uint16_t owner = ADMINISTRATOR;
	int r;

	if (!known && count == 0)
		return 0;
	r = owner_acquire(d, unit, &owner);
	if (r < 0)
		return r;
	r = sync_steps(d, owner, bindings, count, &steps, &step_count);
	if (r == 0 && step_count)
		r = steps_take(d, steps, step_count);
	if (r == 0 ? count == 0 : !known)
		owner_release(d, owner);
	return r;
}

/*
 * Replacement.
 */

/* The destinations of a long list: finding each label anew among a thousand would take a while. */
struct label_cache {
	struct hsearch_data table;
	struct label_destinations {
		destination_id ids[FAMILIES][PROTOCOLS];
	} labels[MAX_DESTINATIONS + 1];
	size_t count;
};

static int cached_destination(struct dispatcher *d, struct label_cache *cache,
	const struct binding *binding, destination_id *ret)
{
	uint8_t family = prefix_family(&binding->selector.prefix);
	ENTRY *found, wanted = {.key = (char *)binding->label};
	struct label_destinations *label;

	if (!hsearch_r(wanted, FIND, &found, &cache->table)) {
		label = &cache->labels[cache->count];
		if (cache->count < MAX_DESTINATIONS) {
			cache->count++;
			wanted.data = label;
			if (!hsearch_r(wanted, ENTER, &found, &cache->table))
				return fail(-ENOMEM, "cannot read the labels: %m");
		}
		memset(label, 0xff, sizeof(*label));
	} else {
		label = found->data;
	}
	if (label->ids[family][binding->selector.protocol] == NOWHERE) {
		int r = destination_acquire(d, binding->label, family, binding->selector.protocol,
			&label->ids[family][binding->selector.protocol]);
		if (r < 0)
			return r;
	}
	*ret = label->ids[family][binding->selector.protocol];
	return 0;
}

static int resolve_destinations(
	struct dispatcher *d, const struct binding *bindings, size_t count, struct bound *list)
{
	_cleanup_(freep) struct label_cache *cache = calloc(1, sizeof(*cache));
	int r = 0;

	if (!cache || !hcreate_r((size_t)2 * MAX_DESTINATIONS, &cache->table))
		return fail(-ENOMEM, "cannot read the labels: %m");
	for (size_t i = 0; i < count && r == 0; i++) {
		list[i].key = key_of_selector(&bindings[i].selector, ADMINISTRATOR);
		r = cached_destination(d, cache, &bindings[i], &list[i].destination);
	}
	hdestroy_r(&cache->table);
	return r;
}

/* The list holds the new bindings and all claims: no selector may lead to two destinations. */
static int check_conflicts(const struct dispatcher *d, const struct bound *list, size_t count)
{
	char text[LONGEST_SELECTOR_TEXT];

	for (size_t i = 1; i < count; i++) {
		const struct bound *a = &list[i - 1], *b = &list[i];
		struct selector selector = selector_of_key(&a->key);

		if (a->destination == b->destination || !same_selector(&a->key, &b->key))
			continue;
		selector_format(&selector, text);
		if (a->key.owner == b->key.owner)
			return fail(-EINVAL,
				"%s is to be bound twice, under label \"%s\" and under label "
				"\"%s\": nothing was changed",
				text, d->now.destinations[a->destination].label,
				d->now.destinations[b->destination].label);
		return fail(-EADDRINUSE,
			"cannot bind %s under label \"%s\": %s has bound it under label \"%s\": "
			"nothing was changed",
			text, d->now.destinations[a->destination].label,
			owner_text(d, b->key.owner), d->now.destinations[b->destination].label);
	}
	return 0;
}

int bindings_replace(struct dispatcher *d, const struct binding *bindings, size_t count)
{
	_cleanup_(freep) struct bound *claims = NULL, *list = NULL, *sorted = NULL;
	struct room room = {};
	size_t claim_count, all;
	int r;

	r = truth_read(&d->now, false, true, &claims, &claim_count);
	if (r < 0)
		return r;
	list = calloc(count + claim_count + 1, sizeof(*list));
	sorted = calloc(count + claim_count + 1, sizeof(*sorted));
	if (!list || !sorted)
		return fail(-ENOMEM, "cannot replace the bindings: %m");
	r = resolve_destinations(d, bindings, count, list);
	if (r < 0)
		return r;

	memcpy(list + count, claims, claim_count * sizeof(*claims));
	all = count + claim_count;
	memcpy(sorted, list, all * sizeof(*list));
	qsort(sorted, all, sizeof(*sorted), entry_compare);
	r = check_conflicts(d, sorted, all);
	if (r < 0)
		return r;

	/* The same line twice is no conflict, and one binding. */
	count = unique(list, count);
	memmove(list + count, claims, claim_count * sizeof(*claims));
	all = count + claim_count;
	room_add(&room, list, all);
	room.entries[MAP_CLAIMS] = d->now.capacity[MAP_CLAIMS];
	return generation_fill_and_switch(d, &room, NEW_BINDINGS, list, all);
}
