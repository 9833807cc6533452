/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl verify: checks sections as `systemd-analyze verify` checks units, from their files, and
 * loads nothing. Which units those are is here, and what is checked of them; what a section may say
 * is section.h's affair.
 */
#include <errno.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../coverage.h"
#include "../dispatcher.h"
#include "../nearest.h"
#include "../netlink.h"
#include "../privileges.h"
#include "../say.h"
#include "../section.h"
#include "../shellword.h"
#include "../socket.h"
#include "../truth.h"
#include "../unitpath.h"
#include "finding.h"
#include "isomctl.h"
#include "misplaced.h"
#include "systemd.h"
#include "units.h"
#include "wiring.h"

/* The first that have what Isomer needs. */
#define KERNEL_MAJOR  5
#define KERNEL_MINOR  10
#define SYSTEMD_FLOOR 247

/* Why a unit is looked at. */
enum role {
	NAMED, /* it was asked for */
	FOUND, /* so were all that have a section */
	OTHER, /* to compare the named ones with: nothing is said of it */
};

/* A unit that is checked. */
struct checked {
	struct unit_name name;
	enum role role;
	const char **files; /* the fragment and drop-ins, in systemd's order; the texts borrowed */
	size_t file_count;
	struct section section;
	struct wiring wiring;
	bool only_dropins; /* there is no such unit */
	struct verification *verification;
};

struct verification {
	struct unitpath unitpath;
	const char *bpffs;
	struct checked **units; /* the others last */
	size_t count;
	size_t checked_count; /* without the others */
	bool by_file;         /* FILEs were given: then what runs on this machine isn't asked */
	struct findings findings;
};

/*
 * Units and their files.
 */

/* What a template's line says can't be known where it depends on the instance. */
static bool depends_on_instance(const struct unit_name *unit, const char *line)
{
	return unit_name_is_template(unit) && (strstr(line, "%i") || strstr(line, "%I"));
}

static void report(const struct section_problem *problem, void *context)
{
	struct checked *unit = context;

	if (depends_on_instance(&unit->name, problem->line))
		return;
	finding_add(&unit->verification->findings, ERROR, unit->name.full, &problem->place,
		"%s%s%s", problem->line, *problem->line ? ": " : "", problem->text);
}

/* What systemd passes over, and somebody may have meant for Isomer's section. */
static int look_at_header(const struct unitfile_line *line, void *context)
{
	static const char *const names[] = {"Isomer", "X-Isomer", NULL};
	struct section_place place = {.path = line->path};
	struct checked *unit = context;
	const char *nearest;

	if (line->value && !line->key &&
		(strncmp(line->value, "[Isomer", 7) == 0 ||
			strncmp(line->value, "[X-Isomer", 9) == 0)) {
		unitfile_locate(line, line->value, &place.line, &place.column);
		finding_add(&unit->verification->findings, ERROR, unit->name.full, &place,
			"%.64s: a section's name ends in ]: what follows is no section of Isomer's",
			line->value);
	}
	if (line->value || line->key || section_is_isomer(line->section))
		return 0;
	nearest = nearest_word(line->section, names);
	if (!nearest)
		return 0;
	unitfile_locate(line, line->section - 1, &place.line, &place.column);
	finding_add(&unit->verification->findings, WARNING, unit->name.full, &place,
		"[%s]: did you mean [%s]? This section is not Isomer's", line->section, nearest);
	return 0;
}

static void checked_free(struct checked *unit)
{
	free(unit->files);
	section_free(&unit->section);
	wiring_free(&unit->wiring);
	free(unit);
}

/* A drop-in for all services applies to isomer.service, too: the generator passes it over. */
static void report_passed_over(const struct section_place *place, void *context)
{
	struct verification *v = context;

	finding_add(&v->findings, ERROR, NULL, place,
		"the section is passed over, for it would apply to Isomer's own units too: write it "
		"into the drop-ins of the units that it is meant for");
}

/* With a FILE, what is elsewhere for all units of its type is none of the matter. */
static void look_at_file(struct checked *unit, const char *path)
{
	if (!section_is_passed_over(path))
		unitfile_read(path, look_at_header, unit); /* what can't be read is said below */
	else if (!unit->verification->by_file)
		misplaced_sections_of_file(path, report_passed_over, unit->verification);
}

