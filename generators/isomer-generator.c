/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Run by systemd at boot and at each daemon-reload (systemd.generator(7)): finds the [Isomer]
 * sections in the files of service and socket units, and writes for each such unit a drop-in that
 * lets systemd call isomer-helper when the unit starts, reloads and stops. What the sections say
 * is left to the helper: a wrong one must fail its unit, with a message, and not be passed over.
 *
 * The drop-ins of all units have one name. Where several would apply to a unit (an instance, its
 * template, a prefix of its name, an alias), the most specific one then hides the others.
 *
 * Nothing that is met on disk may fail the boot: it is skipped with a warning.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../src/cleanup.h"
#include "../src/say.h"
#include "../src/unitpath.h"
#include "facts.h"

#ifndef HELPER_PATH
#define HELPER_PATH "/usr/lib/isomer/isomer-helper"
#endif

/* From this version on, PID 1 hands a socket unit's commands its sockets. */
#define SYSTEMD_PASSES_SOCKETS 256

/* Between what packages and what administrators give their drop-ins. */
#define FIRST_NUMBER 50
#define LAST_NUMBER  99

/* A drop-in to be written. */
struct dropin {
	const char *owner;   /* the unit, or prefix of units, in whose directory it goes */
	const char *section; /* the file that has the section */
	bool is_socket;
	bool has_reload;
};

struct generator {
	const char *output;
	bool systemd_passes_sockets;
	struct unitpath unitpath;
	struct facts *file_facts;   /* one for each of unitpath.files */
	struct facts *dropin_facts; /* one for each of unitpath.dropins */
	char **names;               /* of all units that could get a drop-in, sorted */
	size_t name_count;
	struct dropin *dropins; /* those that get one */
	size_t dropin_count;
	const char *read_before;        /* the last of the drop-ins that ours must be read after */
	char dropin_name[NAME_MAX + 1]; /* of all of ours */
};

/* What was found out about one unit. */
struct unit {
	struct unit_name name;   /* its own, where it was asked for under an alias */
	struct facts facts;      /* of all its files; borrowed */
	const char *section;     /* the first file with a section; NULL: none, or masked */
	const char *read_before; /* the last drop-in that ours must be read after, or "" */
	bool has_fragment;
};

/* Reading what is there */

/* The name of Isomer's own units, and of the prefix that their drop-ins could be shared under. */
static bool is_isomers_own(const char *owner)
{
	struct unit_name unit;
	struct reason reason;

	return unit_name_parse(owner, &unit, &reason) == 0 &&
		(strcmp(unit.prefix, "isomer") == 0 || strcmp(unit.prefix, "isomer-") == 0 ||
			strcmp(unit.prefix, "isomer-metrics") == 0);
}

static bool is_for_whole_type(const char *owner)
{
	return strcmp(owner, "service") == 0 || strcmp(owner, "socket") == 0;
}

/* A section that would apply to isomer.service would have it wait for itself. */
static void refuse_section(struct facts *facts, const char *owner, const char *path)
{
	if (!facts->has_section || !(is_for_whole_type(owner) || is_isomers_own(owner)))
		return;
	warn("%s: the section is skipped: %s", path,
		is_for_whole_type(owner) ? "it would apply to Isomer's own units too"
					 : "this is a unit of Isomer's own");
	facts->has_section = false;
}

static int read_all(struct generator *generator)
{
	const struct unitpath *unitpath = &generator->unitpath;

	generator->file_facts = calloc(unitpath->file_count + 1, sizeof(struct facts));
	generator->dropin_facts = calloc(unitpath->dropin_count + 1, sizeof(struct facts));
	if (!generator->file_facts || !generator->dropin_facts)
		return -ENOMEM;

	for (size_t i = 0; i < unitpath->file_count; i++) {
		const struct unitpath_file *file = &unitpath->files[i];

		if (file->kind != UNIT_FRAGMENT)
			continue;
		facts_read(file->path, &generator->file_facts[i]);
		refuse_section(&generator->file_facts[i], file->name, file->path);
	}
	for (size_t i = 0; i < unitpath->dropin_count; i++) {
		const struct unitpath_dropin *dropin = &unitpath->dropins[i];

		facts_read(dropin->path, &generator->dropin_facts[i]);
		refuse_section(&generator->dropin_facts[i], dropin->owner, dropin->path);
	}
	return 0;
}

