// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dispatcher: picks the socket for each new connection and each unconnected datagram of a
 * network namespace, on the sk_lookup hook (Documentation/bpf/prog_sk_lookup.rst).
 *
 * A packet pays for what is bound: two loads tell whether any binding can match, then each prefix
 * length in use costs a hash lookup, from the longest to the shortest, the narrower ports first.
 * The first hit is the answer, by construction in the order of precedence.
 *
 * The tools change the tables while this runs. Whatever is read more than once is copied first.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "dispatcher.h"

#define AF_INET  2
#define AF_INET6 10

#define read_once(x) (*(const volatile typeof(x) *)&(x))

volatile struct gate gate;

/* The sizes of these two are what is needed: the tools set them when they load the program. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct binding_key);
	__type(value, destination_id);
} claims SEC(".maps");

/* A closed socket leaves the sockmap by itself. User space reads a socket's cookie from it. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, MAX_DESTINATIONS);
	__type(key, destination_id);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_DESTINATIONS);
	__type(key, destination_id);
	__type(value, struct counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_DESTINATIONS);
	__type(key, destination_id);
	__type(value, struct destination);
} destinations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_OWNERS);
	__type(key, __u32);
	__type(value, struct owner);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ledger);
} ledger SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PROTOCOLS *PORTS);
	__type(key, __u32);
	__type(value, struct port_uses);
} port_uses SEC(".maps");

/* The index of a word's lowest set bit, by a de Bruijn sequence: BPF has no instruction for it. */
static __always_inline __u32 lowest_bit(__u64 word)
{
	static const __u8 indexes[64] = {0, 1, 2, 53, 3, 7, 54, 27, 4, 38, 41, 8, 34, 55, 48, 28,
		62, 5, 39, 46, 44, 42, 22, 9, 24, 35, 59, 56, 49, 18, 29, 11, 63, 52, 6, 26, 37, 40,
		33, 47, 61, 45, 43, 21, 23, 58, 17, 10, 51, 25, 36, 32, 60, 20, 57, 16, 50, 31, 19,
		15, 30, 14, 13, 12};

	return indexes[((word & -word) * 0x022fdd63cc95386dULL) >> 58];
}

#define NO_BINDING (~0U) /* no value of a slot */

/*
 * What is left to look for: of each way to name ports, the prefix lengths in use (one word of their
 * bitmaps), and the port that stands in the keys. Without a branch: each would double the
 * verifier's paths.
 */
struct candidates {
	__u64 lengths[PORT_KINDS];
	__u16 ports[PORT_KINDS];
};

static __always_inline struct candidates candidates(
	__u32 family, __u32 protocol, __u16 port, __u32 word)
{
	const volatile struct lengths *in_use = gate.lengths[family][protocol];
	__u32 known = gate.ports[protocol][port];
	__u64 class = known & PORT_CLASS;

	return (struct candidates){
		.lengths =
			{
				[ONE_PORT] = in_use[ONE_PORT].words[word] &
					-(__u64)(known / PORT_IN_USE),
				[PORT_RANGE] = in_use[PORT_RANGE].words[word] &
					-((class + PORT_CLASS) >> 16),
				[ALL_PORTS] = in_use[ALL_PORTS].words[word],
			},
		.ports = {[ONE_PORT] = port, [PORT_RANGE] = class, [ALL_PORTS] = 0},
	};
}

static __always_inline __u64 any_kind(const struct candidates *in_use)
{
	return in_use->lengths[ONE_PORT] | in_use->lengths[PORT_RANGE] | in_use->lengths[ALL_PORTS];
}

/*
 * The value of an entry, or NO_BINDING. A function of its own, and not a static one: so the
 * verifier goes through it once, and not for each prefix length (Documentation/bpf/verifier.rst).
 */
__noinline int look_up(__u64 high, __u64 low, __u32 key)
{
	__u32 mask = gate.slot_mask, index = slot_hash(high, low, key);

	for (__u32 probe = 0; probe < MOST_PROBES; index += ++probe) {
		__u32 at = index & mask;
		const volatile struct slot *slot = bpf_map_lookup_elem(&slots, &at);
		__u64 what;

		if (!slot)
			break;
		what = slot->what;
		if (what >> 32 == key && slot->not_low == ~low && slot->not_high == ~high)
			return what & (DESTINATION | BY_HAND);
		if (what == SLOT_EMPTY)
			break;
	}
	return NO_BINDING;
}