/* What other generators make isn't on the unit path of ours, and has drop-ins there. */
static bool is_generated(const char *unit)
{
	static const char *const directories[] = {"generator.early", "generator", "generator.late"};
	char path[sizeof("/run/systemd/generator.early/") + UNIT_NAME_SIZE];

	for (size_t i = 0; i < sizeof(directories) / sizeof(*directories); i++) {
		snprintf(path, sizeof(path), "/run/systemd/%s/%s", directories[i], unit);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* Those of a template may be for instances that have files of their own. */
static bool has_only_dropins(const struct verification *v, const struct unit_name *unit)
{
	const struct unitpath_file *fragment;
	struct unit_name own, template;

	if (unit_name_is_template(unit))
		return false;
	unitpath_resolve(&v->unitpath, unit, &own, &fragment);
	if (fragment || is_generated(unit->full))
		return false;
	return !unit_name_is_instance(unit) ||
		!unit_name_build(unit->prefix, "", unit->suffix, &template) ||
		!is_generated(template.full);
}

/* Any errors of it were found where it was checked itself, or will not be asked about. */
static void ignore(const struct section_problem *problem, void *context)
{
	(void)problem, (void)context;
}

/* Reads a unit. *ret is NULL where there are no files, or no section and it wasn't named. */
static int read_unit(
	struct verification *v, const struct unit_name *name, enum role role, struct checked **ret)
{
	struct checked *unit = calloc(1, sizeof(*unit));
	int r;

	*ret = NULL;
	if (!unit)
		return -ENOMEM;
	unit->verification = v;
	unit->role = role;
	r = unit_find_files(&v->unitpath, name, &unit->name, &unit->files, &unit->file_count);
	for (size_t i = 0; r == 0 && role != OTHER && i < unit->file_count; i++)
		look_at_file(unit, unit->files[i]);
	if (r == 0)
		r = section_check(&unit->name, unit->files, unit->file_count,
			role == OTHER ? ignore : report, unit, &unit->section);
	if (r != -ENOMEM)
		r = wiring_read(&unit->name, unit->files, unit->file_count, &unit->wiring);
	unit->only_dropins = r == 0 && !v->by_file && has_only_dropins(v, &unit->name);
	if (r == 0 && unit->file_count && (unit->section.present || role == NAMED))
		*ret = unit;
	else
		checked_free(unit);
	return r;
}

static const struct checked *find_unit(const struct verification *v, const char *name)
{
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->units[i]->name.full, name) == 0)
			return v->units[i];
	return NULL;
}

static bool is_socket_unit(const struct checked *unit)
{
	return strcmp(unit->name.suffix, "socket") == 0;
}

/* A socket unit may leave it to its service to have a section. */
static bool service_has_section(const struct verification *v, const struct checked *unit)
{
	const struct unitpath_file *fragment;
	const struct checked *service;
	struct unit_name name, own;

	if (!is_socket_unit(unit) || !wiring_service(&unit->wiring, &unit->name, &name))
		return false;
	unitpath_resolve(&v->unitpath, &name, &own, &fragment);
	service = find_unit(v, own.full);
	return service && service->section.present;
}

/* Is there such a unit, with a section that somebody reads? */
static void check_presence(struct verification *v, const struct checked *unit)
{
	const char *name = unit->name.full;

	if (unit->only_dropins)
		finding_add(&v->findings, WARNING, name, NULL,
			"there is no %s, only drop-ins of it: nothing reads them", name);
	else if (!unit->section.present && !service_has_section(v, unit))
		finding_add(&v->findings, WARNING, name, NULL, "it has no [Isomer] section");
	else if (unit->section.present && unit_name_is_isomers_own(&unit->name))
		finding_add(&v->findings, ERROR, name, NULL,
			"it has a section, which is passed over: this is a unit of Isomer's own");
}

static int add_unit(struct verification *v, const char *text, enum role role)
{
	struct checked *unit, **longer;
	struct unit_name name;
	struct reason reason;
	int r = unit_name_parse(text, &name, &reason);

	if (r < 0 || (strcmp(name.suffix, "service") != 0 && strcmp(name.suffix, "socket") != 0)) {
		if (role == NAMED)
			finding_add(&v->findings, ERROR, text, NULL, "%s",
				r < 0 ? reason.text
				      : "this is neither a service nor a socket unit");
		return 0;
	}
	r = read_unit(v, &name, role, &unit);
	if (r < 0)
		return r;
	if (!unit) {
		if (role == NAMED)
			finding_add(&v->findings, ERROR, text, NULL,
				"there is no such unit, or it is masked: no file of it is on the "
				"unit path");
		return 0;
	}
	if (find_unit(v, unit->name.full)) {
		checked_free(unit); /* by an alias, or a drop-in of the same */
		return 0;
	}
	longer = reallocarray(v->units, v->count + 1, sizeof(*longer));
	if (!longer) {
		checked_free(unit);
		return -ENOMEM;
	}
	v->units = longer;
	v->units[v->count++] = unit;
	v->checked_count += role != OTHER;
	return 0;
}

/* The services of the socket units that were named and have no section, if they have one. */
static int add_services(struct verification *v)
{
	int r = 0;

	for (size_t i = 0; i < v->count && r == 0; i++) {
		const struct checked *unit = v->units[i];
		struct unit_name service;

		if (is_socket_unit(unit) && !unit->section.present &&
			wiring_service(&unit->wiring, &unit->name, &service))
			r = add_unit(v, service.full, FOUND);
	}
	return r;
}

/* The drop-ins for all units of a type: "service" or "socket". */
static void check_dropins_of_type(struct verification *v, const char *type)
{
	for (size_t i = 0; i < v->unitpath.dropin_count; i++)
		if (strcmp(v->unitpath.dropins[i].owner, type) == 0)
			misplaced_sections_of_file(
				v->unitpath.dropins[i].path, report_passed_over, v);
}

static int add_found(const char *name, void *context)
{
	return add_unit(context, name, FOUND);
}

static int add_other(const char *name, void *context)
{
	return add_unit(context, name, OTHER);
}

static void report_misplaced(const struct section_place *place, void *context)
{
	struct verification *v = context;

	finding_add(&v->findings, ERROR, NULL, place,
		"[Isomer] is a section of services and socket units: nobody reads it here");
}

