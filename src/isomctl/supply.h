/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether a unit that runs could have a socket under a label: what its section says, held against
 * the sockets that are open. Nothing is registered here, and nothing said.
 */
#pragma once

#include <stdint.h>

#include "../socket.h"
#include "../unitpath.h"

enum supply {
	NO_SOCKET_SEEN, /* also where its section is wrong, or it may not be looked into */
	NOT_DECLARED,   /* its section puts no socket under the label */
	HAS_SOCKET,     /* it has one that its section puts there */
};

/* A destination: such packets, under this label. */
struct demand {
	const char *label;
	uint8_t family;
	uint8_t protocol;
};

enum supply unit_supply(
	const struct unitpath *unitpath, const char *unit, const struct demand *demand);

/*
 * Appends the sockets of a service's processes. Returns 0 or a negative errno, unsaid: -ESRCH where
 * it has none, or systemd can't be asked; and those of socket_list_add_process().
 */
int borrow_sockets_of_service(const char *service, struct socket_list *list);