/* What a unit is made of */

static int look_at(
	const struct generator *generator, const struct unit_name *name, struct unit *ret)
{
	const struct unitpath *unitpath = &generator->unitpath;
	_cleanup_(freep) const struct unitpath_dropin **dropins = NULL;
	const struct unitpath_file *file;
	size_t count = 0;
	int r;

	*ret = (struct unit){.read_before = ""};
	unitpath_resolve(unitpath, name, &ret->name, &file);
	if (file && file->kind == UNIT_MASK)
		return 0;
	if (file) {
		ret->has_fragment = true;
		facts_add(&ret->facts, &generator->file_facts[file - unitpath->files]);
		if (ret->facts.has_section)
			ret->section = file->path;
	}

	r = unitpath_dropins(unitpath, &ret->name, &dropins, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		const struct facts *facts =
			&generator->dropin_facts[dropins[i] - unitpath->dropins];

		facts_add(&ret->facts, facts);
		if (facts->comes_first)
			ret->read_before = dropins[i]->name;
		if (facts->has_section && !ret->section)
			ret->section = dropins[i]->path;
	}
	return 0;
}

/* The service that a socket unit activates: systemd.socket(5). */
static bool activated_service(const struct unit *socket, struct unit_name *ret)
{
	const struct unit_name *name = &socket->name;
	_cleanup_(freep) char *service = NULL;
	struct reason reason;
	int r;

	if (socket->facts.accept == ASSIGNED)
		return unit_name_build(name->prefix, "", "service", ret);
	if (!socket->facts.service)
		return unit_name_build(name->prefix, name->instance, "service", ret);

	r = specifiers_expand(socket->facts.service, name, &service, &reason);
	if (r == 0)
		r = unit_name_parse(service, ret, &reason);
	if (r == -EINVAL)
		warn("%s: Service=%s is skipped: %s", name->full, socket->facts.service,
			reason.text);
	return r == 0;
}

/* The name of our drop-ins */

static bool is_taken(const struct unitpath *unitpath, const char *name)
{
	for (size_t i = 0; i < unitpath->dropin_count; i++)
		if (strcmp(unitpath->dropins[i].name, name) == 0)
			return true;
	return false;
}

static bool choose_number(struct generator *generator, size_t stem_length)
{
	const char *before = generator->read_before;
	size_t size = sizeof(generator->dropin_name);
	char *name = generator->dropin_name;

	for (int number = FIRST_NUMBER; number <= LAST_NUMBER; number++) {
		int length = snprintf(name, size, "%.*s%s%d-isomer.conf", (int)stem_length, before,
			stem_length > 0 ? "~" : "", number);

		if ((size_t)length < size && strcmp(name, before) > 0 &&
			!is_taken(&generator->unitpath, name))
			return true;
	}
	return false;
}

/*
 * 50-isomer.conf. But a drop-in of that name, of the user's, would hide ours or be hidden, and one
 * that is read later may empty a list that ours add to: then the next number for which that isn't
 * so, and after "override.conf", override~50-isomer.conf, for ~ sorts behind the dot.
 */
static int choose_name(struct generator *generator)
{
	const char *before = generator->read_before;

	if (choose_number(generator, 0))
		return 0;
	if (*before && choose_number(generator, strlen(before) - strlen(".conf")))
		return 0;
	return fail(-EEXIST, "no name is left for drop-ins that are read after all %s", before);
}

/* Writing */

/* Names on disk may hold anything, and a line end would turn the rest into an assignment. */
static void write_comment(FILE *file, const char *path)
{
	fputs("# Automatically generated by isomer-generator, from ", file);
	for (; *path; path++)
		fputc((unsigned char)*path < ' ' ? '?' : *path, file);
	fputc('\n', file);
}

