/* SPDX-License-Identifier: GPL-2.0-only */
/* Changes of what is bound: see bindings.h. */
#include "bindings.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "destination.h"
#include "say.h"
#include "shellword.h"
#include "truth.h"

/* With more ranges than this, a new generation is made sooner than one range put among them. */
#define MOST_RANGES_IN_PLACE 4096

int bindings_list(struct dispatcher *d, struct bound **ret, size_t *ret_count)
{
	return truth_read(d, WHOLE_TRUTH, ret, ret_count);
}

/*
 * A generation anew, from the same truth.
 */

static int rebuild(struct dispatcher *d, const uint32_t room[SIZED_MAPS])
{
	_cleanup_(freep) struct bound *list = NULL;
	size_t count;
	int r = truth_read(d, WHOLE_TRUTH, &list, &count);

	return r < 0 ? r : truth_put(d, list, count, room, NULL);
}

int bindings_upgrade(struct dispatcher *d)
{
	return rebuild(d, NULL);
}

int change_begin(const char *bpffs, enum dispatcher_missing missing, struct dispatcher **ret)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = dispatcher_open(bpffs, true, missing, &d);

	if (r == 0 && d->now.ledger->changing)
		r = bindings_upgrade(d);
	if (r == 0)
		r = destinations_release_idle(d);
	if (r < 0)
		return r;
	*ret = take_pointer(d);
	return 0;
}

/*
 * Small changes, in place.
 */

/* A selector that leads elsewhere than before: NOWHERE, it wasn't bound or isn't any more. */
struct lead {
	struct selector selector;
	destination_id last;
	destination_id next;
};

/* What is to be done, put together before anything is. */
struct change {
	struct step *claims;
	size_t claim_count;
	struct plan plan;
	bool needs_generation; /* the plan won't do */
	struct lead *leads;
	size_t lead_count;
	int by_hand; /* how many more bindings in the tables are the administrator's: 1, 0, -1 */
};

static void change_free(struct change *change)
{
	free(change->claims);
	free(change->leads);
	plan_free(&change->plan);
}

static void count_change(struct dispatcher *d, const struct change *change)
{
	struct ledger *ledger = d->now.ledger;

	ledger->binding_count += (uint32_t)change->by_hand;
	for (size_t i = 0; i < change->claim_count; i++) {
		const struct step *step = &change->claims[i];
		uint32_t difference = (step->last == NOWHERE) - (step->next == NOWHERE);

		if (step->key.owner == ADMINISTRATOR) {
			ledger->binding_count += difference;
			ledger->range_count += difference;
		} else {
			ledger->claim_count += difference;
		}
	}
	for (size_t i = 0; i < change->lead_count; i++) {
		const struct lead *lead = &change->leads[i];

		if (lead->last != NOWHERE)
			ledger->destination_uses[lead->last]--;
		if (lead->next != NOWHERE)
			ledger->destination_uses[lead->next]++;
		if (ports_kind(&lead->selector.ports) == PORT_RANGE)
			ranges_count(&d->now, &lead->selector,
				(lead->last == NOWHERE) - (lead->next == NOWHERE));
	}
}

/*
 * Sees to it that what comes has room, in a generation with larger tables if need be, or with the
 * same and without graves: with some more room than it takes, not to be here again at once.
 */
static int make_room(struct dispatcher *d, const struct change *change)
{
	const struct ledger *ledger = d->now.ledger;
	uint32_t additions = (uint32_t)change->plan.addition_count, claims = 0;
	uint32_t room[SIZED_MAPS];

	for (size_t i = 0; i < change->claim_count; i++)
		claims += change->claims[i].last == NOWHERE;
	room[MAP_SLOTS] = ledger->entries + additions;
	room[MAP_CLAIMS] = ledger->range_count + ledger->claim_count + claims;
	if (room[MAP_SLOTS] + ledger->graves <= d->now.capacity[MAP_SLOTS] &&
		room[MAP_CLAIMS] <= d->now.capacity[MAP_CLAIMS])
		return 0;
	for (enum map map = 0; map < SIZED_MAPS; map++)
		room[map] += room[map] / 4;
	return rebuild(d, room);
}

