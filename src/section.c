/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The [Isomer] section of a unit: see section.h.
 *
 * Lines are checked as they are read. What only the whole section can tell, the label of lines
 * that name none and contradictions between lines, is settled at the end.
 */
#include "section.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "nearest.h"

#define DEFAULT_LABEL          "%N"
#define DEFAULT_REQUIRED       true
#define DEFAULT_SOCKET_TIMEOUT 5000000ULL /* 5s */

/* A Bind= or Socket= line; of the latter, the prefix is one address and the ports are one port. */
struct entry {
	struct binding binding; /* with an empty label where the one of Label= is meant */
	size_t order;           /* in which it was read */
	const char *path;
	unsigned int number;
	struct section_place place; /* the same, and where in the line */
	char *text;                 /* the value as written, to name the line */
};

struct entries {
	struct entry *entry;
	size_t count;
	size_t allocated;
};

struct reading {
	const struct unit_name *unit;
	struct section *section;
	struct entries binds;
	struct entries sockets;
	int error;              /* the first one; each was said where it was found */
	section_report *report; /* NULL: errors are said */
	void *context;
	const char *at; /* what is parsed: where the line is wrong if that can't be */
};

/* Returns 0, -EINVAL with the reason, or -ENOMEM. */
typedef int key_parse(
	struct reading *reading, const struct unitfile_line *line, struct reason *reason);

bool section_serves(const struct section *section, const char *label)
{
	for (size_t i = 0; i < section->socket_count; i++)
		if (strcmp(section->sockets[i].label, label) == 0)
			return true;
	return !section->socket_count && strcmp(section->label, label) == 0;
}

bool section_is_isomer(const char *name)
{
	return strcmp(name, "Isomer") == 0 || strcmp(name, "X-Isomer") == 0;
}

bool section_is_passed_over(const char *path)
{
	static const char *const directories[] = {"/service.d", "/socket.d"};
	const char *end = strrchr(path, '/') ?: path;

	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
		size_t length = strlen(directories[i]);

		if ((size_t)(end - path) >= length &&
			strncmp(end - length, directories[i], length) == 0)
			return true;
	}
	return false;
}

/* Entries */

static void entries_clear(struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		free(entries->entry[i].text);
	free(entries->entry);
	*entries = (struct entries){};
}

