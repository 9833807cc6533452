/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Questions to systemd, PID 1, as a peer on its private socket: no D-Bus daemon is needed, so this
 * works early in the boot and from a unit's own commands too (org.freedesktop.systemd1(5)).
 *
 * Strings and lists that are returned belong to the caller; a list ends with NULL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sd_bus;

/* Connects. Returns 0 or a negative errno, said. Give back with manager_disconnect(). */
int manager_connect(struct sd_bus **ret);
void manager_disconnect(struct sd_bus **manager);

/* What kind of unit a property belongs to. */
#define UNIT_INTERFACE    "org.freedesktop.systemd1.Unit"
#define SERVICE_INTERFACE "org.freedesktop.systemd1.Service"
#define SOCKET_INTERFACE  "org.freedesktop.systemd1.Socket"

/*
 * The path of a unit's object, which stands for the unit whether it is loaded or not: whoever asks
 * for a property of it has systemd load it. Returns 0 or a negative errno, said.
 */
int manager_unit_object(const char *unit, char **ret);

/* A property that is a string, or a list of strings. Return 0 or a negative errno, said. */
int manager_get_string(struct sd_bus *manager, const char *object, const char *interface,
	const char *property, char **ret);
int manager_get_strings(struct sd_bus *manager, const char *object, const char *interface,
	const char *property, char ***ret);

/* A property that is a boolean; one that this systemd doesn't know, or can't tell, is false. */
bool manager_get_boolean(
	struct sd_bus *manager, const char *object, const char *interface, const char *property);

/* One address that a socket unit listens on, as its Listen property has it. */
struct listen {
	char *type;    /* "Stream", "Datagram", … */
	char *address; /* "127.0.0.1:80", "[::]:80", "/run/foo" */
};

/* All of them, ended by one without a type; for listens_free(). 0 or a negative errno, said. */
int manager_get_listens(struct sd_bus *manager, const char *object, struct listen **ret);
void listens_free(struct listen **listens);

/* All processes of a unit's control groups. Returns 0 or a negative errno, said. */
int manager_get_processes(struct sd_bus *manager, const char *unit, pid_t **ret, size_t *ret_count);

/* The names of the active units that a pattern (glob(7)) matches. 0 or a negative errno, said. */
int manager_list_active(struct sd_bus *manager, const char *pattern, char ***ret);

/* Is this unit active, or about to be? Whatever can't be found out is a no. */
bool manager_is_active(struct sd_bus *manager, const char *unit);

/* Since when a unit is active, on the monotonic clock in usec; 0: it isn't, or one can't tell. */
uint64_t manager_active_since(struct sd_bus *manager, const char *unit);

/* The type of the job that a unit has: "start", "restart", …; "" for none, and if in doubt. */
char *manager_job_type(struct sd_bus *manager, const char *unit);

/* Enqueues a start and doesn't wait for it. Returns 0 or a negative errno, said. */
int manager_start(struct sd_bus *manager, const char *unit);

void strings_free(char ***strings);
