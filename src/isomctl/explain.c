/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl explain: what happens to a packet, and why. What the dispatcher does with it, the loaded
 * program is asked, and the listing of bindings is held against its answer; the rest is what the
 * program can't see: routes, other sockets, processes, units.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/bpf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../destination.h"
#include "../netlink.h"
#include "../say.h"
#include "../section.h"
#include "../shellword.h"
#include "../trial.h"
#include "group.h"
#include "holders.h"
#include "isomctl.h"
#include "systemd.h"
#include "units.h"

#define MOST_NOTES     16
#define MOST_CONNECTED 4 /* UDP sockets that are named */
#define MOST_UNITS     8 /* of a binding, that systemd is asked about */

/* What becomes of the packet as far as Isomer has a say. */
enum verdict { NOT_BOUND, REFUSED, DISPATCHED };
static const char *const verdict_names[] = {
	[NOT_BOUND] = "not_bound", [REFUSED] = "refused", [DISPATCHED] = "dispatched"};

/* Something to know beside that, and what to do about it. */
struct note {
	const char *kind;
	char text[512];
	char remedy[SHELL_WORD_SIZE(NAME_SIZE) + 64]; /* a command; empty: none */
};

struct explanation {
	const struct options *options;
	struct dispatcher *d;
	uint8_t protocol;
	struct in6_addr address;
	uint16_t port;

	struct bound *matches; /* the bindings that hold the packet, the winner first */
	size_t match_count;
	enum verdict verdict;
	struct trial trial;
	int trial_error; /* 0: the program was asked, else the tables alone tell */

	/* Where the winner leads. */
	destination_id destination;
	struct counters counters; /* before the trial */
	uint64_t cookie;          /* of the socket that is registered there */

	/* Which socket gets the packet, by Isomer's choice or without it. */
	bool has_socket;
	struct diag_socket socket;
	struct holder holder;
	char unit[NAME_SIZE]; /* that registered it, or whose process has it */
	struct unit_state unit_state;

	bool route_known;
	uint8_t route; /* RTN_LOCAL, … */
	struct note notes[MOST_NOTES];
	size_t note_count;
};

__attribute__((format(printf, 4, 5))) static void add_note(
	struct explanation *e, const char *kind, const char *remedy, const char *format, ...)
{
	struct note *note = &e->notes[e->note_count];
	va_list arguments;

	if (e->note_count == MOST_NOTES)
		return;
	e->note_count++;
	note->kind = kind;
	snprintf(note->remedy, sizeof(note->remedy), "%s", remedy);
	va_start(arguments, format);
	vsnprintf(note->text, sizeof(note->text), format, arguments);
	va_end(arguments);
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
				"bindings say: run 'isomctl upgrade', and report this");
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
		add_note(e, "other_programs", "",
			"%u sk_lookup programs are attached to this network namespace, and this "
			"tells what Isomer's does: another one may refuse the packet or choose "
			"another socket",
			count);
}

/*
 * Routes.
 */

#define LONGEST_IP 160

/* ip(8), for the network namespace that was asked about. */
static void name_ip(const struct options *options, char text[LONGEST_IP])
{
	static const char named[] = "/run/netns/";
	const char *netns = options->netns;

	if (netns && strncmp(netns, named, strlen(named)) == 0)
		netns += strlen(named);
	if (!netns)
		snprintf(text, LONGEST_IP, "ip");
	else if (strchr(netns, '/'))
		snprintf(text, LONGEST_IP, "nsenter --net=%.100s ip", netns);
	else
		snprintf(text, LONGEST_IP, "ip -n %.100s", netns);
}

static bool loopback_is_up(void)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = {.ifr_name = "lo"};

	return fd < 0 || ioctl(fd, SIOCGIFFLAGS, &lo) < 0 || lo.ifr_flags & IFF_UP;
}

static bool is_loopback(const struct in6_addr *address)
{
	return IN6_IS_ADDR_LOOPBACK(address) ||
		(address_family(address) == IPV4 && address->s6_addr[12] == IN_LOOPBACKNET);
}

/*
 * What to make local: all of the binding, or the address alone, where the rest may be other
 * machines': of 0.0.0.0/0, and of what holds addresses of this machine, as its own subnet does.
 */
static struct prefix prefix_to_make_local(const struct explanation *e)
{
	_cleanup_(local_prefixes_free) struct local_prefixes local = {};
	struct prefix address = {e->address, 128}, bound;

	if (!e->match_count)
		return address;
	bound = selector_of_key(&e->matches[0].key).prefix;
	return prefix_written_length(&bound) > 0 && local_prefixes_read(&local) == 0 &&
			prefix_locality(&local, &bound) == NOT_LOCAL
		? bound
		: address;
}

