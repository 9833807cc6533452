/* SPDX-License-Identifier: GPL-2.0-only */
/* A binding as people write it and as it is compared: see binding.h. */
#include "binding.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAPPED_BITS 96 /* the length of ::ffff:0:0/96, under which IPv4 addresses are kept */

static const char *const protocol_names[PROTOCOLS] = {[TCP] = "tcp", [UDP] = "udp"};
static const char *const family_names[FAMILIES] = {[IPV4] = "ipv4", [IPV6] = "ipv6"};

int label_parse(const char *text, char ret[NAME_SIZE], struct reason *reason)
{
	size_t length = strlen(text);

	if (length == 0)
		return refuse(
			reason, "the label is empty: write a name of 1 to %d bytes", NAME_SIZE - 1);
	if (length >= NAME_SIZE)
		return refuse(reason, "the label \"%.32s…\" has %zu bytes: at most %d are allowed",
			text, length, NAME_SIZE - 1);
	memcpy(ret, text, length + 1);
	return 0;
}

int protocol_parse(const char *text, uint8_t *ret, struct reason *reason)
{
	for (uint8_t protocol = 0; protocol < PROTOCOLS; protocol++) {
		if (strcasecmp(text, protocol_names[protocol]) == 0) {
			*ret = protocol;
			return 0;
		}
	}
	return refuse(reason, "\"%.64s\" is not a protocol: write tcp or udp", text);
}

/* strtoul() takes signs, blanks and 0x: a number here is decimal digits and nothing else. */
static int number_parse(const char *text, unsigned int max, unsigned int *ret)
{
	unsigned int number = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		number = number * 10 + (unsigned int)(*text - '0');
		if (number > max)
			return -ERANGE;
	}
	*ret = number;
	return 0;
}

/* An address of either family, as IPv6. Tells which one was written. */
static int address_read(const char *text, struct in6_addr *ret, uint8_t *ret_family)
{
	if (inet_pton(AF_INET, text, &ret->s6_addr[12]) == 1) {
		memset(ret->s6_addr, 0, 10);
		memset(&ret->s6_addr[10], 0xff, 2);
		*ret_family = IPV4;
		return 0;
	}
	if (inet_pton(AF_INET6, text, ret) == 1) {
		*ret_family = IPV6;
		return 0;
	}
	return -EINVAL;
}

static void prefix_mask(struct prefix *prefix)
{
	for (unsigned int byte = 0; byte < sizeof(prefix->address); byte++) {
		unsigned int first_bit = byte * 8;

		if (first_bit >= prefix->length)
			prefix->address.s6_addr[byte] = 0;
		else if (first_bit + 8 > prefix->length)
			prefix->address.s6_addr[byte] &= 0xff00 >> (prefix->length - first_bit);
	}
}

/* "192.0.2.1:80" and "[2001:db8::1]:80", as others write an address with its port. */
static bool has_port(const char *text)
{
	const char *colon = strrchr(text, ':');

	return colon && colon[1] && colon[1 + strspn(colon + 1, "0123456789")] == '\0' &&
		(colon == strchr(text, ':') || text[0] == '[');
}

static int refuse_address(
	const char *text, const char *what, const char *advice, struct reason *reason)
{
	return refuse(reason, "\"%.64s\" is not an %s: %s", text, what,
		has_port(text) ? "write the port after a blank" : advice);
}

