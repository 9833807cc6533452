/* SPDX-License-Identifier: GPL-2.0-only */
/* isomctl bind, unbind, bindings: which packets go to which label. */
#include "../binding.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../say.h"
#include "group.h"
#include "isomctl.h"

/*
 * bind and unbind
 */

/* LABEL PROTOCOL PREFIX PORT */
static int take_binding(const struct command *command, int argc, char **argv, struct binding *ret)
{
	struct reason reason;
	int r = take_arguments(command, argc, &argv, 4, 4);

	if (r < 0)
		return -r;
	if (binding_parse(argv[0], argv[1], argv[2], argv[3], ret, &reason) < 0)
		return misused(command, "%s", reason.text);
	return 0;
}

static void print_done(const char *done, const struct binding *binding, const char *preposition)
{
	char text[LONGEST_SELECTOR_TEXT], label[4 * NAME_SIZE];

	printf("%s %s %s %s\n", done, selector_format(&binding->selector, text), preposition,
		printable(binding->label, label, sizeof(label)));
}

static void print_moved(const struct binding *binding, const char *last)
{
	char label[4 * NAME_SIZE];
	char from[sizeof("from  to") + sizeof(label)];

	snprintf(from, sizeof(from), "from %s to", printable(last, label, sizeof(label)));
	print_done("moved", binding, from);
}

static int run_bind(const struct options *options, int argc, char **argv)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	const char *last = NULL;
	struct binding binding;
	struct refusal refusal = {};
	char text[LONGEST_SELECTOR_TEXT];
	int r = take_binding(&bind_command, argc, argv, &binding);

	if (r == 0)
		r = change_begin(options->bpffs, MISSING_IS_ERROR, &d);
	if (r == 0)
		r = bindings_bind(d, &binding, &last, &refusal);
	if (r == -EADDRINUSE)
		return fail(r, "cannot bind %s under label \"%s\": %s",
			selector_format(&binding.selector, text), binding.label,
			refusal.reason.text);
	if (r == 0 && last && strcmp(last, binding.label) != 0)
		print_moved(&binding, last);
	else if (r == 0)
		print_done("bound", &binding, "to");
	return r;
}

static int run_unbind(const struct options *options, int argc, char **argv)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	struct binding binding;
	int r = take_binding(&unbind_command, argc, argv, &binding);

	if (r == 0)
		r = change_begin(options->bpffs, MISSING_IS_ERROR, &d);
	if (r == 0)
		r = bindings_unbind(d, &binding);
	if (r == 0)
		print_done("unbound", &binding, "from");
	return r;
}

/*
 * bindings
 */

struct filter {
	const char *label; /* NULL: any */
	int protocol;      /* -1: any */
	bool by_prefix;
	struct prefix prefix; /* any of its addresses */
	bool by_ports;
	struct ports ports; /* any of them */
};

static bool filter_passes(
	const struct filter *filter, const struct selector *selector, const char *label)
{
	if (filter->label && strcmp(filter->label, label) != 0)
		return false;
	if (filter->protocol >= 0 && filter->protocol != selector->protocol)
		return false;
	if (filter->by_prefix && !prefix_overlaps(&filter->prefix, &selector->prefix))
		return false;
	return !filter->by_ports || ports_overlap(&filter->ports, &selector->ports);
}

