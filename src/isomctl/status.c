/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl status: the dispatcher as a whole, the destinations, their sockets and units, and what
 * the program has counted; once, or again and again.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../destination.h"
#include "../netlink.h"
#include "../say.h"
#include "../truth.h"
#include "../waiting.h"
#include "holders.h"
#include "isomctl.h"
#include "systemd.h"
#include "terminal.h"

#define DEFAULT_INTERVAL_SEC  2
#define SHORTEST_INTERVAL_SEC 0.05
#define LONGEST_INTERVAL_SEC  86400

/* A unit that has to do with a destination. */
struct involved {
	uint16_t owner; /* that of a binding; 0: it only registered the socket */
	const char *name;
	bool registered;
	struct unit_state state;
};

/* What is to be shown of one destination. */
struct row {
	struct destination_view seen;
	struct involved *units; /* the one that registered the socket first */
	size_t unit_count;
	struct holder holder; /* of the socket */
};

/* One look. */
struct view {
	struct dispatcher *d;
	struct row *rows;
	size_t count;
	double taken_at; /* CLOCK_MONOTONIC, seconds */
	bool knows_states;
};

struct wish {
	const char *label; /* NULL: all */
	double interval;   /* of --watch; 0: once */
	bool no_pager;
	bool colours;
};

static double now(void)
{
	return (double)monotonic_usec() / 1e6;
}

/*
 * Looking.
 */

static int row_compare(const void *a, const void *b)
{
	const struct destination *x = ((const struct row *)a)->seen.record;
	const struct destination *y = ((const struct row *)b)->seen.record;

	return strcmp(x->label, y->label) ?: x->family - y->family ?: x->protocol - y->protocol;
}

/* The destinations in use, of one label or (NULL) of all, sorted. */
static int collect(struct view *view, const char *label)
{
	const struct dispatcher *d = view->d;

	for (destination_id id = 0; id < d->now.ledger->destination_places; id++) {
		struct row *row = &view->rows[view->count];
		bool in_use;
		int r;

		if (label && strcmp(label, d->now.destinations[id].label) != 0)
			continue;
		*row = (struct row){};
		r = destination_look(d, id, &row->seen, &in_use);
		if (r < 0)
			return r;
		view->count += in_use;
	}
	qsort(view->rows, view->count, sizeof(*view->rows), row_compare);
	return 0;
}

static int add_unit(struct row *row, uint16_t owner, const char *name, bool registered)
{
	struct involved *longer;

	for (size_t i = 0; i < row->unit_count; i++) {
		if (strcmp(row->units[i].name, name) == 0) {
			row->units[i].owner = owner ?: row->units[i].owner;
			return 0;
		}
	}
	longer = reallocarray(row->units, row->unit_count + 1, sizeof(*longer));
	if (!longer)
		return fail(-ENOMEM, "cannot list the units: %m");
	row->units = longer;
	row->units[row->unit_count++] =
		(struct involved){.owner = owner, .name = name, .registered = registered};
	return 0;
}

/* The units that registered the sockets, and those that have bindings to the labels. */
static int collect_units(struct view *view)
{
	_cleanup_(freep) struct bound *claims = NULL;
	_cleanup_(freep) struct row **by_id = calloc(MAX_DESTINATIONS, sizeof(*by_id));
	size_t count = 0;
	int r = by_id ? 0 : fail(-ENOMEM, "cannot list the units: %m");

	for (struct row *row = view->rows; r == 0 && row < view->rows + view->count; row++) {
		by_id[row->seen.id] = row;
		if (row->seen.known && row->seen.record->unit[0])
			r = add_unit(row, 0, row->seen.record->unit, true);
	}
	if (r == 0 && view->d->now.ledger->claim_count)
		r = truth_read(view->d, CLAIMS, &claims, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct row *row = by_id[claims[i].destination];

		if (row && claims[i].key.owner)
			r = add_unit(row, claims[i].key.owner,
				owner_name(view->d, claims[i].key.owner), false);
	}
	return r;
}