/* The truth as it was; and the tables made anew from it, in so much room, unless that is NULL. */
static bool undo(
	struct dispatcher *d, const struct step *written, size_t count, const uint32_t *room)
{
	if (claims_take_back(&d->now, written, count) == 0 && (!room || rebuild(d, room) == 0)) {
		d->now.ledger->changing = 0;
		return true;
	}
	warn("the change is half done: the next command that changes something mends it");
	return false;
}

static int say_cannot_change(int error, bool undone)
{
	return fail(
		error, "cannot change the bindings: %m%s", undone ? ": nothing was changed" : "");
}

/* The truth, and new tables from it. */
static int change_by_generation(
	struct dispatcher *d, const struct change *change, const uint32_t room[SIZED_MAPS])
{
	size_t written;
	int r;

	d->now.ledger->changing = 1;
	r = claims_write(&d->now, change->claims, change->claim_count, &written);
	if (r < 0)
		return say_cannot_change(r, undo(d, change->claims, written, NULL));
	r = rebuild(d, room);
	if (r < 0)
		undo(d, change->claims, written, NULL);
	return r;
}

/*
 * Makes a change or none. What may fail comes first; the tables can be derived from the truth, and
 * the next tool does so if this one is killed before the mark is cleared.
 */
static int change_make(struct dispatcher *d, const struct change *change)
{
	uint32_t room[SIZED_MAPS];
	size_t written;
	int r = make_room(d, change);

	if (r < 0)
		return r;
	memcpy(room, d->now.capacity, sizeof(room));
	if (change->needs_generation)
		return change_by_generation(d, change, room);

	d->now.ledger->changing = 1;
	r = plan_begin(&d->now, &change->plan);
	if (r < 0)
		d->now.ledger->changing = 0;
	/* By misfortune an entry's probes may all be taken: in a larger table they aren't. */
	if (r == -ENOSPC) {
		room[MAP_SLOTS] *= 2;
		r = rebuild(d, room);
		return r < 0 ? r : change_make(d, change);
	}
	if (r < 0)
		return say_cannot_change(r, true);
	r = claims_write(&d->now, change->claims, change->claim_count, &written);
	if (r < 0)
		plan_abandon(&d->now, &change->plan);
	else
		r = plan_finish(&d->now, &change->plan);
	if (r < 0)
		return say_cannot_change(
			r, undo(d, change->claims, written, r == -ENOENT ? room : NULL));
	count_change(d, change);
	d->now.ledger->changing = 0;
	return 0;
}

/* For one that is bound to one port or to all: what will stand in the tables is value, or nothing.
 */
static int plan_single(
	const struct dispatcher *d, const struct place *place, uint32_t value, struct plan *plan)
{
	uint32_t now;
	int r = lookup_get(&d->now, place, &now);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT)
		return value == NOWHERE ? 0 : plan_add(plan, place, value);
	if (value == NOWHERE)
		return plan_remove(plan, place);
	return value == now ? 0 : plan_move(plan, place, value);
}

/*
 * The administrator's changes.
 */

/* A claim's change, of a range, by all the ranges that there will be: `next`, sorted claims. */
static int plan_range(const struct dispatcher *d, const struct selector *selector,
	const struct bound *next, size_t next_count, struct change *change)
{
	struct ranges ranges;
	int r = bound_ranges(next, next_count, &ranges);

	if (r < 0)
		return r;
	if (ranges.count > MOST_RANGES_IN_PLACE)
		change->needs_generation = true;
	else
		r = ranges_plan(&d->now, &ranges, selector, &change->plan);
	free((void *)ranges.ranges);
	return r;
}

static int add_lead(struct change *change, const struct selector *selector, destination_id last,
	destination_id next)
{
	if (!change->leads)
		change->leads = calloc(1, sizeof(*change->leads));
	if (!change->leads)
		return -ENOMEM;
	change->leads[change->lead_count++] = (struct lead){*selector, last, next};
	return 0;
}

