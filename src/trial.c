/* SPDX-License-Identifier: GPL-2.0-only */
/* Asks the loaded program what it does with a packet: see trial.h. */
#include "trial.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/socket.h>

#include "binding.h"
#include "cleanup.h"

#define ENOTSUPP_OF_KERNEL                                                                         \
	524 /* linux/errno.h of the kernel: not for user space, but it gets out */

static struct bpf_sk_lookup context_of(
	uint8_t protocol, const struct in6_addr *address, uint16_t port)
{
	struct bpf_sk_lookup context = {
		.protocol = protocol == TCP ? IPPROTO_TCP : IPPROTO_UDP,
		.local_port = port,
	};

	if (address_family(address) == IPV4) {
		context.family = AF_INET;
		memcpy(&context.local_ip4, &address->s6_addr[12], sizeof(context.local_ip4));
	} else {
		context.family = AF_INET6;
		memcpy(context.local_ip6, address, sizeof(context.local_ip6));
	}
	return context;
}

int trial_run(const struct dispatcher *d, uint8_t protocol, const struct in6_addr *address,
	uint16_t port, struct trial *ret)
{
	_cleanup_(closep) int program = -EBADF;
	struct bpf_sk_lookup in = context_of(protocol, address, port), out = {};
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &in, .ctx_size_in = sizeof(in),
		.ctx_out = &out, .ctx_size_out = sizeof(out));

	program = bpf_prog_get_fd_by_id(d->program);
	if (program < 0)
		return -errno;
	*ret = (struct trial){};
	if (bpf_prog_test_run_opts(program, &options) < 0) {
		if (errno == EOPNOTSUPP) {
			ret->verdict = TRIAL_GROUP; /* what the kernel says of such a socket */
			return 0;
		}
		return errno == ENOTSUPP_OF_KERNEL ? -EOPNOTSUPP : -errno;
	}
	ret->cookie = out.cookie;
	ret->verdict = options.retval == SK_DROP ? TRIAL_REFUSED
		: out.cookie                     ? TRIAL_ASSIGNED
						 : TRIAL_NOT_BOUND;
	return 0;
}
