/* SPDX-License-Identifier: GPL-2.0-only */
/* Where unit files and drop-ins lie on disk: see unitpath.h. */
#include "unitpath.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cleanup.h"

/* systemd.unit(5), but for the generators' own directories: those are filled beside this one. */
static const char default_path[] = "/etc/systemd/system.control:"
				   "/run/systemd/system.control:"
				   "/run/systemd/transient:"
				   "/etc/systemd/system:"
				   "/etc/systemd/system.attached:"
				   "/run/systemd/system:"
				   "/run/systemd/system.attached:"
				   "/usr/local/lib/systemd/system:"
				   "/usr/lib/systemd/system:"
				   "/lib/systemd/system";

#define MOST_ALIAS_STEPS 8 /* systemd follows no longer chains of aliases than a few either */

/* Loading */

struct loading {
	struct unitpath *unitpath;
	size_t files_allocated;
	size_t dropins_allocated;
};

/* Makes room for one more; returns false where there is no memory. */
static bool grow(void *array, size_t size, size_t count, size_t *allocated)
{
	size_t more = *allocated ? 2 * *allocated : 64;
	void *grown;

	if (count < *allocated)
		return true;
	grown = reallocarray(*(void **)array, more, size);
	if (!grown)
		return false;
	*(void **)array = grown;
	*allocated = more;
	return true;
}

static bool ends_in(const char *text, const char *ending)
{
	size_t length = strlen(text), ending_length = strlen(ending);

	return length >= ending_length && strcmp(text + length - ending_length, ending) == 0;
}

static bool is_mask(const struct stat *status)
{
	return (S_ISREG(status->st_mode) && status->st_size == 0) ||
		(S_ISCHR(status->st_mode) && status->st_rdev == makedev(1, 3));
}

static bool is_search_directory(const struct unitpath *unitpath, const char *path, size_t length)
{
	for (char **directory = unitpath->directories; *directory; directory++)
		if (strlen(*directory) == length && strncmp(*directory, path, length) == 0)
			return true;
	return false;
}

/*
 * A link to another name within the search path is an alias. Any other link, such as
 * `systemctl link` makes, is a unit file of its own. NULL: no alias.
 */
static char *alias_target(const struct unitpath *unitpath, const char *path, const char *name)
{
	_cleanup_(freep) char *real = realpath(path, NULL);
	const char *slash = real ? strrchr(real, '/') : NULL;

	if (!slash || strcmp(slash + 1, name) == 0 || !ends_in(slash, strrchr(name, '.')))
		return NULL;
	if (!is_search_directory(unitpath, real, (size_t)(slash - real)))
		return NULL;
	return strdup(slash + 1);
}

/* Tells whether the file can be a unit's; says why where it can't. */
static bool is_usable(int directory_fd, const char *name, const char *path, struct stat *ret)
{
	struct unit_name unit;
	struct reason reason;

	if (unit_name_parse(name, &unit, &reason) < 0) {
		warn("%s: skipped: %s", path, reason.text);
		return false;
	}
	if (fstatat(directory_fd, name, ret, 0) < 0) {
		if (errno != ENOENT) /* links that lead nowhere are left behind by any package */
			warn("%s: skipped: %s", path, strerror(errno));
		return false;
	}
	if (!S_ISREG(ret->st_mode) && !is_mask(ret)) {
		warn("%s: skipped: not a regular file", path);
		return false;
	}
	return true;
}

