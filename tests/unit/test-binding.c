/* SPDX-License-Identifier: GPL-2.0-only */
/* Bindings as people write them, how they are printed again, and which one a packet prefers. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "../../src/binding.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What is written, and how it is printed; NULL: refused, with `because` in the reason. */
struct spelling {
	const char *written;
	const char *printed;
	const char *because;
};

static void check_refused(const struct reason *reason, const struct spelling *spelling)
{
	char name[1024];

	snprintf(name, sizeof(name), "\"%.80s\" is refused", spelling->written);
	check_within(reason->text, spelling->because, name);
}

static void check_printed(const char *printed, const struct spelling *spelling)
{
	char name[1024];

	snprintf(name, sizeof(name), "\"%.80s\"", spelling->written);
	check_text(printed, spelling->printed ?: "refused", name);
}

static const struct spelling prefixes[] = {
	{"192.0.2.1", "192.0.2.1/32", NULL},
	{"192.0.2.1/32", "192.0.2.1/32", NULL},
	{"192.0.2.255/31", "192.0.2.254/31", NULL},
	{"192.0.2.77/24", "192.0.2.0/24", NULL},
	{"192.0.2.77/025", "192.0.2.0/25", NULL},
	{"255.255.255.255/1", "128.0.0.0/1", NULL},
	{"255.255.255.255/0", "0.0.0.0/0", NULL},
	{"0.0.0.0", "0.0.0.0/32", NULL},
	{"2001:DB8::1", "2001:db8::1/128", NULL},
	{"2001:db8:0:0:0:0:0:1/127", "2001:db8::/127", NULL},
	{"2001:db8:ffff::/33", "2001:db8:8000::/33", NULL},
	{"ffff:ffff::/1", "8000::/1", NULL},
	{"::1/0", "::/0", NULL},
	{"::", "::/128", NULL},
	/* Close to the mapped ones, and not one of them. */
	{"::192.0.2.1", "::192.0.2.1/128", NULL},
	{"::fffe:0:0/95", "::fffe:0:0/95", NULL},
	{"::ffff:192.0.2.1/95", "::fffe:0:0/95", NULL},
	{"::ffff:192.0.2.1/80", "::/80", NULL},
	{"::ffff:0:0:1/128", "::ffff:0:0:1/128", NULL},

	{"", NULL, "not an IP prefix"},
	{"/", NULL, "not an IP prefix"},
	{"/24", NULL, "not an IP prefix"},
	{"host", NULL, "\"host\" is not an IP prefix: write ADDRESS or ADDRESS/LENGTH"},
	{"192.0.2", NULL, "not an IP prefix"},
	{"192.0.2.256", NULL, "not an IP prefix"},
	{"192.0.2.1.1", NULL, "not an IP prefix"},
	{"0300.0.2.1", NULL, "not an IP prefix"},
	{" 192.0.2.1", NULL, "not an IP prefix"},
	{"192.0.2.1 /24", NULL, "not an IP prefix"},
	{"::1%lo", NULL, "not an IP prefix"},
	{"[::1]", NULL, "not an IP prefix"},
	{":::", NULL, "not an IP prefix"},
	{"1:2:3:4:5:6:7:8:9", NULL, "not an IP prefix"},
	{"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/64", NULL, "not an IP prefix"},
	{"192.0.2.1/", NULL, "wrong length: write /0 to /32"},
	{"192.0.2.1/33", NULL, "wrong length: write /0 to /32"},
	{"192.0.2.1/-1", NULL, "wrong length: write /0 to /32"},
	{"192.0.2.1/ 8", NULL, "wrong length"},
	{"192.0.2.1/8x", NULL, "wrong length"},
	{"192.0.2.1/8/8", NULL, "wrong length"},
	{"192.0.2.1/255.0.0.0", NULL, "wrong length"},
	{"192.0.2.1/4294967304", NULL, "wrong length"},
	{"::1/129", NULL, "wrong length: write /0 to /128"},
	{"::ffff:192.0.2.1", NULL, "IPv4-mapped IPv6 prefix: write 192.0.2.1/32"},
	{"::ffff:192.0.2.77/120", NULL, "write 192.0.2.0/24"},
	{"::ffff:0:0/96", NULL, "write 0.0.0.0/0"},
};

