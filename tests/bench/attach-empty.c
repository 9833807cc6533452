/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * attach-empty: attaches an sk_lookup program that does nothing to this network namespace, pinned
 * as /sys/fs/bpf/empty. What packets cost then is what they cost at least with any such program.
 */
#include <fcntl.h>

#include "../../src/cleanup.h"
#include "lookup.skel.h"
#include "measure.h"

int main(void)
{
	_cleanup_(closep) int netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct lookup_bpf *programs = lookup_bpf__open_and_load();
	struct bpf_link *link;

	die_with_parent();
	if (netns < 0 || !programs)
		err(1, "the programs of lookup.bpf.c");
	link = bpf_program__attach_netns(programs->progs.do_nothing, netns);
	if (!link || bpf_link__pin(link, "/sys/fs/bpf/empty") < 0)
		err(1, "a link to the network namespace");
	bpf_link__destroy(link);
	lookup_bpf__destroy(programs);
	return 0;
}
