/* SPDX-License-Identifier: GPL-2.0-only */
/* The tables that the program reads: see lookup.h. */
#include "lookup.h"

#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define WORD_BITS  64
#define FILL_CHUNK 131072U /* entries per system call */
#define READ_CHUNK 65536U

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

static struct ipv4_key ipv4_key(const struct place *place)
{
	uint32_t address;

	memcpy(&address, &place->prefix.address.s6_addr[12], sizeof(address));
	return (struct ipv4_key){
		.address = be32toh(address),
		.port = place->port,
		.length = (uint8_t)prefix_written_length(&place->prefix),
		.protocol_and_kind = PROTOCOL_AND_KIND(place->protocol, place->kind),
	};
}

static struct ipv6_key ipv6_key(const struct place *place)
{
	uint64_t halves[2];

	memcpy(halves, &place->prefix.address, sizeof(halves));
	return (struct ipv6_key){
		.high = be64toh(halves[0]),
		.low = be64toh(halves[1]),
		.port = place->port,
		.length = place->prefix.length,
		.protocol_and_kind = PROTOCOL_AND_KIND(place->protocol, place->kind),
	};
}

/* The key of a place, of either family. */
union table_key {
	struct ipv4_key ipv4;
	struct ipv6_key ipv6;
};

static int table_and_key(
	const struct generation *g, const struct place *place, union table_key *ret_key)
{
	if (prefix_family(&place->prefix) == IPV4) {
		ret_key->ipv4 = ipv4_key(place);
		return g->maps[MAP_IPV4];
	}
	ret_key->ipv6 = ipv6_key(place);
	return g->maps[MAP_IPV6];
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
	return &g->port_uses[place->protocol * PORTS + place->port].bindings;
}

/* Counts an entry that stands in the tables, then lets the program look for it. */
static void count(struct generation *g, const struct place *place)
{
	uint64_t bit;
	__u64 *word = length_word(g, place, &bit);

	g->ledger->entries[prefix_family(&place->prefix)]++;
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
	g->ledger->entries[prefix_family(&place->prefix)]--;
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
 * Single entries.
 */

int lookup_get(const struct generation *g, const struct place *place, uint32_t *ret)
{
	union table_key key;
	int table = table_and_key(g, place, &key);

	return bpf_map_lookup_elem(table, &key, ret) < 0 ? -errno : 0;
}

static int entry_add(struct generation *g, const struct table_entry *entry)
{
	union table_key key;
	int table = table_and_key(g, &entry->place, &key);

	if (bpf_map_update_elem(table, &key, &entry->value, BPF_NOEXIST) < 0)
		return -errno;
	count(g, &entry->place);
	return 0;
}

static int entry_move(struct generation *g, const struct table_entry *entry)
{
	union table_key key;
	int table = table_and_key(g, &entry->place, &key);

	return bpf_map_update_elem(table, &key, &entry->value, BPF_EXIST) < 0 ? -errno : 0;
}

static int entry_remove(struct generation *g, const struct table_entry *entry)
{
	union table_key key;
	int table = table_and_key(g, &entry->place, &key);

	if (bpf_map_delete_elem(table, &key) < 0)
		return -errno;
	uncount(g, &entry->place);
	return 0;
}

/*
 * Whole tables.
 */

/* The keys and values for one table, put in by the chunk. */
struct filler {
	int table;
	size_t key_size;
	char *keys;
	uint32_t *values;
	uint32_t count;
};

static void filler_free(struct filler *filler)
{
	free(filler->keys);
	free(filler->values);
}

static int filler_init(struct filler *filler, int table, size_t key_size)
{
	*filler = (struct filler){
		.table = table,
		.key_size = key_size,
		.keys = malloc(FILL_CHUNK * key_size),
		.values = malloc(FILL_CHUNK * sizeof(*filler->values)),
	};
	return filler->keys && filler->values ? 0 : -ENOMEM;
}

static int filler_flush(struct filler *filler)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = BPF_ANY);
	uint32_t inserted = filler->count;

	if (filler->count == 0)
		return 0;
	filler->count = 0;
	return bpf_map_update_batch(
		       filler->table, filler->keys, filler->values, &inserted, &options) < 0
		? -errno
		: 0;
}

static int filler_put(struct filler *filler, const void *key, uint32_t value)
{
	memcpy(filler->keys + filler->count * filler->key_size, key, filler->key_size);
	filler->values[filler->count++] = value;
	return filler->count == FILL_CHUNK ? filler_flush(filler) : 0;
}

