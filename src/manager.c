/* SPDX-License-Identifier: GPL-2.0-only */
/* Questions to systemd, PID 1: see manager.h. */
#include "manager.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "cleanup.h"
#include "say.h"

#define PRIVATE_SOCKET "unix:path=/run/systemd/private"
#define SERVICE        "org.freedesktop.systemd1"
#define MANAGER_OBJECT "/org/freedesktop/systemd1"
#define MANAGER        "org.freedesktop.systemd1.Manager"

typedef sd_bus_message *message;

static void message_unrefp(message *m)
{
	sd_bus_message_unref(*m);
}

int manager_connect(struct sd_bus **ret)
{
	sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r >= 0)
		r = sd_bus_set_address(bus, PRIVATE_SOCKET);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0) {
		sd_bus_unref(bus);
		return fail(r,
			"cannot connect to systemd at /run/systemd/private: %m: it takes "
			"root, and systemd as PID 1");
	}
	*ret = bus;
	return 0;
}

void manager_disconnect(struct sd_bus **manager)
{
	sd_bus_flush_close_unref(*manager);
}

void strings_free(char ***strings)
{
	for (char **string = *strings; string && *string; string++)
		free(*string);
	free(*strings);
}

void listens_free(struct listen **listens)
{
	for (struct listen *listen = *listens; listen && listen->type; listen++) {
		free(listen->type);
		free(listen->address);
	}
	free(*listens);
}

/* Appends to a list that ends with an empty element; returns where the new one goes. */
static void *append(void **list, size_t *count, size_t size)
{
	void *longer = reallocarray(*list, *count + 2, size);

	if (!longer)
		return NULL;
	*list = longer;
	memset((char *)longer + *count * size, 0, 2 * size);
	return (char *)longer + (*count)++ * size;
}

static int append_string(char ***strings, size_t *count, const char *text)
{
	char **place = append((void **)strings, count, sizeof(char *));

	if (place)
		*place = strdup(text);
	return place && *place ? 0 : -ENOMEM;
}

int manager_unit_object(const char *unit, char **ret)
{
	int r = sd_bus_path_encode(MANAGER_OBJECT "/unit", unit, ret);

	return r < 0 ? fail(r, "cannot ask systemd for %s: %m", unit) : 0;
}

int manager_get_string(sd_bus *manager, const char *object, const char *interface,
	const char *property, char **ret)
{
	int r = sd_bus_get_property_string(
		manager, SERVICE, object, interface, property, NULL, ret);

	return r < 0 ? fail(r, "cannot ask systemd for %s of %s: %m", property, object) : 0;
}

int manager_get_strings(sd_bus *manager, const char *object, const char *interface,
	const char *property, char ***ret)
{
	int r = sd_bus_get_property_strv(manager, SERVICE, object, interface, property, NULL, ret);

	if (r >= 0 && !*ret) { /* sd-bus returns NULL for an empty list */
		*ret = calloc(1, sizeof(**ret));
		r = *ret ? 0 : -ENOMEM;
	}
	return r < 0 ? fail(r, "cannot ask systemd for %s of %s: %m", property, object) : 0;
}

bool manager_get_boolean(
	sd_bus *manager, const char *object, const char *interface, const char *property)
{
	int value = false;

	return sd_bus_get_property_trivial(
		       manager, SERVICE, object, interface, property, NULL, 'b', &value) >= 0 &&
		value;
}

static int read_listens(message reply, struct listen **ret)
{
	struct listen *listens = calloc(1, sizeof(*listens));
	const char *type, *address;
	size_t count = 0;
	int r = listens ? sd_bus_message_enter_container(reply, 'a', "(ss)") : -ENOMEM;

	while (r >= 0 && (r = sd_bus_message_read(reply, "(ss)", &type, &address)) > 0) {
		struct listen *listen = append((void **)&listens, &count, sizeof(*listens));

		if (!listen) {
			r = -ENOMEM;
			break;
		}
		listen->type = strdup(type);
		listen->address = strdup(address);
		if (!listen->type || !listen->address)
			r = -ENOMEM;
	}
	*ret = listens;
	return r;
}

int manager_get_listens(sd_bus *manager, const char *object, struct listen **ret)
{
	_cleanup_(message_unrefp) message reply = NULL;
	int r = sd_bus_get_property(
		manager, SERVICE, object, SOCKET_INTERFACE, "Listen", NULL, &reply, "a(ss)");

	if (r >= 0)
		r = read_listens(reply, ret);
	return r < 0 ? fail(r, "cannot ask systemd for Listen of %s: %m", object) : 0;
}

