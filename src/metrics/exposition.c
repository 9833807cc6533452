/* SPDX-License-Identifier: GPL-2.0-only */
/* The dispatcher's counters as text for Prometheus: see exposition.h. */
#include "exposition.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "../destination.h"
#include "../say.h"

static uint64_t lookups(const struct destination_view *sample)
{
	return sample->counters.lookups;
}

static uint64_t misses(const struct destination_view *sample)
{
	return sample->counters.misses;
}

static uint64_t errors(const struct destination_view *sample)
{
	return sample->counters.errors;
}

static uint64_t bindings(const struct destination_view *sample)
{
	return sample->bindings;
}

static uint64_t has_socket(const struct destination_view *sample)
{
	return sample->cookie != 0;
}

/* One for each destination; the names are those of the Go tools that Isomer follows. */
static const struct metric {
	const char *name;
	const char *help;
	bool is_counter;
	const char *more_labels; /* behind label, domain and protocol */
	uint64_t (*value)(const struct destination_view *sample);
} metrics[] = {
	{"isomer_lookups", "Packets that matched a binding: new connections and datagrams.", true,
		"", lookups},
	{"isomer_misses", "Packets refused because the destination held no socket.", true, "",
		misses},
	{"isomer_errors", "Packets refused because the kernel did not take the socket.", true,
		",reason=\"bad-socket\"", errors},
	{"isomer_bindings", "Bindings that lead to the destination.", false, "", bindings},
	{"isomer_destination_has_socket", "Whether the destination holds a socket.", false, "",
		has_socket},
};

#define METRICS (sizeof(metrics) / sizeof(*metrics))

static const char *const content_types[EXPOSITIONS] = {
	[PROMETHEUS_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
	[OPENMETRICS] = "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

const char *exposition_content_type(enum exposition exposition)
{
	return content_types[exposition];
}

/* The weight of a media range's parameters: ";q=0.5" (RFC 9110, 12.4.2); 1 if it has none. */
static double weight(const char *parameters, size_t length)
{
	for (size_t i = 0; i + 2 < length; i++)
		if (parameters[i] == ';') {
			size_t j = i + 1 + strspn(parameters + i + 1, " \t");

			if (j + 1 < length && (parameters[j] | 0x20) == 'q' &&
				parameters[j + 1] == '=')
				return atof(parameters + j + 2);
		}
	return 1;
}

/* How much a client wants a media type: the weight of the first range that names it; 0: not. */
static double wish_for(const char *accept, const char *type)
{
	while (*accept) {
		size_t length = strcspn(accept, ",");
		size_t blank = strspn(accept, " \t");

		if (blank < length && strncasecmp(accept + blank, type, strlen(type)) == 0)
			return weight(accept + blank, length - blank);
		accept += length + (accept[length] == ',');
	}
	return 0;
}

enum exposition exposition_choose(const char *accept)
{
	double openmetrics, text;

	if (!accept)
		return PROMETHEUS_TEXT;
	openmetrics = wish_for(accept, "application/openmetrics-text");
	text = wish_for(accept, "text/plain");
	return openmetrics > 0 && openmetrics >= text ? OPENMETRICS : PROMETHEUS_TEXT;
}

/* The length of the UTF-8 character that a text begins with; 0: what is there is none. */
static size_t utf8_length(const char *text)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t length = bytes[0] < 0x80               ? 1
		: bytes[0] >= 0xc2 && bytes[0] < 0xe0 ? 2
		: bytes[0] >= 0xe0 && bytes[0] < 0xf0 ? 3
		: bytes[0] >= 0xf0 && bytes[0] < 0xf5 ? 4
						      : 0;

	for (size_t i = 1; i < length; i++)
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] >= 0xa0) ||
		(bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] >= 0x90))
		return 0; /* too long for what it is, a surrogate, or beyond Unicode */
	return length;
}

/* A label's value between quotes is UTF-8. Bytes that aren't become a backslash, x and their
 * digits. */
static void write_quoted(FILE *to, const char *text)
{
	while (*text) {
		size_t length = utf8_length(text);

		if (length == 0)
			fprintf(to, "\\\\x%02x", (unsigned char)*text);
		else if (*text == '\n')
			fputs("\\n", to);
		else if (*text == '"' || *text == '\\')
			fprintf(to, "\\%c", *text);
		else
			fwrite(text, 1, length, to);
		text += length ?: 1;
	}
}

/* OpenMetrics names a counter without the _total that its samples have; Prometheus with it. */
static void write_head(
	FILE *to, enum exposition exposition, const char *name, const char *help, bool is_counter)
{
	const char *suffix = is_counter && exposition == PROMETHEUS_TEXT ? "_total" : "";

	fprintf(to, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix,
		is_counter ? "counter" : "gauge");
}

static void write_metric(FILE *to, enum exposition exposition, const struct metric *metric,
	const struct destination_view *samples, size_t count)
{
	write_head(to, exposition, metric->name, metric->help, metric->is_counter);
	for (const struct destination_view *sample = samples; sample < samples + count; sample++) {
		fprintf(to, "%s%s{label=\"", metric->name, metric->is_counter ? "_total" : "");
		write_quoted(to, sample->record->label);
		fprintf(to, "\",domain=\"%s\",protocol=\"%s\"%s} %" PRIu64 "\n",
			family_name(sample->record->family),
			protocol_name(sample->record->protocol), metric->more_labels,
			metric->value(sample));
	}
}

static int collect(const struct dispatcher *d, struct destination_view *samples, size_t *count)
{
	*count = 0;
	for (destination_id id = 0; id < d->now.ledger->destination_places; id++) {
		bool in_use;
		int r = destination_look(d, id, &samples[*count], &in_use);

		if (r < 0)
			return r;
		*count += in_use;
	}
	return 0;
}

int exposition_write(FILE *to, enum exposition exposition, const struct dispatcher *d,
	uint64_t collection_errors)
{
	_cleanup_(freep) struct destination_view *samples =
		calloc(MAX_DESTINATIONS, sizeof(*samples));
	size_t count = 0;
	int r = 0;

	if (!samples)
		return fail(-ENOMEM, "cannot collect the metrics: %m");
	if (d)
		r = collect(d, samples, &count);
	if (r < 0)
		return r;
	for (const struct metric *metric = metrics; d && metric < metrics + METRICS; metric++)
		write_metric(to, exposition, metric, samples, count);
	write_head(to, exposition, "isomer_collection_errors",
		"Scrapes for which the dispatcher could not be read.", true);
	fprintf(to, "isomer_collection_errors_total %" PRIu64 "\n", collection_errors);
	write_head(to, exposition, "build_info", "What this is the build of.", false);
	fprintf(to, "build_info{program=\"isomer\",version=\"%s\",abi=\"%d\"} 1\n", ISOMER_VERSION,
		DISPATCHER_ABI);
	if (exposition == OPENMETRICS)
		fputs("# EOF\n", to);
	return 0;
}
