/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks bind: the same bindings for the same kind and number, in every process that
 * asks, so that isomctl and the LPM trie work on the same.
 *
 * Addresses are random, of 1.0.0.0 to 191.255.255.255, with seven prefix lengths in use as evenly
 * as the number of bindings lets them: 256 networks of length 8 are all there are.
 */
#pragma once

#include <linux/types.h>
#include <stddef.h>

enum binding_kind {
	SINGLE_PORTS, /* one port each */
	ALL_PORTS,
	PORT_RANGES,
	MIXED, /* of each of the others a third */
};

struct bench_binding {
	__u32 address; /* host byte order, masked */
	__u8 length;
	__u16 port_low, port_high; /* one port: both the same; all ports: both 0 */
};

/* Ports and addresses that no binding but one of all ports holds. */
#define UNBOUND_PORT    81
#define UNBOUND_ADDRESS 0xc0000201 /* 192.0.2.1 */

/* Every binding of the benchmarks is of TCP and leads to this label. */
#define BENCH_LABEL "bench"

/* The kind of that name (single, all, range, mixed), or exits with a word about it. */
enum binding_kind binding_kind_parse(const char *name);

/* A number of bindings from a command line, or exits likewise. */
size_t binding_count_parse(const char *text);

/* That many different bindings. The caller frees them. Exits if there is no memory. */
struct bench_binding *make_bindings(enum binding_kind kind, size_t count);

/* Does the binding hold the address and the port? */
_Bool binding_holds(const struct bench_binding *binding, __u32 address, __u16 port);

/* The address's first bits, the others 0. */
__u32 mask_address(__u32 address, __u8 length);

/* The next of a sequence of random numbers, which is always the same for the same seed. */
__u32 next_random(__u64 *seed);

/* The key of a binding in the LPM trie: see lookup.bpf.c. */
struct lpm_key lpm_key_of(const struct bench_binding *binding);
