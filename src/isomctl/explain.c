/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl explain: what happens to a packet, and why. What the dispatcher does with it, the loaded
 * program is asked, and the listing of bindings is held against its answer; the rest is what the
 * program can't see: other sockets and processes, here, and routes and units: see explain.h.
 */
#include "explain.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/bpf.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "../say.h"
#include "group.h"

#define MOST_CONNECTED 4 /* UDP sockets that are named */

static const char *const verdict_names[] = {
	[NOT_BOUND] = "not_bound", [REFUSED] = "refused", [DISPATCHED] = "dispatched"};

struct note *add_note(struct explanation *e, const char *kind, const char *format, ...)
{
	struct note *note = &e->notes[e->note_count];
	va_list arguments;

	if (e->note_count == MOST_NOTES)
		return NULL;
	e->note_count++;
	note->kind = kind;
	va_start(arguments, format);
	vsnprintf(note->text, sizeof(note->text), format, arguments);
	va_end(arguments);
	return note;
}

void propose(struct note *note, const char *format, ...)
{
	_cleanup_(freep) char *command = NULL;
	char *all;
	va_list arguments;
	int r;

	if (!note)
		return;
	va_start(arguments, format);
	r = vasprintf(&command, format, arguments);
	va_end(arguments);
	if (r < 0) {
		command = NULL;
		return;
	}
	if (asprintf(&all, "%s%s%s", note->remedy ?: "", note->remedy ? " && " : "", command) < 0)
		return;
	free(note->remedy);
	note->remedy = all;
}

/* 127.0.0.1:8080, [::1]:8080 */
#define ENDPOINT_SIZE (INET6_ADDRSTRLEN + sizeof("[]:65535"))
static const char *endpoint_format(
	const struct in6_addr *address, bool is_ipv6, uint16_t port, char text[ENDPOINT_SIZE])
{
	char ip[INET6_ADDRSTRLEN];

	address_format(address, ip);
	snprintf(text, ENDPOINT_SIZE, is_ipv6 && strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, port);
	return text;
}

const char *name_isomctl(const struct options *options, char text[LONGEST_ISOMCTL])
{
	char netns[SHELL_WORD_SIZE(PATH_MAX)], bpffs[SHELL_WORD_SIZE(PATH_MAX)];

	snprintf(text, LONGEST_ISOMCTL, "isomctl%s%s%s%s", options->netns ? " --netns " : "",
		options->netns ? shell_value(options->netns, netns, sizeof(netns)) : "",
		options->bpffs ? " --bpffs " : "",
		options->bpffs ? shell_value(options->bpffs, bpffs, sizeof(bpffs)) : "");
	return text;
}

const char *explained_label(const struct explanation *e)
{
	return e->d->now.destinations[e->destination].label;
}

/*
 * Bindings and the program.
 */

/* Keeps of the list what holds the packet; it stays in the order of precedence. */
static int find_matches(struct explanation *e)
{
	size_t count, kept = 0;
	int r = bindings_list(e->d, &e->matches, &count);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		struct selector selector = selector_of_key(&e->matches[i].key);

		if (selector.protocol == e->protocol && ports_hold(&selector.ports, e->port) &&
			prefix_holds(&selector.prefix, &e->address))
			e->matches[kept++] = e->matches[i];
	}
	e->match_count = kept;
	return 0;
}

static enum verdict verdict_of_trial(const struct trial *trial)
{
	return trial->verdict == TRIAL_NOT_BOUND  ? NOT_BOUND
		: trial->verdict == TRIAL_REFUSED ? REFUSED
						  : DISPATCHED;
}

/*
 * Does the program do what the bindings say? It has counted the trial where it took it to. While we
 * hold the lock nobody changes bindings or registers sockets; a socket may be closed, though.
 */
static int check_trial(const struct explanation *e)
{
	struct counters now = {};
	char isomctl[LONGEST_ISOMCTL];
	bool agrees = e->match_count ? e->trial.verdict != TRIAL_NOT_BOUND
				     : e->trial.verdict == TRIAL_NOT_BOUND;
	int r = e->match_count ? destination_counters(e->d, e->destination, &now) : 0;

	if (r < 0)
		return fail(r, "cannot read the counters: %m");
	if (e->match_count && now.lookups == e->counters.lookups)
		agrees = false;
	if (e->trial.verdict == TRIAL_ASSIGNED && e->trial.cookie != e->cookie)
		agrees = false;
	return agrees ? 0
		      : fail(-EPROTO,
				"the loaded program does something else with this packet than the "
				"bindings say: report this, and run: %s upgrade",
				name_isomctl(e->options, isomctl));
}

