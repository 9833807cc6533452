/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What isomer.service calls: the dispatcher as a whole, and the active units' bindings and sockets
 * in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "../say.h"
#include "helper.h"

/* A unit that is to have its bindings and sockets, and when it was started. */
struct candidate {
	char *name;
	uint64_t active_since; /* 0: it isn't active */
	struct unit unit;
	bool is_restored;
	bool was_bound; /* it had bindings before */
	int result;     /* 0: all is as it should be so far; said, where it isn't */
};

struct candidates {
	struct candidate *list;
	size_t count;
};

static void candidates_free(struct candidates *candidates)
{
	for (size_t i = 0; i < candidates->count; i++) {
		unit_close(&candidates->list[i].unit);
		free(candidates->list[i].name);
	}
	free(candidates->list);
}

/* Takes the name. */
static int add_candidate(struct candidates *candidates, struct sd_bus *manager, char *name)
{
	struct candidate *list =
		reallocarray(candidates->list, candidates->count + 1, sizeof(*candidates->list));

	if (!list || !name) {
		free(name);
		return fail(-ENOMEM, "cannot restore the units' bindings: %m");
	}
	candidates->list = list;
	list[candidates->count++] = (struct candidate){
		.name = name, .active_since = manager_active_since(manager, name)};
	return 0;
}

/* Units whose bindings are held: isomer@nginx.service.service is active. */
static int add_held_units(struct candidates *candidates, struct sd_bus *manager)
{
	_cleanup_(strings_free) char **holders = NULL;
	int r = manager_list_active(manager, "isomer@*.service", &holders);

	for (char **holder = holders; r == 0 && *holder; holder++) {
		const char *unit = strchr(*holder, '@') + 1;

		r = add_candidate(
			candidates, manager, strndup(unit, strlen(unit) - strlen(".service")));
	}
	return r;
}

static bool wants(struct sd_bus *manager, const char *unit, const char *wanted)
{
	_cleanup_(strings_free) char **units = NULL;
	_cleanup_(freep) char *object = NULL;

	if (manager_unit_object(unit, &object) < 0 ||
		manager_get_strings(manager, object, UNIT_INTERFACE, "Wants", &units) < 0)
		return false;
	for (char **name = units; *name; name++)
		if (strcmp(*name, wanted) == 0)
			return true;
	return false;
}

/* Units that were started without a section and have one now: nobody holds their bindings yet. */
static int add_new_units(struct candidates *candidates, struct sd_bus *manager, const char *pattern)
{
	_cleanup_(strings_free) char **units = NULL;
	int r = manager_list_active(manager, pattern, &units);

	for (char **unit = units; r == 0 && *unit; unit++) {
		char holder[HOLDER_SIZE];

		name_holder(holder, *unit);
		if (!wants(manager, *unit, holder) || manager_is_active(manager, holder))
			continue;
		if (manager_start(manager, holder) == 0)
			r = add_candidate(candidates, manager, strdup(*unit));
	}
	return r;
}

/* Those that aren't active come last: 0 - 1 is the greatest number. */
static int earlier_first(const void *a, const void *b)
{
	const uint64_t x = ((const struct candidate *)a)->active_since - 1;
	const uint64_t y = ((const struct candidate *)b)->active_since - 1;

	return (x > y) - (x < y);
}

/* Reads the sections. Units that have nothing to get back are left out of all that follows. */
static void open_units(struct candidates *candidates, struct sd_bus *manager)
{
	for (size_t i = 0; i < candidates->count; i++) {
		struct candidate *candidate = &candidates->list[i];

		candidate->result = unit_open(manager, candidate->name, &candidate->unit);
		candidate->is_restored = candidate->result == 0 &&
			!candidate->unit.serves_one_connection &&
			unit_wants_bindings(&candidate->unit);
	}
}

/*
 * Is the unit, or what holds its bindings, active or on its way? Yes, if that can't be told. Asked
 * while we have the dispatcher locked: who has bound was active before.
 */
static bool may_have_bindings(struct sd_bus *manager, const char *unit)
{
	char holder[HOLDER_SIZE];
	const char *const names[] = {unit, holder};

	name_holder(holder, unit);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		_cleanup_(freep) char *object = NULL, *state = NULL, *job = NULL;

		if (manager_unit_object(names[i], &object) < 0 ||
			manager_get_string(manager, object, UNIT_INTERFACE, "ActiveState", &state) <
				0)
			return true;
		job = manager_job_type(manager, names[i]);
		if (!job || job[0] ||
			(strcmp(state, "inactive") != 0 && strcmp(state, "failed") != 0))
			return true;
	}
	return false;
}

static bool is_candidate(const struct candidates *candidates, const char *unit)
{
	for (size_t i = 0; i < candidates->count; i++)
		if (strcmp(candidates->list[i].name, unit) == 0)
			return true;
	return false;
}

/* Units whose bindings have outlived them, for what was to drop them was killed. Their empty
 * sections drop them. */
static int add_stale_units(
	struct candidates *candidates, struct sd_bus *manager, const struct dispatcher *d)
{
	int r = 0;

