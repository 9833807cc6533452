/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What unit files say of sockets: where a socket unit listens, which service it starts, and whose
 * sockets a service uses. Read from the files alone, as systemd.socket(5) and systemd.service(5)
 * have it; systemd itself isn't asked.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "../section.h"
#include "../unitfile.h"
#include "../unitpath.h"

/* A TCP or UDP address that a socket unit listens on. */
struct endpoint {
	uint8_t protocol;
	struct in6_addr address; /* IPv4 mapped */
	uint16_t port;
	bool dual_stack; /* the wildcard of both families */
	struct section_place place;
};

struct wiring {
	struct endpoint *listens; /* of a socket unit */
	size_t listen_count;
	bool accepts;                          /* Accept=yes: its services get connections */
	bool notifies;                         /* a service with Type=notify, or the like */
	bool oneshot;                          /* one with Type=oneshot */
	bool remains;                          /* one with RemainAfterExit=yes */
	unsigned long long start_timeout_usec; /* TimeoutStartSec=; 0: not given; FOREVER: none */
	bool private_network; /* a service whose processes are in another network namespace */
	bool root_directory, root_image; /* a service has one of its own, */
	bool root_for_start_only;        /* and only for its ExecStart= */
	char *service;                   /* Service=; NULL: none */
	char *sockets;                   /* of a service: the words of all Sockets=; NULL: none */
};

/* Reads a unit's files, in systemd's order. 0 or -ENOMEM; give back with wiring_free(). */
int wiring_read(
	const struct unit_name *unit, const char *const *files, size_t count, struct wiring *ret);
void wiring_free(struct wiring *wiring);

/* The service that a socket unit starts. False: what Service= says is none. */
bool wiring_service(
	const struct wiring *wiring, const struct unit_name *socket, struct unit_name *ret);

/*
 * The socket unit that starts a service, first of all the one named like it: also such as systemd
 * hasn't loaded, and so wouldn't tell (TriggeredBy). False: there is none.
 */
bool wiring_find_starter(
	const struct unitpath *unitpath, const struct unit_name *service, struct unit_name *ret);

/* Could either of two endpoints get the same packets? Not so with one that is there twice. */
bool endpoints_compete(const struct endpoint *a, const struct endpoint *b);

/* Is this where it listens? 0.0.0.0 also means the wildcard of a dual-stack one. */
bool endpoint_is_at(const struct endpoint *endpoint, uint8_t protocol,
	const struct in6_addr *address, uint16_t port);
