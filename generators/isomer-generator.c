/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Run by systemd at boot and at each daemon-reload (systemd.generator(7)): finds the [Isomer]
 * sections in the files of service and socket units, and writes for each such unit a drop-in that
 * lets systemd call isomer-helper when the unit starts, reloads and stops. What the sections say
 * is left to the helper: a wrong one must fail its unit, with a message, and not be passed over.
 *
 * What the drop-ins are called is naming.h's affair, what is read from files that of facts.h.
 *
 * Nothing that is met on disk may fail the boot: it is skipped with a warning.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/cleanup.h"
#include "../src/say.h"
#include "../src/section.h"
#include "../src/unitpath.h"
#include "facts.h"
#include "naming.h"

#ifndef HELPER_PATH
#define HELPER_PATH "/usr/lib/isomer/isomer-helper"
#endif

/* From this version on, PID 1 hands a socket unit's commands its sockets. */
#define SYSTEMD_PASSES_SOCKETS 256

#define SERVICE_SIZE (UNIT_NAME_SIZE + sizeof("@%i.service"))

/* A drop-in to be written. */
struct dropin {
	const char *owner;   /* the unit, or prefix of units, in whose directory it goes */
	const char *section; /* the file that has the section */
	const struct unitpath_dropin *read_before; /* the last that ours must be read after */
	char service[SERVICE_SIZE]; /* whose section it is, where it only names the socket */
	bool is_socket;
	bool has_reload;
	bool has_foreign_root; /* the hooks would run where isomer-helper isn't */
};

/* A socket unit that a service with a section has in its Sockets=. */
struct served {
	char socket[UNIT_NAME_SIZE]; /* its own name */
	char service[SERVICE_SIZE];  /* "foo.service", or for all instances "foo@%i.service" */
	const char *section;
};

struct generator {
	const char *output;
	bool systemd_passes_sockets;
	struct unitpath unitpath;
	struct facts *file_facts;   /* one for each of unitpath.files */
	struct facts *dropin_facts; /* one for each of unitpath.dropins */
	char **names;               /* of all units that could get a drop-in, sorted */
	size_t name_count;
	struct served *served;
	size_t served_count;
	struct dropin *dropins; /* those that get one */
	size_t dropin_count;
	struct naming naming;
};

/* What was found out about one unit. */
struct unit {
	struct unit_name name; /* its own, where it was asked for under an alias */
	struct facts facts;    /* of all its files */
	const char *section;   /* the first file with a section; NULL: none, or masked */
	const char *root;      /* the last file that gives a root directory; NULL: none */
	const struct unitpath_dropin *read_before; /* the last that ours must be read after */
	bool has_fragment;
};

/* Reading what is there */

static bool is_isomers_own(const char *owner)
{
	struct unit_name unit;
	struct reason reason;

	return unit_name_parse(owner, &unit, &reason) == 0 && unit_name_is_isomers_own(&unit);
}

