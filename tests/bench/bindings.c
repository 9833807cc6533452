/* SPDX-License-Identifier: GPL-2.0-only */
/* What the benchmarks bind: see bindings.h. */
#include "bindings.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lpm.h"

static const __u8 lengths[] = {32, 28, 24, 20, 16, 12, 8};
static const __u16 single_ports[] = {80, 443, 53, 25, 8080, 8443, 853, 22};
/* Of these, two either nest or are apart: others Isomer refuses on one prefix. */
static const __u16 ranges[][2] = {{8000, 8999}, {8080, 8089}, {1024, 65535}, {30000, 32767}};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum binding_kind binding_kind_parse(const char *name)
{
	static const char *const names[] = {
		[SINGLE_PORTS] = "single",
		[ALL_PORTS] = "all",
		[PORT_RANGES] = "range",
		[MIXED] = "mixed",
	};

	for (unsigned int i = 0; i < COUNT(names); i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	errx(2, "%s: not a kind of bindings: write single, all, range or mixed", name);
}

size_t binding_count_parse(const char *text)
{
	char *end;
	unsigned long count = strtoul(text, &end, 10);

	if (*end || count == 0)
		errx(2, "%s: not a number of bindings", text);
	return count;
}

/* splitmix64 */
__u32 next_random(__u64 *seed)
{
	__u64 z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) >> 32;
}

__u32 mask_address(__u32 address, __u8 length)
{
	return address & (__u32)(~0ULL << (32 - length));
}

_Bool binding_holds(const struct bench_binding *binding, __u32 address, __u16 port)
{
	if (mask_address(address, binding->length) != binding->address)
		return false;
	return binding->port_low == 0 || (binding->port_low <= port && port <= binding->port_high);
}

struct lpm_key lpm_key_of(const struct bench_binding *binding)
{
	return (struct lpm_key){
		.prefixlen = LPM_PORT_BITS + binding->length,
		.protocol = IPPROTO_TCP,
		.port = htons(binding->port_low),
		.address = htonl(binding->address),
	};
}

static struct bench_binding random_binding(enum binding_kind kind, __u8 length, __u64 *seed)
{
	struct bench_binding binding = {.length = length};
	__u32 first_byte = 1 + next_random(seed) % 191;

	binding.address = mask_address(first_byte << 24 | next_random(seed) >> 8, length);
	if (kind == MIXED)
		kind = next_random(seed) % MIXED;
	if (kind == SINGLE_PORTS) {
		binding.port_low = single_ports[next_random(seed) % COUNT(single_ports)];
		binding.port_high = binding.port_low;
	} else if (kind == PORT_RANGES) {
		const __u16 *range = ranges[next_random(seed) % COUNT(ranges)];

		binding.port_low = range[0];
		binding.port_high = range[1];
	}
	return binding;
}

/* Which bindings there are already: an open hash table of their indexes, plus one. */
struct known {
	__u32 *places;
	size_t mask;
};

/* Notes the binding that is to be bindings[index]; false if it is there already. */
static bool note_new(struct known *known, const struct bench_binding *bindings, __u32 index,
	const struct bench_binding *binding)
{
	__u64 seed =
		(__u64)binding->address << 32 | (__u32)binding->length << 16 | binding->port_low;
	size_t place = next_random(&seed) & known->mask;

	for (; known->places[place]; place = (place + 1) & known->mask)
		if (memcmp(&bindings[known->places[place] - 1], binding, sizeof(*binding)) == 0)
			return false;
	known->places[place] = index + 1;
	return true;
}

struct bench_binding *make_bindings(enum binding_kind kind, size_t count)
{
	struct bench_binding *bindings = calloc(count, sizeof(*bindings));
	struct known known = {.mask = 1};
	__u64 seed = 42;

	while (known.mask < 2 * count)
		known.mask = known.mask << 1 | 1;
	known.places = calloc(known.mask + 1, sizeof(*known.places));
	if (!bindings || !known.places)
		err(1, "%zu bindings", count);

	/* A length of which there are no more is left to the others after a few attempts. */
	for (size_t i = 0; i < count;) {
		struct bench_binding binding;
		unsigned int length = i % COUNT(lengths);
		int attempts = 0;

		do {
			if (attempts++ == 4) {
				attempts = 0;
				length = length ? length - 1 : 0;
			}
			memset(&binding, 0, sizeof(binding));
			binding = random_binding(kind, lengths[length], &seed);
		} while (!note_new(&known, bindings, i, &binding));
		bindings[i++] = binding;
	}
	free(known.places);
	return bindings;
}