static int ask_program(struct explanation *e)
{
	int r = 0;

	if (e->match_count) {
		e->destination = e->matches[0].destination;
		r = destination_socket(e->d, e->destination, &e->cookie);
		if (r < 0)
			return r;
		r = destination_counters(e->d, e->destination, &e->counters);
	}
	if (r < 0)
		return fail(r, "cannot read the counters: %m");
	e->verdict = !e->match_count ? NOT_BOUND : e->cookie ? DISPATCHED : REFUSED;

	r = trial_run(e->d, e->protocol, &e->address, e->port, &e->trial);
	e->trial_error = r;
	if (r == -EOPNOTSUPP || r == -EPERM || r == -EACCES)
		return 0;
	if (r < 0)
		return fail(r, "cannot run the program: %m");
	e->verdict = verdict_of_trial(&e->trial);
	return check_trial(e);
}

/* Others may be attached, too: each has its say (Documentation/bpf/prog_sk_lookup.rst). */
static void look_for_other_programs(struct explanation *e)
{
	_cleanup_(closep) int netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	uint32_t ids[64], count = 64;

	if (netns >= 0 && bpf_prog_query(netns, BPF_SK_LOOKUP, 0, NULL, ids, &count) == 0 &&
		count > 1)
		add_note(e, "other_programs",
			"%u sk_lookup programs are attached to this network namespace, and this "
			"tells what Isomer's does: another one may refuse the packet or choose "
			"another socket",
			count);
}

/*
 * Sockets.
 */

struct search {
	struct explanation *e;
	bool has_listener; /* what would get the packet without Isomer */
	struct diag_socket listener;
	int score;
	struct diag_socket connected[MOST_CONNECTED];
	size_t connected_count;
};

/* Which of two sockets the kernel finds first: one for the address, then one of its family. */
static int listener_score(const struct diag_socket *socket, const struct in6_addr *address)
{
	bool exact = IN6_ARE_ADDR_EQUAL(&socket->address, address);

	return 1 + 2 * exact + (socket->is_ipv6 == (address_family(address) == IPV6));
}

static int look_at_socket(const struct diag_socket *socket, void *context)
{
	struct search *search = context;
	struct explanation *e = search->e;
	int score;

	if (e->cookie && socket->cookie == e->cookie) {
		e->socket = *socket;
		e->has_socket = true;
	}
	if (!diag_socket_takes(socket, &e->address, e->port) || socket->device)
		return 0;
	if (socket->peer_port) {
		if (search->connected_count < MOST_CONNECTED)
			search->connected[search->connected_count] = *socket;
		search->connected_count++;
		return 0;
	}
	score = listener_score(socket, &e->address);
	if (score > search->score) {
		search->score = score;
		search->listener = *socket;
		search->has_listener = true;
	}
	return 0;
}

/* "nginx (process 42)", "nginx (process 42 and 3 more)", "a process that isn't seen here" */
static const char *holder_format(const struct holder *holder, char *text, size_t size)
{
	char name[4 * sizeof(holder->name)];

	if (!holder->count)
		snprintf(text, size, "a process that isn't seen here");
	else if (holder->count == 1)
		snprintf(text, size, "%s (process %d)", printable(holder->name, name, sizeof(name)),
			holder->pid);
	else
		snprintf(text, size, "%s (process %d and %u more)",
			printable(holder->name, name, sizeof(name)), holder->pid,
			holder->count - 1);
	return text;
}

static void note_connected(struct explanation *e, const struct search *search)
{
	struct holder holders[MOST_CONNECTED] = {};
	size_t count =
		search->connected_count < MOST_CONNECTED ? search->connected_count : MOST_CONNECTED;

	for (size_t i = 0; i < count; i++)
		holders[i].inode = search->connected[i].inode;
	holders_find(holders, count);
	for (size_t i = 0; i < count; i++) {
		const struct diag_socket *socket = &search->connected[i];
		char peer[ENDPOINT_SIZE], who[160];

		add_note(e, "connected_udp",
			"datagrams from %s go to a UDP socket that is connected to there, of %s, "
			"before Isomer is asked",
			endpoint_format(&socket->peer, socket->is_ipv6, socket->peer_port, peer),
			holder_format(&holders[i], who, sizeof(who)));
	}
	if (search->connected_count > count)
		add_note(e, "connected_udp", "and so do those of %zu more peers",
			search->connected_count - count);
}

