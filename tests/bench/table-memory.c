/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * table-memory: prints the bytes of kernel memory that the maps of this network namespace's
 * dispatcher take, as the kernel accounts them (memlock in fdinfo): of all maps that its program
 * uses or that are pinned in the state directory, and of the maps within maps.
 */
#include <bpf/bpf.h>
#include <fts.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../src/cleanup.h"
#include "measure.h"
#include "state.h"

#define MAX_MAPS 256

struct maps {
	__u32 ids[MAX_MAPS];
	int count;
	unsigned long long bytes;
};

static unsigned long long memlock(int fd)
{
	_cleanup_(freep) char *path = NULL;
	_cleanup_(fclosep) FILE *file = NULL;
	unsigned long long bytes = 0;
	char line[256];

	if (asprintf(&path, "/proc/thread-self/fdinfo/%d", fd) < 0)
		err(1, "no memory");
	file = fopen(path, "re");
	if (!file)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			return bytes;
	errx(1, "%s has no memlock", path);
}

static void add_map(struct maps *maps, int fd);

static void add_map_by_id(struct maps *maps, __u32 id)
{
	_cleanup_(closep) int fd = bpf_map_get_fd_by_id(id);

	if (fd >= 0)
		add_map(maps, fd);
}

/* The values of a map of maps are the inner maps' ids. */
static void add_inner_maps(struct maps *maps, int fd, const struct bpf_map_info *info)
{
	_cleanup_(freep) void *key = calloc(1, info->key_size);
	void *previous = NULL;
	__u32 id;

	if (!key)
		err(1, "no memory");
	while (bpf_map_get_next_key(fd, previous, key) == 0) {
		if (bpf_map_lookup_elem(fd, key, &id) == 0)
			add_map_by_id(maps, id);
		previous = key;
	}
}

/* Each map counts once. */
static void add_map(struct maps *maps, int fd)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		err(1, "a map");
	for (int i = 0; i < maps->count; i++)
		if (maps->ids[i] == info.id)
			return;
	if (maps->count == MAX_MAPS)
		errx(1, "more than %d maps", MAX_MAPS);
	maps->ids[maps->count++] = info.id;
	maps->bytes += memlock(fd);
	if (info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS || info.type == BPF_MAP_TYPE_HASH_OF_MAPS)
		add_inner_maps(maps, fd, &info);
}

static void add_maps_of_program(struct maps *maps, int program)
{
	__u32 ids[MAX_MAPS];
	struct bpf_prog_info info = {.nr_map_ids = MAX_MAPS, .map_ids = (__u64)(unsigned long)ids};
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(program, &info, &size) < 0)
		err(1, "the dispatcher's program");
	for (__u32 i = 0; i < info.nr_map_ids; i++)
		add_map_by_id(maps, ids[i]);
}

static bool is_map(int fd)
{
	_cleanup_(freep) char *path = NULL;
	char target[64] = "";

	if (asprintf(&path, "/proc/thread-self/fd/%d", fd) < 0)
		err(1, "no memory");
	return readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "bpf-map");
}

static void add_pinned_maps(struct maps *maps, char *directory)
{
	FTS *tree = fts_open((char *[]){directory, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *entry;

	if (!tree)
		err(1, "%s", directory);
	while ((entry = fts_read(tree))) {
		_cleanup_(closep) int fd = -1;

		if (entry->fts_info != FTS_F)
			continue;
		fd = bpf_obj_get(entry->fts_path);
		if (fd >= 0 && is_map(fd))
			add_map(maps, fd);
	}
	fts_close(tree);
}

int main(void)
{
	_cleanup_(freep) char *directory = state_directory();
	_cleanup_(closep) int program = open_dispatcher();
	struct maps maps = {};

	die_with_parent();
	add_maps_of_program(&maps, program);
	add_pinned_maps(&maps, directory);
	printf("%llu\n", maps.bytes);
	return 0;
}
