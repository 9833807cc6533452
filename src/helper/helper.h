/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomer-helper: what isomer.service, isomer@.service and the drop-ins of isomer-generator call.
 * This header is what its files share: a unit with its section, and the work on it.
 */
#pragma once

#include <stdbool.h>

#include "../bindings.h"
#include "../dispatcher.h"
#include "../manager.h"
#include "../section.h"

/* A unit as systemd has loaded it, with the section that counts for it. */
struct unit {
	struct sd_bus *manager; /* borrowed */
	struct unit_name name;
	char *object; /* its D-Bus object */
	bool is_socket;
	bool serves_one_connection; /* of a socket unit with Accept=yes, whose affair Isomer is */
	bool inherits;     /* a socket unit whose section is that of a service it activates ... */
	bool has_siblings; /* ... which other units activate too, so that it is about theirs as well
			    */
	struct section section;
	char **files; /* that it was read from, the paths of its places */
};

/*
 * Asks systemd which files the unit was loaded from and reads its section from them; a socket unit
 * without one has that of the first service it activates that has one. A service that was started
 * for one connection has none, whatever its template says. Returns 0 or a negative errno, said;
 * also on error the section tells what it could of Required=. Give back with unit_close().
 */
int unit_open(struct sd_bus *manager, const char *name, struct unit *ret);
void unit_close(struct unit *unit);

/* Is this the end of its ExecReload=? What that has asked for may yet be going on. */
bool unit_is_reloading(const struct unit *unit);

/* On whose behalf sockets are looked for. */
enum occasion {
	STARTED,  /* the unit's: it is the last one started, and its sockets may yet appear */
	RESTORED, /* isomer.service's: a unit that was started later keeps the traffic */
};

/* The name of isomer@UNIT.service, which holds a unit's bindings. */
#define HOLDER_SIZE (UNIT_NAME_SIZE + sizeof("isomer@.service"))
void name_holder(char holder[HOLDER_SIZE], const char *unit);

/* Are the unit's bindings to be there now: is it active, or somebody else wants them always? */
bool unit_wants_bindings(const struct unit *unit);

/*
 * Has a unit that goes on without Isomer, as Required=no lets it, go on without its bindings, too,
 * for what is sent there would be refused; unless something else wants them.
 */
void unit_go_without(const struct unit *unit);

/* Says that one of the unit's bindings can't be, and where it is asked for. Returns -EADDRINUSE. */
int unit_say_refusal(const struct unit *unit, const struct refusal *refusal);

/* Makes the unit's bindings what its section says. Returns 0 or a negative errno, said. */
int unit_bind(const struct unit *unit);

/* Registers the sockets that a service's processes have now. Returns 0 or a negative errno, said.
 */
int unit_register_from_processes(const struct unit *unit, enum occasion occasion);

/*
 * Registers the sockets of an active unit, wherever they are: those that systemd holds for it, or
 * else those of its processes. Warns of what its section binds and nobody has a socket for.
 * Returns 0 or a negative errno, said.
 */
int unit_register(const struct unit *unit, enum occasion occasion);

/* Takes out the sockets that the unit registered. Returns 0 or a negative errno, said. */
int unit_unregister(const char *name);

/* The commands. Each returns 0 or a negative errno, said. */
int run_start(const char *unit);
int run_stop(const char *unit);
int run_bind(const char *unit);
int run_unbind(const char *unit);
int run_register(const char *unit);
int run_unregister(const char *unit);
