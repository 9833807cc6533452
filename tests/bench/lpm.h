/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What lookup.bpf.c and the tools that fill its LPM trie agree on. The model is tubular: the
 * protocol and the port come first and always match whole, then the address matches by prefix.
 * But its addresses have 128 bits in any case, and these 32, of which the trie has less to compare:
 * with a trie for each family, an IPv4 packet's lookup is as cheap as it can be.
 */
#pragma once

#include <linux/types.h>

struct lpm_key {
	__u32 prefixlen; /* LPM_PORT_BITS and the length of the address's prefix */
	__u8 protocol;   /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 zero;
	__be16 port; /* 0: all ports */
	__be32 address;
};

#define LPM_PORT_BITS 32

struct lpm_value {
	__u32 destination;
	__u32 prefixlen; /* which of two bindings that match is the longer one */
};

struct lpm_counters {
	__u64 lookups, misses, errors;
};