static int entries_grow(struct entries *entries)
{
	size_t allocated = entries->allocated ? 2 * entries->allocated : 8;
	struct entry *entry = reallocarray(entries->entry, allocated, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	entries->entry = entry;
	entries->allocated = allocated;
	return 0;
}

static struct section_place place_of(const struct unitfile_line *line, const char *at)
{
	struct section_place place = {.path = line->path};

	unitfile_locate(line, at, &place.line, &place.column);
	return place;
}

static int entries_add(struct entries *entries, const struct binding *binding,
	const struct unitfile_line *line, struct reason *reason)
{
	struct entry *entry;

	if (entries->count == SECTION_MOST_LINES)
		return refuse(reason,
			"this is one more than the %d lines a section may have: load so many with "
			"isomctl load-bindings",
			SECTION_MOST_LINES);
	if (entries->count == entries->allocated && entries_grow(entries) < 0)
		return -ENOMEM;

	entry = &entries->entry[entries->count];
	*entry = (struct entry){
		.binding = *binding,
		.order = entries->count,
		.path = line->path,
		.number = line->number,
		.place = place_of(line, line->key),
		.text = strdup(line->value),
	};
	if (!entry->text)
		return -ENOMEM;
	entries->count++;
	return 0;
}

static bool same_place(const struct entry *a, const struct entry *b)
{
	return selector_compare(&a->binding.selector, &b->binding.selector) == 0;
}

/* Puts the lines for one place side by side, in the order in which they were read. */
static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = selector_compare(&x->binding.selector, &y->binding.selector);

	return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

/* Says or reports what is wrong with a line, "KEY=VALUE"; line number 0: with a file. */
static int say_problem(const struct reading *reading, const struct section_place *place,
	unsigned int number, const char *line, int error, const char *text)
{
	struct section_problem problem = {*place, line, text};

	if (!reading->report && number)
		return fail(error, "%s:%u: %s: %s", place->path, number, line, text);
	if (!reading->report)
		return fail(error, "cannot read %s: %s", place->path, text);
	reading->report(&problem, reading->context);
	return error;
}

static int say_two_labels(const struct reading *reading, const char *key, const struct entry *first,
	const struct entry *second)
{
	_cleanup_(freep) char *line = NULL, *text = NULL;

	if (asprintf(&line, "%s=%s", key, second->text) < 0)
		line = NULL;
	if (asprintf(&text,
		    "is for \"%s\" here, but for \"%s\" at %s:%u (%s=%s): take one of the two lines "
		    "out",
		    second->binding.label, first->binding.label, first->path, first->number, key,
		    first->text) < 0)
		text = NULL;
	return say_problem(reading, &second->place, second->number, line ?: key, -EINVAL,
		text ?: strerror(ENOMEM));
}

/*
 * Sorts the entries and gives the label to those that name none. The same place twice under one
 * label is harmless; under two it is an error, for the user can't mean both.
 */
static int entries_settle(const struct reading *reading, struct entries *entries, const char *key)
{
	const struct entry *first = entries->entry;
	const char *label = reading->section->label;
	int error = 0;

	if (entries->count == 0)
		return 0;
	for (size_t i = 0; i < entries->count; i++)
		if (!*entries->entry[i].binding.label)
			strcpy(entries->entry[i].binding.label, label);
	qsort(entries->entry, entries->count, sizeof(struct entry), entry_compare);

	for (const struct entry *e = first; e < entries->entry + entries->count; e++) {
		if (!same_place(first, e))
			first = e;
		else if (strcmp(first->binding.label, e->binding.label) != 0)
			error = say_two_labels(reading, key, first, e);
	}
	return error;
}

/* Keys */

static int parse_label(
	struct reading *reading, const struct unitfile_line *line, struct reason *reason)
{
	const char *value = *line->value ? line->value : DEFAULT_LABEL;
	_cleanup_(freep) char *label = NULL;
	int r;

	r = specifiers_expand(value, reading->unit, &label, reason);
	if (r < 0)
		return r;
	return label_parse(label, reading->section->label, reason);
}

/* The words of `[LABEL] PROTOCOL PLACE PORT`, with specifiers replaced. */
struct words {
	char label[NAME_SIZE]; /* empty: none */
	char *protocol;
	char *place; /* a prefix or an address */
	char *port;
	const char *protocol_at, *place_at, *port_at; /* where they stand in the value */
};

static void words_clear(struct words *words)
{
	free(words->protocol);
	free(words->place);
	free(words->port);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static size_t length_stripped(const char *text, size_t length)
{
	while (length > 0 && is_blank(text[length - 1]))
		length--;
	return length;
}

static int expand(const char *text, size_t length, const struct unit_name *unit, char **ret,
	struct reason *reason)
{
	_cleanup_(freep) char *copy = strndup(text, length);

	return copy ? specifiers_expand(copy, unit, ret, reason) : -ENOMEM;
}

/*
 * Takes the value apart from its end, so that a label may have blanks. Specifiers are replaced
 * only then, so that blanks in what they stand for don't move the words.
 */
static int words_take(
	struct reading *reading, const char *value, struct words *ret, struct reason *reason)
{
	char **from_the_end[] = {&ret->port, &ret->place, &ret->protocol};
	const char **starts[] = {&ret->port_at, &ret->place_at, &ret->protocol_at};
	const struct unit_name *unit = reading->unit;
	size_t count = sizeof(from_the_end) / sizeof(from_the_end[0]);
	size_t length = length_stripped(value, strlen(value));
	_cleanup_(freep) char *label = NULL;
	int r;

	for (size_t i = 0; i < count; i++) {
		size_t start = length;

		if (length == 0)
			return refuse(reason,
				"these are too few words: write [LABEL] PROTOCOL, an address, and a "
				"port, like tcp 192.0.2.1 80");
		while (start > 0 && !is_blank(value[start - 1]))
			start--;
		*starts[i] = reading->at = value + start;
		r = expand(value + start, length - start, unit, from_the_end[i], reason);
		if (r < 0)
			return r;
		length = length_stripped(value, start);
		reading->at = value;
	}
	if (length == 0)
		return 0;
	r = expand(value, length, unit, &label, reason);
	return r < 0 ? r : label_parse(label, ret->label, reason);
}

/* The word where a protocol belongs: if it is none, the others may be out of place as well. */
static int take_protocol(struct reading *reading, const struct words *words, const char *value,
	uint8_t *ret, struct reason *reason)
{
	struct reason unused;
	struct ports ports;
	uint8_t protocol;

	reading->at = words->protocol_at;
	if (protocol_parse(words->protocol, ret, reason) == 0)
		return 0;
	if (strstr(value, " #") || strstr(value, " ;"))
		return refuse(reason,
			"\"%.64s\" is not a protocol: a comment takes a line of its own",
			words->protocol);
	if (protocol_parse(words->label, &protocol, &unused) < 0)
		return -EINVAL;
	if (ports_parse(words->port, &ports, &unused) == 0)
		return refuse(reason,
			"\"%.64s\" is not a protocol: write one port or one range, and a line for each "
			"other",
			words->protocol);
	return refuse(reason,
		"\"%.64s\" is not a protocol: the label stands first, like %.64s %s %.64s %.64s",
		words->protocol, words->port, words->label, words->protocol, words->place);
}

static int parse_bind(
	struct reading *reading, const struct unitfile_line *line, struct reason *reason)
{
	_cleanup_(words_clear) struct words words = {};
	struct binding binding = {};
	int r;

	if (!*line->value) {
		entries_clear(&reading->binds);
		return 0;
	}
	r = words_take(reading, line->value, &words, reason);
	if (r == 0)
		r = take_protocol(reading, &words, line->value, &binding.selector.protocol, reason);
	if (r == 0) {
		reading->at = words.place_at;
		r = prefix_parse(words.place, &binding.selector.prefix, reason);
	}
	if (r == 0) {
		reading->at = words.port_at;
		r = ports_parse(words.port, &binding.selector.ports, reason);
	}
	if (r < 0)
		return r;
	strcpy(binding.label, words.label);
	return entries_add(&reading->binds, &binding, line, reason);
}

static int parse_socket(
	struct reading *reading, const struct unitfile_line *line, struct reason *reason)
{
	_cleanup_(words_clear) struct words words = {};
	struct binding place = {.selector.prefix.length = 128};
	int r;

	if (!*line->value) {
		entries_clear(&reading->sockets);
		return 0;
	}
	r = words_take(reading, line->value, &words, reason);
	if (r == 0)
		r = take_protocol(reading, &words, line->value, &place.selector.protocol, reason);
	if (r == 0) {
		reading->at = words.place_at;
		r = address_parse(words.place, &place.selector.prefix.address, reason);
	}
	if (r == 0) {
		reading->at = words.port_at;
		r = port_parse(words.port, &place.selector.ports.low, reason);
	}
	if (r < 0)
		return r;
	place.selector.ports.high = place.selector.ports.low;
	strcpy(place.label, words.label);
	return entries_add(&reading->sockets, &place, line, reason);
}

static int parse_required(
	struct reading *reading, const struct unitfile_line *line, struct reason *reason)
{
	reading->section->required = DEFAULT_REQUIRED;
	if (!*line->value)
		return 0;
	return boolean_parse(line->value, &reading->section->required, reason);
}

static int parse_socket_timeout(
	struct reading *reading, const struct unitfile_line *line, struct reason *reason)
{
	reading->section->socket_timeout_usec = DEFAULT_SOCKET_TIMEOUT;
	reading->section->socket_timeout_place = (struct section_place){};
	if (!*line->value)
		return 0;
	reading->section->socket_timeout_place = place_of(line, line->key);
	return timespan_parse(line->value, &reading->section->socket_timeout_usec, reason);
}

static const struct {
	const char *name;
	key_parse *parse;
} keys[] = {
	{"Label", parse_label},
	{"Bind", parse_bind},
	{"Socket", parse_socket},
	{"Required", parse_required},
	{"SocketTimeoutSec", parse_socket_timeout},
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

static int parse_unknown(
	struct reading *reading, const struct unitfile_line *line, struct reason *reason)
{
	const char *names[KEYS + 1] = {}, *nearest;

	for (size_t i = 0; i < KEYS; i++)
		names[i] = keys[i].name;
	reading->at = line->key;
	nearest = nearest_word(line->key, names);
	return refuse(reason,
		"this key is unknown: %s%s%shere are Label=, Bind=, Socket=, Required= and "
		"SocketTimeoutSec=",
		nearest ? "did you mean " : "", nearest ?: "", nearest ? "=? T" : "t");
}

static key_parse *find_key(const char *name)
{
	for (size_t i = 0; i < KEYS; i++)
		if (strcmp(name, keys[i].name) == 0)
			return keys[i].parse;
	return parse_unknown;
}

/* The section */

static void note_error(struct reading *reading, int error)
{
	if (reading->error == 0)
		reading->error = error;
}

static int say_line(const struct reading *reading, const struct unitfile_line *line, const char *at,
	int error, const char *text)
{
	struct section_place place = place_of(line, at);
	_cleanup_(freep) char *whole = NULL;

	if (line->key && asprintf(&whole, "%s=%s", line->key, line->value) < 0)
		whole = NULL;
	return say_problem(reading, &place, line->number, whole ?: line->value, error, text);
}

/* Goes on after a wrong line, so that all of them are said. */
static int read_line(const struct unitfile_line *line, void *context)
{
	struct reading *reading = context;
	struct reason reason;
	int r;

	if (!section_is_isomer(line->section))
		return 0;
	reading->section->present = true;
	if (!line->value || (line->key && strncmp(line->key, "X-", 2) == 0))
		return 0;
	if (!line->key) {
		note_error(reading,
			say_line(reading, line, line->value, -EINVAL,
				"this is no assignment: write KEY=VALUE"));
		return 0;
	}

	reading->at = line->value;
	r = find_key(line->key)(reading, line, &reason);
	if (r < 0)
		say_line(reading, line, reading->at, r, r == -EINVAL ? reason.text : strerror(-r));
	note_error(reading, r);
	return 0;
}

static int give_bindings(
	const struct reading *reading, const struct entries *entries, struct section *ret)
{
	if (entries->count == 0)
		return 0;
	ret->bindings = calloc(entries->count, sizeof(*ret->bindings));
	ret->binding_places = calloc(entries->count, sizeof(*ret->binding_places));
	if (!ret->bindings || !ret->binding_places)
		return fail(-ENOMEM, "cannot read the section of %s: %m", reading->unit->full);
	for (size_t i = 0; i < entries->count; i++) {
		if (i > 0 && same_place(&entries->entry[i - 1], &entries->entry[i]))
			continue;
		ret->binding_places[ret->binding_count] = entries->entry[i].place;
		ret->bindings[ret->binding_count++] = entries->entry[i].binding;
	}
	return 0;
}

static int give_sockets(
	const struct reading *reading, const struct entries *entries, struct section *ret)
{
	if (entries->count == 0)
		return 0;
	ret->sockets = calloc(entries->count, sizeof(*ret->sockets));
	if (!ret->sockets)
		return fail(-ENOMEM, "cannot read the section of %s: %m", reading->unit->full);
	for (size_t i = 0; i < entries->count; i++) {
		const struct entry *entry = &entries->entry[i];
		struct section_socket *socket = &ret->sockets[ret->socket_count];

		if (i > 0 && same_place(entry - 1, entry))
			continue;
		socket->protocol = entry->binding.selector.protocol;
		socket->address = entry->binding.selector.prefix.address;
		socket->port = entry->binding.selector.ports.low;
		socket->place = entry->place;
		strcpy(socket->label, entry->binding.label);
		if (asprintf(&socket->where, "%s:%u: Socket=%s", entry->path, entry->number,
			    entry->text) < 0) {
			socket->where = NULL;
			return fail(
				-ENOMEM, "cannot read the section of %s: %m", reading->unit->full);
		}
		ret->socket_count++;
	}
	return 0;
}

static int read_all(
	struct reading *reading, const char *const *files, size_t count, struct section *ret)
{
	const struct unitfile_line no_label = {.value = ""};
	struct reason reason;
	int r;

	*ret = (struct section){
		.required = DEFAULT_REQUIRED,
		.socket_timeout_usec = DEFAULT_SOCKET_TIMEOUT,
	};
	reading->section = ret;
	parse_label(reading, &no_label, &reason); /* can't fail: every unit's name is a label */

	for (size_t i = 0; i < count; i++) {
		struct section_place place = {.path = files[i]};

		if (section_is_passed_over(files[i]))
			continue;
		r = unitfile_read(files[i], read_line, reading);
		if (r < 0)
			note_error(reading, say_problem(reading, &place, 0, "", r, strerror(-r)));
	}
	note_error(reading, entries_settle(reading, &reading->binds, "Bind"));
	note_error(reading, entries_settle(reading, &reading->sockets, "Socket"));
	if (reading->error == 0 || reading->report)
		note_error(reading, give_bindings(reading, &reading->binds, ret));
	if (reading->error == 0 || reading->report)
		note_error(reading, give_sockets(reading, &reading->sockets, ret));

	entries_clear(&reading->binds);
	entries_clear(&reading->sockets);
	return reading->error;
}

int section_read(
	const struct unit_name *unit, const char *const *files, size_t count, struct section *ret)
{
	struct reading reading = {.unit = unit};

	return read_all(&reading, files, count, ret);
}

int section_check(const struct unit_name *unit, const char *const *files, size_t count,
	section_report *report, void *context, struct section *ret)
{
	struct reading reading = {.unit = unit, .report = report, .context = context};

	return read_all(&reading, files, count, ret);
}

void section_ignore(const struct section_problem *problem, void *context)
{
	(void)problem, (void)context;
}

void section_free(struct section *section)
{
	free(section->bindings);
	free(section->binding_places);
	for (size_t i = 0; i < section->socket_count; i++)
		free(section->sockets[i].where);
	free(section->sockets);
	*section = (struct section){};
}