static int add_all_units(struct verification *v)
{
	misplaced_sections_visit(&v->unitpath, report_misplaced, v);
	check_dropins_of_type(v, "service");
	check_dropins_of_type(v, "socket");
	return units_visit(&v->unitpath, add_found, v);
}

/*
 * Arguments.
 */

static bool ends_in(const char *text, const char *ending)
{
	size_t length = strlen(text), ending_length = strlen(ending);

	return length > ending_length && strcmp(text + length - ending_length, ending) == 0;
}

static bool is_file(const char *word)
{
	return strchr(word, '/') || (access(word, F_OK) == 0 && strchr(word, '.'));
}

static bool may_be_unit_file(const char *path)
{
	static const char *const endings[] = {".conf", ".service", ".socket"};
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
		if (ends_in(path, endings[i]))
			return true;
	return false;
}

static bool is_type(const char *unit)
{
	return strcmp(unit, "service") == 0 || strcmp(unit, "socket") == 0;
}

/*
 * A FILE is looked at as if its directory came first on the unit path, with the drop-ins that lie
 * beside it and elsewhere. *ret_unit is its unit: of a drop-in, that whose directory it lies in,
 * "service" for service.d.
 */
static int take_file(const char *path, char **ret_unit, char **ret_directory)
{
	_cleanup_(freep) char *copy = strdup(path), *copy2 = strdup(path), *directory = NULL;
	const char *base;

	if (!copy || !copy2)
		return fail(-ENOMEM, "cannot check %s: %m", path);
	if (access(path, R_OK) < 0)
		return fail(-errno, "cannot read %s: %m", path);
	if (!may_be_unit_file(path))
		return fail(-EINVAL,
			"cannot check %s: it is no unit file: NAME.service, NAME.socket, or a "
			".conf in NAME.service.d",
			path);
	directory = realpath(dirname(copy), NULL);
	if (!directory)
		return fail(-errno, "cannot read %s: %m", path);
	base = basename(copy2);
	if (ends_in(base, ".conf") && ends_in(directory, ".d")) {
		char *slash = strrchr(directory, '/');

		*ret_unit = strndup(slash + 1, strlen(slash + 1) - strlen(".d"));
		*slash = '\0';
		*ret_directory = strdup(*directory ? directory : "/");
	} else {
		*ret_unit = strdup(base);
		*ret_directory = take_pointer(directory);
	}
	return *ret_unit && *ret_directory ? 0 : fail(-ENOMEM, "cannot check %s: %m", path);
}

/* Puts a directory at the end of those that come first on the unit path. */
static int add_directory(char **path, const char *directory)
{
	char *longer;

	if (asprintf(&longer, "%s%s:", *path ?: "", directory) < 0)
		return fail(-ENOMEM, "cannot check the units of %s: %m", directory);
	free(*path);
	*path = longer;
	return 0;
}

/* The unit of each word; the caller frees them. */
static int take_words(struct verification *v, char **words, size_t count, char **units)
{
	_cleanup_(freep) char *path = NULL;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		_cleanup_(freep) char *directory = NULL;

		if (is_file(words[i])) {
			v->by_file = true;
			r = take_file(words[i], &units[i], &directory);
			if (r == 0)
				r = add_directory(&path, directory);
		} else if (asprintf(&units[i], "%s%s", words[i],
				   strchr(words[i], '.') ? "" : ".service") < 0) {
			units[i] = NULL;
			r = fail(-ENOMEM, "cannot check %s: %m", words[i]);
		}
	}
	if (r == 0 && path) {
		const char *given = getenv("SYSTEMD_UNIT_PATH");

		/* A colon at the end has the defaults follow; so does nothing at all. */
		r = add_directory(&path, given ?: "");
		if (r == 0 && given && *given)
			path[strlen(path) - 1] = '\0';
		setenv("SYSTEMD_UNIT_PATH", path, true);
	}
	return r;
}

/*
 * Bindings, of all units together.
 */

struct declared {
	const struct checked *unit;
	const struct binding *binding;
	const struct section_place *place;
};

static int declared_compare(const void *a, const void *b)
{
	const struct declared *x = a, *y = b;
	int order = selector_compare_by_address(&x->binding->selector, &y->binding->selector);

	if (order == 0) /* what is said of two is said of the second */
		order = (y->unit->role == OTHER) - (x->unit->role == OTHER);
	return order ?: strcmp(x->unit->name.full, y->unit->name.full);
}

/* A template doesn't, and its instances' bindings may be other ones. */
static bool binds(const struct checked *unit)
{
	return !unit_name_is_template(&unit->name) && !unit->only_dropins &&
		!unit_name_is_isomers_own(&unit->name);
}

static int list_declared(const struct verification *v, struct declared **ret, size_t *ret_count)
{
	size_t count = 0;

	for (size_t i = 0; i < v->count; i++)
		count += v->units[i]->section.binding_count;
	*ret_count = 0;
	*ret = calloc(count + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < v->count; i++) {
		const struct section *section = &v->units[i]->section;

		if (!binds(v->units[i]))
			continue;
		for (size_t j = 0; j < section->binding_count; j++)
			(*ret)[(*ret_count)++] = (struct declared){
				v->units[i], &section->bindings[j], &section->binding_places[j]};
	}
	qsort(*ret, *ret_count, sizeof(**ret), declared_compare);
	return 0;
}

static void report_two_labels(
	struct verification *v, const struct declared *d, const struct declared *other)
{
	char text[LONGEST_SELECTOR_TEXT];

