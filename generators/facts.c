/* SPDX-License-Identifier: GPL-2.0-only */
/* What the generator has to know from unit files: see facts.h. */
#include "facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../src/section.h"
#include "../src/unitfile.h"

/* The lists that the generator's drop-ins add to. */
static const struct {
	const char *section;
	const char *key;
} hooks[] = {
	{"Service", "ExecStartPre"},
	{"Service", "ExecStartPost"},
	{"Service", "ExecReload"},
	{"Service", "ExecStopPost"},
	{"Socket", "ExecStartPost"},
	{"Socket", "ExecStopPre"},
};

static bool is_hook(const char *section, const char *key)
{
	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		if (strcmp(section, hooks[i].section) == 0 && strcmp(key, hooks[i].key) == 0)
			return true;
	return false;
}

static enum assignment list_assignment(const char *value)
{
	return *value ? ASSIGNED : ASSIGNED_EMPTY;
}

static enum assignment boolean_assignment(const char *value)
{
	struct reason reason;
	bool yes;

	if (boolean_parse(value, &yes, &reason) < 0)
		return NOT_ASSIGNED;
	return yes ? ASSIGNED : ASSIGNED_EMPTY;
}

static int note_line(const struct unitfile_line *line, void *context)
{
	struct facts *facts = context;

	if (section_is_isomer(line->section)) {
		facts->has_section = true;
		return 0;
	}
	if (!line->key)
		return 0;
	if (!*line->value && is_hook(line->section, line->key))
		facts->comes_first = true;
	if (strcmp(line->section, "Service") == 0 && strcmp(line->key, "ExecReload") == 0) {
		/* What a reload opens is there to be registered only after it. */
		facts->comes_first = true;
		facts->exec_reload = list_assignment(line->value);
	} else if (strcmp(line->section, "Socket") == 0) {
		if (strcmp(line->key, "Accept") == 0)
			facts->accept = boolean_assignment(line->value);
		if (strcmp(line->key, "Service") == 0 && *line->value) {
			free(facts->service);
			facts->service = strdup(line->value);
			return facts->service ? 0 : -ENOMEM;
		}
	}
	return 0;
}

void facts_read(const char *path, struct facts *ret)
{
	int r;

	*ret = (struct facts){};
	r = unitfile_read(path, note_line, ret);
	if (r < 0 && r != -ENOENT)
		warn("%s: skipped: %s", path, strerror(-r));
}

void facts_add(struct facts *sum, const struct facts *next)
{
	sum->has_section |= next->has_section;
	sum->comes_first |= next->comes_first;
	if (next->exec_reload != NOT_ASSIGNED)
		sum->exec_reload = next->exec_reload;
	if (next->accept != NOT_ASSIGNED)
		sum->accept = next->accept;
	if (next->service)
		sum->service = next->service;
}

void facts_clear(struct facts *facts)
{
	free(facts->service);
	*facts = (struct facts){};
}