static int add_file(struct loading *loading, const char *directory, int directory_fd,
	const struct dirent *entry, unsigned int rank)
{
	struct unitpath *unitpath = loading->unitpath;
	_cleanup_(freep) char *path = NULL, *name = NULL;
	struct unitpath_file file = {.rank = rank};
	struct stat status;

	if (asprintf(&path, "%s/%s", directory, entry->d_name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (!is_usable(directory_fd, entry->d_name, path, &status))
		return 0;
	name = strdup(entry->d_name);
	if (!name ||
		!grow(&unitpath->files, sizeof(file), unitpath->file_count,
			&loading->files_allocated))
		return -ENOMEM;

	if (is_mask(&status))
		file.kind = UNIT_MASK;
	else if (entry->d_type != DT_REG)
		file.target = alias_target(unitpath, path, name);
	if (file.target)
		file.kind = UNIT_ALIAS;
	file.name = take_pointer(name);
	file.path = take_pointer(path);
	unitpath->files[unitpath->file_count++] = file;
	return 0;
}

static int add_dropin(struct loading *loading, const char *directory, const char *owner,
	const char *name, unsigned int rank)
{
	struct unitpath *unitpath = loading->unitpath;
	struct unitpath_dropin dropin = {.rank = rank};

	if (!grow(&unitpath->dropins, sizeof(dropin), unitpath->dropin_count,
		    &loading->dropins_allocated))
		return -ENOMEM;
	dropin.owner = strndup(owner, strlen(owner) - strlen(".d"));
	dropin.name = strdup(name);
	if (asprintf(&dropin.path, "%s/%s/%s", directory, owner, name) < 0)
		dropin.path = NULL;
	unitpath->dropins[unitpath->dropin_count++] = dropin;
	return dropin.owner && dropin.name && dropin.path ? 0 : -ENOMEM;
}

static int add_dropins(struct loading *loading, const char *directory, int directory_fd,
	const char *owner, unsigned int rank)
{
	int fd = openat(directory_fd, owner, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	_cleanup_(closedirp) DIR *dropins = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int r = 0;

	if (!dropins) {
		if (errno != ENOENT)
			warn("%s/%s: skipped: %s", directory, owner, strerror(errno));
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (r == 0 && (entry = readdir(dropins)))
		if (entry->d_name[0] != '.' && ends_in(entry->d_name, ".conf"))
			r = add_dropin(loading, directory, owner, entry->d_name, rank);
	return r;
}

static bool is_dropin_directory(const char *name)
{
	return strcmp(name, "service.d") == 0 || strcmp(name, "socket.d") == 0 ||
		ends_in(name, ".service.d") || ends_in(name, ".socket.d");
}

static int add_directory(struct loading *loading, const char *path, unsigned int rank)
{
	_cleanup_(closedirp) DIR *directory = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!directory) {
		if (errno != ENOENT)
			warn("%s: skipped: %s", path, strerror(errno));
		return 0;
	}
	while (r == 0 && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		if (ends_in(entry->d_name, ".service") || ends_in(entry->d_name, ".socket"))
			r = add_file(loading, path, dirfd(directory), entry, rank);
		else if (is_dropin_directory(entry->d_name))
			r = add_dropins(loading, path, dirfd(directory), entry->d_name, rank);
	}
	return r;
}

/* Links are resolved, so that /lib, a link to usr/lib, is seen to be the same as /usr/lib. */
static int split_path(char *path, struct unitpath *ret)
{
	size_t most = 2, count = 0;
	char *part;

	for (const char *c = path; *c; c++)
		most += *c == ':';
	ret->directories = calloc(most, sizeof(*ret->directories));
	if (!ret->directories)
		return -ENOMEM;

	while ((part = strsep(&path, ":"))) {
		_cleanup_(freep) char *real = *part ? realpath(part, NULL) : NULL;

		if (real && !is_search_directory(ret, real, strlen(real)))
			ret->directories[count++] = take_pointer(real);
		else if (!real && *part && errno != ENOENT)
			warn("%s: skipped: %s", part, strerror(errno));
	}
	return 0;
}

static int find_search_directories(struct unitpath *ret)
{
	const char *given = secure_getenv("SYSTEMD_UNIT_PATH");
	_cleanup_(freep) char *path = NULL;

	if (!given)
		given = "";
	if (asprintf(&path, "%s%s", given, !*given || ends_in(given, ":") ? default_path : "") <
		0) {
		path = NULL;
		return -ENOMEM;
	}
	return split_path(path, ret);
}

static int ascending(unsigned int a, unsigned int b)
{
	return (a > b) - (a < b);
}

static int file_compare(const void *a, const void *b)
{
	const struct unitpath_file *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : ascending(x->rank, y->rank);
}

static void file_clear(struct unitpath_file *file)
{
	free(file->name);
	free(file->path);
	free(file->target);
}

static void keep_highest_files(struct unitpath *unitpath)
{
	struct unitpath_file *files = unitpath->files;
	size_t kept = 0;

	if (!files)
		return;
	qsort(files, unitpath->file_count, sizeof(*files), file_compare);
	for (size_t i = 0; i < unitpath->file_count; i++) {
		if (kept > 0 && strcmp(files[kept - 1].name, files[i].name) == 0)
			file_clear(&files[i]);
		else
			files[kept++] = files[i];
	}
	unitpath->file_count = kept;
}

static int list_aliases(struct unitpath *unitpath)
{
	unitpath->aliases = calloc(unitpath->file_count + 1, sizeof(*unitpath->aliases));
	if (!unitpath->aliases)
		return -ENOMEM;
	for (size_t i = 0; i < unitpath->file_count; i++)
		if (unitpath->files[i].kind == UNIT_ALIAS)
			unitpath->aliases[unitpath->alias_count++] = &unitpath->files[i];
	return 0;
}

static bool same_dropin(const struct unitpath_dropin *a, const struct unitpath_dropin *b)
{
	return strcmp(a->owner, b->owner) == 0 && strcmp(a->name, b->name) == 0;
}

static int dropin_compare(const void *a, const void *b)
{
	const struct unitpath_dropin *x = a, *y = b;
	int order = strcmp(x->owner, y->owner);

	if (order == 0)
		order = strcmp(x->name, y->name);
	return order != 0 ? order : ascending(x->rank, y->rank);
}

static void dropin_clear(struct unitpath_dropin *dropin)
{
	free(dropin->owner);
	free(dropin->name);
	free(dropin->path);
}

static void keep_highest_dropins(struct unitpath *unitpath)
{
	struct unitpath_dropin *dropins = unitpath->dropins;
	size_t kept = 0;

	if (!dropins)
		return;
	qsort(dropins, unitpath->dropin_count, sizeof(*dropins), dropin_compare);
	for (size_t i = 0; i < unitpath->dropin_count; i++) {
		if (kept > 0 && same_dropin(&dropins[kept - 1], &dropins[i]))
			dropin_clear(&dropins[i]);
		else
			dropins[kept++] = dropins[i];
	}
	unitpath->dropin_count = kept;
}

int unitpath_load(struct unitpath *ret)
{
	struct loading loading = {.unitpath = ret};
	int r;

	*ret = (struct unitpath){};
	r = find_search_directories(ret);
	for (unsigned int rank = 0; r == 0 && ret->directories[rank]; rank++)
		r = add_directory(&loading, ret->directories[rank], rank);
	if (r < 0)
		return r;
	keep_highest_files(ret);
	keep_highest_dropins(ret);
	return list_aliases(ret);
}

void unitpath_free(struct unitpath *unitpath)
{
	for (char **directory = unitpath->directories; directory && *directory; directory++)
		free(*directory);
	free(unitpath->directories);
	for (size_t i = 0; i < unitpath->file_count; i++)
		file_clear(&unitpath->files[i]);
	free(unitpath->files);
	free(unitpath->aliases);
	for (size_t i = 0; i < unitpath->dropin_count; i++)
		dropin_clear(&unitpath->dropins[i]);
	free(unitpath->dropins);
	*unitpath = (struct unitpath){};
}

/* Units */

static int file_compare_name(const void *name, const void *file)
{
	return strcmp(name, ((const struct unitpath_file *)file)->name);
}

static const struct unitpath_file *find_file(const struct unitpath *unitpath, const char *name)
{
	if (unitpath->file_count == 0)
		return NULL;
	return bsearch(name, unitpath->files, unitpath->file_count, sizeof(*unitpath->files),
		file_compare_name);
}

static const struct unitpath_file *find_template(
	const struct unitpath *unitpath, const struct unit_name *unit)
{
	struct unit_name template;

	if (!unit_name_is_instance(unit) ||
		!unit_name_build(unit->prefix, "", unit->suffix, &template))
		return NULL;
	return find_file(unitpath, template.full);
}

/* The name of the unit that an alias leads `unit` to: an alias of a template does for instances. */
static bool follow_alias(
	const struct unitpath_file *alias, const struct unit_name *unit, struct unit_name *ret)
{
	struct unit_name target;
	struct reason reason;

	if (unit_name_parse(alias->target, &target, &reason) < 0)
		return false;
	if (unit_name_is_template(&target) && unit_name_is_instance(unit))
		return unit_name_build(target.prefix, unit->instance, target.suffix, ret);
	unit_name_copy(&target, ret);
	return true;
}

void unitpath_resolve(const struct unitpath *unitpath, const struct unit_name *name,
	struct unit_name *ret_name, const struct unitpath_file **ret)
{
	struct unit_name next;

	unit_name_copy(name, ret_name);
	*ret = NULL;
	for (int step = 0; step < MOST_ALIAS_STEPS; step++) {
		const struct unitpath_file *file = find_file(unitpath, ret_name->full);

		if (!file)
			file = find_template(unitpath, ret_name);
		if (!file || file->kind != UNIT_ALIAS) {
			*ret = file;
			return;
		}
		if (!follow_alias(file, ret_name, &next))
			return;
		if (strcmp(next.full, ret_name->full) ==
			0) { /* an instance linked to its template */
			*ret = find_template(unitpath, ret_name);
			return;
		}
		unit_name_copy(&next, ret_name);
	}
}

/* Drop-ins of a unit */

/* A drop-in that applies to the unit if no other of its name hides it. */
struct candidate {
	const struct unitpath_dropin *dropin;
	unsigned int name;     /* 0 for the unit's own, then its aliases, then "service" */
	unsigned int position; /* of the directory, from the whole name to more general ones */
};

struct candidates {
	const struct unitpath *unitpath;
	struct candidate *candidate;
	size_t count;
	size_t allocated;
	unsigned int name;
	unsigned int position;
	bool out_of_memory;
};

static size_t first_dropin_of(const struct unitpath *unitpath, const char *owner)
{
	size_t low = 0, high = unitpath->dropin_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(unitpath->dropins[middle].owner, owner) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void collect_from(struct candidates *candidates, const char *owner)
{
	const struct unitpath *unitpath = candidates->unitpath;

	candidates->position++;
	for (size_t i = first_dropin_of(unitpath, owner);
		i < unitpath->dropin_count && strcmp(unitpath->dropins[i].owner, owner) == 0; i++) {
		if (!grow(&candidates->candidate, sizeof(*candidates->candidate), candidates->count,
			    &candidates->allocated)) {
			candidates->out_of_memory = true;
			return;
		}
		candidates->candidate[candidates->count++] = (struct candidate){
			&unitpath->dropins[i], candidates->name, candidates->position};
	}
}

bool unitpath_cut_prefix(char *prefix)
{
	size_t length = strlen(prefix);
	char *dash;

	if (length > 0 && prefix[length - 1] == '-')
		prefix[length - 1] = '\0';
	dash = strrchr(prefix, '-');
	if (!dash || dash == prefix)
		return false;
	dash[1] = '\0';
	return true;
}

static void collect_named(
	struct candidates *candidates, const char *prefix, const char *instance, const char *suffix)
{
	struct unit_name owner;

	if (unit_name_build(prefix, instance, suffix, &owner))
		collect_from(candidates, owner.full);
}

/*
 * foo-bar@a.service has the drop-ins of itself, its template, of foo-.service, foo-@a.service and
 * foo-@.service, in this order (tried on systemd 252). A template stands for all its instances.
 */
static void collect(struct candidates *candidates, const struct unit_name *unit)
{
	char prefix[UNIT_NAME_SIZE];

	collect_from(candidates, unit->full);
	if (unit_name_is_instance(unit))
		collect_named(candidates, unit->prefix, "", unit->suffix);
	strcpy(prefix, unit->prefix);
	while (unitpath_cut_prefix(prefix))
		collect_named(candidates, prefix, NULL, unit->suffix);
	strcpy(prefix, unit->prefix);
	while (unit->instance && unitpath_cut_prefix(prefix)) {
		if (unit_name_is_instance(unit))
			collect_named(candidates, prefix, unit->instance, unit->suffix);
		collect_named(candidates, prefix, "", unit->suffix);
	}
}

static void collect_for_aliases(struct candidates *candidates, const struct unit_name *unit)
{
	const struct unitpath *unitpath = candidates->unitpath;

	for (size_t i = 0; i < unitpath->alias_count; i++) {
		const struct unitpath_file *file = unitpath->aliases[i];
		struct unit_name alias, built, target;
		struct reason reason;

		if (unit_name_parse(file->name, &alias, &reason) < 0)
			continue;
		if (unit_name_is_template(&alias) && unit_name_is_instance(unit)) {
			if (!unit_name_build(alias.prefix, unit->instance, alias.suffix, &built))
				continue;
			unit_name_copy(&built, &alias);
		}
		if (follow_alias(file, &alias, &target) && strcmp(target.full, unit->full) == 0) {
			candidates->name++;
			collect(candidates, &alias);
		}
	}
}

/* In the order in which they are read; of those with one name, the one that hides the others. */
static int candidate_compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = strcmp(x->dropin->name, y->dropin->name);

	if (order == 0)
		order = ascending(x->name, y->name);
	if (order == 0)
		order = ascending(x->dropin->rank, y->dropin->rank);
	return order != 0 ? order : ascending(x->position, y->position);
}

int unitpath_dropins(const struct unitpath *unitpath, const struct unit_name *unit,
	const struct unitpath_dropin ***ret, size_t *ret_count)
{
	struct candidates candidates = {.unitpath = unitpath};
	_cleanup_(freep) struct candidate *list = NULL;
	const struct unitpath_dropin **dropins;
	size_t count = 0;

	collect(&candidates, unit);
	collect_for_aliases(&candidates, unit);
	candidates.name++;
	collect_from(&candidates, unit->suffix);
	list = candidates.candidate;
	dropins = calloc(candidates.count + 1, sizeof(*dropins));
	if (candidates.out_of_memory || !dropins) {
		free(dropins);
		return -ENOMEM;
	}

	if (list)
		qsort(list, candidates.count, sizeof(*list), candidate_compare);
	for (size_t i = 0; list && i < candidates.count; i++)
		if (i == 0 || strcmp(list[i].dropin->name, list[i - 1].dropin->name) != 0)
			dropins[count++] = list[i].dropin;
	*ret = dropins;
	*ret_count = count;
	return 0;
}
