/* SPDX-License-Identifier: GPL-2.0-only */
/* The dispatcher of this network namespace: see state.h. */
#include "state.h"

#include <bpf/bpf.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../../src/cleanup.h"

char *state_directory(void)
{
	struct stat netns;
	char *path;

	if (stat("/proc/thread-self/ns/net", &netns) < 0)
		err(1, "/proc/thread-self/ns/net");
	if (asprintf(&path, "/sys/fs/bpf/isomer/%lu", (unsigned long)netns.st_ino) < 0)
		err(1, "no memory");
	return path;
}

int open_dispatcher(void)
{
	_cleanup_(freep) char *directory = state_directory(), *path = NULL;
	_cleanup_(closep) int link = -1;
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);
	int program;

	if (asprintf(&path, "%s/link", directory) < 0)
		err(1, "no memory");
	link = bpf_obj_get(path);
	if (link < 0 || bpf_obj_get_info_by_fd(link, &info, &size) < 0)
		err(1, "%s", path);
	program = bpf_prog_get_fd_by_id(info.prog_id);
	if (program < 0)
		err(1, "program %u of %s", info.prog_id, path);
	return program;
}
