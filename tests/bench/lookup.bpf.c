// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the dispatcher's cost is compared with: a program that does nothing, one that finds the
 * binding by two lookups in an LPM trie (with the packet's port, and with port 0 for all ports),
 * and one that has found it already. The last two go on as the dispatcher does: they count, look
 * the socket up and assign it.
 */
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lpm.h"

#define AF_INET      2
#define DESTINATIONS 1024 /* as many as the dispatcher has */

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct lpm_key);
	__type(value, struct lpm_value);
} trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, DESTINATIONS);
	__type(key, __u32);
	__type(value, __u64);
} bench_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DESTINATIONS);
	__type(key, __u32);
	__type(value, struct lpm_counters);
} bench_counters SEC(".maps");

static __always_inline int assign(struct bpf_sk_lookup *ctx, __u32 destination)
{
	struct lpm_counters *count = bpf_map_lookup_elem(&bench_counters, &destination);
	struct bpf_sock *sk;
	long r;

	if (!count)
		return SK_DROP;
	count->lookups++;
	sk = bpf_map_lookup_elem(&bench_sockets, &destination);
	if (!sk) {
		count->misses++;
		return SK_DROP;
	}
	r = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	if (r) {
		count->errors++;
		return SK_DROP;
	}
	return SK_PASS;
}

SEC("sk_lookup")
int do_nothing(struct bpf_sk_lookup *ctx)
{
	(void)ctx;
	return SK_PASS;
}

SEC("sk_lookup")
int assign_only(struct bpf_sk_lookup *ctx)
{
	return assign(ctx, 0);
}

SEC("sk_lookup")
int two_lpm_lookups(struct bpf_sk_lookup *ctx)
{
	struct lpm_key key = {
		.prefixlen = LPM_PORT_BITS + 32,
		.protocol = ctx->protocol,
		.port = bpf_htons(ctx->local_port),
	};
	struct lpm_value *one_port, *all_ports;

	if (ctx->family != AF_INET)
		return SK_PASS;
	key.address = ctx->local_ip4;
	one_port = bpf_map_lookup_elem(&trie, &key);
	key.port = 0;
	all_ports = bpf_map_lookup_elem(&trie, &key);
	if (!one_port || (all_ports && all_ports->prefixlen > one_port->prefixlen))
		one_port = all_ports;
	if (!one_port)
		return SK_PASS;
	return assign(ctx, one_port->destination);
}

char LICENSE[] SEC("license") = "GPL";