	finding_add(&v->findings, ERROR, d->unit->name.full, d->place,
		"%s: it is bound to \"%s\" here, and to \"%s\" by %s at %s:%u: whichever starts "
		"last can't have it",
		selector_format(&d->binding->selector, text), d->binding->label,
		other->binding->label, other->unit->name.full, other->place->path,
		other->place->line);
}

static void find_two_labels(struct verification *v, const struct declared *list, size_t count)
{
	const struct declared *first = list, *second = NULL; /* with another label */

	for (const struct declared *d = list; d < list + count; d++) {
		const struct declared *other;

		if (selector_compare_by_address(&first->binding->selector, &d->binding->selector) !=
			0) {
			first = d;
			second = NULL;
			continue;
		}
		other = strcmp(first->binding->label, d->binding->label) != 0 ? first : second;
		if (!second && other)
			second = d;
		if (other && d->unit->role != OTHER)
			report_two_labels(v, d, other);
	}
}

static bool same_prefix(const struct selector *a, const struct selector *b)
{
	return a->protocol == b->protocol && a->prefix.length == b->prefix.length &&
		IN6_ARE_ADDR_EQUAL(&a->prefix.address, &b->prefix.address);
}

static int range_compare(const void *a, const void *b)
{
	const struct ports *x = &(*(const struct declared *const *)a)->binding->selector.ports;
	const struct ports *y = &(*(const struct declared *const *)b)->binding->selector.ports;

	return x->low != y->low ? x->low - y->low : y->high - x->high;
}

static void report_cut(struct verification *v, const struct declared *a, const struct declared *b)
{
	const struct declared *d = a->unit->role == OTHER ? b : a, *other = d == a ? b : a;
	char text[LONGEST_SELECTOR_TEXT], other_text[LONGEST_SELECTOR_TEXT];

	if (d->unit->role == OTHER)
		return;
	finding_add(&v->findings, ERROR, d->unit->name.full, d->place,
		"%s overlaps %s of %s at %s:%u, and neither holds the other: a packet could prefer "
		"neither",
		selector_format(&d->binding->selector, text),
		selector_format(&other->binding->selector, other_text), other->unit->name.full,
		other->place->path, other->place->line);
}

/* Ranges of one prefix, by where they begin: those that are open lie within one another. */
static void find_cuts_of_prefix(
	struct verification *v, const struct declared **ranges, size_t count)
{
	_cleanup_(freep) const struct declared **open = calloc(count + 1, sizeof(*open));
	size_t depth = 0;

	if (!open)
		return;
	qsort(ranges, count, sizeof(*ranges), range_compare);
	for (size_t i = 0; i < count; i++) {
		const struct ports *ports = &ranges[i]->binding->selector.ports;

		while (depth && open[depth - 1]->binding->selector.ports.high < ports->low)
			depth--;
		if (depth && open[depth - 1]->binding->selector.ports.high < ports->high)
			report_cut(v, ranges[i], open[depth - 1]);
		open[depth++] = ranges[i];
	}
}

static void find_cuts(struct verification *v, const struct declared *list, size_t count)
{
	_cleanup_(freep) const struct declared **ranges = calloc(count + 1, sizeof(*ranges));
	size_t range_count = 0;

	for (size_t i = 0; ranges && i < count; i++) {
		const struct selector *selector = &list[i].binding->selector;

		if (ports_kind(&selector->ports) == PORT_RANGE)
			ranges[range_count++] = &list[i];
		if (i + 1 == count || !same_prefix(selector, &list[i + 1].binding->selector)) {
			find_cuts_of_prefix(v, ranges, range_count);
			range_count = 0;
		}
	}
}

/* A binding that can't win, for each unit that has it: they are neighbours. */
static void report_idle(struct verification *v, const struct declared *loser,
	const struct declared *end, const struct declared *taker)
{
	const struct selector *selector = &loser->binding->selector;
	char text[LONGEST_SELECTOR_TEXT], other[LONGEST_SELECTOR_TEXT];

	selector_format(selector, text);
	selector_format(&taker->binding->selector, other);
	for (; loser < end && selector_compare_by_address(&loser->binding->selector, selector) == 0;
		loser++)
		if (loser->unit->role != OTHER)
			finding_add(&v->findings, WARNING, loser->unit->name.full, loser->place,
				"%s can never win: more specific bindings hold all its packets, such as %s of "
				"%s at %s:%u",
				text, other, taker->unit->name.full, taker->place->path,
				taker->place->line);
}

static int find_idle(struct verification *v, const struct declared *list, size_t count)
{
	_cleanup_(freep) struct selector *selectors = calloc(count + 1, sizeof(*selectors));
	_cleanup_(freep) const struct declared **of = calloc(count + 1, sizeof(*of));
	_cleanup_(freep) struct idle *idle = NULL;
	size_t unique = 0, idle_count = 0;
	int r;

	if (!selectors || !of)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (unique &&
			selector_compare_by_address(
				&selectors[unique - 1], &list[i].binding->selector) == 0)
			continue;
		of[unique] = &list[i];
		selectors[unique++] = list[i].binding->selector;
	}
	r = coverage_find_idle(selectors, unique, &idle, &idle_count);
	if (r == -E2BIG)
		finding_add(&v->findings, WARNING, NULL, NULL,
			"these are so many bindings that not all were checked for whether they "
			"can win");
	else if (r < 0)
		return r;
	for (size_t i = 0; i < idle_count; i++)
		report_idle(v, of[idle[i].index], list + count, of[idle[i].taker]);
	return 0;
}