static int add_step(struct change *change, const struct step *step)
{
	change->claims = calloc(1, sizeof(*change->claims));
	if (!change->claims)
		return -ENOMEM;
	change->claims[change->claim_count++] = *step;
	return 0;
}

/* Who else has bound this under another label? */
static int check_others(struct dispatcher *d, const struct bound *wanted, struct refusal *refusal)
{
	_cleanup_(freep) struct bound *claims = NULL;
	const struct bound *other;
	size_t count;
	int r;

	if (d->now.ledger->claim_count == 0)
		return 0;
	r = truth_read(d, CLAIMS, &claims, &count);
	if (r < 0)
		return r;
	other = bound_find(claims, count, &wanted->key);
	if (!other || other->destination == wanted->destination)
		return 0;
	return refuse_conflict(d, &(struct conflict){TWO_LABELS, wanted, other}, wanted, refusal);
}

static int bind_single(struct dispatcher *d, const struct bound *wanted, destination_id *ret_last,
	struct refusal *refusal)
{
	_cleanup_(change_free) struct change change = {};
	struct selector selector = selector_of_key(&wanted->key);
	struct place place = place_of_selector(&selector);
	destination_id last = NOWHERE;
	uint32_t now = 0;
	int r = lookup_get(&d->now, &place, &now);

	if (r < 0 && r != -ENOENT)
		return say_cannot_change(r, true);
	if (r == 0) {
		if (now == (wanted->destination | BY_HAND))
			return 0;
		last = now & DESTINATION;
		if (now & BY_HAND)
			*ret_last = last;
		r = check_others(d, wanted, refusal);
		if (r < 0)
			return r;
	}
	change.by_hand = !(now & BY_HAND);
	r = plan_single(d, &place, wanted->destination | BY_HAND, &change.plan);
	if (r == 0 && last != wanted->destination)
		r = add_lead(&change, &selector, last, wanted->destination);
	return r < 0 ? say_cannot_change(r, true) : change_make(d, &change);
}

/* The list with one entry more, or one that leads elsewhere, or (NOWHERE) less. Sorted again. */
static int claims_with(const struct bound *claims, size_t count, const struct bound *changed,
	struct bound **ret, size_t *ret_count)
{
	struct bound *list = calloc(count + 2, sizeof(*list));
	size_t kept = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (key_compare(&claims[i].key, &changed->key) != 0)
			list[kept++] = claims[i];
	if (changed->destination != NOWHERE)
		list[kept++] = *changed;
	qsort(list, kept, sizeof(*list), bound_compare);
	*ret = list;
	*ret_count = kept;
	return 0;
}

static destination_id leads_to(
	const struct bound *claims, size_t count, const struct binding_key *key)
{
	const struct bound *found = bound_find(claims, count, key);

	return found ? found->destination : NOWHERE;
}

/* Binds a range, or (with destination NOWHERE) unbinds it, among all others. */
static int change_range(struct dispatcher *d, const struct bound *wanted, struct refusal *refusal)
{
	_cleanup_(change_free) struct change change = {};
	_cleanup_(freep) struct bound *claims = NULL, *list = NULL;
	struct selector selector = selector_of_key(&wanted->key);
	struct step step = {wanted->key, NOWHERE, wanted->destination};
	destination_id last, next;
	struct conflict conflict = {};
	size_t claim_count, count = 0;
	int r = truth_read(d, CLAIMS, &claims, &claim_count);

	if (r < 0)
		return r;
	r = claim_find(&d->now, &wanted->key, &step.last);
	if (r == 0)
		r = claims_with(claims, claim_count, wanted, &list, &count);
	if (r == 0)
		r = bound_find_conflict(list, count, &conflict);
	if (r < 0)
		return say_cannot_change(r, true);
	if (conflict.kind != NO_CONFLICT)
		return refuse_conflict(d, &conflict,
			same_selector(&conflict.b->key, &wanted->key) &&
					conflict.b->key.owner == wanted->key.owner
				? conflict.b
				: conflict.a,
			refusal);
	last = leads_to(claims, claim_count, &wanted->key);
	next = leads_to(list, count, &wanted->key);
	r = add_step(&change, &step);
	if (r == 0 && last != next)
		r = add_lead(&change, &selector, last, next);
	if (r == 0 && last != next)
		r = plan_range(d, &selector, list, count, &change);
	return r < 0 ? say_cannot_change(r, true) : change_make(d, &change);
}

