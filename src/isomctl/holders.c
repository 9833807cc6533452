/* SPDX-License-Identifier: GPL-2.0-only */
/* Which processes hold a socket open: see holders.h. */
#include "holders.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cleanup.h"
#include "isomctl.h"

static void note(struct holder *holder, pid_t pid)
{
	holder->count++;
	if (!holder->pid || holder->pid == 1 || (pid < holder->pid && pid != 1))
		holder->pid = pid;
}

/* A process may have a socket in several descriptors, and holds it once. */
static void look_into(struct holder *holders, size_t count, pid_t pid)
{
	char path[64], target[64];
	_cleanup_(closedirp) DIR *directory = NULL;
	_cleanup_(freep) bool *seen = calloc(count, sizeof(*seen));
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	directory = seen ? opendir(path) : NULL;
	while (directory && (entry = readdir(directory))) {
		ssize_t length =
			readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
		unsigned int inode;

		target[length > 0 ? length : 0] = '\0';
		if (sscanf(target, "socket:[%u]", &inode) != 1)
			continue;
		for (size_t i = 0; i < count; i++) {
			if (holders[i].inode != inode || seen[i])
				continue;
			seen[i] = true;
			note(&holders[i], pid);
		}
	}
}

static void read_name(struct holder *holder)
{
	char path[64];
	_cleanup_(fclosep) FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%d/comm", holder->pid);
	file = fopen(path, "re");
	if (file && fgets(holder->name, sizeof(holder->name), file))
		holder->name[strcspn(holder->name, "\n")] = '\0';
}

static bool is_unit(const char *word)
{
	const char *dot = strrchr(word, '.');

	return dot && (strcmp(dot, ".service") == 0 || strcmp(dot, ".scope") == 0);
}

/* The first service or scope on the way: below it are what it made itself. */
static void read_unit(struct holder *holder)
{
	char path[64];
	_cleanup_(fclosep) FILE *file = NULL;
	_cleanup_(freep) char *line = NULL;
	size_t size = 0;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", holder->pid);
	file = fopen(path, "re");
	while (file && getline(&line, &size, file) > 0) {
		char *at = line, *word;

		if (strncmp(line, "0::", 3) != 0 && !strstr(line, ":name=systemd:"))
			continue;
		strsep(&at, ":");
		strsep(&at, ":");
		while ((word = strsep(&at, "/\n")))
			if (is_unit(word)) {
				snprintf(holder->unit, sizeof(holder->unit), "%s", word);
				return;
			}
	}
}

void holders_find(struct holder *holders, size_t count)
{
	_cleanup_(closedirp) DIR *proc = count ? opendir("/proc") : NULL;
	struct dirent *entry;

	while (proc && (entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]))
			look_into(holders, count, atoi(entry->d_name));
	for (struct holder *holder = holders; holder < holders + count; holder++) {
		if (!holder->count)
			continue;
		read_name(holder);
		read_unit(holder);
	}
}

json_t *holder_json(const struct holder *holder)
{
	if (!holder->count)
		return json_null();
	return json_pack("{s:i, s:o, s:i}", "pid", (int)holder->pid, "name",
		json_text(holder->name), "holders", (int)holder->count);
}
