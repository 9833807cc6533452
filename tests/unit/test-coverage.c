/* SPDX-License-Identifier: GPL-2.0-only */
/* Which bindings can never win: by cases, and by chance against trying every packet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/cleanup.h"
#include "../../src/coverage.h"
#include "tap.h"

#define MOST 16

/* Each binding is "PREFIX PORTS" of tcp, or "udp PREFIX PORTS"; those that are idle come first. */
static const struct {
	const char *name;
	const char *idle[MOST];
	const char *others[MOST];
} cases[] = {
	{"one alone", {}, {"10.0.0.0/8 80"}},
	{"two halves of a prefix", {"10.0.0.0/24 80"}, {"10.0.0.0/25 80", "10.0.0.128/25 80"}},
	{"a half and a quarter", {}, {"10.0.0.0/24 80", "10.0.0.0/25 80", "10.0.0.128/26 80"}},
	{"the same half twice", {},
		{"10.0.0.0/24 80", "10.0.0.0/25 80", "10.0.0.0/25 70-90", "10.0.0.0/26 80"}},
	{"pieces of many lengths", {"10.0.0.0/24 80"},
		{"10.0.0.0/25 *", "10.0.0.128/26 70-80", "10.0.0.192/27 80",
			"10.0.0.224/27 80-81"}},
	{"all ports, in ranges", {"10.0.0.0/24 *"},
		{"10.0.0.0/24 1-1000", "10.0.0.0/24 1001-65535"}},
	{"all ports but one", {}, {"10.0.0.0/24 *", "10.0.0.0/24 2-65535"}},
	{"a range, by its ports", {"10.0.0.0/24 80-82"},
		{"10.0.0.0/24 80", "10.0.0.0/24 81", "10.0.0.0/24 82"}},
	{"a wider range doesn't come before", {}, {"10.0.0.0/24 80-82", "10.0.0.0/24 79-83"}},
	{"different halves at different ports", {},
		{"10.0.0.0/24 80-81", "10.0.0.0/25 80", "10.0.0.128/25 81", "10.0.0.0/26 81",
			"10.0.0.64/26 81", "10.0.0.128/26 80"}},
	{"different pieces at each port", {"10.0.0.0/24 80-81"},
		{"10.0.0.0/25 80", "10.0.0.128/25 80", "10.0.0.0/24 81"}},
	{"the other protocol is apart", {},
		{"10.0.0.0/24 80", "udp 10.0.0.0/25 80", "10.0.0.128/25 80"}},
	{"IPv4 does not lie in ::/0", {}, {"::/0 80", "0.0.0.0/0 80", "8000::/1 80"}},
	{"IPv6, all of it", {"::/0 80"}, {"::/1 80", "8000::/1 *", "0.0.0.0/0 80"}},
	{"the last bit", {"2001:db8::/127 1"}, {"2001:db8::/128 1", "2001:db8::1/128 1"}},
};

static void parse(const char *text, struct selector *ret)
{
	char prefix[64], ports[32];
	struct reason reason;
	bool udp = strncmp(text, "udp ", 4) == 0;

	sscanf(udp ? text + 4 : text, "%63s %31s", prefix, ports);
	*ret = (struct selector){.protocol = udp ? UDP : TCP};
	if (prefix_parse(prefix, &ret->prefix, &reason) < 0 ||
		ports_parse(ports, &ret->ports, &reason) < 0)
		abort();
}

static int compare(const void *a, const void *b)
{
	return selector_compare_by_address(a, b);
}

static bool is_among(const struct idle *idle, size_t count, const struct selector *selectors,
	const struct selector *sought)
{
	for (size_t i = 0; i < count; i++)
		if (compare(&selectors[idle[i].index], sought) == 0)
			return true;
	return false;
}

static void test_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct selector selectors[2 * MOST], idle_ones[MOST];
		_cleanup_(freep) struct idle *idle = NULL;
		size_t count = 0, expected = 0, found;
		bool right = true;

		for (; cases[i].idle[expected]; expected++) {
			parse(cases[i].idle[expected], &idle_ones[expected]);
			selectors[count++] = idle_ones[expected];
		}
		for (size_t j = 0; cases[i].others[j]; j++)
			parse(cases[i].others[j], &selectors[count++]);
		qsort(selectors, count, sizeof(*selectors), compare);
		if (coverage_find_idle(selectors, count, &idle, &found) < 0)
			abort();
		for (size_t j = 0; j < expected; j++)
			right = right && is_among(idle, found, selectors, &idle_ones[j]);
		check(right && found == expected, "%s: %zu idle", cases[i].name, found);
	}
}

/* The last 3 bits of an address and 4 ports: few enough to try them all. */
#define ADDRESSES 8
#define FIRST     100
#define TRIED     4

static struct selector by_chance(void)
{
	struct selector selector;
	char text[64];
	int low = FIRST + rand() % TRIED, high = low + rand() % (FIRST + TRIED - low);

	snprintf(text, sizeof(text), "192.0.2.%d/%d %d-%d", rand() % ADDRESSES, 29 + rand() % 4,
		low, high);
	parse(text, &selector);
	return selector;
}

static bool wins_anything(const struct selector *selectors, size_t count, size_t index)
{
	for (uint8_t last = 0; last < ADDRESSES; last++) {
		struct in6_addr address = {
			{{[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = last}}};

		for (uint16_t port = FIRST; port < FIRST + TRIED; port++) {
			const struct selector *best = NULL;

			for (size_t i = 0; i < count; i++)
				if (prefix_holds(&selectors[i].prefix, &address) &&
					ports_hold(&selectors[i].ports, port) &&
					(!best || selector_compare(&selectors[i], best) < 0))
					best = &selectors[i];
			if (best == &selectors[index])
				return true;
		}
	}
	return false;
}

/* Ranges that cut each other are refused when they are bound, so no packet has to choose. */
static bool cuts_another(const struct selector *selectors, size_t count, const struct selector *one)
{
	for (size_t i = 0; i < count; i++) {
		const struct ports *a = &selectors[i].ports, *b = &one->ports;

		if (memcmp(&selectors[i].prefix, &one->prefix, sizeof(one->prefix)) != 0)
			continue;
		if (a->low == b->low && a->high == b->high)
			return true;
		if (ports_overlap(a, b) && !(a->low <= b->low && b->high <= a->high) &&
			!(b->low <= a->low && a->high <= b->high))
			return true;
	}
	return false;
}

static void test_by_chance(void)
{
	size_t wrong = 0, idle_ones = 0;

	srand(1);
	for (int round = 0; round < 3000; round++) {
		struct selector selectors[MOST];
		_cleanup_(freep) struct idle *idle = NULL;
		size_t count = 0, found, wanted = (size_t)(2 + rand() % (MOST - 2));

		for (int tries = 0; count < wanted && tries < 100; tries++) {
			selectors[count] = by_chance();
			count += !cuts_another(selectors, count, &selectors[count]);
		}
		qsort(selectors, count, sizeof(*selectors), compare);
		if (coverage_find_idle(selectors, count, &idle, &found) < 0)
			abort();
		for (size_t i = 0; i < count; i++)
			wrong += wins_anything(selectors, count, i) ==
				is_among(idle, found, selectors, &selectors[i]);
		idle_ones += found;
	}
	check(wrong == 0 && idle_ones > 1000, "by chance: %zu wrong, %zu idle", wrong, idle_ones);
}

int main(void)
{
	test_cases();
	test_by_chance();
	return tap_end();
}
