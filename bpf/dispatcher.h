/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the program in dispatcher.bpf.c and the tools that pin it agree on: limits, map keys and
 * values. A change to anything in this file that an older tool would misread needs a new
 * DISPATCHER_ABI.
 *
 * The program reads the gate, and the tables ipv4 and ipv6. What the administrator bound to one
 * port or to all stands in those tables itself, marked BY_HAND; whatever else was asked for, by
 * units, or for ranges of ports, stands in `claims`, and what the program reads of it is derived
 * and can always be made again.
 */
#pragma once

#include <linux/types.h>

#define DISPATCHER_ABI 3

#define MAX_DESTINATIONS 1024
#define MAX_OWNERS       4096
#define NAME_SIZE        256 /* of a label or a unit's name, with its NUL */
#define PORTS            65536

enum { IPV4, IPV6, FAMILIES };
enum { TCP, UDP, PROTOCOLS };

/* How a binding names its ports. In the order of precedence: the narrower is looked up first. */
enum { ONE_PORT, PORT_RANGE, ALL_PORTS, PORT_KINDS };

/*
 * The prefix lengths in use, as a bitmap with bit 0 for the longest length of the family (32 or
 * 128), bit 1 for the next shorter, and so on: the lowest bit that is set is the longest prefix.
 * A bit is set and cleared with one store, so that a packet never sees a length vanish that is
 * in use.
 */
#define LENGTH_WORDS 3
struct lengths {
	__u64 words[LENGTH_WORDS]; /* IPv4 needs the first alone */
};

/*
 * What the gate knows of a port. The ranges in use cut the ports of a protocol into classes: the
 * ports of a class lie in the same ranges, so a range takes as many entries as it has classes, not
 * ports. A class is named by its first port; 0 means that the port lies in no range.
 */
#define PORT_CLASS  0x0ffffU
#define PORT_IN_USE 0x10000U /* there is a binding of this one port */

/* Tells whether a packet can match at all, before any lookup is paid for. The program's .bss. */
struct gate {
	__u32 slot_mask; /* one less than there are slots */
	struct lengths lengths[FAMILIES][PROTOCOLS][PORT_KINDS];
	__u32 ports[PROTOCOLS][PORTS];
};

/*
 * The table of bindings: open addressing in an array, for an entry can then be added, moved to
 * another destination and removed by one store into memory that the tools share, a packet reads a
 * slot or two in a few nanoseconds, and a million entries are put in as fast as memory takes them
 * (a kernel hash map costs 12 ns a lookup, and frees what it replaces for reuse at once, under the
 * eyes of packets).
 *
 * An entry's slot is the first free one of its probes: h, h + 1, h + 3, h + 6, … with h =
 * slot_hash(). Where the probes are used up, the table is too small and a larger one is made. What
 * is removed stays a grave: its slot serves the same address again, or nobody; so a slot's address
 * never changes under a reader, and `what` is all that has to be written at once. Addresses are
 * inverted: those of a slot without one, all ones, are no packet's.
 */
#define MOST_PROBES 32

struct slot {
	__u64 what;     /* SLOT_EMPTY, SLOT_GRAVE, or slot_key() << 32 and a value */
	__u64 not_high; /* the address inverted, in host byte order and masked; IPv4 mapped */
	__u64 not_low;
	__u64 unused; /* a slot never lies in two cache lines, nor in two pages */
};

#define SLOT_EMPTY 0ULL
#define SLOT_GRAVE 1ULL

/* The value: which destination, 0 to MAX_DESTINATIONS - 1, and a mark. */
#define DESTINATION 0x0ffffU
#define BY_HAND     0x10000U /* the administrator bound this one; others may have, too */
typedef __u32 destination_id;

/* What of an entry isn't its address; never 0. The port is a range's class, or 0 for ALL_PORTS. */
static inline __u32 slot_key(__u32 protocol, __u32 kind, __u32 length, __u32 port)
{
	return (protocol * PORT_KINDS + kind + 1) << 24 | length << 16 | port;
}

static inline __u32 slot_hash(__u64 high, __u64 low, __u32 key)
{
	__u64 hash = low ^ high * 0x9e3779b97f4a7c15ULL;

	hash ^= key * 0xff51afd7ed558ccdULL;
	hash ^= hash >> 32;
	hash *= 0xc4ceb9fe1a85ec53ULL;
	return hash >> 32;
}

/* Per CPU and destination. */
struct counters {
	__u64 lookups; /* packets that matched a binding of this destination */
	__u64 misses;  /* of these, refused for there was no socket */
	__u64 errors;  /* of these, refused for the kernel did not take the socket */
};

/*
 * Here begins what only the tools read.
 *
 * The key of `claims`, which holds the bindings of units and the administrator's ranges.
 */
struct binding_key {
	__u8 address[16];   /* masked, network byte order; IPv4 as ::ffff:a.b.c.d */
	__u8 prefix_length; /* 0 to 128; an IPv4 prefix has 96 more than is written */
	__u8 protocol;      /* TCP or UDP */
	__u16 owner;        /* 0, or one more than the unit's index in `owners` */
	__u16 port_low;     /* one port: both the same; all ports: 0 and 65535 */
	__u16 port_high;
};

struct owner {
	char unit[NAME_SIZE]; /* empty: this place is free */
};

/*
 * (label, family, protocol), and who registered the socket that it holds. A destination that no
 * binding leads to and that holds no socket is idle, and its place is taken back at the next
 * change.
 */
struct destination {
	char label[NAME_SIZE]; /* empty: this place is free */
	char unit[NAME_SIZE];  /* empty: registered by hand */
	__u64 cookie;          /* SO_COOKIE of the socket that all below is about */
	__u8 address[16];      /* where that socket listens, IPv4 as ::ffff:a.b.c.d */
	__u16 port;
	__u8 family;   /* IPV4 or IPV6 */
	__u8 protocol; /* TCP or UDP */
	__u32 zero;
};

/* How much a port is used: for each protocol PORTS of them, in the order of the ports. */
struct port_uses {
	__u32 bindings; /* of this one port */
	__u32 cuts;     /* ranges that begin here, or end just before */
};

/* One value, the books of the tables: counted while they are changed, counted anew with them. */
struct ledger {
	__u32 abi;      /* first in every ABI */
	__u32 changing; /* a change is under way; found set, its author died: derive the tables anew
			 */
	__u64 loaded_at;     /* CLOCK_REALTIME, seconds */
	__u32 binding_count; /* what the administrator bound, … */
	__u32 range_count;   /* … of it, ranges: these stand in `claims` */
	__u32 claim_count;   /* what units bound */
	__u32 entries;       /* in `slots` */
	__u32 graves;
	__u32 destination_places; /* of `destinations`, none from here on was ever taken */
	__u32 owner_places;       /* the same of `owners` */
	__u32 length_uses[FAMILIES][PROTOCOLS][PORT_KINDS][129]; /* entries, by prefix length */
	__u32 destination_uses[MAX_DESTINATIONS]; /* distinct bindings that lead there */
};
