/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sockets of this and of other processes: which ones can be dispatched to, where they listen, and
 * how to get at them.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "binding.h"

/* A listening TCP or an unconnected UDP socket, in a descriptor of our own. */
struct socket {
	int fd;
	pid_t pid;  /* whose it is; 0 for a descriptor that was passed to us */
	int number; /* the descriptor's number there */
	uint8_t protocol;
	struct in6_addr address; /* where it listens, IPv4 mapped */
	uint16_t port;
	uint64_t cookie;         /* SO_COOKIE: unique on this machine until the next boot */
	bool families[FAMILIES]; /* which packets it takes; a dual-stack one takes both */
	bool reuseport;
};

/* A list that grows. Give back with socket_list_free(), which closes the descriptors. */
struct socket_list {
	struct socket *sockets;
	size_t count;
	/* Sockets of processes that were left out: */
	size_t idle;      /* TCP that doesn't listen */
	size_t connected; /* UDP */
	size_t elsewhere; /* in another network namespace */
};

void socket_list_free(struct socket_list *list);

#define LONGEST_SOCKET_TEXT 160
/* "tcp 127.0.0.1 8080 (fd 3 of process 42)" */
const char *socket_format(const struct socket *socket, char text[LONGEST_SOCKET_TEXT]);

/*
 * What there is, in words that continue "it has ": "tcp 127.0.0.1 80 (…), tcp ::1 80 (…) and 1
 * connected UDP socket". The caller frees them. NULL: there is no memory.
 */
char *socket_list_describe(const struct socket_list *list);

/*
 * Describes a socket. Takes the descriptor, also on error. Returns 0; -ENOTSOCK for what is no
 * socket or one of another kind, -ENOTCONN for TCP that doesn't listen and UDP that isn't bound,
 * -EISCONN for connected UDP, -EXDEV for one of another network namespace; another negative errno
 * for what the kernel refuses. Nothing is said.
 */
int socket_examine(int fd, struct socket *ret);

/* Why socket_examine() refused it, in words that continue "fd 3 ". */
const char *socket_refusal(int error);

/*
 * Appends the sockets of a process that can be dispatched to, borrowed with pidfd_getfd(2); a
 * socket that the list has already is left out. What else the process has open is skipped. Raises
 * the limit of our own open files as far as it may be.
 *
 * Returns 0 or a negative errno, unsaid: -ESRCH where the process is gone, -EPERM where we may not
 * (it takes CAP_SYS_PTRACE and CAP_NET_ADMIN), -ENOSYS before Linux 5.6, -EMFILE where these are
 * too many for us.
 */
int socket_list_add_process(struct socket_list *list, pid_t pid);

/* Moves a socket to another list, which may have it already. Returns 0 or -ENOMEM, unsaid. */
int socket_list_move(struct socket_list *to, struct socket_list *from, size_t index);

/* Could either of two sockets get the same packets? Not so in a SO_REUSEPORT group: it is one. */
bool socket_competes(const struct socket *a, const struct socket *b);

/* What to do about a passed descriptor that can't be dispatched to. */
enum unfit { UNFIT_IS_ERROR, UNFIT_IS_SKIPPED };

/*
 * Appends the sockets that systemd passed to us (sd_listen_fds(3)). Returns 0 or a negative errno,
 * said; *ret_passed, if not NULL, is how many descriptors there were, of whatever kind.
 */
int socket_list_add_passed(struct socket_list *list, enum unfit unfit, int *ret_passed);

/* Is this where the socket listens? 0.0.0.0 also means the wildcard of a dual-stack one. */
bool socket_listens_at(const struct socket *socket, uint8_t protocol,
	const struct in6_addr *address, uint16_t port);
