/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What isomer@.service and the drop-ins of isomer-generator call: the bindings and the sockets of
 * one unit.
 */
#include <errno.h>
#include <string.h>

#include "../cleanup.h"
#include "../say.h"
#include "../waiting.h"
#include "helper.h"

int unit_say_refusal(const struct unit *unit, const struct refusal *refusal)
{
	const struct section *section = &unit->section;
	const struct selector *selector = &refusal->refused.selector;
	char text[LONGEST_SELECTOR_TEXT];
	struct section_place place = {.path = unit->name.full};

	for (size_t i = 0; i < section->binding_count; i++)
		if (selector_compare(&section->bindings[i].selector, selector) == 0)
			place = section->binding_places[i];
	return fail(-EADDRINUSE, "%s:%u: cannot bind %s under label \"%s\": %s", place.path,
		place.line, selector_format(selector, text), refusal->refused.label,
		refusal->reason.text);
}

static bool has_job(struct sd_bus *manager, const char *unit)
{
	_cleanup_(freep) char *type = manager_job_type(manager, unit);

	return type && type[0];
}

/* A unit's start wants isomer.service, and isn't ordered after it: the latter may yet be loading.
 */
static int begin_when_loaded(struct sd_bus *manager, struct dispatcher **ret)
{
	int r = change_begin(NULL, MISSING_IS_QUIET, ret);

	while (r == -ENOENT && has_job(manager, "isomer.service")) {
		pause_msec(POLL_INTERVAL_MSEC);
		r = change_begin(NULL, MISSING_IS_QUIET, ret);
	}
	return r == -ENOENT ? change_begin(NULL, MISSING_IS_ERROR, ret) : r;
}

int unit_bind(const struct unit *unit)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = begin_when_loaded(unit->manager, &d);

	struct unit_bindings wanted = {.unit = unit->name.full,
		.bindings = unit->section.bindings,
		.count = unit->section.binding_count};

	if (r == 0)
		r = bindings_sync(d, &wanted, 1);
	return r == -EADDRINUSE ? unit_say_refusal(unit, &wanted.refusal) : r;
}

void name_holder(char holder[HOLDER_SIZE], const char *unit)
{
	snprintf(holder, HOLDER_SIZE, "isomer@%s.service", unit);
}

/* Whose wish for the bindings counts: that of units that are active, or of whatever units. */
enum wish { OF_ACTIVE_UNITS, OF_ALL_UNITS };

/* Does anything but the unit itself want its bindings? Once enabled, multi-user.target does. */
static bool is_holder_wanted(struct sd_bus *manager, const char *name, enum wish wish)
{
	static const char *const dependents[] = {"WantedBy", "RequiredBy", "BoundBy"};
	_cleanup_(freep) char *object = NULL;
	char holder[HOLDER_SIZE];
	bool wanted = false;

	name_holder(holder, name);
	if (manager_unit_object(holder, &object) < 0)
		return true;
	for (size_t i = 0; i < sizeof(dependents) / sizeof(*dependents) && !wanted; i++) {
		_cleanup_(strings_free) char **units = NULL;

		if (manager_get_strings(manager, object, UNIT_INTERFACE, dependents[i], &units) < 0)
			return true;
		for (char **unit = units; *unit && !wanted; unit++)
			wanted = strcmp(*unit, name) != 0 &&
				(wish == OF_ALL_UNITS || manager_is_active(manager, *unit));
	}
	return wanted;
}

/*
 * An active unit registers itself; beyond that, bindings are there only if somebody else wants
 * isomer@UNIT.service.
 */
bool unit_wants_bindings(const struct unit *unit)
{
	return manager_is_active(unit->manager, unit->name.full) ||
		is_holder_wanted(unit->manager, unit->name.full, OF_ALL_UNITS);
}

/* With Required=no the unit goes on without Isomer. */
static int excuse(const struct unit *unit, int error)
{
	if (error == 0 || unit->section.required)
		return error;
	warn("%s goes on without Isomer, for its section has Required=no", unit->name.full);
	return 0;
}

/*
 * A service with a root directory of its own has the hooks run in there, where this program isn't:
 * the generator gives it none, but makes it require isomer-bind@UNIT.service, which fails here.
 */