static void test_prefixes(void)
{
	for (size_t i = 0; i < COUNT(prefixes); i++) {
		char text[LONGEST_PREFIX_TEXT];
		struct reason reason = {};
		struct prefix prefix, again;

		memset(&prefix, 0xaa, sizeof(prefix));
		if (prefix_parse(prefixes[i].written, &prefix, &reason) < 0) {
			check_refused(&reason, &prefixes[i]);
			check(prefix.length == 0xaa, "and leaves the prefix alone");
			continue;
		}
		check_printed(prefix_format(&prefix, text), &prefixes[i]);
		check(prefix_parse(text, &again, &reason) == 0 &&
				IN6_ARE_ADDR_EQUAL(&prefix.address, &again.address) &&
				prefix.length == again.length,
			"\"%s\" is the same again", text);
	}
}

static const struct spelling addresses[] = {
	{"192.0.2.1", "192.0.2.1", NULL},
	{"0.0.0.0", "0.0.0.0", NULL},
	{"::", "::", NULL},
	{"2001:0db8::0001", "2001:db8::1", NULL},
	{"", NULL, "not an IP address"},
	{"192.0.2.1/32", NULL, "\"192.0.2.1/32\" is not an IP address"},
	{"::ffff:192.0.2.1", NULL, "IPv4-mapped IPv6 address: write 192.0.2.1"},
};

static void test_addresses(void)
{
	for (size_t i = 0; i < COUNT(addresses); i++) {
		char text[INET6_ADDRSTRLEN];
		struct reason reason = {};
		struct in6_addr address;

		if (address_parse(addresses[i].written, &address, &reason) < 0)
			check_refused(&reason, &addresses[i]);
		else
			check_printed(address_format(&address, text), &addresses[i]);
	}
}

static const struct spelling ports[] = {
	{"1", "1", NULL},
	{"80", "80", NULL},
	{"0080", "80", NULL},
	{"65535", "65535", NULL},
	{"0", "*", NULL},
	{"*", "*", NULL},
	{"", NULL, "\"\" is not a port"},
	{"-1", NULL, "a number from 1 to 65535, a range LO-HI, or 0"},
	{"+1", NULL, "not a port"},
	{" 1", NULL, "not a port"},
	{"1 ", NULL, "not a port"},
	{"0x50", NULL, "not a port"},
	{"http", NULL, "not a port"},
	{"**", NULL, "not a port"},
	{"65536", NULL, "not a port"},
	{"4294967376", NULL, "not a port"},
	{"18446744073709551696", NULL, "not a port"},
	{"80-89", "80-89", NULL},
	{"1-65535", "1-65535", NULL},
	{"0080-0089", "80-89", NULL},
	{"80-80", "80", NULL},
	{"89-80", NULL, "that ends before it begins: write 80-89"},
	{"0-89", NULL, "not a range of ports: write LO-HI with numbers from 1 to 65535"},
	{"0-65535", NULL, "or 0 or * for all"},
	{"80-", NULL, "not a range of ports"},
	{"80-65536", NULL, "not a range of ports"},
	{"65536-65537", NULL, "not a range of ports"},
	{"4294967376-4294967377", NULL, "not a range of ports"},
	{"80--89", NULL, "not a range of ports"},
	{"80-89-90", NULL, "not a range of ports"},
	{"80 - 89", NULL, "not a range of ports"},
	{"*-89", NULL, "not a range of ports"},
};

static void test_ports(void)
{
	struct reason reason = {};
	uint16_t port = 7;

	for (size_t i = 0; i < COUNT(ports); i++) {
		char text[LONGEST_PORTS_TEXT];
		struct ports parsed;

		if (ports_parse(ports[i].written, &parsed, &reason) < 0)
			check_refused(&reason, &ports[i]);
		else
			check_printed(ports_format(&parsed, text), &ports[i]);
	}
	check(port_parse("65535", &port, &reason) == 0 && port == 65535, "one port");
	check(port_parse("0", &port, &reason) == -EINVAL && port == 65535, "0 is not one port");
	check(port_parse("*", &port, &reason) == -EINVAL && port == 65535, "nor is *");
}

