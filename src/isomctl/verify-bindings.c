/* SPDX-License-Identifier: GPL-2.0-only */
/* isomctl verify: bindings, of all units together. See verify.h. */
#include "verify.h"

#include <errno.h>
#include <stdlib.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../coverage.h"
#include "../netlink.h"
#include "../privileges.h"
#include "../shellword.h"
#include "../truth.h"

struct declared {
	const struct checked *unit;
	const struct binding *binding;
	const struct section_place *place;
};

static int declared_compare(const void *a, const void *b)
{
	const struct declared *x = a, *y = b;
	int order = selector_compare_by_address(&x->binding->selector, &y->binding->selector);

	if (order == 0) /* what is said of two is said of the second */
		order = (y->unit->role == OTHER) - (x->unit->role == OTHER);
	return order ?: strcmp(x->unit->name.full, y->unit->name.full);
}

/* A template doesn't, and its instances' bindings may be other ones. */
static bool binds(const struct checked *unit)
{
	return !unit_name_is_template(&unit->name) && !unit->only_dropins &&
		!unit_name_is_isomers_own(&unit->name);
}

static int list_declared(const struct verification *v, struct declared **ret, size_t *ret_count)
{
	size_t count = 0;

	for (size_t i = 0; i < v->count; i++)
		count += v->units[i]->section.binding_count;
	*ret_count = 0;
	*ret = calloc(count + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < v->count; i++) {
		const struct section *section = &v->units[i]->section;

		if (!binds(v->units[i]))
			continue;
		for (size_t j = 0; j < section->binding_count; j++)
			(*ret)[(*ret_count)++] = (struct declared){
				v->units[i], &section->bindings[j], &section->binding_places[j]};
	}
	qsort(*ret, *ret_count, sizeof(**ret), declared_compare);
	return 0;
}

static void report_two_labels(
	struct verification *v, const struct declared *d, const struct declared *other)
{
	char text[LONGEST_SELECTOR_TEXT];

	finding_add(&v->findings, ERROR, d->unit->name.full, d->place,
		"%s: it is bound to \"%s\" here, and to \"%s\" by %s at %s:%u: whichever starts "
		"last can't have it",
		selector_format(&d->binding->selector, text), d->binding->label,
		other->binding->label, other->unit->name.full, other->place->path,
		other->place->line);
}

static void find_two_labels(struct verification *v, const struct declared *list, size_t count)
{
	const struct declared *first = list, *second = NULL; /* with another label */

	for (const struct declared *d = list; d < list + count; d++) {
		const struct declared *other;

		if (selector_compare_by_address(&first->binding->selector, &d->binding->selector) !=
			0) {
			first = d;
			second = NULL;
			continue;
		}
		other = strcmp(first->binding->label, d->binding->label) != 0 ? first : second;
		if (!second && other)
			second = d;
		if (other && d->unit->role != OTHER)
			report_two_labels(v, d, other);
	}
}

static bool same_prefix(const struct selector *a, const struct selector *b)
{
	return a->protocol == b->protocol && a->prefix.length == b->prefix.length &&
		IN6_ARE_ADDR_EQUAL(&a->prefix.address, &b->prefix.address);
}

static int range_compare(const void *a, const void *b)
{
	const struct ports *x = &(*(const struct declared *const *)a)->binding->selector.ports;
	const struct ports *y = &(*(const struct declared *const *)b)->binding->selector.ports;

	return x->low != y->low ? x->low - y->low : y->high - x->high;
}

static void report_cut(struct verification *v, const struct declared *a, const struct declared *b)
{
	const struct declared *d = a->unit->role == OTHER ? b : a, *other = d == a ? b : a;
	char text[LONGEST_SELECTOR_TEXT], other_text[LONGEST_SELECTOR_TEXT];

	if (d->unit->role == OTHER)
		return;
	finding_add(&v->findings, ERROR, d->unit->name.full, d->place,
		"%s overlaps %s of %s at %s:%u, and neither holds the other: a packet could prefer "
		"neither",
		selector_format(&d->binding->selector, text),
		selector_format(&other->binding->selector, other_text), other->unit->name.full,
		other->place->path, other->place->line);
}

