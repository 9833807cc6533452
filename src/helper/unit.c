/* SPDX-License-Identifier: GPL-2.0-only */
/* A unit as systemd has loaded it, and the section that counts for it: see helper.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "../say.h"
#include "helper.h"

/* The fragment and the drop-ins, in the order in which systemd reads them; ends with NULL. */
static int list_files(struct sd_bus *manager, const char *object, char ***ret)
{
	_cleanup_(strings_free) char **drop_ins = NULL;
	_cleanup_(freep) char *fragment = NULL;
	size_t count = 0, own;
	char **files;
	int r;

	r = manager_get_string(manager, object, UNIT_INTERFACE, "FragmentPath", &fragment);
	if (r == 0)
		r = manager_get_strings(manager, object, UNIT_INTERFACE, "DropInPaths", &drop_ins);
	if (r < 0)
		return r;
	if (!drop_ins) /* an empty list is one, too */
		return fail(-ENOMEM, "cannot list unit files: %m");
	while (drop_ins[count])
		count++;
	own = fragment[0] != '\0'; /* some units have drop-ins alone */
	files = calloc(own + count + 1, sizeof(*files));
	if (!files)
		return fail(-ENOMEM, "cannot list unit files: %m");
	if (own)
		files[0] = take_pointer(fragment);
	memcpy(files + own, drop_ins, count * sizeof(*files));
	drop_ins[0] = NULL; /* the strings have a new owner */
	*ret = files;
	return 0;
}

static void forget_section(struct unit *unit)
{
	section_free(&unit->section);
	strings_free(&unit->files);
	unit->files = NULL;
	unit->section.required = true; /* until one is read that says otherwise */
}

/* Gives the unit the section of the unit with that name and object, which may be another one. */
static int read_section(struct unit *unit, const char *object, const struct unit_name *name)
{
	size_t count = 0;
	int r;

	forget_section(unit);
	r = list_files(unit->manager, object, &unit->files);
	if (r < 0)
		return r;
	while (unit->files[count])
		count++;
	return section_read(name, (const char *const *)unit->files, count, &unit->section);
}

static bool accepts(struct sd_bus *manager, const char *socket_object)
{
	return manager_get_boolean(manager, socket_object, SOCKET_INTERFACE, "Accept");
}

/*
 * A socket unit with Accept=yes activates an instance for each connection; any instance will do to
 * see the template's section. It is the socket's own: %N is the name of the socket unit.
 */
static int read_section_of_template(struct unit *socket)
{
	_cleanup_(freep) char *object = NULL;
	struct unit_name instance;
	int r;

	if (!unit_name_build(socket->name.prefix, "0", "service", &instance))
		return 0;
	r = manager_unit_object(instance.full, &object);
	if (r < 0)
		return r;
	socket->inherits = true;
	return read_section(socket, object, &socket->name);
}

static int read_section_of_service(struct unit *socket, const char *service)
{
	_cleanup_(strings_free) char **triggered_by = NULL;
	_cleanup_(freep) char *object = NULL;
	struct unit_name name;
	struct reason reason;
	int r = unit_name_parse(service, &name, &reason);

	if (r < 0)
		return fail(r, "cannot read the section of %s: %s", service, reason.text);
	r = manager_unit_object(service, &object);
	if (r == 0)
		r = manager_get_strings(
			socket->manager, object, UNIT_INTERFACE, "TriggeredBy", &triggered_by);
	if (r < 0 || !triggered_by)
		return r;
	socket->has_siblings = triggered_by[0] && triggered_by[1];
	return read_section(socket, object, &name);
}

/* Its own service is one of those that a socket unit triggers; others name it in Sockets=. */
static int read_inherited_section(struct unit *socket)
{
	_cleanup_(strings_free) char **services = NULL;
	int r;

	if (accepts(socket->manager, socket->object))
		return read_section_of_template(socket);
	r = manager_get_strings(
		socket->manager, socket->object, UNIT_INTERFACE, "Triggers", &services);
	socket->inherits = true;
	for (char **service = services; r == 0 && *service && !socket->section.present; service++)
		r = read_section_of_service(socket, *service);
	return r;
}

/*
 * systemd forgets at daemon-reload (252) which socket unit started an instance that runs on. It
 * names them NUMBER-ADDRESSES, all are instances of the template named as the socket unit is.
 */
static bool is_named_for_connection(const struct unit *service)
{
	size_t digits = strspn(service->name.instance, "0123456789");
	_cleanup_(freep) char *object = NULL;
	struct unit_name socket;

	return digits > 0 && service->name.instance[digits] == '-' &&
		unit_name_build(service->name.prefix, NULL, "socket", &socket) &&
		manager_unit_object(socket.full, &object) == 0 && accepts(service->manager, object);
}

/* Was the service started by a socket unit with Accept=yes? Then it has no listening socket. */
static int note_accepted_connection(struct unit *service)
{
	_cleanup_(strings_free) char **triggers = NULL;
	int r;

	if (!service->name.instance)
		return 0;
	r = manager_get_strings(
		service->manager, service->object, UNIT_INTERFACE, "TriggeredBy", &triggers);
	for (char **trigger = triggers; r == 0 && *trigger; trigger++) {
		_cleanup_(freep) char *object = NULL;

		r = manager_unit_object(*trigger, &object);
		if (r == 0 && accepts(service->manager, object))
			service->serves_one_connection = true;
	}
	if (r == 0 && !triggers[0])
		service->serves_one_connection = is_named_for_connection(service);
	return r;
}

/*
 * Bindings are the unit's, under its own name: by another one, they would be those of a second
 * unit, which the first one can't take over.
 */
static int check_own_name(const struct unit *unit)
{
	_cleanup_(freep) char *own = NULL;
	int r = manager_get_string(unit->manager, unit->object, UNIT_INTERFACE, "Id", &own);

	if (r < 0 || strcmp(own, unit->name.full) == 0)
		return r;
	return fail(-EINVAL,
		"%s is an alias of %s: use that name: isomer@%s.service in place of "
		"isomer@%s.service",
		unit->name.full, own, own, unit->name.full);
}

int unit_open(struct sd_bus *manager, const char *name, struct unit *ret)
{
	struct unit *unit = ret;
	struct reason reason;
	int r;

	*unit = (struct unit){.manager = manager, .section.required = true};
	r = unit_name_parse(name, &unit->name, &reason);
	if (r < 0)
		return fail(r, "%s", reason.text);
	unit->is_socket = strcmp(unit->name.suffix, "socket") == 0;
	if (!unit->is_socket && strcmp(unit->name.suffix, "service") != 0)
		return fail(-EINVAL, "%s is neither a service nor a socket unit", name);

	r = manager_unit_object(name, &unit->object);
	if (r == 0)
		r = check_own_name(unit);
	if (r == 0 && !unit->is_socket)
		r = note_accepted_connection(unit);
	if (r == 0 && !unit->serves_one_connection)
		r = read_section(unit, unit->object, &unit->name);
	if (r == 0 && unit->is_socket && !unit->section.present)
		r = read_inherited_section(unit);
	return r;
}

bool unit_is_reloading(const struct unit *unit)
{
	_cleanup_(freep) char *state = NULL;

	return manager_get_string(
		       unit->manager, unit->object, UNIT_INTERFACE, "ActiveState", &state) == 0 &&
		strcmp(state, "reloading") == 0;
}

void unit_close(struct unit *unit)
{
	forget_section(unit);
	free(unit->object);
}
