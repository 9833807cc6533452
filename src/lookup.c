/* SPDX-License-Identifier: GPL-2.0-only */
/* The tables that the program reads: see lookup.h. */
#include "lookup.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define WORD_BITS 64

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

/* Where a binding stands in the tables. */
struct place {
	uint8_t family;
	uint8_t protocol;
	uint8_t kind;
	uint8_t length; /* 0 to 32, or to 128 */
	uint16_t port;  /* 0 for ALL_PORTS */
	union {
		struct ipv4_key ipv4;
		struct ipv6_key ipv6;
	};
};

static struct place place_of(const struct binding_key *key)
{
	struct selector selector = selector_of_key(key);
	struct place place = {
		.family = prefix_family(&selector.prefix),
		.protocol = key->protocol,
		.kind = ports_are_all(&selector.ports) ? ALL_PORTS : ONE_PORT,
		.length = (uint8_t)prefix_written_length(&selector.prefix),
	};
	uint8_t protocol_and_kind = PROTOCOL_AND_KIND(place.protocol, place.kind);
	uint64_t halves[2];

	place.port = place.kind == ONE_PORT ? selector.ports.low : 0;
	memcpy(halves, key->address, sizeof(halves));
	if (place.family == IPV4)
		place.ipv4 = (struct ipv4_key){
			.address = (uint32_t)be64toh(halves[1]),
			.port = place.port,
			.length = place.length,
			.protocol_and_kind = protocol_and_kind,
		};
	else
		place.ipv6 = (struct ipv6_key){
			.high = be64toh(halves[0]),
			.low = be64toh(halves[1]),
			.port = place.port,
			.length = place.length,
			.protocol_and_kind = protocol_and_kind,
		};
	return place;
}

static int table_of(const struct generation *g, const struct place *place)
{
	return g->maps[place->family == IPV4 ? MAP_IPV4 : MAP_IPV6];
}

static const void *key_in_table(const struct place *place)
{
	return place->family == IPV4 ? (const void *)&place->ipv4 : &place->ipv6;
}

static uint32_t *length_uses(struct generation *g, const struct place *place)
{
	return &g->ledger->length_uses[place->family][place->protocol][place->kind][place->length];
}

static __u64 *length_word(struct generation *g, const struct place *place, uint64_t *ret_bit)
{
	unsigned int host_bits = (place->family == IPV4 ? 32 : 128) - place->length;

	*ret_bit = 1ULL << host_bits % WORD_BITS;
	return &g->gate->lengths[place->family][place->protocol][place->kind]
			.words[host_bits / WORD_BITS];
}

/* Counts a binding that stands in the tables, then lets the program look for it. */
static void count(struct generation *g, const struct place *place, destination_id destination)
{
	uint64_t bit;
	__u64 *word = length_word(g, place, &bit);

	g->ledger->destination_uses[destination]++;
	if (place->kind == ONE_PORT && g->ledger->port_uses[place->protocol][place->port]++ == 0)
		__atomic_store_n(
			&g->gate->port_in_use[place->protocol][place->port], 1, __ATOMIC_RELEASE);
	if ((*length_uses(g, place))++ == 0)
		__atomic_fetch_or(word, bit, __ATOMIC_RELEASE);
}

/* The opposite, for a binding that is out of the tables. */
static void uncount(struct generation *g, const struct place *place, destination_id destination)
{
	uint64_t bit;
	__u64 *word = length_word(g, place, &bit);

	if (--*length_uses(g, place) == 0)
		__atomic_fetch_and(word, ~bit, __ATOMIC_RELEASE);
	if (place->kind == ONE_PORT && --g->ledger->port_uses[place->protocol][place->port] == 0)
		__atomic_store_n(
			&g->gate->port_in_use[place->protocol][place->port], 0, __ATOMIC_RELEASE);
	g->ledger->destination_uses[destination]--;
}

int lookup_add(struct generation *g, const struct bound *entry)
{
	struct place place = place_of(&entry->key);

	if (bpf_map_update_elem(table_of(g, &place), key_in_table(&place), &entry->destination,
		    BPF_NOEXIST) < 0)
		return -errno;
	count(g, &place, entry->destination);
	return 0;
}

int lookup_move(struct generation *g, const struct bound *entry, destination_id last)
{
	struct place place = place_of(&entry->key);

	if (bpf_map_update_elem(
		    table_of(g, &place), key_in_table(&place), &entry->destination, BPF_EXIST) < 0)
		return -errno;
	g->ledger->destination_uses[last]--;
	g->ledger->destination_uses[entry->destination]++;
	return 0;
}

int lookup_remove(struct generation *g, const struct bound *entry)
{
	struct place place = place_of(&entry->key);

	if (bpf_map_delete_elem(table_of(g, &place), key_in_table(&place)) < 0)
		return -errno;
	uncount(g, &place, entry->destination);
	return 0;
}

/* The keys and values of one table, for a batch update. */
struct batch {
	void *keys;
	destination_id *values;
	uint32_t count;
};

static int batch_insert(int table, const struct batch *batch)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options, .elem_flags = BPF_ANY);
	uint32_t inserted = batch->count;

	if (inserted == 0)
		return 0;
	if (bpf_map_update_batch(table, batch->keys, batch->values, &inserted, &options) < 0)
		return -errno;
	return 0;
}

int lookup_build(struct generation *g, const struct bound *entries, size_t entry_count)
{
	_cleanup_(freep) struct ipv4_key *ipv4_keys = calloc(entry_count + 1, sizeof(*ipv4_keys));
	_cleanup_(freep) struct ipv6_key *ipv6_keys = calloc(entry_count + 1, sizeof(*ipv6_keys));
	_cleanup_(freep) destination_id *values = calloc(entry_count + 1, sizeof(*values));
	struct batch ipv4 = {ipv4_keys, values, 0};
	struct batch ipv6 = {ipv6_keys, values ? values + entry_count : NULL, 0};
	int r;

	if (!ipv4_keys || !ipv6_keys || !values)
		return -ENOMEM;

	/* One array holds the values of both, IPv4's from its start and IPv6's from its end. */
	for (size_t i = 0; i < entry_count; i++) {
		struct place place = place_of(&entries[i].key);

		if (place.family == IPV4) {
			ipv4_keys[ipv4.count] = place.ipv4;
			values[ipv4.count++] = entries[i].destination;
		} else {
			ipv6_keys[entry_count - 1 - ipv6.count++] = place.ipv6;
			*--ipv6.values = entries[i].destination;
		}
		count(g, &place, entries[i].destination);
	}
	ipv6.keys = ipv6_keys + entry_count - ipv6.count;

	r = batch_insert(g->maps[MAP_IPV4], &ipv4);
	return r < 0 ? r : batch_insert(g->maps[MAP_IPV6], &ipv6);
}

uint32_t lookup_entries(const struct generation *g, uint8_t family)
{
	uint32_t entries = 0;

	for (int protocol = 0; protocol < PROTOCOLS; protocol++)
		for (int kind = 0; kind < PORT_KINDS; kind++)
			for (int length = 0; length <= 128; length++)
				entries += g->ledger->length_uses[family][protocol][kind][length];
	return entries;
}