static void test_labels_and_protocols(void)
{
	char text[NAME_SIZE + 1], label[NAME_SIZE] = "before";
	struct reason reason;
	uint8_t protocol = 7;

	memset(text, 'x', sizeof(text));
	text[NAME_SIZE] = '\0';
	check(label_parse(text, label, &reason) == -EINVAL, "a label of 256 bytes is refused");
	check_within(reason.text, "256 bytes", "the reason has its size");
	check_text(label, "before", "and nothing is written");
	text[NAME_SIZE - 1] = '\0';
	check(label_parse(text, label, &reason) == 0 && strcmp(label, text) == 0,
		"one of 255 fits");
	check(label_parse("", label, &reason) == -EINVAL, "an empty one is refused");
	check(label_parse(" a\n\xff", label, &reason) == 0, "any bytes will do");

	check(protocol_parse("tcp", &protocol, &reason) == 0 && protocol == TCP, "tcp");
	check(protocol_parse("UdP", &protocol, &reason) == 0 && protocol == UDP, "UdP");
	check(protocol_parse("tcp ", &protocol, &reason) == -EINVAL && protocol == UDP, "\"tcp \"");
	check(protocol_parse("", &protocol, &reason) == -EINVAL, "an empty protocol is refused");
	check_text(protocol_name(TCP), "tcp", "the name of TCP");
	check_text(family_name(IPV6), "ipv6", "the name of IPv6");
}

static void test_reasons(void)
{
	static char text[100000];
	struct reason reason = {};
	struct binding binding;

	memset(text, '9', sizeof(text) - 1);
	binding_parse("foo", text, "::/0", "0", &binding, &reason);
	check(strlen(reason.text) < 200, "a long protocol gives a short reason");
	binding_parse("foo", "tcp", text, "0", &binding, &reason);
	check(strlen(reason.text) < 200, "a long prefix does");
	binding_parse("foo", "tcp", "::/0", text, &binding, &reason);
	check(strlen(reason.text) < 200, "a long port does");
	binding_parse(text, "tcp", "::/0", "0", &binding, &reason);
	check(strlen(reason.text) < 200, "a long label does");
}

static struct prefix prefix(const char *text)
{
	struct prefix parsed = {};
	struct reason reason = {};

	if (prefix_parse(text, &parsed, &reason) < 0)
		check(false, "%s", reason.text);
	return parsed;
}

static const struct {
	const char *prefix;
	const char *address;
	bool holds;
} holdings[] = {
	{"192.0.2.0/24", "192.0.2.0", true},
	{"192.0.2.0/24", "192.0.2.255", true},
	{"192.0.2.0/24", "192.0.3.0", false},
	{"192.0.2.0/24", "192.0.1.255", false},
	{"192.0.2.128/25", "192.0.2.127", false},
	{"192.0.2.1", "192.0.2.1", true},
	{"192.0.2.1", "192.0.2.0", false},
	{"0.0.0.0/0", "255.255.255.255", true},
	{"0.0.0.0/0", "::1", false},
	{"0.0.0.0/0", "::", false},
	{"::/0", "192.0.2.1", false},
	{"::/0", "0.0.0.0", false},
	{"::/0", "ffff::", true},
	{"::/64", "0.0.0.0", false},
	{"2001:db8::/33", "2001:db8:7fff::", true},
	{"2001:db8::/33", "2001:db8:8000::", false},
	{"::/1", "7fff::", true},
	{"::/1", "8000::", false},
};

static void test_holding(void)
{
	for (size_t i = 0; i < COUNT(holdings); i++) {
		struct prefix p = prefix(holdings[i].prefix);
		struct in6_addr address = prefix(holdings[i].address).address;

		check(prefix_holds(&p, &address) == holdings[i].holds, "%s %s %s",
			holdings[i].prefix, holdings[i].holds ? "holds" : "doesn't hold",
			holdings[i].address);
	}
	check(ports_hold(&all_ports, 0) && ports_hold(&all_ports, 65535), "all ports hold all");
	check(ports_hold(&(struct ports){80, 80}, 80) && !ports_hold(&(struct ports){80, 80}, 81) &&
			!ports_hold(&(struct ports){80, 80}, 79),
		"one port holds itself");
	check(ports_are_all(&all_ports) && !ports_are_all(&(struct ports){1, 65535}),
		"all are all");
}