int prefix_parse(const char *text, struct prefix *ret, struct reason *reason)
{
	char address[INET6_ADDRSTRLEN], spelling[LONGEST_PREFIX_TEXT];
	const char *slash = strchrnul(text, '/');
	struct prefix prefix;
	unsigned int length;
	uint8_t family;

	if ((size_t)(slash - text) >= sizeof(address))
		return refuse(reason,
			"\"%.64s\" is not an IP prefix: write ADDRESS or ADDRESS/LENGTH", text);
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';

	if (address_read(address, &prefix.address, &family) < 0)
		return refuse_address(text, "IP prefix", "write ADDRESS or ADDRESS/LENGTH", reason);

	length = family == IPV4 ? 32 : 128;
	if (*slash && number_parse(slash + 1, length, &length) < 0)
		return refuse(
			reason, "\"%.64s\" has a wrong length: write /0 to /%u", text, length);

	prefix.length = (uint8_t)(family == IPV4 ? MAPPED_BITS + length : length);
	prefix_mask(&prefix);
	if (family == IPV6 && prefix_family(&prefix) == IPV4)
		return refuse(reason, "\"%.64s\" is an IPv4-mapped IPv6 prefix: write %s", text,
			prefix_format(&prefix, spelling));
	*ret = prefix;
	return 0;
}

int address_parse(const char *text, struct in6_addr *ret, struct reason *reason)
{
	char spelling[INET6_ADDRSTRLEN];
	struct in6_addr address;
	uint8_t family;

	if (address_read(text, &address, &family) < 0)
		return refuse_address(
			text, "IP address", "write one like 192.0.2.1 or 2001:db8::1", reason);
	if (family == IPV6 && address_family(&address) == IPV4)
		return refuse(reason, "\"%.64s\" is an IPv4-mapped IPv6 address: write %s", text,
			address_format(&address, spelling));
	*ret = address;
	return 0;
}

/* LO-HI. The word may be long: it comes from a file. */
static int range_parse(const char *text, const char *dash, struct ports *ret, struct reason *reason)
{
	char low_text[sizeof("65535")] = "";
	unsigned int low, high;

	if ((size_t)(dash - text) < sizeof(low_text))
		memcpy(low_text, text, (size_t)(dash - text));
	if (number_parse(low_text, PORTS - 1, &low) < 0 ||
		number_parse(dash + 1, PORTS - 1, &high) < 0 || low == 0)
		return refuse(reason,
			"\"%.64s\" is not a range of ports: write LO-HI with numbers from 1 to 65535, "
			"or 0 or * for all",
			text);
	if (low > high)
		return refuse(reason,
			"\"%.64s\" is a range of ports that ends before it begins: write %u-%u",
			text, high, low);
	*ret = (struct ports){(uint16_t)low, (uint16_t)high};
	return 0;
}

int ports_parse(const char *text, struct ports *ret, struct reason *reason)
{
	const char *dash = strchr(text, '-');
	unsigned int port;

	if (strcmp(text, "*") == 0) {
		*ret = all_ports;
		return 0;
	}
	if (dash && dash != text)
		return range_parse(text, dash, ret, reason);
	if (number_parse(text, PORTS - 1, &port) < 0)
		return refuse(reason,
			"\"%.64s\" is not a port: write a number from 1 to 65535, a range LO-HI, or 0 "
			"or * for all",
			text);
	*ret = port == 0 ? all_ports : (struct ports){(uint16_t)port, (uint16_t)port};
	return 0;
}

int port_parse(const char *text, uint16_t *ret, struct reason *reason)
{
	unsigned int port;

	if (number_parse(text, PORTS - 1, &port) < 0 || port == 0)
		return refuse(
			reason, "\"%.64s\" is not a port: write a number from 1 to 65535", text);
	*ret = (uint16_t)port;
	return 0;
}

int binding_parse(const char *label, const char *protocol, const char *prefix, const char *ports,
	struct binding *ret, struct reason *reason)
{
	struct binding binding = {};
	int r;

	r = label_parse(label, binding.label, reason);
	if (r == 0)
		r = protocol_parse(protocol, &binding.selector.protocol, reason);
	if (r == 0)
		r = prefix_parse(prefix, &binding.selector.prefix, reason);
	if (r == 0)
		r = ports_parse(ports, &binding.selector.ports, reason);
	if (r == 0)
		*ret = binding;
	return r;
}

const char *protocol_name(uint8_t protocol)
{
	return protocol < PROTOCOLS ? protocol_names[protocol] : "?";
}

const char *family_name(uint8_t family)
{
	return family < FAMILIES ? family_names[family] : "?";
}