/* Where the range is cut already, and its prefix has no other there, nobody else need be asked. */
static int bind_range(struct dispatcher *d, const struct bound *wanted, destination_id *ret_last,
	struct refusal *refusal)
{
	_cleanup_(change_free) struct change change = {};
	struct selector selector = selector_of_key(&wanted->key);
	const struct step step = {wanted->key, NOWHERE, wanted->destination};
	bool planned = false;
	int r = claim_find(&d->now, &wanted->key, ret_last);

	if (r < 0)
		return say_cannot_change(r, true);
	if (*ret_last == wanted->destination)
		return 0;
	r = ranges_plan_alone(&d->now, wanted, &change.plan, &planned);
	if (r == 0 && !planned)
		return change_range(d, wanted, refusal);
	if (r == 0)
		r = add_step(&change, &step);
	if (r == 0)
		r = add_lead(&change, &selector, NOWHERE, wanted->destination);
	return r < 0 ? say_cannot_change(r, true) : change_make(d, &change);
}

int bindings_bind(struct dispatcher *d, const struct binding *binding, const char **ret_last,
	struct refusal *refusal)
{
	struct bound wanted = {.key = key_of_selector(&binding->selector, ADMINISTRATOR)};
	destination_id last = NOWHERE;
	int r = destination_acquire(d, binding->label, prefix_family(&binding->selector.prefix),
		binding->selector.protocol, &wanted.destination);

	*ret_last = NULL;
	if (r < 0)
		return r;
	r = is_range(&wanted.key) ? bind_range(d, &wanted, &last, refusal)
				  : bind_single(d, &wanted, &last, refusal);
	if (last != NOWHERE)
		*ret_last = d->now.destinations[last].label;
	return r;
}

/* What the administrator has bound so leads here; NOWHERE: he hasn't. */
static int find_by_hand(
	const struct dispatcher *d, const struct selector *selector, destination_id *ret)
{
	struct binding_key key = key_of_selector(selector, ADMINISTRATOR);
	struct place place = place_of_selector(selector);
	uint32_t value;
	int r;

	*ret = NOWHERE;
	if (is_range(&key))
		return claim_find(&d->now, &key, ret);
	r = lookup_get(&d->now, &place, &value);
	if (r == 0 && value & BY_HAND)
		*ret = value & DESTINATION;
	return r == -ENOENT ? 0 : r;
}

static int say_not_bound(
	const struct dispatcher *d, const char *text, const struct bound *claims_of_units)
{
	if (claims_of_units)
		return fail(-ENOENT,
			"cannot unbind %s: it belongs to %s: take it out of the unit's "
			"[Isomer] section, or stop the unit",
			text, owner_name(d, claims_of_units->key.owner));
	return fail(-ENOENT, "cannot unbind %s: it isn't bound: 'isomctl bindings' lists what is",
		text);
}

static int unbind_single(struct dispatcher *d, const struct selector *selector, destination_id last,
	bool bound_by_units)
{
	_cleanup_(change_free) struct change change = {.by_hand = -1};
	struct place place = place_of_selector(selector);
	int r = plan_single(d, &place, bound_by_units ? last : NOWHERE, &change.plan);

	if (r == 0 && !bound_by_units)
		r = add_lead(&change, selector, last, NOWHERE);
	return r < 0 ? say_cannot_change(r, true) : change_make(d, &change);
}

