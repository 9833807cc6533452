/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A binding, (protocol, prefix, ports) -> label, as people write it and as it is compared: parsing,
 * printing, and which of two bindings a packet prefers. Pure: touches no file and no kernel object.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "../bpf/dispatcher.h"
#include "say.h"

/* All addresses are IPv6; IPv4 ones are mapped (::ffff:a.b.c.d), and their lengths 96 longer. */
struct prefix {
	struct in6_addr address; /* masked: no bits past length */
	uint8_t length;          /* 0 to 128 */
};

struct ports {
	uint16_t low;
	uint16_t high; /* one port: both the same; all: 0 and 65535 */
};

/* What a packet's destination is held against. */
struct selector {
	uint8_t protocol; /* TCP or UDP */
	struct prefix prefix;
	struct ports ports;
};

struct binding {
	char label[NAME_SIZE];
	struct selector selector;
};

/* That a binding can't be, because of another one. */
struct refusal {
	struct binding refused;
	struct binding other;
	bool same_owner;      /* one owner asks for both */
	struct reason reason; /* after "cannot bind …: ", why, and what to do */
};

#define LONGEST_PREFIX_TEXT (INET6_ADDRSTRLEN + sizeof("/128"))
#define LONGEST_PORTS_TEXT  sizeof("65535-65535")

static const struct ports all_ports = {0, 65535};

/*
 * The parsers return 0, or -EINVAL with the reason filled in and *ret unchanged.
 *
 * Label: 1 to 255 bytes. Protocol: tcp or udp, in any case of letters. Prefix: ADDRESS[/LENGTH],
 * masked; IPv4-mapped IPv6 ones are refused with the IPv4 spelling. Address: the same without a
 * length. Ports: a number from 1 to 65535, a range of two of them (80-89), or 0 or * for all.
 * Port: a number from 1 to 65535.
 */
int label_parse(const char *text, char ret[NAME_SIZE], struct reason *reason);
int protocol_parse(const char *text, uint8_t *ret, struct reason *reason);
int prefix_parse(const char *text, struct prefix *ret, struct reason *reason);
int address_parse(const char *text, struct in6_addr *ret, struct reason *reason);
int ports_parse(const char *text, struct ports *ret, struct reason *reason);
int port_parse(const char *text, uint16_t *ret, struct reason *reason);

/* The words of one binding, as `isomctl bind` and Bind= have them. */
int binding_parse(const char *label, const char *protocol, const char *prefix, const char *ports,
	struct binding *ret, struct reason *reason);

/* These return their buffer, or a constant. Lengths are as people write them: 0 to 32 for IPv4. */
const char *protocol_name(uint8_t protocol);
const char *family_name(uint8_t family);
const char *address_format(const struct in6_addr *address, char text[INET6_ADDRSTRLEN]);
const char *prefix_format(const struct prefix *prefix, char text[LONGEST_PREFIX_TEXT]);
const char *ports_format(const struct ports *ports, char text[LONGEST_PORTS_TEXT]); /* all: * */

uint8_t address_family(const struct in6_addr *address); /* IPV4 or IPV6 */
uint8_t prefix_family(const struct prefix *prefix);
unsigned int prefix_written_length(const struct prefix *prefix);
bool prefix_holds(const struct prefix *prefix, const struct in6_addr *address);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
bool ports_hold(const struct ports *ports, uint16_t port);
bool ports_overlap(const struct ports *a, const struct ports *b);

bool ports_are_all(const struct ports *ports);
uint8_t ports_kind(const struct ports *ports); /* ONE_PORT, PORT_RANGE or ALL_PORTS */

/*
 * The order of precedence, negative where a comes first: of two selectors that match the same
 * packet, the one that it chooses. Beyond that by family, protocol, address and port, so that
 * listings are stable. 0 means they are the same.
 */
int selector_compare(const struct selector *a, const struct selector *b);

#define LONGEST_SELECTOR_TEXT (sizeof("tcp  ") + LONGEST_PREFIX_TEXT + LONGEST_PORTS_TEXT)
/* "tcp 192.0.2.0/24 80" */
const char *selector_format(const struct selector *selector, char text[LONGEST_SELECTOR_TEXT]);