const char *address_format(const struct in6_addr *address, char text[INET6_ADDRSTRLEN])
{
	if (address_family(address) == IPV4)
		inet_ntop(AF_INET, &address->s6_addr[12], text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, address, text, INET6_ADDRSTRLEN);
	return text;
}

const char *prefix_format(const struct prefix *prefix, char text[LONGEST_PREFIX_TEXT])
{
	char address[INET6_ADDRSTRLEN];

	/* The mapped prefixes shorter than /96 don't exist: those are IPv6. */
	if (prefix_family(prefix) == IPV4)
		address_format(&prefix->address, address);
	else
		inet_ntop(AF_INET6, &prefix->address, address, sizeof(address));
	snprintf(text, LONGEST_PREFIX_TEXT, "%s/%u", address, prefix_written_length(prefix));
	return text;
}

const char *ports_format(const struct ports *ports, char text[LONGEST_PORTS_TEXT])
{
	if (ports->low == ports->high)
		snprintf(text, LONGEST_PORTS_TEXT, "%u", ports->low);
	else if (ports_are_all(ports))
		snprintf(text, LONGEST_PORTS_TEXT, "*");
	else
		snprintf(text, LONGEST_PORTS_TEXT, "%u-%u", ports->low, ports->high);
	return text;
}

uint8_t address_family(const struct in6_addr *address)
{
	return IN6_IS_ADDR_V4MAPPED(address) ? IPV4 : IPV6;
}

uint8_t prefix_family(const struct prefix *prefix)
{
	return prefix->length >= MAPPED_BITS ? address_family(&prefix->address) : IPV6;
}

unsigned int prefix_written_length(const struct prefix *prefix)
{
	return prefix_family(prefix) == IPV4 ? prefix->length - MAPPED_BITS : prefix->length;
}

bool prefix_holds(const struct prefix *prefix, const struct in6_addr *address)
{
	struct prefix of_address = {*address, prefix->length};

	/* ::/0 holds no IPv4 address, though those are kept as IPv6 ones. */
	if (prefix_family(prefix) != address_family(address))
		return false;
	prefix_mask(&of_address);
	return memcmp(&of_address.address, &prefix->address, sizeof(*address)) == 0;
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	const struct prefix *wider = a->length <= b->length ? a : b;
	const struct prefix *narrower = wider == a ? b : a;

	return prefix_family(a) == prefix_family(b) && prefix_holds(wider, &narrower->address);
}

bool ports_hold(const struct ports *ports, uint16_t port)
{
	return ports->low <= port && port <= ports->high;
}

bool ports_overlap(const struct ports *a, const struct ports *b)
{
	return a->low <= b->high && b->low <= a->high;
}

uint8_t ports_kind(const struct ports *ports)
{
	return ports->low == ports->high ? ONE_PORT : ports_are_all(ports) ? ALL_PORTS : PORT_RANGE;
}

bool ports_are_all(const struct ports *ports)
{
	return ports->low == all_ports.low && ports->high == all_ports.high;
}

int selector_compare(const struct selector *a, const struct selector *b)
{
	int order;

	order = prefix_family(&a->prefix) - prefix_family(&b->prefix);
	if (order == 0)
		order = b->prefix.length - a->prefix.length;
	if (order == 0)
		order = (a->ports.high - a->ports.low) - (b->ports.high - b->ports.low);
	if (order == 0)
		order = a->protocol - b->protocol;
	if (order == 0)
		order = memcmp(&a->prefix.address, &b->prefix.address, sizeof(a->prefix.address));
	if (order == 0)
		order = a->ports.low - b->ports.low;
	return order;
}

const char *selector_format(const struct selector *selector, char text[LONGEST_SELECTOR_TEXT])
{
	char *end = stpcpy(stpcpy(text, protocol_name(selector->protocol)), " ");

	prefix_format(&selector->prefix, end);
	end = stpcpy(end + strlen(end), " ");
	ports_format(&selector->ports, end);
	return text;
}