int bindings_unbind(struct dispatcher *d, const struct binding *binding)
{
	struct bound gone = {key_of_selector(&binding->selector, ADMINISTRATOR), NOWHERE};
	_cleanup_(freep) struct bound *claims = NULL;
	const struct bound *others = NULL;
	char text[LONGEST_SELECTOR_TEXT], word[SHELL_WORD_SIZE(NAME_SIZE)];
	destination_id last;
	size_t count;
	int r = find_by_hand(d, &binding->selector, &last);

	if (r < 0)
		return say_cannot_change(r, true);
	selector_format(&binding->selector, text);
	if (last != NOWHERE && strcmp(d->now.destinations[last].label, binding->label) != 0)
		return fail(-ENOENT,
			"cannot unbind %s from label \"%s\": it is bound to \"%s\": "
			"isomctl unbind %s %s",
			text, binding->label, d->now.destinations[last].label,
			shell_word(d->now.destinations[last].label, word, sizeof(word)), text);
	if (last != NOWHERE && is_range(&gone.key)) {
		struct refusal refusal;

		r = change_range(d, &gone, &refusal);
		return r == -EADDRINUSE ? fail(r, "cannot unbind %s: %s", text, refusal.reason.text)
					: r;
	}
	if (d->now.ledger->claim_count) {
		r = truth_read(d, CLAIMS, &claims, &count);
		if (r < 0)
			return r;
		others = bound_find(claims, count, &gone.key);
	}
	if (last == NOWHERE)
		return say_not_bound(d, text, others);
	return unbind_single(d, &binding->selector, last, others != NULL);
}

/*
 * The units' changes.
 */

/* The units of one sync, and the places that they have as owners. */
struct sync {
	struct dispatcher *d;
	struct unit_bindings *units;
	size_t unit_count;
	uint16_t *owners;     /* by unit; ADMINISTRATOR: has none and wants none */
	uint16_t *unit_of;    /* by owner; one more than the unit's index, 0: not of this sync */
	struct bound *claims; /* as they are */
	size_t claim_count;
	struct bound *next; /* as they will be */
	size_t next_count;
};

static void sync_free(struct sync *sync)
{
	free(sync->owners);
	free(sync->unit_of);
	free(sync->claims);
	free(sync->next);
}

/* Takes back the places of units that have no claims, any more or after all. */
static int sync_release_idle_owners(const struct sync *sync)
{
	_cleanup_(freep) bool *busy = calloc(MAX_OWNERS + 1, sizeof(*busy));

	if (!busy)
		return fail(-ENOMEM, "cannot change the bindings: %m");
	for (size_t i = 0; i < sync->claim_count; i++)
		busy[sync->claims[i].key.owner] = true;
	for (uint16_t owner = 1; owner <= sync->d->now.ledger->owner_places; owner++)
		if (!busy[owner] && owner_name(sync->d, owner)[0])
			owner_release(sync->d, owner);
	return 0;
}

static int sync_acquire_owners(struct sync *sync)
{
	sync->owners = calloc(sync->unit_count + 1, sizeof(*sync->owners));
	sync->unit_of = calloc(MAX_OWNERS + 1, sizeof(*sync->unit_of));
	if (!sync->owners || !sync->unit_of)
		return fail(-ENOMEM, "cannot change the bindings: %m");
	for (size_t i = 0; i < sync->unit_count; i++) {
		struct unit_bindings *unit = &sync->units[i];

		unit->result = 0;
		sync->owners[i] = owner_find(sync->d, unit->unit);
		unit->had_any = sync->owners[i] != ADMINISTRATOR; /* the idle ones are gone */
		if (unit->count && sync->owners[i] == ADMINISTRATOR)
			unit->result = owner_acquire(sync->d, unit->unit, &sync->owners[i]);
		if (sync->owners[i] != ADMINISTRATOR)
			sync->unit_of[sync->owners[i]] = (uint16_t)(i + 1);
	}
	return 0;
}