static int take_filter(int argc, char **argv, struct filter *ret)
{
	enum { LABEL = 1, PROTOCOL, IP, PORT };
	static const struct option long_options[] = {
		{"label", required_argument, NULL, LABEL},
		{"protocol", required_argument, NULL, PROTOCOL},
		{"ip", required_argument, NULL, IP},
		{"port", required_argument, NULL, PORT},
		{},
	};
	struct filter filter = {.protocol = -1};
	struct reason reason;
	uint8_t protocol;
	int option, r = 0;

	optind = 0;
	while ((option = getopt_long_only(argc, argv, "", long_options, NULL)) != -1) {
		switch (option) {
		case LABEL:
			filter.label = optarg;
			break;
		case PROTOCOL:
			r = protocol_parse(optarg, &protocol, &reason);
			if (r == 0)
				filter.protocol = protocol;
			break;
		case IP:
			r = prefix_parse(optarg, &filter.prefix, &reason);
			filter.by_prefix = true;
			break;
		case PORT:
			r = ports_parse(optarg, &filter.ports, &reason);
			filter.by_ports = true;
			break;
		default:
			return misused(&bindings_command, "it takes no such option");
		}
		if (r < 0)
			return misused(&bindings_command, "%s", reason.text);
	}
	if (optind < argc)
		return misused(&bindings_command, "\"%s\" is one argument too many", argv[optind]);
	*ret = filter;
	return 0;
}

struct group group_next(const struct bound *list, size_t count)
{
	struct group group = {list, 1};
	struct selector selector = selector_of_key(&list->key);

	while (group.count < count) {
		struct selector next = selector_of_key(&list[group.count].key);

		if (selector_compare(&selector, &next) != 0)
			break;
		group.count++;
	}
	return group;
}

static bool is_by_hand(const struct group *group)
{
	return group->first->key.owner == 0; /* his comes first */
}

char *group_units(const struct dispatcher *d, const struct group *group)
{
	size_t size = 0;
	char *units = NULL;
	FILE *text = open_memstream(&units, &size);

	if (!text)
		return NULL;
	for (size_t i = 0; i < group->count; i++)
		fprintf(text, "%s%s", i > 0 ? " " : "",
			group->first[i].key.owner ? owner_name(d, group->first[i].key.owner) : "-");
	fclose(text);
	return units;
}

static void print_bindings(const struct dispatcher *d, const struct bound *list, size_t count,
	const struct filter *filter)
{
	static const char *const titles[] = {"LABEL", "PROTOCOL", "PREFIX", "PORT", "UNITS", NULL};
	struct table table;
	struct group group;

	for (table_begin(&table, titles); table_pass(&table);) {
		for (size_t i = 0; i < count; i += group.count) {
			struct selector selector = selector_of_key(&list[i].key);
			const char *label = d->now.destinations[list[i].destination].label;
			char prefix[LONGEST_PREFIX_TEXT], ports[LONGEST_PORTS_TEXT];
			char label_text[4 * NAME_SIZE];
			_cleanup_(freep) char *units = NULL;

			group = group_next(list + i, count - i);
			if (!filter_passes(filter, &selector, label))
				continue;
			units = group_units(d, &group);
			table_row(&table,
				(const char *const[]){
					printable(label, label_text, sizeof(label_text)),
					protocol_name(selector.protocol),
					prefix_format(&selector.prefix, prefix),
					ports_format(&selector.ports, ports), units ?: "?"});
		}
	}
}

/* One port, a range as text, or 0 for all, as load-bindings reads them. */
static json_t *json_ports(const struct ports *ports)
{
	char text[LONGEST_PORTS_TEXT];

	if (ports_kind(ports) == PORT_RANGE)
		return json_string(ports_format(ports, text));
	return json_integer(ports_are_all(ports) ? 0 : ports->low);
}

json_t *group_json(const struct dispatcher *d, const struct group *group)
{
	struct selector selector = selector_of_key(&group->first->key);
	const char *label = d->now.destinations[group->first->destination].label;
	char prefix[LONGEST_PREFIX_TEXT];
	json_t *units = json_array();

	for (size_t i = 0; i < group->count; i++)
		if (group->first[i].key.owner)
			json_array_append_new(
				units, json_text(owner_name(d, group->first[i].key.owner)));
	return json_pack("{s:o, s:s, s:s, s:o, s:b, s:o}", "label", json_text(label), "protocol",
		protocol_name(selector.protocol), "prefix", prefix_format(&selector.prefix, prefix),
		"port", json_ports(&selector.ports), "by_hand", is_by_hand(group), "units", units);
}