/* All states at once: each question takes systemctl some milliseconds. */
static int ask_states(struct view *view)
{
	_cleanup_(freep) const char **names = NULL;
	_cleanup_(freep) struct unit_state *states = NULL;
	size_t count = 0, i = 0;

	for (size_t row = 0; row < view->count; row++)
		count += view->rows[row].unit_count;
	names = calloc(count + 1, sizeof(*names));
	states = calloc(count + 1, sizeof(*states));
	if (!names || !states)
		return fail(-ENOMEM, "cannot list the units: %m");
	for (size_t row = 0; row < view->count; row++)
		for (size_t unit = 0; unit < view->rows[row].unit_count; unit++)
			names[i++] = view->rows[row].units[unit].name;
	view->knows_states = systemd_unit_states(names, count, states);
	i = 0;
	for (size_t row = 0; row < view->count; row++)
		for (size_t unit = 0; unit < view->rows[row].unit_count; unit++)
			view->rows[row].units[unit].state = states[i++];
	return 0;
}

static int note_inode(const struct diag_socket *socket, void *context)
{
	struct view *view = context;

	for (struct row *row = view->rows; row < view->rows + view->count; row++)
		if (row->seen.cookie && row->seen.cookie == socket->cookie)
			row->holder.inode = socket->inode;
	return 0;
}

/* What can't be found out about processes isn't shown. */
static int find_processes(struct view *view)
{
	_cleanup_(freep) struct holder *holders = calloc(view->count + 1, sizeof(*holders));

	if (!holders)
		return fail(-ENOMEM, "cannot look for processes: %m");
	for (uint8_t protocol = 0; protocol < PROTOCOLS; protocol++)
		if (sockets_visit(protocol, note_inode, view) < 0)
			return 0;
	for (size_t i = 0; i < view->count; i++)
		holders[i].inode = view->rows[i].holder.inode;
	holders_find(holders, view->count);
	for (size_t i = 0; i < view->count; i++)
		view->rows[i].holder = holders[i];
	return 0;
}

static void view_free(struct view *view)
{
	for (size_t i = 0; i < view->count; i++)
		free(view->rows[i].units);
	free(view->rows);
	dispatcher_close(view->d);
	*view = (struct view){};
}

static int look(const struct options *options, const char *label, struct view *view)
{
	int r;

	*view = (struct view){.rows = calloc(MAX_DESTINATIONS, sizeof(*view->rows))};
	if (!view->rows)
		return fail(-ENOMEM, "cannot read the status: %m");
	r = dispatcher_open(options->bpffs, false, MISSING_IS_ERROR, &view->d);
	if (r == 0)
		r = collect(view, label);
	if (r == 0)
		r = collect_units(view);
	if (r < 0)
		return r;
	view->taken_at = now();
	dispatcher_unlock(view->d); /* systemd, or whoever reads this, may be slow */
	r = ask_states(view);
	return r < 0 ? r : find_processes(view);
}

/* How many there were each second since the last look. False: there is none to compare with. */
static bool find_rates(
	const struct view *view, const struct view *last, const struct row *row, double rates[2])
{
	for (size_t i = 0; i < last->count; i++) {
		const struct row *before = &last->rows[i];
		double seconds = view->taken_at - last->taken_at;

		if (row_compare(before, row) != 0 || before->seen.id != row->seen.id ||
			seconds <= 0 || before->seen.counters.lookups > row->seen.counters.lookups)
			continue;
		rates[0] = (double)(row->seen.counters.lookups - before->seen.counters.lookups) /
			seconds;
		rates[1] = (double)(row->seen.counters.misses - before->seen.counters.misses) /
			seconds;
		return true;
	}
	return false;
}

/*
 * The dispatcher as a whole.
 */

/* When the program was loaded, which an upgrade does anew; 0: it can't be told. */
static time_t program_loaded_at(uint32_t id)
{
	_cleanup_(closep) int program = bpf_prog_get_fd_by_id(id);
	struct bpf_prog_info info = {};
	struct timespec today, since_boot;
	int64_t booted_at; /* nanoseconds, as all of these */
	uint32_t size = sizeof(info);

	if (program < 0 || bpf_obj_get_info_by_fd(program, &info, &size) < 0)
		return 0;
	clock_gettime(CLOCK_REALTIME, &today);
	clock_gettime(CLOCK_BOOTTIME, &since_boot);
	booted_at = (today.tv_sec - since_boot.tv_sec) * 1000000000LL + today.tv_nsec -
		since_boot.tv_nsec;
	return (booted_at + (int64_t)info.load_time) / 1000000000;
}

static const char *date_format(time_t date, char *text, size_t size)
{
	struct tm local;

	strftime(text, size, "%a %Y-%m-%d %H:%M:%S %Z", localtime_r(&date, &local));
	return text;
}