/* The unit that has this claim, if it is one of the sync's and has not been left out. */
static struct unit_bindings *sync_unit(const struct sync *sync, uint16_t owner)
{
	uint16_t unit = sync->unit_of[owner];

	return unit && sync->units[unit - 1].result == 0 ? &sync->units[unit - 1] : NULL;
}

/* Of one unit, what is wanted: appended to the list. */
static int want(struct sync *sync, size_t index)
{
	struct unit_bindings *unit = &sync->units[index];

	for (size_t i = 0; i < unit->count; i++) {
		const struct selector *selector = &unit->bindings[i].selector;
		struct bound *wanted = &sync->next[sync->next_count];
		destination_id by_hand;
		int r;

		wanted->key = key_of_selector(selector, sync->owners[index]);
		r = destination_acquire(sync->d, unit->bindings[i].label,
			prefix_family(&selector->prefix), selector->protocol, &wanted->destination);
		if (r < 0)
			return r;
		r = find_by_hand(sync->d, selector, &by_hand);
		if (r < 0)
			return say_cannot_change(r, true);
		if (by_hand != NOWHERE && by_hand != wanted->destination) {
			struct bound other = {key_of_selector(selector, ADMINISTRATOR), by_hand};

			return refuse_conflict(sync->d,
				&(struct conflict){TWO_LABELS, wanted, &other}, wanted,
				&unit->refusal);
		}
		sync->next_count++;
	}
	return 0;
}

/* What will be claimed, if all goes well: by the others what is, by these what they want. */
static int sync_imagine(struct sync *sync)
{
	size_t most = sync->claim_count;

	for (size_t i = 0; i < sync->unit_count; i++)
		most += sync->units[i].count;
	free(sync->next);
	sync->next = calloc(most + 1, sizeof(*sync->next));
	if (!sync->next)
		return fail(-ENOMEM, "cannot change the bindings: %m");
	sync->next_count = 0;
	for (size_t i = 0; i < sync->unit_count; i++) {
		size_t before = sync->next_count;

		if (sync->units[i].result == 0)
			sync->units[i].result = want(sync, i);
		if (sync->units[i].result < 0)
			sync->next_count = before;
	}
	for (size_t i = 0; i < sync->claim_count; i++)
		if (!sync_unit(sync, sync->claims[i].key.owner))
			sync->next[sync->next_count++] = sync->claims[i];
	qsort(sync->next, sync->next_count, sizeof(*sync->next), bound_compare);
	return 0;
}

/* Leaves units out until what the others want goes together with what there is. */
static int sync_settle(struct sync *sync)
{
	struct conflict conflict = {};
	int r;

	do {
		struct unit_bindings *a, *b;

		r = sync_imagine(sync);
		if (r < 0)
			return r;
		r = bound_find_conflict(sync->next, sync->next_count, &conflict);
		if (r < 0)
			return say_cannot_change(r, true);
		if (conflict.kind == NO_CONFLICT)
			break;
		a = sync_unit(sync, conflict.a->key.owner);
		b = sync_unit(sync, conflict.b->key.owner);
		if (!a && !b)
			break; /* it was there before: a tool died. It goes when its owners do. */
		if (b > a)
			b->result = refuse_conflict(sync->d, &conflict, conflict.b, &b->refusal);
		else
			a->result = refuse_conflict(sync->d, &conflict, conflict.a, &a->refusal);
	} while (true);
	return 0;
}

/* The leads of the selectors that steps are about: sorted, so those of one selector are together.
 */