/* A section that would apply to isomer.service would have it wait for itself. */
static void refuse_section(struct facts *facts, const char *owner, const char *path)
{
	bool is_for_whole_type = section_is_passed_over(path);

	if (!facts->has_section || !(is_for_whole_type || is_isomers_own(owner)))
		return;
	warn("%s: the section is skipped: %s", path,
		is_for_whole_type ? "it would apply to Isomer's own units too"
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

static void unit_clear(struct unit *unit)
{
	facts_clear(&unit->facts);
}

static int add_file(struct unit *unit, const char *path, const struct facts *facts)
{
	if (facts->has_section && !unit->section)
		unit->section = path;
	if (facts->root_directory == ASSIGNED || facts->root_image == ASSIGNED)
		unit->root = path;
	return facts_add(&unit->facts, facts);
}

static int look_at(
	const struct generator *generator, const struct unit_name *name, struct unit *ret)
{
	const struct unitpath *unitpath = &generator->unitpath;
	_cleanup_(freep) const struct unitpath_dropin **dropins = NULL;
	const struct unitpath_file *file;
	size_t count = 0;
	int r = 0;

	unitpath_resolve(unitpath, name, &ret->name, &file);
	if (file && file->kind == UNIT_MASK)
		return 0;
	if (file) {
		ret->has_fragment = true;
		r = add_file(ret, file->path, &generator->file_facts[file - unitpath->files]);
	}
	if (r == 0)
		r = unitpath_dropins(unitpath, &ret->name, &dropins, &count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct facts *facts =
			&generator->dropin_facts[dropins[i] - unitpath->dropins];

		if (facts->comes_first)
			ret->read_before = dropins[i];
		r = add_file(ret, dropins[i]->path, facts);
	}
	return r;
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
		warn("%s: Service=%.255s is skipped: %s", name->full, socket->facts.service,
			reason.text);
	return r == 0;
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

/* Returns the path, for the caller to free, or NULL, said. */
static char *dropin_path(const struct generator *generator, const char *owner)
{
	_cleanup_(freep) char *directory = NULL;
	char *path;

	if (asprintf(&directory, "%s/%s.d", generator->output, owner) < 0) {
		directory = NULL;
		fail(-ENOMEM, "%m");
		return NULL;
	}
	if (mkdir(directory, 0755) < 0 && errno != EEXIST) {
		fail(-errno, "%s: %m", directory);
		return NULL;
	}
	if (asprintf(&path, "%s/%s", directory, naming_name(&generator->naming, owner)) < 0) {
		fail(-ENOMEM, "%m");
		return NULL;
	}
	return path;
}

static void write_dropin(const struct generator *generator, const struct dropin *dropin)
{
	_cleanup_(freep) char *path = dropin_path(generator, dropin->owner);
	_cleanup_(fclosep) FILE *file = path ? fopen(path, "wxe") : NULL;

	if (!file) {
		if (path)
			fail(-errno, "%s: %m", path);
		return;
	}
	write_comment(file, dropin->section);
	/*
	 * isomer@UNIT.service alone, which may be active already, wouldn't start isomer.service.
	 * After= that one, its restart would wait for every unit that takes its time to stop, and
	 * all other units for it; so the helper waits for it, if need be.
	 */
	fputs("[Unit]\n"
	      "Wants=isomer.service isomer@%n.service\n"
	      "After=isomer@%n.service\n",
		file);
	if (dropin->has_foreign_root) /* that one fails, and says why */
		fputs("Requires=isomer-bind@%n.service\n"
		      "After=isomer-bind@%n.service\n",
			file);
	if (*dropin->service) /* as with any dependency, systemd loads it, and knows of its Sockets=
			       */
		fprintf(file, "Before=%s\n", dropin->service);
	if (dropin->is_socket)
		write_socket(file, generator->systemd_passes_sockets);
	else if (!dropin->has_foreign_root)
		write_service(file, dropin->has_reload);
	if (fflush(file) != 0) {
		fail(-errno, "%s: %m", path);
		unlink(path); /* half of one could be anything */
	}
}

/* Going through the units */

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lists grow one by one: reallocarray() is quick enough for the few thousand there can be. */
#define append(list, count, item)                                                                  \
	({                                                                                         \
		typeof(list) grown_ = reallocarray((list), (count) + 1, sizeof(*(list)));          \
		if (grown_) {                                                                      \
			(list) = grown_;                                                           \
			(list)[(count)++] = (item);                                                \
		}                                                                                  \
		grown_ ? 0 : -ENOMEM;                                                              \
	})

static int add_name(struct generator *generator, const char *name)
{
	_cleanup_(freep) char *copy = strdup(name);
	int r = copy ? append(generator->names, generator->name_count, copy) : -ENOMEM;

	if (r == 0)
		copy = NULL;
	return r;
}

/* Sorts the names, and drops those that are there twice. */
static void sort_names(struct generator *generator)
{
	size_t kept = 0;

	if (!generator->names)
		return;
	qsort(generator->names, generator->name_count, sizeof(*generator->names), name_compare);
	for (size_t i = 0; i < generator->name_count; i++) {
		char *name = generator->names[i];

		if (kept > 0 && strcmp(generator->names[kept - 1], name) == 0)
			free(name);
		else
			generator->names[kept++] = name;
	}
	generator->name_count = kept;
}

/*
 * Every name that systemd can find a drop-in under: unit files, and owners of drop-ins, among
 * which are instances and prefixes without a file of their own. For an instance there may also be
 * a socket unit without one.
 */
static int list_names(struct generator *generator)
{
	const struct unitpath *unitpath = &generator->unitpath;
	int r = 0;

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
	sort_names(generator);
	return r;
}

static int add_served_socket(
	struct generator *generator, const struct unit *service, const char *word)
{
	struct served served = {.section = service->section};
	_cleanup_(freep) char *text = NULL;
	const struct unitpath_file *file;
	struct unit_name name, own_name;
	struct reason reason;
	int r;

	r = specifiers_expand(word, &service->name, &text, &reason);
	if (r == 0)
		r = unit_name_parse(text, &name, &reason);
	if (r == 0 && strcmp(name.suffix, "socket") != 0)
		r = refuse(&reason, "\"%s\" is not a socket unit", text);
	if (r == 0 && unit_name_is_template(&service->name) && !unit_name_is_template(&name))
		return 0; /* which instance's section would it be? */
	if (r == -EINVAL) {
		warn("%s: %.255s in Sockets= is skipped: %s", service->name.full, word,
			reason.text);
		return 0;
	}
	if (r == 0)
		r = add_name(generator, name.full);
	if (r < 0)
		return r;
	unitpath_resolve(&generator->unitpath, &name, &own_name, &file);
	strcpy(served.socket, own_name.full);
	if (unit_name_is_template(&service->name))
		snprintf(served.service, sizeof(served.service), "%s@%%i.service",
			service->name.prefix);
	else
		strcpy(served.service, service->name.full);
	return append(generator->served, generator->served_count, served);
}

/* A service may use the sockets of units that activate another one. */
static int add_served_sockets(struct generator *generator, const struct unit *service)
{
	char *rest = service->facts.sockets, *word;
	int r = 0;

	while (r == 0 && (word = strsep(&rest, " \t")))
		if (*word)
			r = add_served_socket(generator, service, word);
	return r;
}

/* Takes the section of the first service that names the socket unit. */
static void use_serving_section(
	const struct generator *generator, const char *socket, struct dropin *dropin)
{
	for (size_t i = 0; i < generator->served_count && !dropin->section; i++) {
		const struct served *served = &generator->served[i];

		if (strcmp(served->socket, socket) != 0)
			continue;
		dropin->section = served->section;
		strcpy(dropin->service, served->service);
	}
}

static bool has_foreign_root(const struct unit *service)
{
	const struct facts *facts = &service->facts;

	return (facts->root_directory == ASSIGNED || facts->root_image == ASSIGNED) &&
		facts->root_for_start_only != ASSIGNED;
}

static int decide_service(struct generator *generator, const char *owner, const struct unit *unit)
{
	struct dropin dropin = {
		.owner = owner,
		.section = unit->section,
		.read_before = unit->read_before,
		.has_reload = unit->facts.exec_reload == ASSIGNED,
		.has_foreign_root = has_foreign_root(unit),
	};
	int r;

	if (!unit->section)
		return 0;
	if (dropin.has_foreign_root)
		warn("%s: %s has an [Isomer] section and a root directory of its own, where "
		     "isomer-helper isn't found: set RootDirectoryStartOnly=yes",
			unit->root, owner);
	r = append(generator->dropins, generator->dropin_count, dropin);
	return r == 0 && unit->has_fragment ? add_served_sockets(generator, unit) : r;
}

/* A socket unit without a section uses that of a service that it activates, or that names it. */
static int decide_socket(struct generator *generator, const char *owner, const struct unit *unit)
{
	_cleanup_(unit_clear) struct unit service = {};
	struct dropin dropin = {
		.owner = owner,
		.section = unit->section,
		.read_before = unit->read_before,
		.is_socket = true,
	};
	struct unit_name name;

	if (!dropin.section && unit->has_fragment) {
		int r = activated_service(unit, &name) ? look_at(generator, &name, &service) : 0;

		if (r < 0)
			return r;
		dropin.section = service.section;
		use_serving_section(generator, unit->name.full, &dropin);
	}
	return dropin.section ? append(generator->dropins, generator->dropin_count, dropin) : 0;
}

static int decide(struct generator *generator, const char *owner)
{
	_cleanup_(unit_clear) struct unit unit = {};
	struct unit_name name;
	struct reason reason;
	int r;

	if (unit_name_parse(owner, &name, &reason) < 0)
		return 0; /* systemd doesn't take it for a unit either */
	r = look_at(generator, &name, &unit);
	if (r < 0)
		return r;
	return strcmp(name.suffix, "socket") == 0 ? decide_socket(generator, owner, &unit)
						  : decide_service(generator, owner, &unit);
}

/* What can't be decided on keeps no other from its drop-in. */
static void decide_all(struct generator *generator, const char *suffix)
{
	size_t count = generator->name_count; /* names that are added meanwhile come later */

	for (size_t i = 0; i < count; i++) {
		const char *name = generator->names[i];
		int r = 0;

		if (strcmp(strrchr(name, '.') + 1, suffix) == 0)
			r = decide(generator, name);
		if (r < 0)
			fail(r, "%s: skipped: %m", name);
	}
}

static int generate(struct generator *generator)
{
	int r;

	r = unitpath_load(&generator->unitpath);
	if (r == 0)
		r = read_all(generator);
	if (r == 0)
		r = list_names(generator);
	if (r < 0)
		return fail(r, "%m");

	decide_all(generator, "service");
	sort_names(generator);
	decide_all(generator, "socket");

	r = naming_init(
		&generator->unitpath, generator->names, generator->name_count, &generator->naming);
	if (r < 0)
		return fail(r, "%m");
	for (size_t i = 0; i < generator->dropin_count; i++)
		naming_add(&generator->naming, generator->dropins[i].owner,
			generator->dropins[i].read_before);
	naming_choose(&generator->naming);
	for (size_t i = 0; i < generator->dropin_count; i++)
		write_dropin(generator, &generator->dropins[i]);
	return 0;
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
	free(generator->served);
	free(generator->dropins);
	naming_free(&generator->naming);
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

	occupy_standard_streams();
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage(stdout);
		return 0;
	}
	if (argc != 2 && argc != 4) {
		usage(stderr);
		return 2;
	}
	say_to_the_log();
	generator.output = argv[1];
	generator.systemd_passes_sockets = systemd_version() >= SYSTEMD_PASSES_SOCKETS;
	generate(&generator);
	return 0; /* whatever happened: it was said, and the boot goes on */
}