static void print_heading(const struct view *view, const struct wish *wish)
{
	const struct ledger *ledger = view->d->now.ledger;
	uint32_t program = view->d->program;
	time_t changed = program_loaded_at(program);
	struct utsname kernel = {};
	char date[64], loaded[32];

	uname(&kernel);
	printf("Dispatcher: %s since %s, program %u\n",
		coloured(wish->colours, GREEN, "loaded", loaded, sizeof(loaded)),
		date_format((time_t)ledger->loaded_at, date, sizeof(date)), program);
	if (changed)
		printf("   Program: since %s\n", date_format(changed, date, sizeof(date)));
	printf("   Version: isomctl %s, ABI %u, Linux %s\n", ISOMER_VERSION, ledger->abi,
		kernel.release);
	printf("  Bindings: %u by hand, %u by units\n\n", ledger->binding_count,
		ledger->claim_count);
}

/*
 * Destinations.
 */

/* 127.0.0.1:8080, [::1]:8080 */
static const char *endpoint_format(const struct destination *record, char *text, size_t size)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr ip;

	memcpy(&ip, record->address, sizeof(ip));
	address_format(&ip, address);
	snprintf(text, size, address_family(&ip) == IPV4 ? "%s:%u" : "[%s]:%u", address,
		record->port);
	return text;
}

/* The unit of the socket, or while there is none, that of the bindings. */
static const struct involved *shown_unit(const struct row *row)
{
	return row->unit_count && (!row->seen.cookie || row->units[0].registered) ? &row->units[0]
										  : NULL;
}

static enum colour state_colour(const struct unit_state *state)
{
	return strcmp(state->active, "active") == 0        ? GREEN
		: strcmp(state->active, "failed") == 0     ? RED
		: strcmp(state->active, "activating") == 0 ? YELLOW
							   : PLAIN;
}

static void print_row(struct table *table, const struct view *view, const struct view *last,
	const struct row *row, const struct wish *wish)
{
	char label[4 * NAME_SIZE], endpoint[64], bindings[16], cookie[24], state[64], bold[64];
	char lookups[24], misses[24], errors[24], process[64], rates_text[2][32] = {"-", "-"};
	const struct involved *unit = shown_unit(row);
	char name[4 * sizeof(row->holder.name)], misses_coloured[64];
	double rates[2];

	printable(row->seen.record->label, label, sizeof(label));
	endpoint_format(row->seen.record, endpoint, sizeof(endpoint));
	snprintf(bindings, sizeof(bindings), "%u", row->seen.bindings);
	snprintf(cookie, sizeof(cookie), "%" PRIu64, row->seen.cookie);
	snprintf(lookups, sizeof(lookups), "%llu", row->seen.counters.lookups);
	snprintf(misses, sizeof(misses), "%llu", row->seen.counters.misses);
	snprintf(errors, sizeof(errors), "%llu", row->seen.counters.errors);
	snprintf(process, sizeof(process), "-");
	if (row->holder.count)
		snprintf(process, sizeof(process), "%d %s", row->holder.pid,
			printable(row->holder.name, name, sizeof(name)));
	if (find_rates(view, last, row, rates))
		for (int i = 0; i < 2; i++)
			snprintf(rates_text[i], sizeof(rates_text[i]), "%.1f", rates[i]);
	snprintf(
		bold, sizeof(bold), "%s", unit && unit->state.active[0] ? unit->state.active : "-");
	table_row(table,
		(const char *const[]){label, family_name(row->seen.record->family),
			protocol_name(row->seen.record->protocol), bindings,
			row->seen.cookie ? cookie : "-", row->seen.known ? endpoint : "-",
			unit ? unit->name : "-", lookups,
			coloured(wish->colours, row->seen.counters.misses ? YELLOW : PLAIN, misses,
				misses_coloured, sizeof(misses_coloured)),
			errors,
			coloured(wish->colours, unit ? state_colour(&unit->state) : PLAIN, bold,
				state, sizeof(state)),
			process, rates_text[0], rates_text[1]});
}

