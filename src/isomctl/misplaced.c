/* SPDX-License-Identifier: GPL-2.0-only */
/* Sections that nobody reads: see misplaced.h. */
#include "misplaced.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"

struct looking {
	misplaced_visit *visit;
	void *context;
};

static int look_at_line(const struct unitfile_line *line, void *context)
{
	const struct looking *looking = context;
	struct section_place place = {.path = line->path};

	if (line->value || line->key || !section_is_isomer(line->section))
		return 0;
	unitfile_locate(line, line->section - 1, &place.line, &place.column);
	looking->visit(&place, looking->context);
	return 0;
}

void misplaced_sections_of_file(const char *path, misplaced_visit *visit, void *context)
{
	struct looking looking = {visit, context};

	unitfile_read(path, look_at_line, &looking); /* what can't be read isn't ours */
}

/* Is this, up to its end, the name of a unit that is neither a service nor a socket unit? */
static bool is_of_other_type(const char *name, size_t length)
{
	static const char *const suffixes[] = {"automount", "device", "mount", "path", "scope",
		"slice", "swap", "target", "timer"};
	const char *dot = memrchr(name, '.', length);
	const char *suffix = dot ? dot + 1 : name; /* timer.d is for all timers */
	size_t suffix_length = length - (size_t)(suffix - name);

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (suffix_length == strlen(suffixes[i]) &&
			strncmp(suffix, suffixes[i], suffix_length) == 0)
			return true;
	return false;
}

static void look_at_file(const char *directory, const char *name, struct looking *looking)
{
	_cleanup_(freep) char *path = NULL;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		path = NULL;
	else
		misplaced_sections_of_file(path, looking->visit, looking->context);
}

static void look_at_dropins(const char *parent, const char *owner, struct looking *looking)
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(closedirp) DIR *directory = NULL;
	struct dirent *entry;

	if (asprintf(&path, "%s/%s", parent, owner) < 0)
		path = NULL;
	directory = path ? opendir(path) : NULL;
	while (directory && (entry = readdir(directory))) {
		const char *dot = strrchr(entry->d_name, '.');

		if (entry->d_type != DT_LNK && dot && strcmp(dot, ".conf") == 0)
			look_at_file(path, entry->d_name, looking);
	}
}

static void look_at_directory(const char *path, struct looking *looking)
{
	_cleanup_(closedirp) DIR *directory = opendir(path);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		size_t length = strlen(entry->d_name);

		if (entry->d_type == DT_LNK)
			continue;
		if (is_of_other_type(entry->d_name, length))
			look_at_file(path, entry->d_name, looking);
		else if (length > 2 && strcmp(entry->d_name + length - 2, ".d") == 0 &&
			is_of_other_type(entry->d_name, length - 2))
			look_at_dropins(path, entry->d_name, looking);
	}
}

void misplaced_sections_visit(
	const struct unitpath *unitpath, misplaced_visit *visit, void *context)
{
	struct looking looking = {visit, context};

	for (char **directory = unitpath->directories; *directory; directory++)
		look_at_directory(*directory, &looking);
}