/* In the form that load-bindings reads, an object at a time: a million make a long document. */
static void print_bindings_json(const struct dispatcher *d, const struct bound *list, size_t count,
	const struct filter *filter)
{
	const char *separator = "\n";
	struct group group;

	fputs("{\n  \"bindings\": [", stdout);
	for (size_t i = 0; i < count; i += group.count) {
		struct selector selector = selector_of_key(&list[i].key);
		json_t *object;

		group = group_next(list + i, count - i);
		if (!filter_passes(
			    filter, &selector, d->now.destinations[list[i].destination].label))
			continue;
		object = group_json(d, &group);
		printf("%s    ", separator);
		json_dumpf(object, stdout, 0);
		json_decref(object);
		separator = ",\n";
	}
	fputs("\n  ]\n}\n", stdout);
}

static int run_bindings(const struct options *options, int argc, char **argv)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	_cleanup_(freep) struct bound *list = NULL;
	struct filter filter = {};
	size_t count;
	int r = take_filter(argc, argv, &filter);

	if (r == 0)
		r = dispatcher_open(options->bpffs, false, MISSING_IS_ERROR, &d);
	if (r == 0)
		r = bindings_list(d, &list, &count);
	if (r != 0)
		return r;
	dispatcher_unlock(d); /* whoever reads this may be slow */
	if (options->json)
		print_bindings_json(d, list, count, &filter);
	else
		print_bindings(d, list, count, &filter);
	return 0;
}

#define BINDING_WORDS                                                                              \
	"LABEL     a name of 1 to 255 bytes\n"                                                     \
	"PROTOCOL  tcp or udp\n"                                                                   \
	"PREFIX    ADDRESS or ADDRESS/LENGTH, IPv4 or IPv6\n"                                      \
	"PORT      a number, a range LO-HI, or 0 or * for all\n\n"

const struct command bind_command = {
	.name = "bind",
	.arguments = "LABEL PROTOCOL PREFIX PORT",
	.summary = "send the traffic of a subnet and port to a label",
	.help = BINDING_WORDS
	"From now on packets to this prefix and port go to the socket that is registered\n"
	"under the label, or are refused while there is none. What is bound already moves\n"
	"to this label. The longest prefix wins, then one port before a range, a narrow\n"
	"range before a wide one, and a range before all ports.\n\n"
	"Examples:\n"
	"  isomctl bind web tcp 192.0.2.0/24 80\n"
	"  isomctl bind web tcp 2001:db8::/64 80\n"
	"  isomctl bind ftp tcp 192.0.2.0/24 50000-50099\n"
	"  isomctl bind trap udp 192.0.2.7 0\n",
	.run = run_bind,
};

const struct command unbind_command = {
	.name = "unbind",
	.arguments = "LABEL PROTOCOL PREFIX PORT",
	.summary = "take back what 'bind' did",
	.help = BINDING_WORDS "Bindings of units go with their units: see 'isomctl bindings'.\n\n"
			      "Example:\n"
			      "  isomctl unbind web tcp 192.0.2.0/24 80\n",
	.run = run_unbind,
};

const struct command bindings_command = {
	.name = "bindings",
	.arguments =
		"[--label LABEL] [--protocol PROTOCOL] [--ip IP[/LENGTH]] [--port PORT[-PORT]]",
	.summary = "list what is bound, the most specific first",
	.help = "--label LABEL        only bindings to this label\n"
		"--protocol PROTOCOL  only tcp or udp\n"
		"--ip IP[/LENGTH]     only those that hold the address, or any of the subnet\n"
		"--port PORT[-PORT]   only those that hold the port, or any of the range\n\n"
		"Of those that a packet matches, the first one listed gets it. UNITS are the units\n"
		"whose sections ask for the binding, - stands for the administrator.\n\n"
		"Examples:\n"
		"  isomctl bindings\n"
		"  isomctl bindings --protocol tcp --ip 192.0.2.7 --port 80\n"
		"  isomctl --json bindings --label web\n",
	.run = run_bindings,
};