/* Looks up a prefix, whose length is `bit`, under each way to name ports that has such a length. */
static __always_inline __u32 look_up_kinds(const struct candidates *in_use, __u64 bit, __u64 high,
	__u64 low, __u32 protocol, __u32 length)
{
#pragma unroll
	for (int kind = 0; kind < PORT_KINDS; kind++) {
		__u32 found;

		if (!(in_use->lengths[kind] & bit))
			continue;
		found = look_up(high, low, slot_key(protocol, kind, length, in_use->ports[kind]));
		if (found != NO_BINDING)
			return found;
	}
	return NO_BINDING;
}

/* Looks under the lengths of one word of the bitmaps: 128 to 65, 64 to 1, and 0. */
static __always_inline __u32 find_in_word(
	__u32 family, __u64 high, __u64 low, __u32 protocol, __u16 port, __u32 word)
{
	struct candidates in_use = candidates(family, protocol, port, word);
	__u64 left = any_kind(&in_use);

	for (int i = 0; i < 64 && left; i++, left &= left - 1) {
		__u32 host_bits = lowest_bit(left);
		__u64 bit = left & -left, mask = ~0ULL << host_bits;
		__u32 found = look_up_kinds(&in_use, bit,
			word == 0           ? high
				: word == 1 ? high & mask
					    : 0,
			word == 0 ? low & mask : 0, protocol, 128 - 64 * word - host_bits);

		if (found != NO_BINDING)
			return found;
	}
	return NO_BINDING;
}

static __always_inline __u32 find_ipv4(__u32 address, __u32 protocol, __u16 port)
{
	return find_in_word(IPV4, 0, 0xffffULL << 32 | address, protocol, port, 0);
}

static __always_inline __u32 find_ipv6(__u64 high, __u64 low, __u32 protocol, __u16 port)
{
	__u32 found = find_in_word(IPV6, high, low, protocol, port, 0);

	if (found == NO_BINDING)
		found = find_in_word(IPV6, high, low, protocol, port, 1);
	if (found == NO_BINDING)
		found = find_in_word(IPV6, high, low, protocol, port, 2);
	return found;
}

/* IPPROTO_TCP is 6, IPPROTO_UDP 17, and sk_lookup sees no other: their bit 4 tells them apart. */
static __always_inline __u32 protocol_index(__u32 protocol)
{
	_Static_assert((IPPROTO_TCP >> 4 & 1) == TCP && (IPPROTO_UDP >> 4 & 1) == UDP, "bit 4");
	return protocol >> 4 & 1;
}

/*
 * clang likes to merge the reads of the address fields into pointer arithmetic on ctx, which the
 * verifier refuses: hence read_once().
 */
static __always_inline __u32 find(struct bpf_sk_lookup *ctx)
{
	__u32 protocol = protocol_index(read_once(ctx->protocol));
	__u16 port = read_once(ctx->local_port);

	if (read_once(ctx->family) == AF_INET)
		return find_ipv4(bpf_ntohl(read_once(ctx->local_ip4)), protocol, port);

	__u64 high = (__u64)bpf_ntohl(read_once(ctx->local_ip6[0])) << 32;
	__u64 low = (__u64)bpf_ntohl(read_once(ctx->local_ip6[2])) << 32;

	high |= bpf_ntohl(read_once(ctx->local_ip6[1]));
	low |= bpf_ntohl(read_once(ctx->local_ip6[3]));
	return find_ipv6(high, low, protocol, port);
}

SEC("sk_lookup")
int isomer_dispatch(struct bpf_sk_lookup *ctx)
{
	__u32 found = find(ctx);
	destination_id destination = found & DESTINATION;
	struct counters *count;
	struct bpf_sock *sk;
	long r;

	if (found == NO_BINDING)
		return SK_PASS; /* not ours: as if there were no dispatcher */

	count = bpf_map_lookup_elem(&counters, &destination);
	if (!count)
		return SK_DROP;
	count->lookups++;

	sk = bpf_map_lookup_elem(&sockets, &destination);
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

char LICENSE[] SEC("license") = "GPL";
