/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The words of bindings: an input has lines, each a label, a tab, and, with a blank between them, a
 * protocol, a prefix and ports. Each word goes to its parser; what that takes is printed and parsed
 * to the same, and the order of precedence of them all is an order.
 */
#include <string.h>
#include <strings.h>

#include "../../src/binding.h"
#include "../../src/cleanup.h"
#include "fuzz.h"

#define MOST_SELECTORS 12

static bool same_prefix(const struct prefix *a, const struct prefix *b)
{
	return a->length == b->length && memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

static bool same_ports(const struct ports *a, const struct ports *b)
{
	return a->low == b->low && a->high == b->high;
}

static bool bit(const struct in6_addr *address, unsigned int number)
{
	return address->s6_addr[number / 8] >> (7 - number % 8) & 1;
}

static bool check_label(const char *text)
{
	char label[NAME_SIZE] = "unchanged";
	struct reason reason = {};
	bool is_label = taken(label_parse(text, label, &reason), &reason);

	must(strcmp(label, is_label ? text : "unchanged") == 0);
	must(is_label == (*text && strlen(text) < NAME_SIZE));
	return is_label;
}

static bool check_protocol(const char *text)
{
	struct reason reason = {};
	uint8_t protocol = 77;

	if (!taken(protocol_parse(text, &protocol, &reason), &reason)) {
		must(protocol == 77);
		return false;
	}
	must(strcasecmp(protocol_name(protocol), text) == 0);
	return true;
}

/* An address is a prefix of its full length. */
static bool check_address(const char *text)
{
	struct in6_addr address = IN6ADDR_LOOPBACK_INIT, again;
	struct reason reason = {};
	struct prefix prefix;
	_cleanup_(freep) char *printed =
		malloc(INET6_ADDRSTRLEN); /* the sanitizer guards its end */

	if (!taken(address_parse(text, &address, &reason), &reason)) {
		must(IN6_IS_ADDR_LOOPBACK(&address));
		return false;
	}
	must(address_parse(address_format(&address, printed), &again, &reason) == 0);
	must(memcmp(&address, &again, sizeof(address)) == 0);
	must(prefix_parse(text, &prefix, &reason) == 0 && prefix.length == 128);
	must(memcmp(&prefix.address, &address, sizeof(address)) == 0);
	must(prefix_family(&prefix) == address_family(&address));
	return true;
}

static bool check_prefix(const char *text)
{
	struct prefix prefix = {.length = 200}, again;
	_cleanup_(freep) char *printed = malloc(LONGEST_PREFIX_TEXT);
	struct reason reason = {};

	if (!taken(prefix_parse(text, &prefix, &reason), &reason)) {
		must(prefix.length == 200);
		return false;
	}
	must(prefix.length <= 128);
	for (unsigned int i = prefix.length; i < 128; i++)
		must(!bit(&prefix.address, i));
	must(prefix_written_length(&prefix) <= (prefix_family(&prefix) == IPV4 ? 32 : 128));
	must(prefix_overlaps(&prefix, &prefix));
	must(prefix_parse(prefix_format(&prefix, printed), &again, &reason) == 0);
	must(same_prefix(&prefix, &again));
	return true;
}

/* One port, written as one, is what a socket can have, too. */
static bool check_ports(const char *text)
{
	struct ports ports = {7, 6}, again;
	_cleanup_(freep) char *printed = malloc(LONGEST_PORTS_TEXT);
	struct reason reason = {}, port_reason = {};
	uint16_t port = 0;
	bool are_ports = taken(ports_parse(text, &ports, &reason), &reason);
	bool is_port = taken(port_parse(text, &port, &port_reason), &port_reason);

	must(is_port == (are_ports && ports_kind(&ports) == ONE_PORT && !strchr(text, '-')));
	must(port == (is_port ? ports.low : 0));
	if (!are_ports) {
		must(ports.low == 7 && ports.high == 6);
		return false;
	}
	must(ports.low <= ports.high);
	must(ports.low > 0 || ports_are_all(&ports));
	must(ports_hold(&ports, ports.low) && ports_hold(&ports, ports.high));
	must(ports_parse(ports_format(&ports, printed), &again, &reason) == 0);
	must(same_ports(&ports, &again));
	return true;
}

static void check_pair(const struct selector *a, const struct selector *b)
{
	int order = selector_compare(a, b);
	bool same = a->protocol == b->protocol && same_prefix(&a->prefix, &b->prefix) &&
		same_ports(&a->ports, &b->ports);

	must((order < 0) == (selector_compare(b, a) > 0));
	must((order == 0) == same);
	must(prefix_overlaps(&a->prefix, &b->prefix) == prefix_overlaps(&b->prefix, &a->prefix));
	must(ports_overlap(&a->ports, &b->ports) == ports_overlap(&b->ports, &a->ports));
	if (prefix_holds(&a->prefix, &b->prefix.address))
		must(a->prefix.length > b->prefix.length ||
			prefix_overlaps(&a->prefix, &b->prefix));
	if (prefix_overlaps(&a->prefix, &b->prefix) && a->prefix.length > b->prefix.length)
		must(order < 0);
}

static void check_order(const struct selector *selectors, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < count; j++) {
			int first = selector_compare(&selectors[i], &selectors[j]);

			check_pair(&selectors[i], &selectors[j]);
			for (size_t k = 0; k < count; k++)
				if (first <= 0 &&
					selector_compare(&selectors[j], &selectors[k]) <= 0)
					must(selector_compare(&selectors[i], &selectors[k]) <= 0);
		}
	}
}

static bool check_line(char *line, struct selector *ret)
{
	const char *label = strsep(&line, "\t") ?: "";
	const char *protocol = strsep(&line, " ") ?: "";
	const char *prefix = strsep(&line, " ") ?: "";
	const char *ports = line ?: "";
	char printed[LONGEST_SELECTOR_TEXT];
	struct reason reason = {};
	struct binding binding = {};
	bool is_right = check_label(label);

	is_right &= check_protocol(protocol);
	is_right &= check_prefix(prefix);
	check_address(prefix);
	is_right &= check_ports(ports);
	must(taken(binding_parse(label, protocol, prefix, ports, &binding, &reason), &reason) ==
		is_right);
	if (!is_right) {
		must(!*binding.label);
		return false;
	}
	must(strlen(selector_format(&binding.selector, printed)) < sizeof(printed));
	*ret = binding.selector;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *text = text_of(data, size);
	struct selector selectors[MOST_SELECTORS];
	size_t count = 0;
	char *rest = text;

	do
		count += check_line(take_line(&rest), &selectors[count]);
	while (*rest && count < MOST_SELECTORS);
	check_order(selectors, count);
	return 0;
}