int lookup_fill(struct generation *g, const struct table_entry *entries, size_t entry_count,
	progress_report *progress)
{
	_cleanup_(filler_free) struct filler ipv4 = {}, ipv6 = {};
	int r = filler_init(&ipv4, g->maps[MAP_IPV4], sizeof(struct ipv4_key));

	if (r == 0)
		r = filler_init(&ipv6, g->maps[MAP_IPV6], sizeof(struct ipv6_key));
	for (size_t i = 0; i < entry_count && r == 0; i++) {
		union table_key key;
		int table = table_and_key(g, &entries[i].place, &key);

		r = filler_put(table == ipv4.table ? &ipv4 : &ipv6, &key, entries[i].value);
		count(g, &entries[i].place);
		if (progress && i % FILL_CHUNK == 0)
			progress((double)i / (double)entry_count);
	}
	if (r == 0)
		r = filler_flush(&ipv4);
	return r < 0 ? r : filler_flush(&ipv6);
}

/* What the administrator bound to one port or to all: the key of an entry as that of a binding. */
static struct bound bound_of_ipv4(const struct ipv4_key *key, uint32_t value)
{
	bool all = key->protocol_and_kind % PORT_KINDS == ALL_PORTS;
	uint32_t address = htobe32(key->address);
	struct bound bound = {
		.key = {.address = {[10] = 0xff, [11] = 0xff},
			.prefix_length = (uint8_t)(96 + key->length),
			.protocol = key->protocol_and_kind / PORT_KINDS,
			.port_low = all ? all_ports.low : key->port,
			.port_high = all ? all_ports.high : key->port},
		.destination = value & DESTINATION,
	};

	memcpy(&bound.key.address[12], &address, sizeof(address));
	return bound;
}

static struct bound bound_of_ipv6(const struct ipv6_key *key, uint32_t value)
{
	bool all = key->protocol_and_kind % PORT_KINDS == ALL_PORTS;
	uint64_t halves[2] = {htobe64(key->high), htobe64(key->low)};
	struct bound bound = {
		.key = {.prefix_length = key->length,
			.protocol = key->protocol_and_kind / PORT_KINDS,
			.port_low = all ? all_ports.low : key->port,
			.port_high = all ? all_ports.high : key->port},
		.destination = value & DESTINATION,
	};

	memcpy(bound.key.address, halves, sizeof(halves));
	return bound;
}

int lookup_read_by_hand(const struct generation *g, uint8_t family, struct bound *list, size_t room,
	size_t *ret_count)
{
	_cleanup_(freep) union table_key *keys = calloc(READ_CHUNK, sizeof(*keys));
	_cleanup_(freep) uint32_t *values = calloc(READ_CHUNK, sizeof(*values));
	const struct ipv4_key *ipv4 = (const void *)keys;
	const struct ipv6_key *ipv6 = (const void *)keys;
	int table = g->maps[family == IPV4 ? MAP_IPV4 : MAP_IPV6];
	bool first = true, last = false;
	uint32_t position = 0;

	*ret_count = 0;
	if (!keys || !values)
		return -ENOMEM;
	while (!last) {
		uint32_t got = READ_CHUNK;

		if (bpf_map_lookup_batch(table, first ? NULL : &position, &position, keys, values,
			    &got, NULL) < 0) {
			if (errno != ENOENT)
				return -errno;
			last = true;
		}
		first = false;
		for (uint32_t i = 0; i < got; i++) {
			if (!(values[i] & BY_HAND))
				continue;
			if (*ret_count == room)
				return -EOVERFLOW;
			list[(*ret_count)++] = family == IPV4 ? bound_of_ipv4(&ipv4[i], values[i])
							      : bound_of_ipv6(&ipv6[i], values[i]);
		}
	}
	return 0;
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

bool plan_fits_in_place(const struct plan *plan)
{
	return plan->move_count <= 1;
}

void plan_room(const struct generation *g, const struct plan *plan, uint32_t ret[FAMILIES])
{
	for (uint8_t family = 0; family < FAMILIES; family++)
		ret[family] = g->ledger->entries[family];
	for (size_t i = 0; i < plan->addition_count; i++)
		ret[prefix_family(&plan->additions[i].place.prefix)]++;
}

/*
 * What comes goes first: until its bits in the gate are set, or its class is given to ports, no
 * packet looks for it, or it wins by being there. Entries that go are not looked for any more once
 * no packet is under way that read their class before the ports got another one. Removals come
 * last, so that no entry is put into memory that one of them had.
 */
int plan_carry_out(struct generation *g, const struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; i < plan->addition_count && r == 0; i++)
		r = entry_add(g, &plan->additions[i]);
	for (size_t i = 0; i < plan->relabel_count && r == 0; i++) {
		const struct relabel *relabel = &plan->relabels[i];

		lookup_set_class(g, relabel->protocol, relabel->low, relabel->high, relabel->class);
	}
	for (size_t i = 0; i < plan->move_count && r == 0; i++)
		r = entry_move(g, &plan->moves[i]);
	if (r == 0 && plan->relabel_count && plan->removal_count)
		dispatcher_wait_for_packets();
	for (size_t i = 0; i < plan->removal_count && r == 0; i++)
		r = entry_remove(g, &plan->removals[i]);
	if (plan->move_count || plan->removal_count)
		dispatcher_wait_for_packets();
	return r;
}