/* A server that listens there itself wonders why nothing comes. */
static void note_passed_over(struct explanation *e, const struct diag_socket *listener)
{
	struct holder holder = {.inode = listener->inode};
	char endpoint[ENDPOINT_SIZE], who[160];

	holders_find(&holder, 1);
	add_note(e, "passed_over",
		"%s listens at %s, and doesn't get the packet: it is bound, and bindings come first",
		holder_format(&holder, who, sizeof(who)),
		endpoint_format(&listener->address, listener->is_ipv6, listener->port, endpoint));
}

static int look_at_sockets(struct explanation *e)
{
	struct search search = {.e = e};
	int r = sockets_visit(e->protocol, look_at_socket, &search);

	if (r == -ENOENT || r == -EPERM || r == -EACCES) {
		add_note(e, "no_sock_diag",
			"this kernel doesn't list its sockets (sock_diag): which process has "
			"the socket, and whether another one gets the packet first, isn't known");
		return 0;
	}
	if (r < 0)
		return fail(r, "cannot list the sockets: %m");
	if (e->verdict == NOT_BOUND && search.has_listener) {
		e->socket = search.listener;
		e->has_socket = true;
	}
	if (e->verdict != DISPATCHED && e->verdict != NOT_BOUND)
		e->has_socket = false;
	note_connected(e, &search);
	if (e->verdict != NOT_BOUND && search.has_listener && search.listener.cookie != e->cookie)
		note_passed_over(e, &search.listener);
	if (!e->has_socket)
		return 0;
	e->holder.inode = e->socket.inode;
	holders_find(&e->holder, 1);
	snprintf(e->unit, sizeof(e->unit), "%s", e->holder.unit);
	if (e->protocol == TCP && e->socket.queued > e->socket.queue_limit)
		add_note(e, "queue_full",
			"the socket's queue is full: %u connections wait to be accepted, and it "
			"holds %u: the server doesn't keep up, and new ones are dropped",
			e->socket.queued, e->socket.queue_limit + 1);
	return 0;
}

/*
 * Why.
 */

/* Why a binding is where it is in the order of those that match. */
static const char *rule_of(const struct explanation *e, size_t first)
{
	const struct binding_key *winner = &e->matches[0].key, *key = &e->matches[first].key;
	struct group group = group_next(e->matches, e->match_count);
	const struct binding_key *next =
		group.count < e->match_count ? &e->matches[group.count].key : NULL;

	if (first > 0)
		return key->prefix_length < winner->prefix_length ? "shorter_prefix"
								  : "wider_ports";
	if (!next)
		return "only";
	return next->prefix_length < winner->prefix_length ? "longest_prefix" : "narrowest_ports";
}

static const struct {
	const char *rule;
	const char *words;
} rules[] = {
	{"only", "wins: no other matches"},
	{"longest_prefix", "wins: the longest prefix"},
	{"narrowest_ports", "wins: of the longest prefix, the narrowest ports"},
	{"shorter_prefix", "its prefix is shorter"},
	{"wider_ports", "the same prefix, wider ports"},
};

static const char *rule_words(const char *rule)
{
	size_t i = 0;

	while (strcmp(rules[i].rule, rule) != 0)
		i++;
	return rules[i].words;
}

/* Why it is refused, or who gets it; for people. */
static void give_reason_of(const struct explanation *e, struct reason *ret)
{
	const struct destination *record = &e->d->now.destinations[e->destination];
	uint8_t family = address_family(&e->address);

	if (e->verdict == DISPATCHED)
		give_reason(ret, "it matches a binding whose label has a socket");
	else if (e->verdict == NOT_BOUND)
		give_reason(ret, "no binding matches, and %s",
			e->has_socket ? "the kernel finds the socket that listens there"
				      : "no socket listens there");
	else if (e->cookie)
		give_reason(ret, "the kernel doesn't take the label's socket for such a packet");
	else if (record->unit[0] || record->cookie)
		give_reason(ret,
			"the label has no %s %s socket any more: the one that %s registered is closed",
			family_name(family), protocol_name(e->protocol),
			record->unit[0] ? record->unit : "the administrator");
	else
		give_reason(ret, "the label has no %s %s socket", family_name(family),
			protocol_name(e->protocol));
}

/*
 * Showing.
 */

