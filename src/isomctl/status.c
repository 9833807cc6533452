/* SPDX-License-Identifier: GPL-2.0-only */
/* isomctl status: the destinations, their sockets and what the program has counted. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../destination.h"
#include "../say.h"
#include "isomctl.h"

/* What is to be shown of one destination. */
struct row {
	const struct destination *record;
	uint32_t bindings;
	uint64_t cookie; /* 0: no socket */
	bool known;      /* the record tells of this very socket */
	struct counters counters;
};

static int row_compare(const void *a, const void *b)
{
	const struct destination *x = ((const struct row *)a)->record;
	const struct destination *y = ((const struct row *)b)->record;

	return strcmp(x->label, y->label) ?: x->family - y->family ?: x->protocol - y->protocol;
}

/* The destinations in use, of one label or (NULL) of all, sorted. */
static int collect(const struct dispatcher *d, const char *label, struct row *rows, size_t *count)
{
	*count = 0;
	for (destination_id id = 0; id < d->now.ledger->destination_places; id++) {
		const struct destination *record = &d->now.destinations[id];
		struct row *row = &rows[*count];
		uint64_t cookie;
		int r;

		if (!record->label[0] || (label && strcmp(label, record->label) != 0))
			continue;
		r = destination_socket(d, id, &cookie);
		if (r < 0)
			return r;
		if (!cookie && !d->now.ledger->destination_uses[id])
			continue;
		*row = (struct row){
			.record = record,
			.bindings = d->now.ledger->destination_uses[id],
			.cookie = cookie,
		};
		row->known = row->cookie && row->cookie == record->cookie;
		r = destination_counters(d, id, &row->counters);
		if (r < 0)
			return fail(r, "cannot read the counters: %m");
		(*count)++;
	}
	qsort(rows, *count, sizeof(*rows), row_compare);
	return 0;
}

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

static void print_heading(const struct dispatcher *d)
{
	time_t loaded_at = (time_t)d->now.ledger->loaded_at;
	struct tm local;
	char since[64];

	strftime(since, sizeof(since), "%a %Y-%m-%d %H:%M:%S %Z", localtime_r(&loaded_at, &local));
	printf("Dispatcher: loaded since %s, program %u\n", since, d->program);
	printf("  Bindings: %u by hand, %u by units\n\n", d->now.ledger->binding_count,
		d->now.ledger->claim_count);
}

static void print_rows(const struct row *rows, size_t count)
{
	static const char *const titles[] = {"LABEL", "FAMILY", "PROTOCOL", "BINDINGS", "SOCKET",
		"ADDRESS", "UNIT", "LOOKUPS", "MISSES", "ERRORS", NULL};
	struct table table;

	for (table_begin(&table, titles); table_pass(&table);) {
		for (const struct row *row = rows; row < rows + count; row++) {
			char label[4 * NAME_SIZE], endpoint[64], bindings[16], cookie[24];
			char lookups[24], misses[24], errors[24];

			printable(row->record->label, label, sizeof(label));
			endpoint_format(row->record, endpoint, sizeof(endpoint));
			snprintf(bindings, sizeof(bindings), "%u", row->bindings);
			snprintf(cookie, sizeof(cookie), "%" PRIu64, row->cookie);
			snprintf(lookups, sizeof(lookups), "%llu", row->counters.lookups);
			snprintf(misses, sizeof(misses), "%llu", row->counters.misses);
			snprintf(errors, sizeof(errors), "%llu", row->counters.errors);
			table_row(&table,
				(const char *const[]){label, family_name(row->record->family),
					protocol_name(row->record->protocol), bindings,
					row->cookie ? cookie : "-", row->known ? endpoint : "-",
					row->known && row->record->unit[0] ? row->record->unit
									   : "-",
					lookups, misses, errors});
		}
	}
}

static json_t *json_socket(const struct row *row)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr ip;

	if (!row->cookie)
		return json_null();
	if (!row->known)
		return json_pack("{s:I}", "cookie", (json_int_t)row->cookie);
	memcpy(&ip, row->record->address, sizeof(ip));
	return json_pack("{s:I, s:s, s:i}", "cookie", (json_int_t)row->cookie, "address",
		address_format(&ip, address), "port", row->record->port);
}

static json_t *json_row(const struct row *row)
{
	bool of_unit = row->known && row->record->unit[0];

	return json_pack("{s:o, s:s, s:s, s:i, s:o, s:o, s:I, s:I, s:I}", "label",
		json_text(row->record->label), "family", family_name(row->record->family),
		"protocol", protocol_name(row->record->protocol), "bindings", (int)row->bindings,
		"socket", json_socket(row), "unit",
		of_unit ? json_text(row->record->unit) : json_null(), "lookups",
		(json_int_t)row->counters.lookups, "misses", (json_int_t)row->counters.misses,
		"errors", (json_int_t)row->counters.errors);
}

static void print_json(const struct dispatcher *d, const struct row *rows, size_t count)
{
	json_t *destinations = json_array(), *root;

	for (size_t i = 0; i < count; i++)
		json_array_append_new(destinations, json_row(&rows[i]));
	root = json_pack("{s:{s:i, s:I, s:i, s:i, s:i}, s:o}", "dispatcher", "program",
		(int)d->program, "loaded_at", (json_int_t)d->now.ledger->loaded_at, "abi",
		(int)d->now.ledger->abi, "bindings_by_hand", (int)d->now.ledger->binding_count,
		"bindings_by_units", (int)d->now.ledger->claim_count, "destinations", destinations);
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

static int run_status(const struct options *options, int argc, char **argv)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	_cleanup_(freep) struct row *rows = calloc(MAX_DESTINATIONS, sizeof(*rows));
	const char *label;
	size_t count = 0;
	int r = take_arguments(&status_command, argc, &argv, 0, 1);

	if (r < 0)
		return -r;
	label = r == 1 ? argv[0] : NULL;
	if (!rows)
		return fail(-ENOMEM, "cannot read the status: %m");
	r = dispatcher_open(options->bpffs, false, MISSING_IS_ERROR, &d);
	if (r == 0)
		r = collect(d, label, rows, &count);
	if (r < 0)
		return r;
	dispatcher_unlock(d); /* whoever reads this may be slow */
	if (label && count == 0)
		return fail(-ENOENT,
			"there is neither a binding to label \"%s\" nor a socket under it", label);
	if (options->json) {
		print_json(d, rows, count);
		return 0;
	}
	print_heading(d);
	print_rows(rows, count);
	return 0;
}

const struct command status_command = {
	.name = "status",
	.arguments = "[LABEL]",
	.summary = "show labels, their sockets and counters",
	.help = "For each destination: how many bindings lead to it, its socket's cookie and local\n"
		"address, the unit that registered it, and how many packets it was looked up for\n"
		"(new connections and unconnected datagrams), how many of these were refused for\n"
		"there was no socket (misses), or for the kernel did not take it (errors).\n\n"
		"Examples:\n"
		"  isomctl status\n"
		"  isomctl status web\n"
		"  isomctl --json status\n",
	.run = run_status,
};