/* "0.0.0.0", where servers take it for all addresses. */
static bool is_wildcard(const struct prefix *prefix)
{
	const struct in6_addr *address = &prefix->address;

	return prefix->length == 128 &&
		(IN6_IS_ADDR_UNSPECIFIED(address) ||
			(IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr32[3] == 0));
}

static void report_wildcard(struct verification *v, const struct declared *d)
{
	char address[INET6_ADDRSTRLEN];

	address_format(&d->binding->selector.prefix.address, address);
	finding_add(&v->findings, WARNING, d->unit->name.full, d->place,
		"%s is one address, which nobody sends to: did you mean %s/0?", address, address);
}

/* Of ::/0, only some addresses can be local, and whoever writes it knows. */
static void check_locality(
	struct verification *v, const struct declared *d, const struct local_prefixes *local)
{
	const struct prefix *prefix = &d->binding->selector.prefix;
	enum locality locality = prefix_locality(local, prefix);
	char text[LONGEST_PREFIX_TEXT];

	if (locality == ALL_LOCAL || prefix_written_length(prefix) == 0)
		return;
	prefix_format(prefix, text);
	finding_add(&v->findings, WARNING, d->unit->name.full, d->place,
		"%s %s on this machine: no packet to %s arrives: ip %sroute add local %s dev lo",
		text, locality == NOT_LOCAL ? "isn't local" : "is local only in part",
		locality == NOT_LOCAL ? "it" : "the rest",
		prefix_family(prefix) == IPV6 ? "-6 " : "", text);
}

static void check_prefixes(struct verification *v, const struct declared *list, size_t count)
{
	_cleanup_(local_prefixes_free) struct local_prefixes local = {};
	bool knows_local = local_prefixes_read(&local) == 0;

	for (const struct declared *d = list; d < list + count; d++) {
		if (d->unit->role == OTHER)
			continue;
		if (is_wildcard(&d->binding->selector.prefix))
			report_wildcard(v, d);
		else if (knows_local)
			check_locality(v, d, &local);
	}
}

/* What was bound by hand doesn't give way to a unit that starts. */
static void check_by_hand(struct verification *v, const struct declared *d,
	const struct dispatcher *dispatcher, const struct bound *list, size_t count)
{
	const struct binding_key key = key_of_selector(&d->binding->selector, ADMINISTRATOR);
	const struct bound *bound = bound_find(list, count, &key);
	char text[LONGEST_SELECTOR_TEXT], word[SHELL_WORD_SIZE(NAME_SIZE)];
	const char *label;

	if (!bound || bound->key.owner != ADMINISTRATOR)
		return;
	label = dispatcher->now.destinations[bound->destination].label;
	if (strcmp(label, d->binding->label) == 0)
		return;
	selector_format(&d->binding->selector, text);
	finding_add(&v->findings, ERROR, d->unit->name.full, d->place,
		"%s: it is bound to \"%s\" here, and to \"%s\" by hand: isomctl unbind %s %s", text,
		d->binding->label, label, shell_word(label, word, sizeof(word)), text);
}

