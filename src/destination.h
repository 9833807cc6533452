/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Destinations: the (label, family, protocol) slots that bindings lead to, the socket in each, who
 * registered it, and what the program has counted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dispatcher.h"
#include "socket.h"

/* -ENOENT, unsaid, where there is none. */
int destination_find(const struct dispatcher *dispatcher, const char *label, uint8_t family,
	uint8_t protocol, destination_id *ret);

/* Finds it or takes a free place for it. Returns 0 or a negative errno, said. */
int destination_acquire(struct dispatcher *dispatcher, const char *label, uint8_t family,
	uint8_t protocol, destination_id *ret);

/*
 * Takes back the places of idle destinations. Only at the start of a change. Returns 0 or a
 * negative errno, said.
 */
int destinations_release_idle(struct dispatcher *dispatcher);

/*
 * The cookie of the socket that it holds, 0 for none. Its record (unit, address, port) is of that
 * one if it has the same cookie. Returns 0 or a negative errno, said.
 */
int destination_socket(
	const struct dispatcher *dispatcher, destination_id id, uint64_t *ret_cookie);

/* What the program has counted, on all CPUs. Returns 0 or a negative errno, unsaid. */
int destination_counters(
	const struct dispatcher *dispatcher, destination_id id, struct counters *ret);

/* What there is to tell of a destination. */
struct destination_view {
	destination_id id;
	const struct destination *record; /* valid as long as the dispatcher */
	uint32_t bindings;                /* how many lead to it */
	uint64_t cookie;                  /* of the socket that it holds; 0: none */
	bool known;                       /* the record tells of this very socket */
	struct counters counters;
};

/*
 * Looks at a destination; *ret_in_use is false where no binding leads to it and it holds no socket,
 * and then that is all that is told. Returns 0 or a negative errno, said.
 */
int destination_look(const struct dispatcher *dispatcher, destination_id id,
	struct destination_view *ret, bool *ret_in_use);

/* A socket and the label that it is to be registered under. */
struct registration {
	const struct socket *socket;
	const char *label;
};

/* What to do about another one's socket in a destination. */
enum incumbent { REPLACE, RESPECT };

/*
 * Puts sockets into their destinations, for a unit or (unit "") for the administrator. A unit's
 * other registrations are taken back: these are all it has. Of a SO_REUSEPORT group one member
 * stands for all. Two sockets for one destination are an error that names both.
 *
 * Returns 0 or a negative errno, said. Where the kernel refuses a socket, those before it in the
 * list are registered; every other error leaves all as it was.
 */
int destinations_register(struct dispatcher *dispatcher, const char *unit,
	const struct registration *registrations, size_t count, enum incumbent incumbent);

/* Empties a destination. -ENOENT, said, where it holds no socket. */
int destination_unregister(
	struct dispatcher *dispatcher, const char *label, uint8_t family, uint8_t protocol);

/* Empties all destinations whose socket the unit registered. */
int destinations_unregister_unit(struct dispatcher *dispatcher, const char *unit);
