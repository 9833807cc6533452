/* SPDX-License-Identifier: GPL-2.0-only */
/* The tables that the program reads: see lookup.h. */
#include "lookup.h"

#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cleanup.h"

#define WORD_BITS  64
#define PAGE_SIZE  4096U
#define READ_CHUNK 65536U /* slots per system call */

struct selector selector_of_key(const struct binding_key *key)
{
	struct selector selector = {
		.protocol = key->protocol,
		.prefix.length = key->prefix_length,
		.ports = {key->port_low, key->port_high},
	};

	memcpy(&selector.prefix.address, key->address, sizeof(key->address));
	return selector;
}

struct binding_key key_of_selector(const struct selector *selector, uint16_t owner)
{
	struct binding_key key = {
		.prefix_length = selector->prefix.length,
		.protocol = selector->protocol,
		.owner = owner,
		.port_low = selector->ports.low,
		.port_high = selector->ports.high,
	};

	memcpy(key.address, &selector->prefix.address, sizeof(key.address));
	return key;
}

/*
 * Places, and the keys of the tables that they stand for.
 */

struct place place_make(const struct prefix *prefix, uint8_t protocol, uint8_t kind, uint16_t port)
{
	return (struct place){*prefix, protocol, kind, port};
}

struct place place_of_selector(const struct selector *selector)
{
	uint8_t kind = ports_kind(&selector->ports);

	return place_make(&selector->prefix, selector->protocol, kind,
		kind == ONE_PORT ? selector->ports.low : 0);
}

/*
 * Slots.
 */

/* What a place is in the table. */
struct slot_address {
	uint64_t high, low;
	uint32_t key;
};

static struct slot_address slot_address(const struct place *place)
{
	uint64_t halves[2];

	memcpy(halves, &place->prefix.address, sizeof(halves));
	return (struct slot_address){
		.high = be64toh(halves[0]),
		.low = be64toh(halves[1]),
		.key = slot_key(place->protocol, place->kind, place->prefix.length, place->port),
	};
}

static bool slot_has_address(const struct slot *slot, const struct slot_address *address)
{
	return slot->not_high == ~address->high && slot->not_low == ~address->low;
}

/*
 * Goes through the slots that an entry may be in. Memory of the table is mapped page by page: at a
 * million bindings, mapping all of it would take longer than all else that a small change does.
 */
struct probes {
	struct generation *g;
	uint32_t index;
	uint32_t count;
	struct slot *page;
	uint32_t page_number;
	int error;
};

static void probes_end(struct probes *probes)
{
	if (probes->page)
		munmap(probes->page, PAGE_SIZE);
}

static struct probes probes_begin(struct generation *g, const struct slot_address *address)
{
	return (struct probes){
		.g = g, .index = slot_hash(address->high, address->low, address->key)};
}

static struct slot *slot_in_page(struct probes *probes, uint32_t index)
{
	uint32_t per_page = PAGE_SIZE / sizeof(struct slot), page = index / per_page;

	if (!probes->page || probes->page_number != page) {
		void *memory = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			probes->g->maps[MAP_SLOTS], (off_t)page * PAGE_SIZE);

		if (memory == MAP_FAILED) {
			probes->error = -errno;
			return NULL;
		}
		probes_end(probes);
		probes->page = memory;
		probes->page_number = page;
	}
	return &probes->page[index % per_page];
}

/* The next one, or NULL where they are used up (or an error is noted). */
static struct slot *probes_next(struct probes *probes)
{
	uint32_t index = probes->index & probes->g->gate->slot_mask;

	if (probes->count == MOST_PROBES)
		return NULL;
	probes->index += ++probes->count;
	return probes->g->slots ? &probes->g->slots[index] : slot_in_page(probes, index);
}

/* Where an entry stands; NULL, with an error or without one, where it doesn't. */
static struct slot *probes_find(struct probes *probes, const struct slot_address *address)
{
	struct slot *slot;

	while ((slot = probes_next(probes)) && slot->what != SLOT_EMPTY)
		if (slot->what >> 32 == address->key && slot_has_address(slot, address))
			return slot;
	return NULL;
}

/*
 * The gate and the ledger, which have a part in each entry.
 */

static uint32_t *length_uses(struct generation *g, const struct place *place)
{
	return &g->ledger->length_uses[prefix_family(&place->prefix)][place->protocol][place->kind]
				      [prefix_written_length(&place->prefix)];
}