static int sync_leads(const struct sync *sync, struct change *change)
{
	size_t ranges = 0;
	int r = 0;

	change->leads = calloc(change->claim_count + 1, sizeof(*change->leads));
	if (!change->leads)
		return -ENOMEM;
	for (size_t i = 0; i < change->claim_count && r == 0; i++) {
		const struct binding_key *key = &change->claims[i].key;
		struct lead lead = {.selector = selector_of_key(key)};
		struct place place = place_of_selector(&lead.selector);
		destination_id by_hand = NOWHERE;
		uint32_t value;

		if (i > 0 && same_selector(&change->claims[i - 1].key, key))
			continue;
		r = find_by_hand(sync->d, &lead.selector, &by_hand);
		lead.last = leads_to(sync->claims, sync->claim_count, key);
		lead.next = leads_to(sync->next, sync->next_count, key);
		if (by_hand != NOWHERE)
			lead.last = lead.next = by_hand;
		if (r == 0 && !is_range(key)) {
			/* After a tool died, an entry may lead elsewhere than its claims say. */
			if (lookup_get(&sync->d->now, &place, &value) == 0)
				lead.last = value & DESTINATION;
			value = lead.next == NOWHERE || by_hand == NOWHERE ? lead.next
									   : lead.next | BY_HAND;
			r = plan_single(sync->d, &place, value, &change->plan);
		} else if (r == 0 && lead.last != lead.next && ranges++ == 0) {
			r = plan_range(
				sync->d, &lead.selector, sync->next, sync->next_count, change);
		}
		if (lead.last != lead.next)
			change->leads[change->lead_count++] = lead;
	}
	/* Each plan for a range takes for granted that the others are as they are. */
	if (ranges > 1)
		change->needs_generation = true;
	plan_settle(&change->plan);
	return r;
}

static int sync_change(struct sync *sync)
{
	_cleanup_(change_free) struct change change = {};
	int r = steps_between(sync->claims, sync->claim_count, sync->next, sync->next_count,
		&change.claims, &change.claim_count);

	if (r == 0)
		r = sync_leads(sync, &change);
	if (r < 0)
		return say_cannot_change(r, true);
	return change.claim_count ? change_make(sync->d, &change) : 0;
}

int bindings_sync(struct dispatcher *d, struct unit_bindings *units, size_t unit_count)
{
	_cleanup_(sync_free) struct sync sync = {.d = d, .units = units, .unit_count = unit_count};
	int r = truth_read(d, CLAIMS, &sync.claims, &sync.claim_count);

	if (r < 0)
		return r;
	r = sync_release_idle_owners(&sync);
	if (r == 0)
		r = sync_acquire_owners(&sync);
	if (r == 0)
		r = sync_settle(&sync);
	if (r == 0)
		r = sync_change(&sync);
	for (size_t i = 0; i < unit_count && r == 0; i++)
		r = units[i].result;
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
	const char *last_label;
	struct label_destinations *last;
};

static int find_label(struct label_cache *cache, const char *text, struct label_destinations **ret)
{
	ENTRY *found, wanted = {.key = (char *)text};
	struct label_destinations *label;

	if (cache->last && cache->last_label == text) {
		*ret = cache->last; /* lists tend to be in the order of their labels */
		return 0;
	}
	if (hsearch_r(wanted, FIND, &found, &cache->table)) {
		label = found->data;
	} else {
		label = &cache->labels[cache->count];
		if (cache->count < MAX_DESTINATIONS) {
			cache->count++;
			wanted.data = label;
			if (!hsearch_r(wanted, ENTER, &found, &cache->table))
				return fail(-ENOMEM, "cannot read the labels: %m");
		}
		memset(label, 0xff, sizeof(*label));
	}
	cache->last_label = text;
	cache->last = *ret = label;
	return 0;
}

static int cached_destination(struct dispatcher *d, struct label_cache *cache,
	const struct labelled *binding, destination_id *ret)
{
	uint8_t family = prefix_family(&binding->selector.prefix);
	struct label_destinations *label;
	destination_id *id;
	int r = find_label(cache, binding->label, &label);

	if (r < 0)
		return r;
	id = &label->ids[family][binding->selector.protocol];
	if (*id == NOWHERE)
		r = destination_acquire(d, binding->label, family, binding->selector.protocol, id);
	*ret = *id;
	return r;
}

static int resolve_destinations(
	struct dispatcher *d, const struct labelled *bindings, size_t count, struct bound *list)
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

