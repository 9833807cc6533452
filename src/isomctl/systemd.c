/* SPDX-License-Identifier: GPL-2.0-only */
/* What systemd says of units: see systemd.h. */
#include "systemd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cleanup.h"

bool systemd_is_there(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

/* Runs it; *ret is what it writes. Returns its process, or a negative errno. */
static pid_t start(char *const *words, FILE **ret)
{
	posix_spawn_file_actions_t actions;
	int ends[2];
	pid_t pid;
	int r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	*ret = r == 0 ? fdopen(ends[0], "re") : NULL;
	if (*ret)
		return pid;
	close(ends[0]);
	return r ? -r : -errno;
}

static bool ended_well(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void take_value(const char *line, const char *key, char *ret, size_t size)
{
	size_t length = strlen(key);

	if (strncmp(line, key, length) == 0 && line[length] == '=')
		snprintf(ret, size, "%s", line + length + 1);
}

/* A unit's properties are a paragraph; the paragraphs come in the order of the units. */
static void read_states(FILE *output, size_t count, struct unit_state *states)
{
	_cleanup_(freep) char *line = NULL;
	size_t size = 0, i = 0;

	while (i < count && getline(&line, &size, output) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!*line) {
			i++;
			continue;
		}
		take_value(line, "LoadState", states[i].load, sizeof(states[i].load));
		take_value(line, "ActiveState", states[i].active, sizeof(states[i].active));
		take_value(line, "SubState", states[i].sub, sizeof(states[i].sub));
	}
}

bool systemd_unit_states(const char *const *units, size_t count, struct unit_state *ret)
{
	static const char *const show[] = {
		"systemctl", "show", "--property=LoadState,ActiveState,SubState", "--"};
	enum { SHOW = sizeof(show) / sizeof(*show) };
	_cleanup_(freep) char **words = calloc(SHOW + count + 1, sizeof(*words));
	_cleanup_(fclosep) FILE *output = NULL;
	pid_t pid;

	memset(ret, 0, count * sizeof(*ret));
	if (!words || count == 0 || !systemd_is_there())
		return false;
	memcpy(words, show, sizeof(show));
	memcpy(words + SHOW, units, count * sizeof(*units));
	pid = start(words, &output);
	if (pid < 0)
		return false;
	read_states(output, count, ret);
	return ended_well(pid);
}

bool systemd_is_in_our_netns(void)
{
	struct stat ours, theirs;

	return stat("/proc/thread-self/ns/net", &ours) == 0 &&
		stat("/proc/1/ns/net", &theirs) == 0 && ours.st_ino == theirs.st_ino;
}

char *systemd_property(const char *unit, const char *property)
{
	char option[] = "--property", value[] = "--value", end[] = "--";
	char show[] = "show", systemctl[] = "systemctl";
	char *words[] = {systemctl, show, option, (char *)property, value, end, (char *)unit, NULL};
	_cleanup_(fclosep) FILE *output = NULL;
	_cleanup_(freep) char *line = NULL;
	size_t size = 0;
	pid_t pid;

	if (!systemd_is_there())
		return NULL;
	pid = start(words, &output);
	if (pid < 0)
		return NULL;
	if (getline(&line, &size, output) > 0)
		line[strcspn(line, "\n")] = '\0';
	return ended_well(pid) ? take_pointer(line) : NULL;
}

static bool add_processes(const char *directory, pid_t **list, size_t *count)
{
	_cleanup_(closedirp) DIR *below = opendir(directory);
	_cleanup_(fclosep) FILE *file = NULL;
	_cleanup_(freep) char *path = NULL;
	struct dirent *entry;
	bool told;
	int pid;

	if (asprintf(&path, "%s/cgroup.procs", directory) < 0) {
		path = NULL;
		return false;
	}
	file = fopen(path, "re");
	told = file;
	while (file && fscanf(file, "%d", &pid) == 1) {
		pid_t *longer = reallocarray(*list, *count + 1, sizeof(*longer));

		if (!longer)
			return false;
		*list = longer;
		(*list)[(*count)++] = pid;
	}
	while (told && below && (entry = readdir(below))) {
		_cleanup_(freep) char *child = NULL;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		if (asprintf(&child, "%s/%s", directory, entry->d_name) < 0) {
			child = NULL;
			return false;
		}
		told = add_processes(child, list, count);
	}
	return told;
}

bool systemd_unit_processes(const char *unit, pid_t **ret, size_t *ret_count)
{
	static const char *const roots[] = {
		"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"};
	_cleanup_(freep) char *group = systemd_property(unit, "ControlGroup");

	*ret = NULL;
	*ret_count = 0;
	for (size_t i = 0; group && *group && i < sizeof(roots) / sizeof(*roots); i++) {
		_cleanup_(freep) char *path = NULL;

		if (asprintf(&path, "%s%s", roots[i], group) < 0) {
			path = NULL;
			return false;
		}
		if (access(path, F_OK) == 0)
			return add_processes(path, ret, ret_count);
	}
	return false;
}