static void print_rows(const struct view *view, const struct view *last, const struct wish *wish)
{
	static const char *const plain[] = {"LABEL", "FAMILY", "PROTOCOL", "BINDINGS", "SOCKET",
		"ADDRESS", "UNIT", "LOOKUPS", "MISSES", "ERRORS", "STATE", "PROCESS", NULL};
	static const char *const watching[] = {"LABEL", "FAMILY", "PROTOCOL", "BINDINGS", "SOCKET",
		"ADDRESS", "UNIT", "LOOKUPS", "MISSES", "ERRORS", "STATE", "PROCESS", "LOOKUPS/S",
		"MISSES/S", NULL};
	struct table table;

	for (table_begin(&table, wish->interval ? watching : plain); table_pass(&table);)
		for (const struct row *row = view->rows; row < view->rows + view->count; row++)
			print_row(&table, view, last, row, wish);
}

/*
 * JSON.
 */

static json_t *json_socket(const struct row *row)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr ip;

	if (!row->seen.cookie)
		return json_null();
	if (!row->seen.known)
		return json_pack("{s:I}", "cookie", (json_int_t)row->seen.cookie);
	memcpy(&ip, row->seen.record->address, sizeof(ip));
	return json_pack("{s:I, s:s, s:i}", "cookie", (json_int_t)row->seen.cookie, "address",
		address_format(&ip, address), "port", row->seen.record->port);
}

static json_t *json_units(const struct row *row)
{
	json_t *units = json_array();

	for (size_t i = 0; i < row->unit_count; i++) {
		const struct involved *unit = &row->units[i];

		json_array_append_new(units,
			json_pack("{s:o, s:o, s:o, s:b, s:b}", "name", json_text(unit->name),
				"state",
				unit->state.active[0] ? json_text(unit->state.active) : json_null(),
				"substate",
				unit->state.sub[0] ? json_text(unit->state.sub) : json_null(),
				"binds", unit->owner != 0, "registered", unit->registered));
	}
	return units;
}

static json_t *json_row(const struct view *view, const struct view *last, const struct row *row)
{
	bool of_unit = row->seen.known && row->seen.record->unit[0];
	double rates[2];
	bool has_rates = find_rates(view, last, row, rates);

	return json_pack("{s:o, s:s, s:s, s:i, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
		"label", json_text(row->seen.record->label), "family",
		family_name(row->seen.record->family), "protocol",
		protocol_name(row->seen.record->protocol), "bindings", (int)row->seen.bindings,
		"socket", json_socket(row), "unit",
		of_unit ? json_text(row->seen.record->unit) : json_null(), "lookups",
		(json_int_t)row->seen.counters.lookups, "misses",
		(json_int_t)row->seen.counters.misses, "errors",
		(json_int_t)row->seen.counters.errors, "process", holder_json(&row->holder),
		"units", json_units(row), "lookups_per_second",
		has_rates ? json_real(rates[0]) : json_null(), "misses_per_second",
		has_rates ? json_real(rates[1]) : json_null());
}

static json_t *json_dispatcher(const struct view *view)
{
	const struct ledger *ledger = view->d->now.ledger;
	uint32_t program = view->d->program;
	time_t changed = program_loaded_at(program);
	struct utsname kernel = {};

	uname(&kernel);
	return json_pack("{s:i, s:I, s:i, s:i, s:i, s:s, s:s, s:o}", "program", (int)program,
		"loaded_at", (json_int_t)ledger->loaded_at, "abi", (int)ledger->abi,
		"bindings_by_hand", (int)ledger->binding_count, "bindings_by_units",
		(int)ledger->claim_count, "version", ISOMER_VERSION, "kernel", kernel.release,
		"program_loaded_at", changed ? json_integer(changed) : json_null());
}

/* Of --watch, each look is a line. */
static void print_json(const struct view *view, const struct view *last, const struct wish *wish)
{
	json_t *destinations = json_array(), *root;

	for (size_t i = 0; i < view->count; i++)
		json_array_append_new(destinations, json_row(view, last, &view->rows[i]));
	root = json_pack(
		"{s:o, s:o}", "dispatcher", json_dispatcher(view), "destinations", destinations);
	json_dumpf(root, stdout,
		JSON_REAL_PRECISION(6) | (wish->interval ? JSON_COMPACT : JSON_INDENT(2)));
	putchar('\n');
	json_decref(root);
}

/*
 * The command.
 */

static void print(const struct options *options, const struct wish *wish, const struct view *view,
	const struct view *last)
{
	if (options->json) {
		print_json(view, last, wish);
		return;
	}
	print_heading(view, wish);
	print_rows(view, last, wish);
}