static bool is_sorted(const struct bound *list, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (bound_compare(&list[i - 1], &list[i]) > 0)
			return false;
	return true;
}

/* Of the same line twice, one is left; of two labels for one selector, both, for the check. */
static size_t drop_repeated(struct bound *list, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (kept == 0 || bound_compare(&list[kept - 1], &list[i]) != 0 ||
			list[kept - 1].destination != list[i].destination)
			list[kept++] = list[i];
	return kept;
}

static int check_list(
	const struct dispatcher *d, const struct bound *list, size_t count, struct refusal *refusal)
{
	struct conflict conflict = {};
	int r = bound_find_conflict(list, count, &conflict);

	if (r < 0)
		return say_cannot_change(r, true);
	if (conflict.kind == NO_CONFLICT)
		return 0;
	return refuse_conflict(d, &conflict,
		conflict.b->key.owner == ADMINISTRATOR ? conflict.b : conflict.a, refusal);
}

/* Splits the whole truth into what is replaced and what stays, in place: first what is replaced. */
static size_t by_hand_first(struct bound *list, size_t count, struct bound *units)
{
	size_t by_hand = 0, unit_count = 0;

	for (size_t i = 0; i < count; i++) {
		if (list[i].key.owner == ADMINISTRATOR)
			list[by_hand++] = list[i];
		else
			units[unit_count++] = list[i];
	}
	memcpy(list + by_hand, units, unit_count * sizeof(*units));
	return by_hand;
}

static int tell_differences(const struct dispatcher *d, const struct bound *last, size_t last_count,
	const struct bound *next, size_t next_count, struct replacement *ret)
{
	_cleanup_(freep) struct step *steps = NULL;
	size_t count, both = 0;
	int r = steps_between(last, last_count, next, next_count, &steps, &count);

	if (r == 0)
		ret->differences = array_alloc(count, sizeof(*ret->differences));
	if (r < 0 || !ret->differences)
		return fail(-ENOMEM,
			"the bindings are replaced, but what that made different "
			"can't be told: %m");
	ret->count = count;
	for (size_t i = 0; i < count; i++) {
		const struct step *step = &steps[i];

		both += step->last != NOWHERE;
		ret->differences[i] = (struct difference){
			selector_of_key(&step->key),
			step->last == NOWHERE ? NULL : d->now.destinations[step->last].label,
			step->next == NOWHERE ? NULL : d->now.destinations[step->next].label,
		};
	}
	ret->unchanged = last_count - both;
	return 0;
}

int bindings_replace(struct dispatcher *d, const struct labelled *bindings, size_t count,
	progress_report *progress, struct replacement *ret, struct refusal *refusal)
{
	_cleanup_(freep) struct bound *truth = NULL, *list = NULL;
	size_t truth_count, last_count, unit_count;
	int r = truth_read(d, WHOLE_TRUTH, &truth, &truth_count);

	*ret = (struct replacement){};
	if (r < 0)
		return r;
	list = array_alloc(count + truth_count, sizeof(*list));
	if (!list)
		return fail(-ENOMEM, "cannot replace the bindings: %m");
	last_count = by_hand_first(truth, truth_count, list);
	unit_count = truth_count - last_count;

	r = resolve_destinations(d, bindings, count, list);
	if (r < 0)
		return r;
	if (!is_sorted(list, count))
		qsort(list, count, sizeof(*list), bound_compare);
	count = drop_repeated(list, count);
	memcpy(list + count, truth + last_count, unit_count * sizeof(*list));
	if (unit_count)
		qsort(list, count + unit_count, sizeof(*list), bound_compare);
	r = check_list(d, list, count + unit_count, refusal);
	if (r == 0 && d->writable)
		r = truth_put(d, list, count + unit_count, NULL, progress);
	if (r < 0)
		return r;
	if (unit_count) /* truth has the units' copies already */
		count = by_hand_first(list, count + unit_count, truth + last_count);
	return tell_differences(d, truth, last_count, list, count, ret);
}