static const struct {
	const char *one;
	const char *other;
	bool overlap;
} overlaps[] = {
	{"192.0.2.0/24", "192.0.2.128/25", true},
	{"192.0.2.0/25", "192.0.2.128/25", false},
	{"192.0.2.0/24", "192.0.2.0/24", true},
	{"0.0.0.0/0", "192.0.2.1", true},
	{"0.0.0.0/0", "::/0", false},
	{"::/0", "192.0.2.1", false},
	{"::/0", "2001:db8::1", true},
	{"2001:db8::/32", "2001:db9::/32", false},
};

static void test_overlaps(void)
{
	for (size_t i = 0; i < COUNT(overlaps); i++) {
		struct prefix a = prefix(overlaps[i].one), b = prefix(overlaps[i].other);

		check(prefix_overlaps(&a, &b) == overlaps[i].overlap &&
				prefix_overlaps(&b, &a) == overlaps[i].overlap,
			"%s and %s %s", overlaps[i].one, overlaps[i].other,
			overlaps[i].overlap ? "overlap" : "don't overlap");
	}
}

/* In the order of precedence, and what only the listing asks for. */
static const char *const in_order[][3] = {
	{"tcp", "192.0.2.1", "80"},
	{"tcp", "192.0.2.1", "81"},
	{"tcp", "192.0.2.2", "80"},
	{"udp", "192.0.2.1", "80"},
	{"tcp", "192.0.2.1", "80-81"},
	{"tcp", "192.0.2.1", "79-81"},
	{"tcp", "192.0.2.1", "1-65535"},
	{"tcp", "192.0.2.1", "*"},
	{"udp", "192.0.2.1", "*"},
	{"tcp", "192.0.2.0/31", "1"},
	{"tcp", "192.0.2.0/24", "65535"},
	{"tcp", "192.0.2.0/24", "*"},
	{"tcp", "0.0.0.0/0", "80"},
	{"tcp", "0.0.0.0/0", "*"},
	{"tcp", "::", "80"},
	{"tcp", "2001:db8::1", "80"},
	{"udp", "2001:db8::1", "80"},
	{"tcp", "2001:db8::1", "*"},
	{"tcp", "2001:db8::/127", "80"},
	{"tcp", "2001:db8::/32", "80"},
	{"tcp", "::/0", "80"},
	{"tcp", "::/0", "*"},
};

static void test_precedence(void)
{
	struct binding bindings[COUNT(in_order)];
	char one[LONGEST_SELECTOR_TEXT], other[LONGEST_SELECTOR_TEXT];
	struct reason reason = {};

	for (size_t i = 0; i < COUNT(in_order); i++)
		check(binding_parse("foo", in_order[i][0], in_order[i][1], in_order[i][2],
			      &bindings[i], &reason) == 0,
			"%s %s %s", in_order[i][0], in_order[i][1], in_order[i][2]);
	for (size_t i = 0; i < COUNT(in_order); i++) {
		for (size_t j = 0; j < COUNT(in_order); j++) {
			int order = selector_compare(&bindings[i].selector, &bindings[j].selector);
			bool right = i < j ? order < 0 : i > j ? order > 0 : order == 0;

			if (!right)
				check(false, "%s and %s: order %d",
					selector_format(&bindings[i].selector, one),
					selector_format(&bindings[j].selector, other), order);
		}
	}
	check_text(selector_format(&bindings[11].selector, one), "tcp 192.0.2.0/24 *",
		"a selector is printed as it is written");
}

static void test_ranges(void)
{
	struct selector one = {.prefix = prefix("192.0.2.0/24"), .ports = {80, 80}};
	struct selector narrow = one, wide = one, all = one;
	char text[LONGEST_PORTS_TEXT];

	narrow.ports = (struct ports){80, 89};
	wide.ports = (struct ports){1, 65535};
	all.ports = all_ports;
	check(selector_compare(&one, &narrow) < 0 && selector_compare(&narrow, &wide) < 0 &&
			selector_compare(&wide, &all) < 0,
		"one port, the narrower range, the wider one, all ports");
	check_text(ports_format(&wide.ports, text), "1-65535", "a range is printed");
}

int main(void)
{
	test_prefixes();
	test_addresses();
	test_ports();
	test_labels_and_protocols();
	test_reasons();
	test_holding();
	test_overlaps();
	test_precedence();
	test_ranges();
	return tap_end();
}