static __u64 *length_word(struct generation *g, const struct place *place, uint64_t *ret_bit)
{
	unsigned int host_bits = 128U - place->prefix.length;

	*ret_bit = 1ULL << host_bits % WORD_BITS;
	return &g->gate->lengths[prefix_family(&place->prefix)][place->protocol][place->kind]
			.words[host_bits / WORD_BITS];
}

static uint32_t *bindings_of_port(struct generation *g, const struct place *place)
{
	return &g->port_uses[(size_t)place->protocol * PORTS + place->port].bindings;
}

/* Counts an entry that stands in the tables, then lets the program look for it. */
static void count(struct generation *g, const struct place *place)
{
	uint64_t bit;
	__u64 *word = length_word(g, place, &bit);

	g->ledger->entries++;
	if (place->kind == ONE_PORT && (*bindings_of_port(g, place))++ == 0)
		__atomic_fetch_or(&g->gate->ports[place->protocol][place->port], PORT_IN_USE,
			__ATOMIC_RELEASE);
	if ((*length_uses(g, place))++ == 0)
		__atomic_fetch_or(word, bit, __ATOMIC_RELEASE);
}

/* The opposite, for an entry that is out of the tables. */
static void uncount(struct generation *g, const struct place *place)
{
	uint64_t bit;
	__u64 *word = length_word(g, place, &bit);

	if (--*length_uses(g, place) == 0)
		__atomic_fetch_and(word, ~bit, __ATOMIC_RELEASE);
	if (place->kind == ONE_PORT && --*bindings_of_port(g, place) == 0)
		__atomic_fetch_and(&g->gate->ports[place->protocol][place->port], ~PORT_IN_USE,
			__ATOMIC_RELEASE);
	g->ledger->entries--;
}

void lookup_set_class(
	struct generation *g, uint8_t protocol, uint16_t low, uint16_t high, uint16_t class)
{
	__u32 *ports = g->gate->ports[protocol];

	for (uint32_t port = low; port <= high; port++)
		__atomic_store_n(
			&ports[port], (ports[port] & ~PORT_CLASS) | class, __ATOMIC_RELEASE);
}

/*
 * Entries. One store into `what` makes each change.
 */

static void slot_store(struct slot *slot, uint64_t what)
{
	__atomic_store_n(&slot->what, what, __ATOMIC_RELEASE);
}

int lookup_get(const struct generation *g, const struct place *place, uint32_t *ret)
{
	struct slot_address address = slot_address(place);
	_cleanup_(probes_end) struct probes probes = probes_begin((struct generation *)g, &address);
	const struct slot *slot = probes_find(&probes, &address);

	if (!slot)
		return probes.error ?: -ENOENT;
	*ret = (uint32_t)slot->what;
	return 0;
}

static int entry_add(struct generation *g, const struct table_entry *entry)
{
	struct slot_address address = slot_address(&entry->place);
	_cleanup_(probes_end) struct probes probes = probes_begin(g, &address);
	struct slot *slot;

	do
		slot = probes_next(&probes);
	while (slot && slot->what != SLOT_EMPTY &&
		!(slot->what == SLOT_GRAVE && slot_has_address(slot, &address)));
	if (!slot)
		return probes.error ?: -ENOSPC;
	if (slot->what == SLOT_GRAVE)
		g->ledger->graves--;
	slot->not_high = ~address.high;
	slot->not_low = ~address.low;
	slot_store(slot, (uint64_t)address.key << 32 | entry->value);
	count(g, &entry->place);
	return 0;
}

/* The slot of an entry that stands in the table gets another value, or becomes a grave. */
static int entry_store(struct generation *g, const struct place *place, uint64_t state)
{
	struct slot_address address = slot_address(place);
	_cleanup_(probes_end) struct probes probes = probes_begin(g, &address);
	struct slot *slot = probes_find(&probes, &address);

	if (!slot)
		return probes.error ?: -ENOENT;
	slot_store(slot, state);
	return 0;
}

static int entry_move(struct generation *g, const struct table_entry *entry)
{
	uint64_t key = slot_address(&entry->place).key;

	return entry_store(g, &entry->place, key << 32 | entry->value);
}

static int entry_remove(struct generation *g, const struct place *place)
{
	int r = entry_store(g, place, SLOT_GRAVE);

	if (r < 0)
		return r;
	uncount(g, place);
	g->ledger->graves++;
	return 0;
}

