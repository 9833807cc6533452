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

/* "isomer@nginx.service.service" -> "nginx.service", in place. */
static const char *held_unit(char *holder)
{
	*strrchr(holder, '.') = '\0';
	return strchr(holder, '@') + 1;
}

/* A unit that may have to get its bindings and sockets back, and when it was started. */
struct candidate {
	const char *name;
	uint64_t active_since; /* 0: it isn't active */
};

static int later_first(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->active_since < y->active_since) - (x->active_since > y->active_since);
}

static int restore_unit(struct sd_bus *manager, const struct candidate *candidate)
{
	_cleanup_(unit_close) struct unit unit = {};
	int r = unit_open(manager, candidate->name, &unit);

	if (r == 0)
		r = unit_bind(&unit);
	if (r < 0 || !candidate->active_since)
		return r;
	return unit.is_socket ? unit_register_held(&unit, RESTORED, NULL)
			      : unit_register_service(&unit, RESTORED);
}

/*
 * Of two units under one label the one that was started later has the traffic: it comes first, and
 * the other one respects that. A unit whose section is wrong by now keeps no other from its own.
 */
static int restore_units(void)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(strings_free) char **holders = NULL;
	_cleanup_(freep) struct candidate *candidates = NULL;
	size_t count = 0;
	int r = manager_connect(&manager);

	if (r == 0)
		r = manager_list_active(manager, "isomer@*.service", &holders);
	if (r < 0)
		return r;
	while (holders[count])
		count++;
	candidates = calloc(count + 1, sizeof(*candidates));
	if (!candidates)
		return fail(-ENOMEM, "cannot restore the units' bindings: %m");
	for (size_t i = 0; i < count; i++) {
		candidates[i].name = held_unit(holders[i]);
		candidates[i].active_since = manager_active_since(manager, candidates[i].name);
	}
	qsort(candidates, count, sizeof(*candidates), later_first);
	for (size_t i = 0; i < count; i++)
		if (restore_unit(manager, &candidates[i]) < 0)
			warn("%s has not all that its section asks for: see above",
				candidates[i].name);
	return 0;
}

static int upgrade(void)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = change_begin(NULL, MISSING_IS_ERROR, &d);

	return r < 0 ? r : bindings_upgrade(d);
}

int run_start(const char *unused)
{
	bool loaded;
	int r = dispatcher_load(NULL, &loaded);

	(void)unused;
	if (r == 0 && !loaded)
		r = upgrade();
	return r < 0 ? r : restore_units();
}

int run_reload(const char *unused)
{
	int r = upgrade();

	(void)unused;
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
