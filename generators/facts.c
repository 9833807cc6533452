/* SPDX-License-Identifier: GPL-2.0-only */
/* What the generator has to know from unit files: see facts.h. */
#include "facts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/section.h"
#include "../src/unitfile.h"

/* The lists that the generator's drop-ins add to. */
static const struct {
	const char *section;
	const char *key;
} hooks[] = {
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

/* systemd passes over what is no boolean, and so what was assigned before stays. */
static void note_boolean(enum assignment *assignment, const char *value)
{
	struct reason reason;
	bool yes;

	if (boolean_parse(value, &yes, &reason) == 0)
		*assignment = yes ? ASSIGNED : ASSIGNED_EMPTY;
}

/* "/" is no root directory of its own: a drop-in may say so to undo what another one says. */
static enum assignment root_assignment(const char *value)
{
	return strcmp(value, "/") == 0 ? ASSIGNED_EMPTY : list_assignment(value);
}

static int replace_text(char **text, const char *with)
{
	char *copy = strdup(with);

	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

/* Room doubles: of a file with a hundred thousand such lines each would else copy all before it. */
static int append_words(struct facts *facts, const char *more)
{
	size_t length = strlen(more), needed = facts->sockets_length + length + sizeof(" ");

	if (needed > facts->sockets_room) {
		char *longer = realloc(facts->sockets, 2 * needed);

		if (!longer)
			return -ENOMEM;
		facts->sockets = longer;
		facts->sockets_room = 2 * needed;
	}
	if (facts->sockets_length)
		facts->sockets[facts->sockets_length++] = ' ';
	memcpy(facts->sockets + facts->sockets_length, more, length + 1);
	facts->sockets_length += length;
	return 0;
}

static int note_service_key(struct facts *facts, const char *key, const char *value)
{
	if (strcmp(key, "ExecReload") == 0) {
		/* What a reload opens is there to be registered only after it. */
		facts->comes_first = true;
		facts->exec_reload = list_assignment(value);
	} else if (strcmp(key, "RootDirectory") == 0) {
		facts->root_directory = root_assignment(value);
	} else if (strcmp(key, "RootImage") == 0) {
		facts->root_image = root_assignment(value);
	} else if (strcmp(key, "RootDirectoryStartOnly") == 0) {
		note_boolean(&facts->root_for_start_only, value);
	} else if (strcmp(key, "Sockets") == 0) {
		/* This list can't be emptied: systemd.service(5). */
		return *value ? append_words(facts, value) : 0;
	}
	return 0;
}

static int note_socket_key(struct facts *facts, const char *key, const char *value)
{
	if (strcmp(key, "Accept") == 0)
		note_boolean(&facts->accept, value);
	else if (strcmp(key, "Service") == 0 && *value)
		return replace_text(&facts->service, value);
	return 0;
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
	if (strcmp(line->section, "Service") == 0)
		return note_service_key(facts, line->key, line->value);
	if (strcmp(line->section, "Socket") == 0)
		return note_socket_key(facts, line->key, line->value);
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

static void assign(enum assignment *sum, enum assignment next)
{
	if (next != NOT_ASSIGNED)
		*sum = next;
}

int facts_add(struct facts *sum, const struct facts *next)
{
	int r = 0;

	sum->has_section |= next->has_section;
	sum->comes_first |= next->comes_first;
	assign(&sum->exec_reload, next->exec_reload);
	assign(&sum->accept, next->accept);
	assign(&sum->root_directory, next->root_directory);
	assign(&sum->root_image, next->root_image);
	assign(&sum->root_for_start_only, next->root_for_start_only);
	if (next->service)
		r = replace_text(&sum->service, next->service);
	if (r == 0 && next->sockets)
		r = append_words(sum, next->sockets);
	return r;
}

void facts_clear(struct facts *facts)
{
	free(facts->service);
	free(facts->sockets);
	*facts = (struct facts){};
}