/* Ranges of one prefix, by where they begin: those that are open lie within one another. */
static void find_cuts_of_prefix(
	struct verification *v, const struct declared **ranges, size_t count)
{
	_cleanup_(freep) const struct declared **open = calloc(count + 1, sizeof(*open));
	size_t depth = 0;

	if (!open)
		return;
	qsort(ranges, count, sizeof(*ranges), range_compare);
	for (size_t i = 0; i < count; i++) {
		const struct ports *ports = &ranges[i]->binding->selector.ports;

		while (depth && open[depth - 1]->binding->selector.ports.high < ports->low)
			depth--;
		if (depth && open[depth - 1]->binding->selector.ports.high < ports->high)
			report_cut(v, ranges[i], open[depth - 1]);
		open[depth++] = ranges[i];
	}
}

static void find_cuts(struct verification *v, const struct declared *list, size_t count)
{
	_cleanup_(freep) const struct declared **ranges = calloc(count + 1, sizeof(*ranges));
	size_t range_count = 0;

	for (size_t i = 0; ranges && i < count; i++) {
		const struct selector *selector = &list[i].binding->selector;

		if (ports_kind(&selector->ports) == PORT_RANGE)
			ranges[range_count++] = &list[i];
		if (i + 1 == count || !same_prefix(selector, &list[i + 1].binding->selector)) {
			find_cuts_of_prefix(v, ranges, range_count);
			range_count = 0;
		}
	}
}

/* A binding that can't win, for each unit that has it: they are neighbours. */
static void report_idle(struct verification *v, const struct declared *loser,
	const struct declared *end, const struct declared *taker)
{
	const struct selector *selector = &loser->binding->selector;
	char text[LONGEST_SELECTOR_TEXT], other[LONGEST_SELECTOR_TEXT];

	selector_format(selector, text);
	selector_format(&taker->binding->selector, other);
	for (; loser < end && selector_compare_by_address(&loser->binding->selector, selector) == 0;
		loser++)
		if (loser->unit->role != OTHER)
			finding_add(&v->findings, WARNING, loser->unit->name.full, loser->place,
				"%s can never win: more specific bindings hold all its packets, such as %s of "
				"%s at %s:%u",
				text, other, taker->unit->name.full, taker->place->path,
				taker->place->line);
}

static int find_idle(struct verification *v, const struct declared *list, size_t count)
{
	_cleanup_(freep) struct selector *selectors = calloc(count + 1, sizeof(*selectors));
	_cleanup_(freep) const struct declared **of = calloc(count + 1, sizeof(*of));
	_cleanup_(freep) struct idle *idle = NULL;
	size_t unique = 0, idle_count = 0;
	int r;

	if (!selectors || !of)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (unique &&
			selector_compare_by_address(
				&selectors[unique - 1], &list[i].binding->selector) == 0)
			continue;
		of[unique] = &list[i];
		selectors[unique++] = list[i].binding->selector;
	}
	r = coverage_find_idle(selectors, unique, &idle, &idle_count);
	if (r == -E2BIG)
		finding_add(&v->findings, WARNING, NULL, NULL,
			"these are so many bindings that not all were checked for whether they "
			"can win");
	else if (r < 0)
		return r;
	for (size_t i = 0; i < idle_count; i++)
		report_idle(v, of[idle[i].index], list + count, of[idle[i].taker]);
	return 0;
}

/* "0.0.0.0", where servers take it for all addresses. */
static bool is_wildcard(const struct prefix *prefix)
{
	const struct in6_addr *address = &prefix->address;

	return prefix->length == 128 &&
		(IN6_IS_ADDR_UNSPECIFIED(address) ||
			(IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr32[3] == 0));
}

