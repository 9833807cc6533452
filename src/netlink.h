/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Questions to the kernel over netlink, about what a packet meets before and beside the dispatcher:
 * whether its address is one of this machine's (rtnetlink(7)), and which sockets there are
 * (sock_diag(7)). All of it about this thread's network namespace; nothing is changed.
 *
 * All functions return 0 or a negative errno, unsaid.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "binding.h"

/*
 * The type of the route that a packet to this address takes: RTN_LOCAL, RTN_UNICAST, …
 * (linux/rtnetlink.h); RTN_UNREACHABLE where there is none.
 */
int route_type(const struct in6_addr *address, uint8_t *ret);

/* What is local on this machine as a whole: the routes of the table local. */
struct local_prefixes {
	struct prefix *list;
	size_t count;
};

int local_prefixes_read(struct local_prefixes *ret);
void local_prefixes_free(struct local_prefixes *local);

/* Which part of a prefix is local, as far as single routes tell. */
enum locality { NOT_LOCAL, PARTLY_LOCAL, ALL_LOCAL };
enum locality prefix_locality(const struct local_prefixes *local, const struct prefix *prefix);

/* A socket as the kernel shows it to those who ask for all of them. */
struct diag_socket {
	uint8_t protocol; /* TCP or UDP */
	bool is_ipv6;     /* one of AF_INET6, which may take IPv4 packets too */
	bool v6only;
	struct in6_addr address; /* where it is bound, IPv4 mapped */
	uint16_t port;
	struct in6_addr peer; /* of a connected one */
	uint16_t peer_port;   /* 0: not connected */
	uint64_t cookie;
	uint32_t device; /* the interface that it is bound to, 0 for none */
	uint32_t inode;
	uint32_t uid;
	uint32_t queued;      /* TCP: connections that wait to be accepted; UDP: bytes unread */
	uint32_t queue_limit; /* TCP: how many may wait */
};

typedef int diag_visit(const struct diag_socket *socket, void *context);

/* Shows all TCP sockets that listen, or all UDP sockets. Ends with what visit() returns but 0. */
int sockets_visit(uint8_t protocol, diag_visit *visit, void *context);

/* Does it take packets to that address and port, as the kernel finds sockets without sk_lookup? */
bool diag_socket_takes(
	const struct diag_socket *socket, const struct in6_addr *address, uint16_t port);
