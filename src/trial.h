/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asks the loaded program itself what it does with a packet (BPF_PROG_TEST_RUN, which sk_lookup has
 * since Linux 5.13), so that the answer is the kernel's own. To the program a trial is a packet: it
 * counts it.
 */
#pragma once

#include <netinet/in.h>

#include "dispatcher.h"

struct trial {
	enum {
		TRIAL_NOT_BOUND, /* the kernel finds the socket as if there were no dispatcher */
		TRIAL_REFUSED,
		TRIAL_ASSIGNED, /* to this socket */
		TRIAL_GROUP,    /* to a SO_REUSEPORT group; which member, a packet alone decides */
	} verdict;
	uint64_t cookie; /* of the socket; 0 for none, and of a group */
};

/*
 * Returns 0; -EOPNOTSUPP where this kernel can't, -EPERM or -EACCES where we may not, or another
 * negative errno. Nothing is said.
 */
int trial_run(const struct dispatcher *dispatcher, uint8_t protocol, const struct in6_addr *address,
	uint16_t port, struct trial *ret);