/* Whoever may not look into the dispatcher isn't told so. */
static void find_bound_by_hand(struct verification *v, const struct declared *list, size_t count)
{
	_cleanup_(dispatcher_closep) struct dispatcher *dispatcher = NULL;
	_cleanup_(freep) struct bound *bound = NULL;
	char missing[LONGEST_PRIVILEGES_TEXT];
	size_t bound_count;

	if (v->by_file || privileges_missing(PRIVILEGE(CAP_BPF), missing) ||
		dispatcher_open(v->bpffs, false, MISSING_IS_QUIET, &dispatcher) < 0 ||
		bindings_list(dispatcher, &bound, &bound_count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (list[i].unit->role != OTHER)
			check_by_hand(v, &list[i], dispatcher, bound, bound_count);
}

static int check_bindings(struct verification *v)
{
	_cleanup_(freep) struct declared *list = NULL;
	size_t count;
	int r = list_declared(v, &list, &count);

	if (r < 0)
		return r;
	find_two_labels(v, list, count);
	find_cuts(v, list, count);
	find_bound_by_hand(v, list, count);
	check_prefixes(v, list, count);
	return find_idle(v, list, count);
}

/*
 * Sockets.
 */

struct openings {
	const struct checked *unit; /* whose Socket= lines are held against them */
	bool found[256];            /* by the index of the line; more aren't looked at */
	char units[512];            /* that may open the sockets: "web.socket, web6.socket" */
};

/* Of a protocol that isn't bound to it, several sockets aren't put under Label= at all. */
static bool is_put_under_label(const struct section *section, uint8_t protocol)
{
	bool bound = false;

	for (size_t i = 0; i < section->binding_count; i++) {
		const struct binding *binding = &section->bindings[i];

		if (strcmp(binding->label, section->label) != 0)
			continue;
		if (binding->selector.protocol == protocol)
			return true;
		bound = true;
	}
	return !bound;
}

static void report_competing(
	const struct checked *unit, const struct endpoint *endpoint, const struct endpoint *other)
{
	char address[INET6_ADDRSTRLEN], other_address[INET6_ADDRSTRLEN];
	const char *protocol = protocol_name(endpoint->protocol);

	address_format(&endpoint->address, address);
	address_format(&other->address, other_address);
	finding_add(&unit->verification->findings, unit->section.required ? ERROR : WARNING,
		unit->name.full, &endpoint->place,
		"%s %s %u and %s %s %u would both be for label \"%s\": name the one in the section, "
		"like Socket=%s %s %u",
		protocol, other_address, other->port, protocol, address, endpoint->port,
		unit->section.label, protocol, other_address, other->port);
}

/* Without Socket= lines, there is room for one socket of each protocol and family. */
static void check_room(const struct checked *unit, const struct wiring *wiring)
{
	if (unit->section.socket_count)
		return;
	for (size_t i = 1; i < wiring->listen_count; i++) {
		const struct endpoint *endpoint = &wiring->listens[i], *other = wiring->listens;

		while (other < endpoint && !endpoints_compete(other, endpoint))
			other++;
		if (other < endpoint && is_put_under_label(&unit->section, endpoint->protocol))
			report_competing(unit, endpoint, other);
	}
}

static void note_openings(struct openings *openings, const struct checked *socket)
{
	const struct section *section = &openings->unit->section;
	const struct wiring *wiring = &socket->wiring;
	size_t length = strlen(openings->units);

	check_room(openings->unit, wiring);
	snprintf(openings->units + length, sizeof(openings->units) - length, "%s%s",
		length ? ", " : "", socket->name.full);
	for (size_t i = 0; i < section->socket_count && i < sizeof(openings->found); i++)
		for (size_t j = 0; j < wiring->listen_count; j++)
			if (endpoint_is_at(&wiring->listens[j], section->sockets[i].protocol,
				    &section->sockets[i].address, section->sockets[i].port))
				openings->found[i] = true;
}

static void report_missing(
	struct verification *v, const struct openings *openings, const char *what)
{
	const struct section *section = &openings->unit->section;

	for (size_t i = 0; i < section->socket_count && i < sizeof(openings->found); i++) {
		const struct section_socket *socket = &section->sockets[i];
		char address[INET6_ADDRSTRLEN];

		if (!openings->found[i])
			finding_add(&v->findings, ERROR, openings->unit->name.full, &socket->place,
				"Socket=%s %s %u: %s %s", protocol_name(socket->protocol),
				address_format(&socket->address, address), socket->port,
				openings->units, what);
	}
}

static bool names_socket(const struct checked *service, const char *socket)
{
	_cleanup_(freep) char *words = strdup(service->wiring.sockets ?: "");
	char *rest = words, *word;

	while (words && (word = strsep(&rest, " \t"))) {
		_cleanup_(freep) char *text = NULL;
		struct reason reason;

		if (specifiers_expand(word, &service->name, &text, &reason) == 0 &&
			strcmp(text, socket) == 0)
			return true;
	}
	return false;
}

/* Does the service get this socket unit's sockets, by this section of its own? */
static bool serves(const struct checked *service, const struct checked *socket)
{
	struct unit_name started;

	if (socket->section.present || socket->wiring.accepts)
		return false;
	if (names_socket(service, socket->name.full))
		return true;
	return wiring_service(&socket->wiring, &socket->name, &started) &&
		strcmp(started.full, service->name.full) == 0;
}

static void look_at_socket_unit(struct openings *openings, const struct unit_name *name)
{
	struct verification *v = openings->unit->verification;
	struct checked socket = {.verification = v};

	if (unit_find_files(&v->unitpath, name, &socket.name, &socket.files, &socket.file_count) ==
			0 &&
		socket.file_count) {
		section_check(&socket.name, socket.files, socket.file_count, ignore, NULL,
			&socket.section);
		wiring_read(&socket.name, socket.files, socket.file_count, &socket.wiring);
		if (serves(openings->unit, &socket))
			note_openings(openings, &socket);
	}
	free(socket.files);
	section_free(&socket.section);
	wiring_free(&socket.wiring);
}

static void look_at_socket_units(struct openings *openings)
{
	const struct unitpath *unitpath = &openings->unit->verification->unitpath;
	const struct unit_name *service = &openings->unit->name;
	struct unit_name socket;
	struct reason reason;

	for (size_t i = 0; i < unitpath->file_count; i++) {
		const struct unitpath_file *file = &unitpath->files[i];

		if (file->kind == UNIT_FRAGMENT && ends_in(file->name, ".socket") &&
			unit_name_parse(file->name, &socket, &reason) == 0)
			look_at_socket_unit(openings, &socket);
	}
	/* An instance has its template's file. */
	if (unit_name_is_instance(service) &&
		unit_name_build(service->prefix, service->instance, "socket", &socket))
		look_at_socket_unit(openings, &socket);
}

/* The sockets of a service that runs, where it may be looked into. */
static void check_processes(struct verification *v, struct openings *openings)
{
	const struct section *section = &openings->unit->section;
	const char *name = openings->unit->name.full;
	_cleanup_(socket_list_free) struct socket_list sockets = {};
	_cleanup_(freep) pid_t *processes = NULL;
	struct unit_state state;
	size_t count;

	if (v->by_file || !section->socket_count || !systemd_unit_states(&name, 1, &state) ||
		strcmp(state.active, "active") != 0 ||
		!systemd_unit_processes(name, &processes, &count) || count == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		int r = socket_list_add_process(&sockets, processes[i]);

		if (r < 0 && r != -ESRCH)
			return;
	}
	for (size_t i = 0; i < section->socket_count && i < sizeof(openings->found); i++)
		for (size_t j = 0; j < sockets.count; j++)
			if (socket_listens_at(&sockets.sockets[j], section->sockets[i].protocol,
				    &section->sockets[i].address, section->sockets[i].port))
				openings->found[i] = true;
	snprintf(openings->units, sizeof(openings->units), "%s", name);
	report_missing(v, openings, "runs, and has no such socket");
}

/* Of a label with Socket= lines, none is for a protocol that is bound to it: the start fails. */
static void check_protocols(struct verification *v, const struct checked *unit)
{
	const struct section *section = &unit->section;

	for (size_t i = 0; i < section->binding_count; i++) {
		const struct binding *binding = &section->bindings[i];
		bool named = false, served = false;

		for (size_t j = 0; j < section->socket_count; j++) {
			const struct section_socket *socket = &section->sockets[j];
			bool same = strcmp(socket->label, binding->label) == 0;

			named = named || same;
			served = served || (same && socket->protocol == binding->selector.protocol);
		}
		if (named && !served)
			finding_add(&v->findings, ERROR, unit->name.full,
				&section->binding_places[i],
				"%s is bound to \"%s\", and none of its Socket= lines is for %s",
				protocol_name(binding->selector.protocol), binding->label,
				protocol_name(binding->selector.protocol));
	}
}

/* Its processes' sockets are elsewhere: only those that a socket unit opens for it can be had. */
static void check_network(struct verification *v, const struct checked *unit)
{
	if (unit->wiring.private_network)
		finding_add(&v->findings, WARNING, unit->name.full, NULL,
			"PrivateNetwork= or NetworkNamespacePath= puts its sockets into another network "
			"namespace, and sections work in that of PID 1: let a socket unit open them");
}

/* Sockets are looked for when its start is done, or, if it doesn't tell, as soon as it runs. */
static void check_start(struct verification *v, const struct checked *unit)
{
	const struct section *section = &unit->section;
	const struct wiring *wiring = &unit->wiring;

	if (wiring->oneshot && !wiring->remains)
		finding_add(&v->findings, WARNING, unit->name.full, NULL,
			"it is Type=oneshot without RemainAfterExit=yes: when its sockets are looked "
			"for, it has no process left: give it another Type=, or let a socket unit open "
			"them");
	if (section->socket_timeout_place.path && !wiring->notifies && wiring->start_timeout_usec &&
		section->socket_timeout_usec > wiring->start_timeout_usec)
		finding_add(&v->findings, WARNING, unit->name.full, &section->socket_timeout_place,
			"SocketTimeoutSec= is longer than TimeoutStartSec= (%g s), after which systemd "
			"ends the start",
			(double)wiring->start_timeout_usec / 1000000);
}

/* What a socket unit opens is known from its files; of other sockets, a process may tell. */
static void check_sockets(struct verification *v, const struct checked *unit)
{
	struct openings openings = {.unit = unit};

	if (unit_name_is_template(&unit->name) || !unit->section.present)
		return;
	if (is_socket_unit(unit))
		note_openings(&openings, unit);
	else
		look_at_socket_units(&openings);
	if (openings.units[0]) {
		report_missing(v, &openings, "doesn't open such a socket");
	} else {
		check_processes(v, &openings);
		check_network(v, unit);
		check_start(v, unit);
	}
}

/* Its hooks would run in there. */
static void check_root(struct verification *v, const struct checked *unit)
{
	const struct wiring *wiring = &unit->wiring;

	if (strcmp(unit->name.suffix, "service") == 0 && unit->section.present &&
		(wiring->root_directory || wiring->root_image) && !wiring->root_for_start_only)
		finding_add(&v->findings, unit->section.required ? ERROR : WARNING, unit->name.full,
			NULL,
			"it has %s=, where isomer-helper isn't found: it takes "
			"RootDirectoryStartOnly=yes as well",
			wiring->root_directory ? "RootDirectory" : "RootImage");
}

/* Does any unit register a socket under the label, as far as its files tell? */
static bool is_registered(const struct verification *v, const char *label)
{
	for (size_t i = 0; i < v->count; i++) {
		const struct section *section = &v->units[i]->section;

		if (!section->socket_count && strcmp(section->label, label) == 0)
			return true;
		for (size_t j = 0; j < section->socket_count; j++)
			if (strcmp(section->sockets[j].label, label) == 0)
				return true;
	}
	return false;
}

/* Labels that a unit binds, each said once, at its first line. */
static void check_labels(struct verification *v, const struct checked *unit)
{
	const struct section *section = &unit->section;

	if (unit_name_is_template(&unit->name))
		return;
	for (size_t i = 0; i < section->binding_count; i++) {
		const char *label = section->bindings[i].label;
		size_t first = 0;

		while (strcmp(section->bindings[first].label, label) != 0)
			first++;
		if (first == i && !is_registered(v, label))
			finding_add(&v->findings, WARNING, unit->name.full,
				&section->binding_places[i],
				"label \"%s\" gets no socket: of the units looked at, none has it as its "
				"Label= or in a Socket= line: what is bound to it is refused",
				label);
	}
}

/* A socket unit with a section registers its own sockets: it fails without any. */
static void check_has_listens(struct verification *v, const struct checked *unit)
{
	if (is_socket_unit(unit) && unit->section.present && unit->wiring.listen_count == 0)
		finding_add(&v->findings, ERROR, unit->name.full, NULL,
			"it has a section, and no TCP or UDP socket (ListenStream=, "
			"ListenDatagram=)");
}

/*
 * The machine. Where FILEs are given, it need not be the one that they are for.
 */

static void check_machine(struct verification *v)
{
	enum severity severity = v->by_file ? WARNING : ERROR;
	_cleanup_(freep) char *version = v->by_file ? NULL : systemd_property(NULL, "Version");
	unsigned int major = 0, minor = 0, systemd;
	struct utsname kernel;
	struct statfs fs;

	if (uname(&kernel) == 0 && sscanf(kernel.release, "%u.%u", &major, &minor) == 2 &&
		(major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR)))
		finding_add(&v->findings, severity, NULL, NULL,
			"the kernel is Linux %s: Isomer takes %d.%d or later", kernel.release,
			KERNEL_MAJOR, KERNEL_MINOR);
	if (version && sscanf(version, "%*[^0-9]%u", &systemd) != 1 &&
		sscanf(version, "%u", &systemd) != 1)
		return;
	if (version && systemd < SYSTEMD_FLOOR)
		finding_add(&v->findings, severity, NULL, NULL,
			"systemd is version %s: units with sections take %d or later", version,
			SYSTEMD_FLOOR);
	if (statfs(DEFAULT_BPFFS, &fs) < 0 || fs.f_type != BPF_FS_MAGIC)
		finding_add(&v->findings, WARNING, NULL, NULL,
			"no BPF file system is mounted on %s, where the dispatcher's state is kept: "
			"mount -t bpf bpf %s",
			DEFAULT_BPFFS, DEFAULT_BPFFS);
}

/*
 * The command.
 */

static int add_units(struct verification *v, char **words, size_t count)
{
	char **units = calloc(count + 1, sizeof(*units));
	int r = units ? take_words(v, words, count, units) : fail(-ENOMEM, "cannot check: %m");

	if (r == 0)
		r = unitpath_load(&v->unitpath);
	if (r == 0 && count == 0)
		r = add_all_units(v);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (is_type(units[i]))
			check_dropins_of_type(v, units[i]);
		else
			r = add_unit(v, units[i], NAMED);
	}
	if (r == 0)
		r = add_services(v);
	if (r == 0 && count && !v->by_file)
		r = units_visit(&v->unitpath, add_other, v);
	for (size_t i = 0; units && i < count; i++)
		free(units[i]);
	free(units);
	return r;
}