static void print_headline(const struct explanation *e)
{
	char address[INET6_ADDRSTRLEN], label[4 * NAME_SIZE] = "";
	struct reason reason;

	if (e->match_count)
		printable(explained_label(e), label, sizeof(label));
	give_reason_of(e, &reason);
	printf("%s %s %u: ", protocol_name(e->protocol), address_format(&e->address, address),
		e->port);
	if (e->route_known && e->route != RTN_LOCAL)
		printf("doesn't arrive; if it did: ");
	if (e->verdict == DISPATCHED)
		printf("dispatched to label %s\n", label);
	else if (e->verdict == REFUSED)
		printf("refused: bound to label %s, but %s\n", label, reason.text);
	else
		printf("not Isomer's: %s\n", reason.text);
}

static void print_matches(const struct explanation *e)
{
	static const char *const titles[] = {
		"LABEL", "PROTOCOL", "PREFIX", "PORT", "UNITS", "WHY", NULL};
	struct table table;
	struct group group;

	if (!e->match_count)
		return;
	putchar('\n');
	for (table_begin(&table, titles); table_pass(&table);) {
		for (size_t i = 0; i < e->match_count; i += group.count) {
			struct selector selector = selector_of_key(&e->matches[i].key);
			char prefix[LONGEST_PREFIX_TEXT], ports[LONGEST_PORTS_TEXT];
			char label[4 * NAME_SIZE];
			_cleanup_(freep) char *units = NULL;

			group = group_next(e->matches + i, e->match_count - i);
			units = group_units(e->d, &group);
			printable(e->d->now.destinations[e->matches[i].destination].label, label,
				sizeof(label));
			table_row(&table,
				(const char *const[]){label, protocol_name(selector.protocol),
					prefix_format(&selector.prefix, prefix),
					ports_format(&selector.ports, ports), units ?: "?",
					rule_words(rule_of(e, i))});
		}
	}
}

static void print_socket(const struct explanation *e)
{
	char endpoint[ENDPOINT_SIZE], who[160];

	if (!e->has_socket)
		return;
	printf("  Socket: %s, cookie %" PRIu64 ", of %s%s\n",
		endpoint_format(&e->socket.address, e->socket.is_ipv6, e->socket.port, endpoint),
		e->socket.cookie, holder_format(&e->holder, who, sizeof(who)),
		e->trial.verdict == TRIAL_GROUP && e->trial_error == 0
			? ", or another of its SO_REUSEPORT group"
			: "");
	if (e->unit[0] && e->unit_state.active[0])
		printf("    Unit: %s, %s (%s)\n", e->unit, e->unit_state.active, e->unit_state.sub);
	else if (e->unit[0])
		printf("    Unit: %s\n", e->unit);
	if (e->protocol == TCP)
		printf("   Queue: %u connections wait to be accepted, %u may\n", e->socket.queued,
			e->socket.queue_limit + 1);
}

static void print_text(const struct explanation *e)
{
	print_headline(e);
	print_matches(e);
	putchar('\n');
	print_socket(e);
	if (e->match_count)
		printf("Counters: %llu lookups, %llu misses, %llu errors%s\n", e->counters.lookups,
			e->counters.misses, e->counters.errors,
			e->trial_error == 0 ? ", before this question, which counts as a lookup"
					    : "");
	printf("   Asked: %s\n",
		e->trial_error == 0 ? "the loaded program itself"
			: e->trial_error == -EOPNOTSUPP
			? "the tables, for this kernel can't run the program (5.13 and later do)"
			: "the tables, for running the program takes root");
	for (size_t i = 0; i < e->note_count; i++) {
		printf("    Note: %s\n", e->notes[i].text);
		if (e->notes[i].remedy)
			printf("      Do: %s\n", e->notes[i].remedy);
	}
}

static json_t *json_matches(const struct explanation *e)
{
	json_t *matches = json_array();
	struct group group;

	for (size_t i = 0; i < e->match_count; i += group.count) {
		json_t *match;

		group = group_next(e->matches + i, e->match_count - i);
		match = group_json(e->d, &group);
		json_object_set_new(match, "wins", json_boolean(i == 0));
		json_object_set_new(match, "rule", json_string(rule_of(e, i)));
		json_array_append_new(matches, match);
	}
	return matches;
}

static json_t *json_queue(const struct explanation *e)
{
	if (e->protocol != TCP)
		return json_null();
	return json_pack("{s:I, s:I, s:b}", "waiting", (json_int_t)e->socket.queued, "limit",
		(json_int_t)e->socket.queue_limit + 1, "full",
		e->socket.queued > e->socket.queue_limit);
}