/*
 * Whole tables.
 */

static size_t slot_count(const struct generation *g)
{
	return (size_t)g->capacity[MAP_SLOTS] * SLOTS_PER_ENTRY;
}

static void unmap_slots(struct generation *g)
{
	if (!g->slots)
		return;
	munmap(g->slots, slot_count(g) * sizeof(struct slot));
	g->slots = NULL;
}

static int map_slots(struct generation *g)
{
	void *memory = mmap(NULL, slot_count(g) * sizeof(struct slot), PROT_READ | PROT_WRITE,
		MAP_SHARED, g->maps[MAP_SLOTS], 0);

	if (memory == MAP_FAILED)
		return -errno;
	g->slots = memory;
	return 0;
}

int lookup_fill(struct generation *g, const struct table_entry *entries, size_t entry_count,
	progress_report *progress)
{
	int r = map_slots(g);

	if (r < 0)
		return r;
	for (size_t i = 0; i < entry_count && r == 0; i++) {
		r = entry_add(g, &entries[i]);
		if (progress && i % READ_CHUNK == 0)
			progress((double)i / (double)entry_count);
	}
	unmap_slots(g);
	return r;
}

/* What the administrator bound to one port or to all, as a binding. */
static struct bound bound_of_slot(const struct slot *slot)
{
	uint64_t halves[2] = {htobe64(~slot->not_high), htobe64(~slot->not_low)};
	uint32_t key = (uint32_t)(slot->what >> 32), kinds = (key >> 24) - 1;
	bool all = kinds % PORT_KINDS == ALL_PORTS;
	struct bound bound = {
		.key = {.prefix_length = (uint8_t)(key >> 16),
			.protocol = (uint8_t)(kinds / PORT_KINDS),
			.port_low = all ? all_ports.low : (uint16_t)key,
			.port_high = all ? all_ports.high : (uint16_t)key},
		.destination = slot->what & DESTINATION,
	};

	memcpy(bound.key.address, halves, sizeof(halves));
	return bound;
}

static int take_by_hand(
	const struct slot *slots, size_t count, struct bound *list, size_t room, size_t *list_count)
{
	for (size_t i = 0; i < count; i++) {
		if (!(slots[i].what >> 32) || !(slots[i].what & BY_HAND))
			continue;
		if (*list_count == room)
			return -EOVERFLOW;
		list[(*list_count)++] = bound_of_slot(&slots[i]);
	}
	return 0;
}

/* Whoever only reads can't map the memory: the kernel copies it. */
static int read_slots(
	const struct generation *g, struct bound *list, size_t room, size_t *list_count)
{
	_cleanup_(freep) struct slot *slots = calloc(READ_CHUNK, sizeof(*slots));
	_cleanup_(freep) uint32_t *keys = calloc(READ_CHUNK, sizeof(*keys));
	bool first = true, last = false;
	uint32_t position = 0;
	int r = slots && keys ? 0 : -ENOMEM;

	while (!last && r == 0) {
		uint32_t got = READ_CHUNK;

		if (bpf_map_lookup_batch(g->maps[MAP_SLOTS], first ? NULL : &position, &position,
			    keys, slots, &got, NULL) < 0) {
			if (errno != ENOENT)
				return -errno;
			last = true;
		}
		first = false;
		r = take_by_hand(slots, got, list, room, list_count);
	}
	return r;
}

int lookup_read_by_hand(
	struct generation *g, bool writable, struct bound *list, size_t room, size_t *ret_count)
{
	int r;

	*ret_count = 0;
	if (!writable)
		return read_slots(g, list, room, ret_count);
	r = map_slots(g);
	if (r < 0)
		return r;
	r = take_by_hand(g->slots, slot_count(g), list, room, ret_count);
	unmap_slots(g);
	return r;
}

/*
 * Plans.
 */

void plan_free(struct plan *plan)
{
	free(plan->additions);
	free(plan->relabels);
	free(plan->moves);
	free(plan->removals);
	*plan = (struct plan){};
}

/* Room for one more in an array that doubles at each power of two. */
static int grow(void **array, size_t count, size_t size)
{
	void *longer;

	if (count & (count - 1) || count == 1)
		return 0;
	longer = reallocarray(*array, count ? 2 * count : 2, size);
	if (!longer)
		return -ENOMEM;
	*array = longer;
	return 0;
}

