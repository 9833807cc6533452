/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl verify: checks sections as `systemd-analyze verify` checks units, from their files, and
 * loads nothing. Which units those are is here; what is checked of them is in verify-bindings.c and
 * verify-sockets.c, and what a section may say is section.h's affair.
 */
#include "verify.h"

#include <errno.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "../cleanup.h"
#include "../dispatcher.h"
#include "../nearest.h"
#include "../say.h"
#include "isomctl.h"
#include "misplaced.h"
#include "systemd.h"
#include "units.h"

/* The first that have what Isomer needs. */
#define KERNEL_MAJOR  5
#define KERNEL_MINOR  10
#define SYSTEMD_FLOOR 247

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

/* Reads a unit. *ret is NULL where there are no files, or no section and it wasn't named. */
static int read_unit(
	struct verification *v, const struct unit_name *name, enum role role, struct checked **ret)
{
	struct checked *unit = calloc(1, sizeof(*unit));
	bool wanted;
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
			role == OTHER ? section_ignore : report, unit, &unit->section);
	wanted = unit->file_count && (unit->section.present || role == NAMED);
	if (r != -ENOMEM) /* what else there is was reported */
		r = wanted && role != OTHER
			? wiring_read(&unit->name, unit->files, unit->file_count, &unit->wiring)
			: 0;
	if (r == 0 && wanted) {
		unit->only_dropins = !v->by_file && has_only_dropins(v, &unit->name);
		*ret = unit;
	} else {
		checked_free(unit);
	}
	return r;
}

static const struct checked *find_unit(const struct verification *v, const char *name)
{
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->units[i]->name.full, name) == 0)
			return v->units[i];
	return NULL;
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
		check_sockets(v, v->units[i]);
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