/* The first look: a label that isn't there is a mistake. */
static int look_first(const struct options *options, const struct wish *wish, struct view *ret)
{
	int r = look(options, wish->label, ret);

	if (r < 0 || !wish->label || ret->count)
		return r;
	return fail(-ENOENT,
		"there is neither a binding to label \"%s\" nor a socket under it%s: 'isomctl status' lists what "
		"there is",
		wish->label,
		wish->interval && wish->label[strspn(wish->label, "0123456789.")] == '\0'
			? ": seconds are written --watch=SECONDS"
			: "");
}

static int show_once(const struct options *options, const struct wish *wish)
{
	struct view view = {}, none = {};
	int r = look_first(options, wish, &view);

	if (r == 0 && !options->json && !wish->no_pager)
		pager_begin();
	if (r == 0)
		print(options, wish, &view, &none);
	pager_end();
	view_free(&view);
	return r;
}

/* Ends when it is interrupted, or nobody reads any more. */
static int watch(const struct options *options, const struct wish *wish)
{
	const time_t whole = (time_t)wish->interval;
	const struct timespec interval = {
		whole, (long)((wish->interval - (double)whole) * 1000000000)};
	bool terminal = isatty(STDOUT_FILENO) && !options->json;
	struct view last = {}, view = {};
	bool first = true;
	int r = look_first(options, wish, &view);

	for (; r == 0; r = look(options, wish->label, &view)) {
		if (terminal)
			fputs("\033[H\033[J", stdout); /* home, and clear the rest */
		else if (!first && !options->json)
			putchar('\n');
		print(options, wish, &view, &last);
		if (fflush(stdout) != 0)
			break;
		view_free(&last);
		last = view;
		view = (struct view){};
		first = false;
		nanosleep(&interval, NULL);
	}
	view_free(&view);
	view_free(&last);
	return r;
}

static int take_interval(const char *text, double *ret)
{
	char *end;

	if (!text) {
		*ret = DEFAULT_INTERVAL_SEC;
		return 0;
	}
	*ret = strtod(text, &end);
	if (end == text || *end || !(*ret >= SHORTEST_INTERVAL_SEC && *ret <= LONGEST_INTERVAL_SEC))
		return -misused(&status_command, "\"%s\" is no number of seconds from %g to %d",
			text, SHORTEST_INTERVAL_SEC, LONGEST_INTERVAL_SEC);
	return 0;
}

static int take_wish(int argc, char **argv, struct wish *ret)
{
	enum { WATCH = 1, NO_PAGER };
	static const struct option long_options[] = {
		{"watch", optional_argument, NULL, WATCH},
		{"no-pager", no_argument, NULL, NO_PAGER},
		{},
	};
	int option, r = 0;

	*ret = (struct wish){};
	optind = 0;
	while ((option = getopt_long_only(argc, argv, "", long_options, NULL)) != -1) {
		if (option == WATCH)
			r = take_interval(optarg, &ret->interval);
		else
			ret->no_pager = true;
		if (r < 0)
			return -r;
	}
	if (argc - optind > 1)
		return misused(
			&status_command, "\"%s\" is one argument too many", argv[optind + 1]);
	ret->label = argv[optind];
	return 0;
}

static int run_status(const struct options *options, int argc, char **argv)
{
	struct wish wish;
	int r = take_wish(argc, argv, &wish);

	if (r != 0)
		return r;
	wish.colours = terminal_has_colours();
	return wish.interval ? watch(options, &wish) : show_once(options, &wish);
}

const struct command status_command = {
	.name = "status",
	.arguments = "[--watch[=SECONDS]] [--no-pager] [LABEL]",
	.summary = "show labels, their sockets, units and counters",
	.help = "--watch[=SECONDS]  show it again every 2 (or so many) seconds, with rates\n"
		"--no-pager         don't let a pager show it\n\n"
		"For each destination: how many bindings lead to it, its socket's cookie and local\n"
		"address, the unit that registered it (or, while there is no socket, one that bound\n"
		"it), and how many packets it was looked up for (new connections and unconnected\n"
		"datagrams), how many of these were refused for there was no socket (misses), or for\n"
		"the kernel did not take it (errors); the unit's state, and the process that has the\n"
		"socket.\n\n"
		"On a terminal, it is coloured ($NO_COLOR set: it isn't), and shown by a pager:\n"
		"$SYSTEMD_PAGER or $PAGER, of which an empty one or \"cat\" means none.\n\n"
		"Examples:\n"
		"  isomctl status\n"
		"  isomctl status --watch=1 web\n"
		"  isomctl --json status\n",
	.run = run_status,
};