int manager_get_processes(sd_bus *manager, const char *unit, pid_t **ret, size_t *ret_count)
{
	_cleanup_(message_unrefp) message reply = NULL;
	_cleanup_(freep) pid_t *processes = NULL;
	size_t count = 0;
	uint32_t pid;
	int r;

	r = sd_bus_call_method(manager, SERVICE, MANAGER_OBJECT, MANAGER, "GetUnitProcesses", NULL,
		&reply, "s", unit);
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', "(sus)");
	while (r >= 0 && (r = sd_bus_message_read(reply, "(sus)", NULL, &pid, NULL)) > 0) {
		pid_t *place = append((void **)&processes, &count, sizeof(*processes));

		if (!place)
			r = -ENOMEM;
		else
			*place = (pid_t)pid;
	}
	if (r < 0)
		return fail(r, "cannot ask systemd for the processes of %s: %m", unit);
	*ret = take_pointer(processes);
	*ret_count = count;
	return 0;
}

#define UNIT_STRUCT "(ssssssouso)" /* ListUnits: name, description, load, active, … */

static int read_unit_names(message reply, char ***ret)
{
	char **names = calloc(1, sizeof(*names));
	const char *name;
	size_t count = 0;
	int r = names ? sd_bus_message_enter_container(reply, 'a', UNIT_STRUCT) : -ENOMEM;

	while (r >= 0 &&
		(r = sd_bus_message_read(reply, UNIT_STRUCT, &name, NULL, NULL, NULL, NULL, NULL,
			 NULL, NULL, NULL, NULL)) > 0)
		r = append_string(&names, &count, name);
	*ret = names;
	return r;
}

int manager_list_active(sd_bus *manager, const char *pattern, char ***ret)
{
	_cleanup_(message_unrefp) message call = NULL, reply = NULL;
	int r;

	r = sd_bus_message_new_method_call(
		manager, &call, SERVICE, MANAGER_OBJECT, MANAGER, "ListUnitsByPatterns");
	if (r >= 0)
		r = sd_bus_message_append(call, "asas", 2, "active", "reloading", 1, pattern);
	if (r >= 0)
		r = sd_bus_call(manager, call, 0, NULL, &reply);
	if (r >= 0)
		r = read_unit_names(reply, ret);
	return r < 0 ? fail(r, "cannot ask systemd for the units %s: %m", pattern) : 0;
}

/* The unit's object and ActiveState; NULL for what can't be found out. */
static char *active_state(sd_bus *manager, const char *unit, char **ret_object)
{
	char *state = NULL;

	if (manager_unit_object(unit, ret_object) < 0)
		return NULL;
	manager_get_string(manager, *ret_object, UNIT_INTERFACE, "ActiveState", &state);
	return state;
}

bool manager_is_active(sd_bus *manager, const char *unit)
{
	_cleanup_(freep) char *object = NULL, *state = active_state(manager, unit, &object);

	return state &&
		(strcmp(state, "active") == 0 || strcmp(state, "activating") == 0 ||
			strcmp(state, "reloading") == 0);
}

uint64_t manager_active_since(sd_bus *manager, const char *unit)
{
	_cleanup_(freep) char *object = NULL, *state = active_state(manager, unit, &object);
	uint64_t since = 0;

	if (state && (strcmp(state, "active") == 0 || strcmp(state, "reloading") == 0))
		sd_bus_get_property_trivial(manager, SERVICE, object, UNIT_INTERFACE,
			"ActiveEnterTimestampMonotonic", NULL, 't', &since);
	return since;
}

char *manager_job_type(sd_bus *manager, const char *unit)
{
	_cleanup_(message_unrefp) message reply = NULL;
	_cleanup_(freep) char *object = NULL;
	const char *job = NULL;
	uint32_t id = 0;
	char *type = NULL;

	if (manager_unit_object(unit, &object) == 0 &&
		sd_bus_get_property(manager, SERVICE, object, UNIT_INTERFACE, "Job", NULL, &reply,
			"(uo)") >= 0 &&
		sd_bus_message_read(reply, "(uo)", &id, &job) > 0 && id != 0)
		sd_bus_get_property_string(manager, SERVICE, job, "org.freedesktop.systemd1.Job",
			"JobType", NULL, &type);
	return type ?: strdup("");
}

int manager_start(sd_bus *manager, const char *unit)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_call_method(manager, SERVICE, MANAGER_OBJECT, MANAGER, "StartUnit", &error,
		NULL, "ss", unit, "replace");

	if (r < 0)
		fail(r, "cannot start %s: %s", unit, error.message ?: strerror(-r));
	sd_bus_error_free(&error);
	return r < 0 ? r : 0;
}