static void write_service(FILE *file, bool has_reload)
{
	fputs("[Service]\n"
	      "ExecStartPre=+" HELPER_PATH " gate %n\n"
	      "ExecStartPost=+" HELPER_PATH " register %n\n",
		file);
	if (has_reload)
		fputs("ExecReload=+" HELPER_PATH " register %n\n", file);
	fputs("ExecStopPost=+" HELPER_PATH " unregister %n\n", file);
}

static void write_socket(FILE *file, bool systemd_passes_sockets)
{
	fputs("[Socket]\n", file);
	if (systemd_passes_sockets)
		fputs("PassFileDescriptorsToExec=yes\n", file);
	fputs("ExecStartPost=+" HELPER_PATH " register %n\n"
	      "ExecStopPre=+" HELPER_PATH " unregister %n\n",
		file);
}

static int open_dropin(const struct generator *generator, const char *owner, FILE **ret)
{
	_cleanup_(freep) char *directory = NULL, *path = NULL;

	if (asprintf(&directory, "%s/%s.d", generator->output, owner) < 0) {
		directory = NULL;
		return fail(-ENOMEM, "%m");
	}
	if (asprintf(&path, "%s/%s", directory, generator->dropin_name) < 0) {
		path = NULL;
		return fail(-ENOMEM, "%m");
	}
	if (mkdir(directory, 0755) < 0 && errno != EEXIST)
		return fail(-errno, "%s: %m", directory);
	*ret = fopen(path, "wxe");
	return *ret ? 0 : fail(-errno, "%s: %m", path);
}

static void write_dropin(const struct generator *generator, const struct dropin *dropin)
{
	_cleanup_(fclosep) FILE *file = NULL;

	if (open_dropin(generator, dropin->owner, &file) < 0)
		return;
	write_comment(file, dropin->section);
	fputs("[Unit]\n"
	      "Wants=isomer@%n.service\n"
	      "After=isomer@%n.service\n",
		file);
	if (dropin->is_socket)
		write_socket(file, generator->systemd_passes_sockets);
	else
		write_service(file, dropin->has_reload);
	if (fflush(file) != 0)
		fail(-errno, "%s/%s.d: %m", generator->output, dropin->owner);
}

/* Going through the units */

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_name(struct generator *generator, const char *name)
{
	char *copy = strdup(name);

	if (!copy)
		return -ENOMEM;
	generator->names[generator->name_count++] = copy;
	return 0;
}

/*
 * Every name that systemd can find a drop-in under: unit files, and owners of drop-ins, among
 * which are instances and prefixes without a file of their own. For an instance there may also be
 * a socket unit without one.
 */
static int list_names(struct generator *generator)
{
	const struct unitpath *unitpath = &generator->unitpath;
	size_t most = unitpath->file_count + 2 * unitpath->dropin_count;
	int r = 0;

	generator->names = calloc(most + 1, sizeof(*generator->names));
	if (!generator->names)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < unitpath->file_count; i++)
		if (unitpath->files[i].kind == UNIT_FRAGMENT)
			r = add_name(generator, unitpath->files[i].name);
	for (size_t i = 0; r == 0 && i < unitpath->dropin_count; i++) {
		const char *owner = unitpath->dropins[i].owner;
		struct unit_name unit, socket;
		struct reason reason;

		if (unit_name_parse(owner, &unit, &reason) < 0)
			continue;
		r = add_name(generator, owner);
		if (r == 0 && unit_name_build(unit.prefix, unit.instance, "socket", &socket))
			r = add_name(generator, socket.full);
	}
	qsort(generator->names, generator->name_count, sizeof(*generator->names), name_compare);
	return r;
}