static int check_root(const struct unit *unit)
{
	static const char *const keys[] = {"RootDirectory", "RootImage"};

	if (unit->is_socket || unit->serves_one_connection ||
		manager_get_boolean(
			unit->manager, unit->object, SERVICE_INTERFACE, "RootDirectoryStartOnly"))
		return 0;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		_cleanup_(freep) char *root = NULL;
		int r = manager_get_string(
			unit->manager, unit->object, SERVICE_INTERFACE, keys[i], &root);

		if (r < 0)
			return r;
		if (root[0] && strcmp(root, "/") != 0)
			return fail(-ENOTSUP,
				"%s has %s=%s, where isomer-helper isn't found: it takes "
				"RootDirectoryStartOnly=yes as well",
				unit->name.full, keys[i], root);
	}
	return 0;
}

static int say_no_section(const struct unit *unit)
{
	_cleanup_(freep) char *state = NULL;

	if (manager_get_string(unit->manager, unit->object, UNIT_INTERFACE, "LoadState", &state) ==
			0 &&
		strcmp(state, "not-found") == 0)
		return fail(-ENOENT, "there is no unit %s", unit->name.full);
	return fail(-ENOENT,
		"%s has no [Isomer] section: write one into a drop-in of it (systemctl edit %s)",
		unit->name.full, unit->name.full);
}

/* isomer-bind@UNIT.service */
int run_bind(const char *name)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(unit_close) struct unit unit = {};
	int r = manager_connect(&manager);

	if (r < 0)
		return r;
	r = unit_open(manager, name, &unit);
	if (r < 0)
		return excuse(&unit, r);
	if (unit.serves_one_connection)
		return 0;
	if (!unit.section.present)
		return say_no_section(&unit);
	r = check_root(&unit);
	if (r < 0)
		return excuse(&unit, r);
	return unit_bind(&unit);
}

int run_unbind(const char *name)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	struct unit_bindings none = {.unit = name};
	int r = change_begin(NULL, MISSING_IS_QUIET, &d);

	return r == -ENOENT ? 0 : r < 0 ? r : bindings_sync(d, &none, 1);
}

/*
 * isomer@UNIT.service holds the bindings for as long as the unit is wanted. If it isn't there (the
 * unit got its section while it ran, say), they would outlive the unit: so start it.
 */
static int ensure_holder(const struct unit *unit)
{
	char holder[HOLDER_SIZE];

	name_holder(holder, unit->name.full);
	return manager_is_active(unit->manager, holder) ? 0 : manager_start(unit->manager, holder);
}

void unit_go_without(const struct unit *unit)
{
	const char *name = unit->name.full;

	if (!is_holder_wanted(unit->manager, name, OF_ALL_UNITS) && run_unbind(name) < 0)
		warn("%s may still have bindings, and no socket: 'systemctl stop %s' drops them",
			name, name);
}

/* The unit's start waits here until it is dispatched to. */
int run_register(const char *name)
{
	_cleanup_(manager_disconnect) struct sd_bus *manager = NULL;
	_cleanup_(unit_close) struct unit unit = {};
	int r = manager_connect(&manager);

	if (r < 0)
		return r;
	r = unit_open(manager, name, &unit);
	if (r == 0 && unit.serves_one_connection)
		return 0;
	if (r == 0)
		r = unit_bind(&unit);
	if (r == 0)
		r = ensure_holder(&unit);
	if (r == 0)
		r = unit_register(&unit, STARTED);
	if (r == 0 || excuse(&unit, r) < 0)
		return r;
	if (!unit_is_reloading(&unit)) /* else all is left as it was */
		unit_go_without(&unit);
	return 0;
}

/*
 * A service that a socket unit started runs on when that one is stopped, with the same sockets: its
 * own section is about them from now on. Whatever hinders that is said, and doesn't hinder the
 * stop.
 */
static void hand_over(struct sd_bus *manager, const char *socket)
{
	_cleanup_(strings_free) char **services = NULL;
	_cleanup_(freep) char *object = NULL;

	if (manager_unit_object(socket, &object) < 0 ||
		manager_get_strings(manager, object, UNIT_INTERFACE, "Triggers", &services) < 0)
		return;
	for (char **name = services; *name; name++) {
		_cleanup_(unit_close) struct unit service = {};

		if (!manager_is_active(manager, *name) || unit_open(manager, *name, &service) < 0)
			continue;
		if (service.section.present && unit_register_from_processes(&service, RESTORED) < 0)
			warn("%s runs on without %s, and is not dispatched to: see above", *name,
				socket);
	}
}

static bool is_socket_unit(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && strcmp(dot, ".socket") == 0;
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
	if (is_socket_unit(name))
		hand_over(manager, name);
	job = manager_job_type(manager, name);
	if (job && strcmp(job, "stop") == 0 && !is_holder_wanted(manager, name, OF_ACTIVE_UNITS))
		r = run_unbind(name);
	return r;
}