/* Routes take a lo that is up, which has those of its own addresses. */
static void suggest_route(const struct explanation *e, char *text, size_t size)
{
	struct prefix local = prefix_to_make_local(e);
	char prefix[LONGEST_PREFIX_TEXT], ip[LONGEST_IP];
	bool up = loopback_is_up();
	int length = 0;

	name_ip(e->options, ip);
	*text = '\0';
	if (!up)
		length = snprintf(text, size, "%s link set lo up", ip);
	if (up || !is_loopback(&e->address))
		snprintf(text + length, size - (size_t)length, "%s%s %sroute add local %s dev lo",
			up ? "" : " && ", ip, address_family(&e->address) == IPV6 ? "-6 " : "",
			prefix_format(&local, prefix));
}

static bool is_multicast(const struct in6_addr *address)
{
	return IN6_IS_ADDR_MULTICAST(address) ||
		(address_family(address) == IPV4 && address->s6_addr[12] >> 4 == 14);
}

/* 255.255.255.255 */
static bool is_limited_broadcast(const struct in6_addr *address)
{
	return address_family(address) == IPV4 && address->s6_addr32[3] == INADDR_BROADCAST;
}

/* The kernel names a route all the same; what others send to other addresses does arrive. */
static void note_loopback_down(struct explanation *e)
{
	char ip[LONGEST_IP], remedy[LONGEST_IP + sizeof(" link set lo up")];

	name_ip(e->options, ip);
	snprintf(remedy, sizeof(remedy), "%s link set lo up", ip);
	add_note(e, "loopback_down", remedy,
		"the interface lo is down: what this machine sends to its own addresses doesn't "
		"arrive");
	if (is_loopback(&e->address))
		e->route = RTN_UNREACHABLE;
}

static void note_not_local(struct explanation *e)
{
	char address[INET6_ADDRSTRLEN], ip[LONGEST_IP], remedy[320] = "";

	name_ip(e->options, ip);
	address_format(&e->address, address);
	if (IN6_IS_ADDR_LINKLOCAL(&e->address)) {
		snprintf(remedy, sizeof(remedy), "%s address add %s/64 dev INTERFACE", ip, address);
		add_note(e, "not_local", remedy,
			"%s is a link-local address, and no interface here has it: a packet to it "
			"doesn't arrive at any socket",
			address);
		return;
	}
	if (e->route == RTN_BROADCAST || e->route == RTN_MULTICAST || e->route == RTN_ANYCAST) {
		add_note(e, "not_local", "",
			"%s is a %s address: what is sent there is not dispatched", address,
			e->route == RTN_BROADCAST           ? "broadcast"
				: e->route == RTN_MULTICAST ? "multicast"
							    : "anycast");
		return;
	}
	suggest_route(e, remedy, sizeof(remedy));
	add_note(e, "not_local", remedy,
		"%s isn't local on this machine: a packet to it doesn't arrive at any socket%s",
		address,
		e->route == RTN_UNICAST
			? "; what the machine sends there goes elsewhere, and wouldn't any more"
			: "");
}

static void look_at_route(struct explanation *e)
{
	e->route_known = route_type(&e->address, &e->route) == 0;
	if (e->route_known && is_multicast(&e->address))
		e->route = RTN_MULTICAST; /* whatever routes there are for who sends to it */
	if (e->route_known && is_limited_broadcast(&e->address))
		e->route = RTN_BROADCAST; /* likewise */
	if (e->route_known && e->route == RTN_LOCAL && !loopback_is_up())
		note_loopback_down(e);
	else if (e->route_known && e->route != RTN_LOCAL)
		note_not_local(e);
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

		add_note(e, "connected_udp", "",
			"datagrams from %s go to a UDP socket that is connected to there, of %s, "
			"before Isomer is asked",
			endpoint_format(&socket->peer, socket->is_ipv6, socket->peer_port, peer),
			holder_format(&holders[i], who, sizeof(who)));
	}
	if (search->connected_count > count)
		add_note(e, "connected_udp", "", "and so do those of %zu more peers",
			search->connected_count - count);
}

/* A server that listens there itself wonders why nothing comes. */
static void note_passed_over(struct explanation *e, const struct diag_socket *listener)
{
	struct holder holder = {.inode = listener->inode};
	char endpoint[ENDPOINT_SIZE], who[160];

	holders_find(&holder, 1);
	add_note(e, "passed_over", "",
		"%s listens at %s, and doesn't get the packet: it is bound, and bindings come first",
		holder_format(&holder, who, sizeof(who)),
		endpoint_format(&listener->address, listener->is_ipv6, listener->port, endpoint));
}