	for (uint16_t owner = 1; owner <= d->now.ledger->owner_places && r == 0; owner++) {
		const char *unit = owner_name(d, owner);

		if (!unit[0] || is_candidate(candidates, unit) || may_have_bindings(manager, unit))
			continue;
		r = add_candidate(candidates, manager, strdup(unit));
		if (r == 0)
			candidates->list[candidates->count - 1].is_restored = true;
	}
	return r;
}

/* All in one step, for what one unit lets go of by now, another may have taken over. */
static int bind_units(struct candidates *candidates, struct sd_bus *manager)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	_cleanup_(freep) struct unit_bindings *wanted = NULL;
	size_t count = 0;
	int r = change_begin(NULL, MISSING_IS_ERROR, &d);

	if (r == 0)
		r = add_stale_units(candidates, manager, d);
	if (r < 0)
		return r;
	wanted = calloc(candidates->count + 1, sizeof(*wanted));
	if (!wanted)
		return fail(-ENOMEM, "cannot restore the units' bindings: %m");
	for (size_t i = 0; i < candidates->count; i++) {
		const struct candidate *candidate = &candidates->list[i];
		const struct section *section = &candidate->unit.section;
		bool stays; /* else it was stopped since, and nothing would drop its bindings */

		if (!candidate->is_restored)
			continue;
		stays = section->binding_count && may_have_bindings(manager, candidate->name);
		wanted[count++] = (struct unit_bindings){.unit = candidate->name,
			.bindings = section->bindings,
			.count = stays ? section->binding_count : 0};
	}
	r = bindings_sync(d, wanted, count);
	for (size_t i = 0, j = 0; i < candidates->count; i++) {
		struct candidate *candidate = &candidates->list[i];

		if (!candidate->is_restored)
			continue;
		candidate->result = wanted[j].result;
		candidate->was_bound = wanted[j].had_any;
		if (candidate->result == -EADDRINUSE)
			unit_say_refusal(&candidate->unit, &wanted[j].refusal);
		j++;
	}
	for (size_t i = 0; i < count; i++)
		if (wanted[i].result < 0)
			return 0; /* it is said, and the others have what they are to have */
	return r;
}

/*
 * Of two units under one label the one that was started later has the traffic: it comes first, and
 * the other one respects that.
 */
static void register_units(struct candidates *candidates)
{
	for (size_t i = candidates->count; i-- > 0;) {
		struct candidate *candidate = &candidates->list[i];

		if (candidate->is_restored && candidate->result == 0 && candidate->active_since)
			candidate->result = candidate->unit.section.present
				? unit_register(&candidate->unit, RESTORED)
				: unit_unregister(candidate->name);
		if (candidate->result >= 0)
			continue;
		if (candidate->unit.section.present && !candidate->unit.section.required &&
			!candidate->was_bound)
			unit_go_without(&candidate->unit);
		warn("%s has not all that its section asks for: see above", candidate->name);
	}
}

/*
 * As they were started, so they bind: of two units that want the same under two labels, the one
 * that got it gets it again. A unit whose section is wrong by now keeps no other from its own.
 */
static int restore_units(void)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(candidates_free) struct candidates candidates = {};
	int r = manager_connect(&manager);

	if (r == 0)
		r = add_held_units(&candidates, manager);
	if (r == 0)
		r = add_new_units(&candidates, manager, "*.service");
	if (r == 0)
		r = add_new_units(&candidates, manager, "*.socket");
	if (r < 0)
		return r;
	if (candidates.count)
		qsort(candidates.list, candidates.count, sizeof(*candidates.list), earlier_first);
	open_units(&candidates, manager);
	r = bind_units(&candidates, manager);
	if (r == 0)
		register_units(&candidates);
	return r;
}

static int upgrade(void)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = change_begin(NULL, MISSING_IS_ERROR, &d);

	return r < 0 ? r : bindings_upgrade(d);
}

/* What the units declare comes back; of what was bound by hand there is no other record. */
static int replace_foreign(void)
{
	bool done;
	int r;

	warn("replacing the dispatcher of another version: what was bound by hand is gone");
	r = dispatcher_unload(NULL, &done);
	return r < 0 ? r : dispatcher_load(NULL, &done);
}

/* Also the reload: whatever is or isn't loaded, afterwards it is what it should be. */
int run_start(const char *unused)
{
	bool loaded;
	int r = dispatcher_load(NULL, &loaded);

	(void)unused;
	if (r == 0 && !loaded)
		r = upgrade();
	if (r == -EPROTO)
		r = replace_foreign();
	return r < 0 ? r : restore_units();
}

/*
 * A restart need not take the dispatcher away: the start that follows upgrades it in place, and no
 * packet finds the way to another server in between.
 */
int run_stop(const char *unused)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(freep) char *job = NULL;
	bool unloaded;

	(void)unused;
	if (manager_connect(&manager) == 0)
		job = manager_job_type(manager, "isomer.service");
	if (job && strcmp(job, "restart") == 0)
		return 0;
	return dispatcher_unload(NULL, &unloaded);
}