static int verify(struct verification *v, char **words, size_t count)
{
	int r = add_units(v, words, count);

	if (r == 0)
		r = check_bindings(v);
	for (size_t i = 0; i < v->checked_count && r == 0; i++) {
		check_presence(v, v->units[i]);
		check_protocols(v, v->units[i]);
		check_sockets(v, v->units[i]);
		check_has_listens(v, v->units[i]);
		check_root(v, v->units[i]);
		check_labels(v, v->units[i]);
	}
	if (r == 0)
		check_machine(v);
	findings_sort(&v->findings);
	if (r == -ENOMEM || v->findings.out_of_memory)
		return fail(-ENOMEM, "cannot check the units: %m");
	return r;
}

static int run_verify(const struct options *options, int argc, char **argv)
{
	struct verification v = {.bpffs = options->bpffs};
	int r = take_arguments(&verify_command, argc, &argv, 0, argc);

	if (r < 0)
		return -r;
	r = verify(&v, argv, (size_t)r);
	if (r == 0 && options->json)
		findings_print_json(&v.findings, v.checked_count);
	else if (r == 0)
		findings_print(&v.findings, v.checked_count);
	if (r == 0 && v.findings.errors)
		r = EXIT_FAILURE;
	for (size_t i = 0; i < v.count; i++)
		checked_free(v.units[i]);
	free(v.units);
	findings_free(&v.findings);
	unitpath_free(&v.unitpath);
	return r;
}

const struct command verify_command = {
	.name = "verify",
	.arguments = "[UNIT|FILE …]",
	.summary = "check the [Isomer] sections of units, and load nothing",
	.help = "Checks the sections of these units, of these unit files or drop-ins, or of all units\n"
		"on the unit path: lines that are wrong, by FILE:LINE:COLUMN; bindings that another\n"
		"unit or somebody by hand has under another label, and such as can never win; prefixes\n"
		"that aren't local here; Socket= lines of sockets that nobody opens, two sockets for\n"
		"one label, and labels that no section puts a socket under; starts that are over before\n"
		"sockets are looked for; sections where nobody reads them, as in drop-ins of a unit that\n"
		"isn't there; what this machine lacks. Units are compared with all others on the unit\n"
		"path; FILEs are checked with the drop-ins beside them, and without asking systemd.\n\n"
		"The exit status is 1 where there are errors, and 0 where there are none, or only\n"
		"warnings.\n\n"
		"Examples:\n"
		"  isomctl verify\n"
		"  isomctl verify nginx.service web.socket\n"
		"  isomctl verify ./nginx.service ./nginx.service.d/isomer.conf\n",
	.run = run_verify,
};
