/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What isomer@.service and the drop-ins of isomer-generator call: the bindings and the sockets of
 * one unit.
 */
#include <errno.h>
#include <string.h>

#include "../cleanup.h"
#include "../say.h"
#include "helper.h"

int unit_bind(const struct unit *unit)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = change_begin(NULL, MISSING_IS_ERROR, &d);

	return r < 0 ? r
		     : bindings_sync(d, unit->name.full, unit->section.bindings,
			       unit->section.binding_count);
}

/* isomer@UNIT.service */
int run_bind(const char *name)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(unit_close) struct unit unit = {};
	int r = manager_connect(&manager);

	if (r == 0)
		r = unit_open(manager, name, &unit);
	if (r == 0 && !unit.section.present)
		r = fail(-ENOENT, "%s has no [Isomer] section", name);
	return r < 0 ? r : unit_bind(&unit);
}

int run_unbind(const char *name)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = change_begin(NULL, MISSING_IS_QUIET, &d);

	return r == -ENOENT ? 0 : r < 0 ? r : bindings_sync(d, name, NULL, 0);
}

#define HOLDER_SIZE (UNIT_NAME_SIZE + sizeof("isomer@.service"))

static void name_holder(char holder[HOLDER_SIZE], const char *unit)
{
	snprintf(holder, HOLDER_SIZE, "isomer@%s.service", unit);
}

/*
 * isomer@UNIT.service holds the bindings for as long as the unit is wanted. If it failed, for a
 * reason that is gone by now, they would outlive the unit: so start it again.
 */
static int ensure_holder(const struct unit *unit)
{
	char holder[HOLDER_SIZE];

	name_holder(holder, unit->name.full);
	return manager_is_active(unit->manager, holder) ? 0 : manager_start(unit->manager, holder);
}

/* With Required=no the unit goes on without Isomer. */
static int excuse(const struct unit *unit, int error)
{
	if (error == 0 || unit->section.required)
		return error;
	warn("%s goes on without Isomer, for its section has Required=no", unit->name.full);
	return 0;
}

static int gate(struct sd_bus *manager, const char *name, struct unit *unit)
{
	int r = unit_open(manager, name, unit);

	if (r == 0)
		r = unit_bind(unit);
	if (r == 0)
		r = ensure_holder(unit);
	return r;
}

static int register_sockets(const struct unit *unit)
{
	return unit->is_socket ? unit_register_held(unit, STARTED, NULL)
			       : unit_register_service(unit, STARTED);
}

/* The unit's start waits here until its bindings, and the sockets that there are, are in place. */
int run_gate(const char *name)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(unit_close) struct unit unit = {};
	int r = manager_connect(&manager);

	if (r < 0)
		return r;
	r = gate(manager, name, &unit);
	if (r == 0)
		r = unit_register_held(&unit, STARTED, NULL);
	return excuse(&unit, r);
}

int run_register(const char *name)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(unit_close) struct unit unit = {};
	int r = manager_connect(&manager);

	if (r < 0)
		return r;
	r = gate(manager, name, &unit);
	if (r == 0)
		r = register_sockets(&unit);
	return excuse(&unit, r);
}

/* Does anything but the unit itself want its bindings? Once enabled, multi-user.target does. */
static bool is_holder_kept(struct sd_bus *manager, const char *name)
{
	static const char *const dependents[] = {"WantedBy", "RequiredBy", "BoundBy"};
	_cleanup_(freep) char *object = NULL;
	char holder[HOLDER_SIZE];
	bool kept = false;

	name_holder(holder, name);
	if (manager_find_unit(manager, holder, &object) < 0)
		return true;
	for (size_t i = 0; i < sizeof(dependents) / sizeof(*dependents) && !kept; i++) {
		_cleanup_(strings_free) char **units = NULL;

		if (manager_get_strings(manager, object, UNIT_INTERFACE, dependents[i], &units) < 0)
			return true;
		for (char **unit = units; *unit && !kept; unit++)
			kept = strcmp(*unit, name) != 0 && manager_is_active(manager, *unit);
	}
	return kept;
}

/*
 * At `systemctl stop` systemd stops isomer@UNIT.service, too, but only after the unit, and nobody
 * waits for it. So that the bindings are gone when the unit is, they are dropped here already.
 */
int run_unregister(const char *name)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(freep) char *job = NULL;
	int r = unit_unregister(name);

	if (r < 0 || manager_connect(&manager) < 0)
		return r;
	job = manager_job_type(manager, name);
	return job && strcmp(job, "stop") == 0 && !is_holder_kept(manager, name) ? run_unbind(name)
										 : r;
}