/* Decides on one unit. A socket unit without a section uses that of the service it activates. */
static int decide(struct generator *generator, const char *owner)
{
	struct dropin dropin = {.owner = owner};
	struct unit_name name, service_name;
	struct unit unit = {}, service = {};
	struct reason reason;
	int r;

	r = unit_name_parse(owner, &name, &reason);
	if (r == 0)
		r = look_at(generator, &name, &unit);
	if (r < 0)
		return r;
	dropin.is_socket = strcmp(name.suffix, "socket") == 0;
	dropin.has_reload = unit.facts.exec_reload == ASSIGNED;
	dropin.section = unit.section;
	if (!dropin.section && dropin.is_socket && unit.has_fragment &&
		activated_service(&unit, &service_name)) {
		r = look_at(generator, &service_name, &service);
		if (r < 0)
			return r;
		dropin.section = service.section;
	}
	if (!dropin.section)
		return 0;

	generator->dropins[generator->dropin_count++] = dropin;
	if (strcmp(unit.read_before, generator->read_before) > 0)
		generator->read_before = unit.read_before;
	return 0;
}

static int decide_all(struct generator *generator)
{
	char **names = generator->names;
	int r = 0;

	generator->read_before = "";
	generator->dropins = calloc(generator->name_count + 1, sizeof(*generator->dropins));
	if (!generator->dropins)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < generator->name_count; i++)
		if (i == 0 || strcmp(names[i - 1], names[i]) != 0)
			r = decide(generator, names[i]);
	return r;
}

static int generate(struct generator *generator)
{
	int r;

	r = unitpath_load(&generator->unitpath);
	if (r == 0)
		r = read_all(generator);
	if (r == 0)
		r = list_names(generator);
	if (r == 0)
		r = decide_all(generator);
	if (r < 0)
		return fail(r, "%m");

	r = choose_name(generator);
	for (size_t i = 0; r == 0 && i < generator->dropin_count; i++)
		write_dropin(generator, &generator->dropins[i]);
	return r;
}

static void generator_clear(struct generator *generator)
{
	for (size_t i = 0; generator->file_facts && i < generator->unitpath.file_count; i++)
		facts_clear(&generator->file_facts[i]);
	for (size_t i = 0; generator->dropin_facts && i < generator->unitpath.dropin_count; i++)
		facts_clear(&generator->dropin_facts[i]);
	for (size_t i = 0; i < generator->name_count; i++)
		free(generator->names[i]);
	free(generator->file_facts);
	free(generator->dropin_facts);
	free(generator->names);
	free(generator->dropins);
	unitpath_free(&generator->unitpath);
}

/*
 * Of the systemd that runs, which waits for this program and so can't be asked: its library has
 * the version in its name. 0 where that can't be told, as if it were old: the helper does without
 * what it could pass.
 */
static unsigned long systemd_version(void)
{
	static const char *const libraries[] = {"/libsystemd-shared-", "/libsystemd-core-"};
	_cleanup_(fclosep) FILE *maps = fopen("/proc/1/maps", "re");
	_cleanup_(freep) char *line = NULL;
	size_t size = 0;

	while (maps && getline(&line, &size, maps) > 0) {
		for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
			const char *found = strstr(line, libraries[i]);

			if (found)
				return strtoul(found + strlen(libraries[i]), NULL, 10);
		}
	}
	return 0;
}

static void usage(FILE *file)
{
	fputs("Usage: isomer-generator NORMAL-DIR [EARLY-DIR LATE-DIR]\n"
	      "Writes drop-ins for the units with an [Isomer] section into NORMAL-DIR.\n"
	      "For systemd, which runs it at boot and at daemon-reload: see systemd.generator(7).\n",
		file);
}

int main(int argc, char **argv)
{
	_cleanup_(generator_clear) struct generator generator = {};

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage(stdout);
		return 0;
	}
	if (argc != 2 && argc != 4) {
		usage(stderr);
		return 2;
	}
	generator.output = argv[1];
	generator.systemd_passes_sockets = systemd_version() >= SYSTEMD_PASSES_SOCKETS;
	generate(&generator);
	return 0; /* whatever happened: it was said, and the boot goes on */
}