static json_t *json_socket(const struct explanation *e)
{
	char address[INET6_ADDRSTRLEN];

	if (!e->has_socket)
		return json_null();
	return json_pack("{s:I, s:s, s:i, s:b, s:o, s:o, s:o, s:o}", "cookie",
		(json_int_t)e->socket.cookie, "address",
		address_format(&e->socket.address, address), "port", (int)e->socket.port, "group",
		e->trial_error == 0 && e->trial.verdict == TRIAL_GROUP, "process",
		holder_json(&e->holder), "queue", json_queue(e), "unit",
		e->unit[0] ? json_text(e->unit) : json_null(), "unit_state",
		e->unit_state.active[0] ? json_text(e->unit_state.active) : json_null());
}

static json_t *json_notes(const struct explanation *e)
{
	json_t *notes = json_array();

	for (size_t i = 0; i < e->note_count; i++) {
		const struct note *note = &e->notes[i];

		json_array_append_new(notes,
			json_pack("{s:s, s:o, s:o}", "kind", note->kind, "text",
				json_text(note->text), "remedy",
				note->remedy ? json_text(note->remedy) : json_null()));
	}
	return notes;
}

static void print_json(const struct explanation *e)
{
	char address[INET6_ADDRSTRLEN];
	struct reason reason;
	json_t *root, *counters = json_null();

	give_reason_of(e, &reason);
	if (e->match_count)
		counters = json_pack("{s:I, s:I, s:I}", "lookups", (json_int_t)e->counters.lookups,
			"misses", (json_int_t)e->counters.misses, "errors",
			(json_int_t)e->counters.errors);
	root = json_pack("{s:{s:s, s:s, s:i}, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:b, s:o}",
		"packet", "protocol", protocol_name(e->protocol), "address",
		address_format(&e->address, address), "port", (int)e->port, "verdict",
		verdict_names[e->verdict], "reason", json_text(reason.text), "arrives",
		e->route_known ? json_boolean(e->route == RTN_LOCAL) : json_null(), "label",
		e->match_count ? json_text(explained_label(e)) : json_null(), "bindings",
		json_matches(e), "socket", json_socket(e), "counters", counters, "asked",
		e->trial_error == 0 ? "program" : "tables", "counted",
		e->trial_error == 0 && e->match_count > 0, "notes", json_notes(e));
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

static int explain(const struct options *options, struct explanation *e)
{
	int r = dispatcher_open(options->bpffs, false, MISSING_IS_ERROR, &e->d);

	if (r == 0)
		r = find_matches(e);
	if (r == 0)
		r = ask_program(e);
	if (r < 0)
		return r;
	dispatcher_unlock(e->d);
	look_at_route(e);
	r = look_at_sockets(e);
	if (r < 0)
		return r;
	look_at_units(e);
	look_for_other_programs(e);
	if (options->json)
		print_json(e);
	else
		print_text(e);
	return 0;
}

static int run_explain(const struct options *options, int argc, char **argv)
{
	struct explanation e = {.options = options};
	struct reason reason;
	int r = take_arguments(&explain_command, argc, &argv, 3, 3);

	if (r < 0)
		return -r;
	if (protocol_parse(argv[0], &e.protocol, &reason) < 0 ||
		address_parse(argv[1], &e.address, &reason) < 0 ||
		port_parse(argv[2], &e.port, &reason) < 0)
		return misused(&explain_command, "%s", reason.text);
	r = explain(options, &e);
	for (size_t i = 0; i < e.note_count; i++)
		free(e.notes[i].remedy);
	free(e.matches);
	dispatcher_close(e.d);
	return r;
}

const struct command explain_command = {
	.name = "explain",
	.arguments = "PROTOCOL ADDRESS PORT",
	.summary = "tell what happens to a packet, and why",
	.help = "Tells what becomes of a new connection, or of a datagram for no connected socket,\n"
		"to this address and port: which bindings match and which one wins by which rule,\n"
		"the socket that gets it, its process and its unit, or why it is refused.\n\n"
		"It asks the loaded program itself, so the answer is the kernel's; the program counts\n"
		"the question as a lookup. Before Linux 5.13 the tables are read instead. It also\n"
		"tells what the program can't see: that the address isn't local here, that the\n"
		"socket's queue is full, that a unit isn't started, or has a socket that its label\n"
		"lacks, that a connected UDP socket gets its peer's datagrams first.\n\n"
		"Examples:\n"
		"  isomctl explain tcp 192.0.2.7 80\n"
		"  isomctl explain --json udp 2001:db8::1 53\n",
	.run = run_explain,
};
