/* SPDX-License-Identifier: GPL-2.0-only */
/* Which bindings can never win: see coverage.h. */
#include "coverage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

/* So many comparisons may be made: some seconds' worth. */
#define MOST_WORK 200000000UL

int selector_compare_by_address(const struct selector *a, const struct selector *b)
{
	int order = a->protocol - b->protocol;

	if (order == 0)
		order = prefix_family(&a->prefix) - prefix_family(&b->prefix);
	if (order == 0)
		order = memcmp(&a->prefix.address, &b->prefix.address, sizeof(a->prefix.address));
	if (order == 0)
		order = a->prefix.length - b->prefix.length;
	if (order == 0)
		order = a->ports.low - b->ports.low;
	return order ?: a->ports.high - b->ports.high;
}

struct work {
	const struct selector *selectors;
	size_t count;
	const struct selector **rivals; /* of the one that is looked at: they come before it */
	const struct selector **scratch;
	size_t rival_count;
	size_t steps;
};

/* No packet has port 0. */
static unsigned int first_port(const struct ports *ports)
{
	return ports->low ? ports->low : 1;
}

static unsigned int ports_common(const struct ports *a, const struct ports *b)
{
	unsigned int low = first_port(a) > first_port(b) ? first_port(a) : first_port(b);
	unsigned int high = a->high < b->high ? a->high : b->high;

	return low <= high ? high - low + 1 : 0;
}

/* Of the packets of b, which share does a hold that lies within its prefix? */
static double share(const struct selector *a, const struct selector *b)
{
	double result = ports_common(&a->ports, &b->ports);

	result /= ports_common(&b->ports, &b->ports);
	for (int bits = b->prefix.length; bits < a->prefix.length; bits++)
		result /= 2;
	return result;
}

static bool comes_before(const struct selector *a, const struct selector *b)
{
	return a->prefix.length > b->prefix.length ||
		(a->prefix.length == b->prefix.length &&
			a->ports.high - a->ports.low < b->ports.high - b->ports.low);
}

/*
 * Finds the rivals of one, which lie next to it in the order. Returns the share of its packets that
 * they would hold if no two of them held the same: with less than all, it is not idle.
 */
static double find_rivals(struct work *work, size_t index, size_t *ret_taker)
{
	const struct selector *looked_at = &work->selectors[index];
	double sum = 0, most = 0;
	size_t i = index;

	/* Back to the first of the same prefix. */
	while (i > 0 && work->selectors[i - 1].protocol == looked_at->protocol &&
		work->selectors[i - 1].prefix.length == looked_at->prefix.length &&
		prefix_holds(&looked_at->prefix, &work->selectors[i - 1].prefix.address)) {
		i--;
		work->steps++;
	}
	work->rival_count = 0;
	for (; i < work->count; i++) {
		const struct selector *rival = &work->selectors[i];
		double part;

		work->steps++;
		if (rival->protocol != looked_at->protocol ||
			!prefix_holds(&looked_at->prefix, &rival->prefix.address))
			break;
		if (!comes_before(rival, looked_at))
			continue;
		part = share(rival, looked_at);
		if (part == 0)
			continue;
		if (part > most) {
			most = part;
			*ret_taker = i;
		}
		sum += part;
		work->rivals[work->rival_count++] = rival;
	}
	return sum;
}

static unsigned int bit_of(const struct in6_addr *address, unsigned int bit)
{
	return address->s6_addr[bit / 8] >> (7 - bit % 8) & 1;
}

/* Do these, which all lie within a prefix of this length, hold all of it? Reorders the list. */
static bool hold_all(
	struct work *work, const struct selector **list, size_t count, unsigned int length)
{
	size_t zeros = 0;

	work->steps += count;
	for (size_t i = 0; i < count; i++)
		if (list[i]->prefix.length == length)
			return true;
	if (count < 2 || work->steps > MOST_WORK)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct selector *swapped = list[i];

		if (bit_of(&swapped->prefix.address, length))
			continue;
		list[i] = list[zeros];
		list[zeros++] = swapped;
	}
	return hold_all(work, list, zeros, length + 1) &&
		hold_all(work, list + zeros, count - zeros, length + 1);
}

/* Do the rivals hold all addresses at this port? *ret_next: from there on it may be otherwise. */
static bool hold_port(struct work *work, const struct selector *looked_at, unsigned int port,
	unsigned int *ret_next)
{
	size_t count = 0;

	*ret_next = PORTS;
	work->steps += work->rival_count;
	for (size_t i = 0; i < work->rival_count; i++) {
		const struct selector *rival = work->rivals[i];

		if (rival->ports.low > port && rival->ports.low < *ret_next)
			*ret_next = rival->ports.low;
		if (rival->ports.low > port || rival->ports.high < port)
			continue;
		if (rival->ports.high + 1U < *ret_next)
			*ret_next = rival->ports.high + 1U;
		work->scratch[count++] = rival;
	}
	return hold_all(work, work->scratch, count, looked_at->prefix.length);
}

static bool hold_everything(struct work *work, const struct selector *looked_at)
{
	unsigned int port = first_port(&looked_at->ports);

	while (port <= looked_at->ports.high) {
		unsigned int next;

		if (!hold_port(work, looked_at, port, &next))
			return false;
		port = next;
	}
	return true;
}

int coverage_find_idle(
	const struct selector *selectors, size_t count, struct idle **ret, size_t *ret_count)
{
	_cleanup_(freep) const struct selector **rivals = calloc(count + 1, sizeof(*rivals));
	_cleanup_(freep) const struct selector **scratch = calloc(count + 1, sizeof(*scratch));
	struct work work = {selectors, count, rivals, scratch, 0, 0};
	const double all = 1 - 1e-9; /* sums of fractions are not exact */

	*ret_count = 0;
	*ret = calloc(count + 1, sizeof(**ret));
	if (!*ret || !rivals || !scratch)
		return -ENOMEM;
	for (size_t i = 0; i < count && work.steps <= MOST_WORK; i++) {
		size_t taker = i;

		if (find_rivals(&work, i, &taker) >= all && hold_everything(&work, &selectors[i]) &&
			work.steps <= MOST_WORK)
			(*ret)[(*ret_count)++] = (struct idle){i, taker};
	}
	return work.steps > MOST_WORK ? -E2BIG : 0;
}