static int look_at_sockets(struct explanation *e)
{
	struct search search = {.e = e};
	int r = sockets_visit(e->protocol, look_at_socket, &search);

	if (r == -ENOENT || r == -EPERM || r == -EACCES) {
		add_note(e, "no_sock_diag", "",
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
		add_note(e, "queue_full", "",
			"the socket's queue is full: %u connections wait to be accepted, and it "
			"holds %u: the server doesn't keep up, and new ones are dropped",
			e->socket.queued, e->socket.queue_limit + 1);
	return 0;
}

/*
 * Units.
 */

static bool is_started(const struct unit_state *state)
{
	static const char *const started[] = {"active", "reloading", "activating"};

	for (size_t i = 0; i < sizeof(started) / sizeof(*started); i++)
		if (strcmp(state->active, started[i]) == 0)
			return true;
	return false;
}

/* It crashed, say, and is started again in a while: "auto-restart", "auto-restart-queued". */
static bool waits_for_restart(const struct unit_state *state)
{
	return strncmp(state->sub, "auto-restart", strlen("auto-restart")) == 0;
}

static void note_owner(struct explanation *e, const char *unit, const struct unit_state *state)
{
	char remedy[128];

	if (waits_for_restart(state)) {
		snprintf(remedy, sizeof(remedy), "journalctl --unit %.100s", unit);
		add_note(e, "unit_not_started", remedy,
			"%s has ended, and waits for its automatic restart", unit);
	} else if (!is_started(state)) {
		snprintf(remedy, sizeof(remedy), "systemctl start %.100s", unit);
		add_note(e, "unit_not_started", remedy, "%s isn't started: it is %s", unit,
			state->active);
	} else if (e->verdict == REFUSED && !e->cookie) {
		snprintf(remedy, sizeof(remedy), "journalctl --unit %.100s", unit);
		add_note(e, "no_socket", remedy,
			"%s is %s, and has no %s %s socket under this label: have it listen on "
			"one, or see what its start said",
			unit, state->active, family_name(address_family(&e->address)),
			protocol_name(e->protocol));
	}
}

/* The units whose the winner is: none of them may have a socket yet. */
static size_t list_owners(const struct explanation *e, const char *units[MOST_UNITS])
{
	struct group winner = {};
	size_t count = 0;

	if (e->match_count)
		winner = group_next(e->matches, e->match_count);
	for (size_t i = 0; i < winner.count && count < MOST_UNITS; i++)
		if (winner.first[i].key.owner)
			units[count++] = owner_name(e->d, winner.first[i].key.owner);
	return count;
}

static void look_at_owners(struct explanation *e)
{
	const char *units[MOST_UNITS + 1];
	struct unit_state states[MOST_UNITS + 1];
	size_t owners = list_owners(e, units), count = owners;

	if (e->match_count && e->cookie &&
		e->d->now.destinations[e->destination].cookie == e->cookie &&
		e->d->now.destinations[e->destination].unit[0])
		snprintf(e->unit, sizeof(e->unit), "%s",
			e->d->now.destinations[e->destination].unit);
	if (e->unit[0])
		units[count++] = e->unit;
	if (!systemd_unit_states(units, count, states))
		return;
	if (e->unit[0])
		e->unit_state = states[owners];
	for (size_t i = 0; i < owners; i++)
		if (states[i].active[0])
			note_owner(e, units[i], &states[i]);
}

/*
 * Units whose sections would bind it.
 */

struct candidates {
	const struct explanation *e;
	struct unitpath unitpath;
	struct unit_name names[MOST_UNITS];
	bool required[MOST_UNITS]; /* what their sections' Required= says */
	size_t count;
};

static void ignore(const struct section_problem *problem, void *context)
{
	(void)problem, (void)context; /* verify tells of them */
}

static bool section_holds(const struct section *section, const struct explanation *e)
{
	for (size_t i = 0; i < section->binding_count; i++) {
		const struct selector *selector = &section->bindings[i].selector;

		if (selector->protocol == e->protocol &&
			prefix_holds(&selector->prefix, &e->address) &&
			ports_hold(&selector->ports, e->port))
			return true;
	}
	return false;
}

static bool is_candidate(const struct candidates *candidates, const struct unit_name *unit)
{
	for (size_t i = 0; i < candidates->count; i++)
		if (strcmp(candidates->names[i].full, unit->full) == 0)
			return true;
	return false;
}

static int look_at_section(const char *name, void *context)
{
	struct candidates *candidates = context;
	_cleanup_(freep) const char **files = NULL;
	struct unit_name asked, unit;
	struct section section;
	struct reason reason;
	size_t count;

	if (unit_name_parse(name, &asked, &reason) < 0 || unit_name_is_template(&asked))
		return 0; /* of a template's instances there is no list */
	if (unit_find_files(&candidates->unitpath, &asked, &unit, &files, &count) < 0 || !count ||
		is_candidate(candidates, &unit))
		return 0;
	section_check(&unit, files, count, ignore, NULL, &section);
	if (section_holds(&section, candidates->e)) {
		candidates->required[candidates->count] = section.required;
		unit_name_copy(&unit, &candidates->names[candidates->count++]);
	}
	section_free(&section);
	return candidates->count == MOST_UNITS;
}

/* What has units that run get what their sections say by now. */
static const char *applying_command(void)
{
	const char *isomer = "isomer.service";
	struct unit_state state;

	return systemd_unit_states(&isomer, 1, &state) && strcmp(state.active, "active") == 0
		? "systemctl daemon-reload && systemctl reload isomer"
		: "systemctl daemon-reload && systemctl start isomer";
}

static void note_candidate(
	struct explanation *e, const char *unit, bool required, const struct unit_state *state)
{
	bool runs = is_started(state) && !waits_for_restart(state);
	char remedy[320];

	if (runs)
		snprintf(remedy, sizeof(remedy), "%s", applying_command());
	else if (strcmp(state->active, "inactive") == 0)
		snprintf(remedy, sizeof(remedy), "systemctl start %.200s", unit);
	else
		snprintf(remedy, sizeof(remedy), "journalctl --unit %.200s", unit);
	add_note(e, "section_binds", remedy, "the section of %.255s binds it, and %s: it is %s",
		unit,
		!runs              ? "isn't started"
			: required ? "the unit runs without that line"
				   : "the unit runs without that line, or goes on without Isomer, "
				     "as Required=no lets it: its journal tells",
		waits_for_restart(state) ? "waiting for its automatic restart" : state->active);
}

/* Bindings last from a unit's start to its stop, so the reason may be that it isn't started. */
static void look_for_sections(struct explanation *e)
{
	struct candidates candidates = {.e = e};
	struct unit_state states[MOST_UNITS];
	const char *units[MOST_UNITS];

	if (!systemd_is_there() || !systemd_is_in_our_netns())
		return;
	if (unitpath_load(&candidates.unitpath) == 0)
		units_visit(&candidates.unitpath, look_at_section, &candidates);
	unitpath_free(&candidates.unitpath);
	for (size_t i = 0; i < candidates.count; i++)
		units[i] = candidates.names[i].full;
	if (systemd_unit_states(units, candidates.count, states))
		for (size_t i = 0; i < candidates.count; i++)
			note_candidate(e, units[i], candidates.required[i], &states[i]);
}

/* What was bound by hand is nobody's to start. */
static void look_for_registration(struct explanation *e)
{
	char word[SHELL_WORD_SIZE(NAME_SIZE)], remedy[sizeof(word) + 64];
	const char *units[MOST_UNITS];

	if (e->verdict != REFUSED || e->cookie || list_owners(e, units))
		return;
	snprintf(remedy, sizeof(remedy), "isomctl register-pid PID %s %s ADDRESS PORT",
		shell_word(e->d->now.destinations[e->destination].label, word, sizeof(word)),
		protocol_name(e->protocol));
	add_note(e, "no_socket", remedy,
		"a server's %s %s socket is to be registered under this label",
		family_name(address_family(&e->address)), protocol_name(e->protocol));
}

static void look_at_units(struct explanation *e)
{
	look_at_owners(e);
	look_for_registration(e);
	if (e->match_count == 0)
		look_for_sections(e);
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

/* Where something matches. */
static const char *label_of(const struct explanation *e)
{
	return e->d->now.destinations[e->destination].label;
}

/*
 * Showing.
 */

static void print_headline(const struct explanation *e)
{
	char address[INET6_ADDRSTRLEN], label[4 * NAME_SIZE] = "";
	struct reason reason;

	if (e->match_count)
		printable(label_of(e), label, sizeof(label));
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
		if (e->notes[i].remedy[0])
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
				note->remedy[0] ? json_text(note->remedy) : json_null()));
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
		e->match_count ? json_text(label_of(e)) : json_null(), "bindings", json_matches(e),
		"socket", json_socket(e), "counters", counters, "asked",
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
		"socket's queue is full, that a unit isn't started, that a connected UDP socket gets\n"
		"its peer's datagrams first.\n\n"
		"Examples:\n"
		"  isomctl explain tcp 192.0.2.7 80\n"
		"  isomctl explain --json udp 2001:db8::1 53\n",
	.run = run_explain,
};