static void report_wildcard(struct verification *v, const struct declared *d)
{
	char address[INET6_ADDRSTRLEN];

	address_format(&d->binding->selector.prefix.address, address);
	finding_add(&v->findings, WARNING, d->unit->name.full, d->place,
		"%s is one address, which nobody sends to: did you mean %s/0?", address, address);
}

/* Of ::/0, only some addresses can be local, and whoever writes it knows. */
static void check_locality(
	struct verification *v, const struct declared *d, const struct local_prefixes *local)
{
	const struct prefix *prefix = &d->binding->selector.prefix;
	enum locality locality = prefix_locality(local, prefix);
	char text[LONGEST_PREFIX_TEXT];

	if (locality == ALL_LOCAL || prefix_written_length(prefix) == 0)
		return;
	prefix_format(prefix, text);
	finding_add(&v->findings, WARNING, d->unit->name.full, d->place,
		"%s %s on this machine: no packet to %s arrives: ip %sroute add local %s dev lo",
		text, locality == NOT_LOCAL ? "isn't local" : "is local only in part",
		locality == NOT_LOCAL ? "it" : "the rest",
		prefix_family(prefix) == IPV6 ? "-6 " : "", text);
}

static void check_prefixes(struct verification *v, const struct declared *list, size_t count)
{
	_cleanup_(local_prefixes_free) struct local_prefixes local = {};
	bool knows_local = local_prefixes_read(&local) == 0;

	for (const struct declared *d = list; d < list + count; d++) {
		if (d->unit->role == OTHER)
			continue;
		if (is_wildcard(&d->binding->selector.prefix))
			report_wildcard(v, d);
		else if (knows_local)
			check_locality(v, d, &local);
	}
}

/* What was bound by hand doesn't give way to a unit that starts. */
static void check_by_hand(struct verification *v, const struct declared *d,
	const struct dispatcher *dispatcher, const struct bound *list, size_t count)
{
	const struct binding_key key = key_of_selector(&d->binding->selector, ADMINISTRATOR);
	const struct bound *bound = bound_find(list, count, &key);
	char text[LONGEST_SELECTOR_TEXT], word[SHELL_WORD_SIZE(NAME_SIZE)];
	const char *label;

	if (!bound || bound->key.owner != ADMINISTRATOR)
		return;
	label = dispatcher->now.destinations[bound->destination].label;
	if (strcmp(label, d->binding->label) == 0)
		return;
	selector_format(&d->binding->selector, text);
	finding_add(&v->findings, ERROR, d->unit->name.full, d->place,
		"%s: it is bound to \"%s\" here, and to \"%s\" by hand: isomctl unbind %s %s", text,
		d->binding->label, label, shell_word(label, word, sizeof(word)), text);
}

/* Whoever may not look into the dispatcher isn't told so. */
static void find_bound_by_hand(struct verification *v, const struct declared *list, size_t count)
{
	_cleanup_(dispatcher_closep) struct dispatcher *dispatcher = NULL;
	_cleanup_(freep) struct bound *bound = NULL;
	char missing[LONGEST_PRIVILEGES_TEXT];
	size_t bound_count;

	if (v->by_file || privileges_missing(PRIVILEGE(CAP_BPF), missing) ||
		dispatcher_open(v->bpffs, false, MISSING_IS_QUIET, &dispatcher) < 0 ||
		bindings_list(dispatcher, &bound, &bound_count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (list[i].unit->role != OTHER)
			check_by_hand(v, &list[i], dispatcher, bound, bound_count);
}

int check_bindings(struct verification *v)
{
	_cleanup_(freep) struct declared *list = NULL;
	size_t count;
	int r = list_declared(v, &list, &count);

	if (r < 0)
		return r;
	find_two_labels(v, list, count);
	find_cuts(v, list, count);
	find_bound_by_hand(v, list, count);
	check_prefixes(v, list, count);
	return find_idle(v, list, count);
}