static int append_entry(struct table_entry **entries, size_t *entry_count,
	const struct place *place, uint32_t value)
{
	if (grow((void **)entries, *entry_count, sizeof(**entries)) < 0)
		return -ENOMEM;
	(*entries)[(*entry_count)++] = (struct table_entry){*place, value};
	return 0;
}

int plan_add(struct plan *plan, const struct place *place, uint32_t value)
{
	return append_entry(&plan->additions, &plan->addition_count, place, value);
}

int plan_move(struct plan *plan, const struct place *place, uint32_t value)
{
	return append_entry(&plan->moves, &plan->move_count, place, value);
}

int plan_remove(struct plan *plan, const struct place *place)
{
	return append_entry(&plan->removals, &plan->removal_count, place, 0);
}

int plan_relabel(struct plan *plan, uint8_t protocol, uint16_t low, uint16_t high, uint16_t class)
{
	if (grow((void **)&plan->relabels, plan->relabel_count, sizeof(*plan->relabels)) < 0)
		return -ENOMEM;
	plan->relabels[plan->relabel_count++] = (struct relabel){protocol, low, high, class};
	return 0;
}

int place_compare(const struct place *a, const struct place *b)
{
	int order = memcmp(&a->prefix.address, &b->prefix.address, sizeof(a->prefix.address));

	return order                    ?: a->prefix.length - b->prefix.length
					 ?: a->protocol - b->protocol
						    ?: a->kind - b->kind
							       ?: a->port - b->port;
}

static int entry_compare(const void *a, const void *b)
{
	const struct table_entry *x = a, *y = b;

	return place_compare(&x->place, &y->place);
}

static size_t entries_unique(struct table_entry *entries, size_t entry_count)
{
	size_t kept = 0;

	if (entry_count)
		qsort(entries, entry_count, sizeof(*entries), entry_compare);
	for (size_t i = 0; i < entry_count; i++)
		if (kept == 0 || entry_compare(&entries[kept - 1], &entries[i]) != 0)
			entries[kept++] = entries[i];
	return kept;
}

void plan_settle(struct plan *plan)
{
	plan->addition_count = entries_unique(plan->additions, plan->addition_count);
	plan->move_count = entries_unique(plan->moves, plan->move_count);
	plan->removal_count = entries_unique(plan->removals, plan->removal_count);
}

static void remove_entries(struct generation *g, const struct table_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		entry_remove(g, &entries[i].place);
	if (count)
		dispatcher_wait_for_packets();
}

/* After a first step of several it would be too late to find out that no memory can be mapped. */
static bool needs_whole_table(const struct plan *plan)
{
	return plan->addition_count + plan->relabel_count + plan->move_count + plan->removal_count >
		1;
}

/*
 * What comes goes first: until its bits in the gate are set, or its class is given to ports, no
 * packet looks for it, or it wins by being there.
 */
int plan_begin(struct generation *g, const struct plan *plan)
{
	int r = needs_whole_table(plan) ? map_slots(g) : 0;

	for (size_t i = 0; i < plan->addition_count && r == 0; i++) {
		r = entry_add(g, &plan->additions[i]);
		if (r < 0)
			remove_entries(g, plan->additions, i);
	}
	if (r < 0)
		unmap_slots(g);
	return r;
}

void plan_abandon(struct generation *g, const struct plan *plan)
{
	remove_entries(g, plan->additions, plan->addition_count);
	unmap_slots(g);
}

/*
 * Entries that go are not looked for any more once no packet is under way that read their class
 * before the ports got another one.
 */
int plan_finish(struct generation *g, const struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; i < plan->relabel_count; i++) {
		const struct relabel *relabel = &plan->relabels[i];

		lookup_set_class(g, relabel->protocol, relabel->low, relabel->high, relabel->class);
	}
	for (size_t i = 0; i < plan->move_count && r == 0; i++)
		r = entry_move(g, &plan->moves[i]);
	if (r == 0 && plan->relabel_count && plan->removal_count)
		dispatcher_wait_for_packets();
	for (size_t i = 0; i < plan->removal_count && r == 0; i++)
		r = entry_remove(g, &plan->removals[i].place);
	if (plan->move_count || plan->removal_count)
		dispatcher_wait_for_packets();
	unmap_slots(g);
	return r;
}
