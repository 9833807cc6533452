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

#define DISPATCHER_ABI 2

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
	struct lengths lengths[FAMILIES][PROTOCOLS][PORT_KINDS];
	__u32 ports[PROTOCOLS][PORTS];
};

/* Keys of the tables ipv4 and ipv6. Addresses are in host byte order and masked. */
struct ipv4_key {
	__u32 address;
	__u16 port; /* of PORT_RANGE the class, of ALL_PORTS 0 */
	__u8 length;
	__u8 protocol_and_kind; /* PROTOCOL_AND_KIND() */
};

struct ipv6_key {
	__u64 high;
	__u64 low;
	__u16 port;
	__u8 length;
	__u8 protocol_and_kind;
	__u32 zero; /* the key is compared byte by byte: no padding may be left to chance */
};

#define PROTOCOL_AND_KIND(protocol, kind) ((protocol)*PORT_KINDS + (kind))

/* A value of ipv4 and ipv6: which destination, 0 to MAX_DESTINATIONS - 1, and a mark. */
#define DESTINATION 0x0ffffU
#define BY_HAND     0x10000U /* the administrator bound this one; others may have, too */
typedef __u32 destination_id;

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
	__u64 loaded_at;         /* CLOCK_REALTIME, seconds */
	__u32 binding_count;     /* what the administrator bound, … */
	__u32 range_count;       /* … of it, ranges: these stand in `claims` */
	__u32 claim_count;       /* what units bound */
	__u32 entries[FAMILIES]; /* of ipv4 and ipv6 */
	__u32 length_uses[FAMILIES][PROTOCOLS][PORT_KINDS][129]; /* entries, by prefix length */
	__u32 destination_uses[MAX_DESTINATIONS]; /* distinct bindings that lead there */
};
