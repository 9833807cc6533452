/* SPDX-License-Identifier: GPL-2.0-only */
/* The dispatcher of a network namespace as kernel objects: see dispatcher.h. */
#include "dispatcher.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "dispatcher.skel.h"
#include "say.h"

#define PIN_MODE       0640
#define DIRECTORY_MODE 0750
#define PROGRAM_NAME   "isomer_dispatch"
#define MOST_PROGRAMS  64  /* as many as the kernel attaches to a network namespace */
#define LEAST_CAPACITY 256 /* entries a table is made with: a few KiB */

/* The names of the maps in the program, which are those of their pins but for the gate's. */
static const char *const map_names[MAPS] = {
	[MAP_SLOTS] = "slots",
	[MAP_CLAIMS] = "claims",
	[MAP_GATE] = ".bss",
	[MAP_LEDGER] = "ledger",
	[MAP_PORT_USES] = "port_uses",
	[MAP_SOCKETS] = "sockets",
	[MAP_COUNTERS] = "counters",
	[MAP_DESTINATIONS] = "destinations",
	[MAP_OWNERS] = "owners",
};

static const char *pin_name(enum map map)
{
	return map == MAP_GATE ? "gate" : map_names[map];
}

/*
 * Generations.
 */

/* The memory of an array map, shared with the kernel. */
static int share_memory(int map, size_t size, void **ret)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);

	if (memory == MAP_FAILED)
		return -errno;
	*ret = memory;
	return 0;
}

/*
 * A copy of an array map's memory, of its first entries (the others are nothing): the kernel maps
 * none of which we only have a descriptor for reading. The copy is memory of the same kind, for
 * munmap().
 */
static int copy_memory(int map, size_t size, size_t entries, void **ret)
{
	_cleanup_(freep) uint32_t *keys = calloc(entries + 1, sizeof(*keys));
	uint32_t position = 0, count = (uint32_t)entries;
	void *memory;

	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || !keys)
		return -ENOMEM;
	if (entries && bpf_map_lookup_batch(map, NULL, &position, keys, memory, &count, NULL) < 0 &&
		errno != ENOENT) {
		int r = -errno;

		munmap(memory, size);
		return r;
	}
	*ret = memory;
	return 0;
}

/* What is mapped of a generation, and how much of it. */
struct mapping {
	enum map map;
	void **memory;
	size_t size;
};

#define MAPPINGS 5

static void generation_mappings(struct generation *g, struct mapping mappings[MAPPINGS])
{
	const struct mapping all[MAPPINGS] = {
		/* Whoever only reads has no use for the first two. */
		{MAP_GATE, (void **)&g->gate, sizeof(*g->gate)},
		{MAP_PORT_USES, (void **)&g->port_uses, sizeof(*g->port_uses) * PROTOCOLS * PORTS},
		{MAP_LEDGER, (void **)&g->ledger, sizeof(*g->ledger)},
		{MAP_DESTINATIONS, (void **)&g->destinations,
			MAX_DESTINATIONS * sizeof(*g->destinations)},
		{MAP_OWNERS, (void **)&g->owners, MAX_OWNERS * sizeof(*g->owners)},
	};

	memcpy(mappings, all, sizeof(all));
}

#define MAPPINGS_OF_WRITERS 2

/* How many entries of it a reader copies; the ledger, which tells, is its first. */
static size_t entries_to_copy(const struct generation *g, enum map map)
{
	return map == MAP_LEDGER    ? 1
		: map == MAP_OWNERS ? g->ledger->owner_places
				    : g->ledger->destination_places;
}

static int generation_map(struct generation *g, bool writable)
{
	struct mapping mappings[MAPPINGS];

	generation_mappings(g, mappings);
	for (int i = writable ? 0 : MAPPINGS_OF_WRITERS; i < MAPPINGS; i++) {
		const struct mapping *m = &mappings[i];
		int r = writable ? share_memory(g->maps[m->map], m->size, m->memory)
				 : copy_memory(g->maps[m->map], m->size, entries_to_copy(g, m->map),
					   m->memory);

		if (r < 0)
			return fail(r, "cannot read the dispatcher's %s: %m", pin_name(m->map));
	}
	for (enum map map = 0; map < SIZED_MAPS; map++) {
		struct bpf_map_info info = {};
		uint32_t size = sizeof(info);

		if (bpf_obj_get_info_by_fd(g->maps[map], &info, &size) < 0)
			return fail(
				-errno, "cannot examine the dispatcher's %s: %m", pin_name(map));
		g->capacity[map] = info.max_entries;
	}
	g->capacity[MAP_SLOTS] /= SLOTS_PER_ENTRY;
	if (writable)
		g->gate->slot_mask = g->capacity[MAP_SLOTS] * SLOTS_PER_ENTRY - 1;
	return 0;
}

void generation_free(struct generation *g)
{
	struct mapping mappings[MAPPINGS];

	generation_mappings(g, mappings);
	for (int i = 0; i < MAPPINGS; i++)
		if (*mappings[i].memory)
			munmap(*mappings[i].memory, mappings[i].size);
	for (enum map map = 0; map < MAPS; map++)
		closep(&g->maps[map]);
	closep(&g->program);
	*g = GENERATION_NONE;
}

/* The next power of two, for a table that had to grow once will grow again. */
static uint32_t round_up(uint32_t entries)
{
	uint32_t capacity = LEAST_CAPACITY;

	while (capacity < entries && capacity < 1U << 31)
		capacity *= 2;
	return capacity;
}

static int generation_prepare(struct dispatcher_bpf *skeleton, const struct generation *last,
	const uint32_t capacity[SIZED_MAPS])
{
	for (enum map i = 0; i < MAPS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(skeleton->obj, map_names[i]);
		int r = 0;

		if (i < SIZED_MAPS)
			r = bpf_map__set_max_entries(map,
				round_up(capacity ? capacity[i] : 0) *
					(i == MAP_SLOTS ? SLOTS_PER_ENTRY : 1));
		else if (last && i >= MAP_SOCKETS)
			r = bpf_map__reuse_fd(map, last->maps[i]);
		if (r < 0)
			return fail(r, "cannot prepare the dispatcher's %s: %m", pin_name(i));
	}
	return 0;
}

static int say_load_error(int error)
{
	if (error == -EPERM)
		return fail(error,
			"cannot load the dispatcher: %m: it takes root, or CAP_BPF and "
			"CAP_NET_ADMIN");
	if (error == -ENOMEM || error == -E2BIG)
		return fail(error,
			"cannot load the dispatcher: %m: the kernel has no memory for "
			"tables of this size");
	return fail(error,
		"cannot load the dispatcher: %m: it takes Linux 5.10 or later with "
		"CONFIG_BPF_SYSCALL");
}

static void dispatcher_bpf_destroyp(struct dispatcher_bpf **skeleton)
{
	dispatcher_bpf__destroy(*skeleton);
}

/* The skeleton takes its own descriptors with it. */
static int take_descriptors(const struct dispatcher_bpf *skeleton, struct generation *g)
{
	g->program = fcntl(bpf_program__fd(skeleton->progs.isomer_dispatch), F_DUPFD_CLOEXEC, 3);
	if (g->program < 0)
		return fail(-errno, "cannot keep the program: %m");
	for (enum map i = 0; i < MAPS; i++) {
		const struct bpf_map *map =
			bpf_object__find_map_by_name(skeleton->obj, map_names[i]);

		g->maps[i] = fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3);
		if (g->maps[i] < 0)
			return fail(-errno, "cannot keep the dispatcher's %s: %m", pin_name(i));
	}
	return 0;
}

int generation_create(
	const struct generation *last, const uint32_t capacity[SIZED_MAPS], struct generation *ret)
{
	_cleanup_(dispatcher_bpf_destroyp) struct dispatcher_bpf *skeleton = NULL;
	_cleanup_(generation_free) struct generation g = GENERATION_NONE;
	int r;

	g = GENERATION_NONE;
	skeleton = dispatcher_bpf__open();
	if (!skeleton)
		return say_load_error(-errno);
	r = generation_prepare(skeleton, last, capacity);
	if (r < 0)
		return r;
	r = dispatcher_bpf__load(skeleton);
	if (r < 0)
		return say_load_error(r);

	r = take_descriptors(skeleton, &g);
	if (r == 0)
		r = generation_map(&g, true);
	if (r < 0)
		return r;
	g.ledger->abi = DISPATCHER_ABI;
	g.ledger->loaded_at = last ? last->ledger->loaded_at : (uint64_t)time(NULL);
	g.ledger->destination_places = last ? last->ledger->destination_places : 0;
	g.ledger->owner_places = last ? last->ledger->owner_places : 0;
	*ret = g;
	g = GENERATION_NONE;
	return 0;
}

/*
 * Paths and pins.
 */

static int no_memory(void)
{
	return fail(-ENOMEM, "cannot work on the dispatcher's state: %m");
}

static char *path_join(const char *directory, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

static int program_id(int program, uint32_t *ret)
{
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(program, &info, &size) < 0)
		return -errno;
	*ret = info.id;
	return 0;
}

/* The directory of a generation: <state directory>/<id of its program>. */
static char *generation_path(const char *state, uint32_t id)
{
	char *path = NULL;

	return asprintf(&path, "%s/%u", state, id) < 0 ? NULL : path;
}

static int set_pin_mode(const char *directory, const char *name)
{
	_cleanup_(freep) char *path = path_join(directory, name);

	if (!path)
		return no_memory();
	return chmod(path, PIN_MODE) < 0 ? fail(-errno, "cannot set the mode of %s: %m", path) : 0;
}

static int pin(int fd, const char *directory, const char *name)
{
	_cleanup_(freep) char *path = path_join(directory, name);

	if (!path)
		return no_memory();
	if (bpf_obj_pin(fd, path) < 0)
		return fail(-errno, "cannot pin %s: %m", path);
	return set_pin_mode(directory, name);
}

static int unpin(const char *directory, const char *name)
{
	_cleanup_(freep) char *path = path_join(directory, name);

	if (!path)
		return no_memory();
	if (unlink(path) < 0 && errno != ENOENT)
		return fail(-errno, "cannot remove %s: %m", path);
	return 0;
}

/* Removes a directory of pins. What isn't there is no error. */
static int remove_pins(const char *path)
{
	_cleanup_(closedirp) DIR *directory = opendir(path);
	struct dirent *entry;

	if (!directory)
		return errno == ENOENT ? 0 : fail(-errno, "cannot open %s: %m", path);
	while ((entry = readdir(directory))) {
		if (entry->d_type == DT_DIR)
			continue; /* . and .. */
		if (unlinkat(dirfd(directory), entry->d_name, 0) < 0 && errno != ENOENT)
			return fail(-errno, "cannot remove %s/%s: %m", path, entry->d_name);
	}
	if (rmdir(path) < 0 && errno != ENOENT)
		return fail(-errno, "cannot remove %s: %m", path);
	return 0;
}

static int generation_pin(const struct generation *g, const char *state)
{
	_cleanup_(freep) char *path = NULL;
	uint32_t id = 0;
	int r;

	r = program_id(g->program, &id);
	if (r < 0)
		return fail(r, "cannot examine the program: %m");
	path = generation_path(state, id);
	if (!path)
		return no_memory();
	r = remove_pins(path); /* ids of programs come back, after a long while */
	if (r < 0)
		return r;
	if (mkdir(path, DIRECTORY_MODE) < 0)
		return fail(-errno, "cannot make %s: %m", path);

	r = pin(g->program, path, "program");
	for (enum map map = 0; map < MAPS && r == 0; map++)
		r = pin(g->maps[map], path, pin_name(map));
	if (r < 0)
		remove_pins(path);
	return r;
}

/* Removes the pins of every generation but one: what a switch, or a tool that died, left over. */
static int remove_generations_but(const char *state, uint32_t id)
{
	_cleanup_(closedirp) DIR *directory = opendir(state);
	struct dirent *entry;

	if (!directory)
		return fail(-errno, "cannot open %s: %m", state);
	while ((entry = readdir(directory))) {
		_cleanup_(freep) char *path = NULL;
		int r;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
			strtoul(entry->d_name, NULL, 10) == id)
			continue;
		path = path_join(state, entry->d_name);
		if (!path)
			return no_memory();
		r = remove_pins(path);
		if (r < 0)
			return r;
	}
	return 0;
}

/* <bpffs>/isomer of <bpffs>/isomer/<inode> */
static char *parent_path(const char *state)
{
	return strndup(state, (size_t)(strrchr(state, '/') - state));
}

/*
 * Also where somebody who reads has the link open, from here on nothing is dispatched. The kernel
 * says 0 of one that is detached, by its network namespace's end or by an unload that was killed.
 */
static int detach(const char *state)
{
	_cleanup_(freep) char *path = path_join(state, "link");
	_cleanup_(closep) int link = -EBADF;

	if (!path)
		return no_memory();
	link = bpf_obj_get(path);
	if (link < 0)
		return errno == ENOENT ? 0 : fail(-errno, "cannot open %s: %m", path);
	return bpf_link_detach(link) < 0 ? fail(-errno, "cannot detach %s: %m", path) : 0;
}

static int remove_state(const char *state)
{
	_cleanup_(freep) char *parent = parent_path(state);
	int r;

	r = detach(state);
	if (r == 0)
		r = unpin(state, "link");
	if (r == 0)
		r = remove_generations_but(state, 0);
	if (r == 0 && rmdir(state) < 0 && errno != ENOENT)
		r = fail(-errno, "cannot remove %s: %m", state);
	if (r == 0 && parent)
		rmdir(parent); /* succeeds with the last one */
	return r;
}

/*
 * The link.
 */

static int own_netns(ino_t *ret)
{
	struct stat st;

	if (stat("/proc/thread-self/ns/net", &st) < 0)
		return fail(-errno, "cannot examine the network namespace: %m");
	*ret = st.st_ino;
	return 0;
}

/*
 * Opens the link of a state directory, and tells the program that it runs. Returns -ENOENT,
 * unsaid, where there is none, or where its network namespace is gone: inode numbers come back,
 * and then the directory of a dead namespace stands where that of a new one belongs.
 */
static int link_open(const char *state, ino_t netns, uint32_t *ret_program)
{
	_cleanup_(freep) char *path = path_join(state, "link");
	_cleanup_(closep) int link = -EBADF;
	struct bpf_link_info info = {};
	uint32_t size = sizeof(info);

	if (!path)
		return no_memory();
	link = bpf_obj_get(path);
	if (link < 0)
		return errno == ENOENT ? -ENOENT : fail(-errno, "cannot open %s: %m", path);
	if (bpf_obj_get_info_by_fd(link, &info, &size) < 0)
		return fail(-errno, "cannot examine %s: %m", path);
	if (info.type != BPF_LINK_TYPE_NETNS || info.netns.netns_ino != netns)
		return -ENOENT;
	*ret_program = info.prog_id;
	return take_fd(link);
}

/*
 * The state directory and its lock.
 */

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

/* Finds the BPF file system; mounts the default one where the kernel's mount point is bare. */
static int find_bpffs(const char *bpffs, bool may_mount, const char **ret)
{
	const char *path = bpffs ?: DEFAULT_BPFFS;

	if (!is_bpffs(path)) {
		if (bpffs)
			return fail(-EINVAL,
				"%s is not a BPF file system: mount one with: mount -t bpf bpf %s",
				path, path);
		if (!may_mount)
			return -ENOENT;
		if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755") < 0)
			return fail(-errno, "cannot mount a BPF file system on %s: %m", path);
		notice("mounted a BPF file system on %s, in this mount namespace: whoever has "
		       "another one ('ip netns exec' makes one each time) doesn't see it: use "
		       "'isomctl --netns PATH' then",
			path);
	}
	*ret = path;
	return 0;
}

static int lock(int fd, int operation)
{
	while (flock(fd, operation) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Is this open directory still the one that the path leads to? */
static bool is_current(int fd, const char *path)
{
	struct stat open_one, named;

	return fstat(fd, &open_one) == 0 && lstat(path, &named) == 0 &&
		open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev;
}

/* -ENOENT, unsaid, where its parent isn't there. */
static int make_directory(const char *path)
{
	if (mkdir(path, DIRECTORY_MODE) == 0 || errno == EEXIST)
		return 0;
	return errno == ENOENT ? -ENOENT : fail(-errno, "cannot make %s: %m", path);
}

static int make_state(const char *state)
{
	_cleanup_(freep) char *parent = parent_path(state);
	int r;

	if (!parent)
		return no_memory();
	do {
		r = make_directory(parent);
		if (r == 0)
			r = make_directory(state);
	} while (r == -ENOENT); /* an unload took the parent away in between */
	return r;
}

/* Opens and locks a state directory. An unload may take it away while we wait: then try again. */
static int lock_state(const char *path, int operation, bool create)
{
	for (;;) {
		_cleanup_(closep) int fd = -EBADF;
		int r;

		if (create) {
			r = make_state(path);
			if (r < 0)
				return r;
		}
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && create)
			continue;
		if (fd < 0)
			return errno == ENOENT ? -ENOENT : fail(-errno, "cannot open %s: %m", path);
		r = lock(fd, operation);
		if (r < 0)
			return fail(r, "cannot lock %s: %m", path);
		if (is_current(fd, path))
			return take_fd(fd);
	}
}

/* <bpffs>/isomer/<inode of the network namespace> */
static int state_path(const char *bpffs, bool create, ino_t netns, char **ret)
{
	_cleanup_(freep) char *parent = NULL;
	char *path = NULL;
	int r;

	r = find_bpffs(bpffs, create, &bpffs);
	if (r < 0)
		return r;
	parent = path_join(bpffs, "isomer");
	if (!parent)
		return no_memory();
	if (asprintf(&path, "%s/%lu", parent, (unsigned long)netns) < 0)
		return no_memory();
	*ret = path;
	return 0;
}

/*
 * Dispatchers of network namespaces that are gone hold kernel memory for nothing. Whatever hinders
 * us here is no error: this is tidying up on the way.
 */
static void remove_dead_neighbours(const char *state)
{
	_cleanup_(freep) char *parent = parent_path(state);
	_cleanup_(closedirp) DIR *directory = parent ? opendir(parent) : NULL;
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		_cleanup_(freep) char *path = path_join(parent, entry->d_name);
		_cleanup_(closep) int locked = -EBADF, link = -EBADF;
		uint32_t program;

		if (!path || entry->d_name[0] == '.' || strcmp(path, state) == 0)
			continue;
		locked = lock_state(path, LOCK_EX | LOCK_NB, false);
		if (locked < 0)
			continue;
		link = link_open(path, 0, &program); /* 0: what a dead one reports */
		if (link >= 0)
			remove_state(path);
	}
}

/*
 * A dispatcher as the tools see it.
 */

/* Is a dispatcher attached here whose state is elsewhere? Two of them would both have their say. */
static int check_no_other(int netns_fd, const char *state)
{
	uint32_t ids[MOST_PROGRAMS], count = MOST_PROGRAMS;

	if (bpf_prog_query(netns_fd, BPF_SK_LOOKUP, 0, NULL, ids, &count) < 0)
		return 0; /* what can't be asked need not be so */
	for (uint32_t i = 0; i < count; i++) {
		_cleanup_(closep) int program = bpf_prog_get_fd_by_id(ids[i]);
		struct bpf_prog_info info = {};
		uint32_t size = sizeof(info);

		if (program >= 0 && bpf_obj_get_info_by_fd(program, &info, &size) == 0 &&
			strncmp(info.name, PROGRAM_NAME, sizeof(info.name)) == 0)
			return fail(-EEXIST,
				"this network namespace has a dispatcher (program %u), whose state "
				"isn't %s: it was loaded with another --bpffs, or where another BPF "
				"file system is mounted: unload it there",
				ids[i], state);
	}
	return 0;
}

int dispatcher_load(const char *bpffs, bool *ret_loaded)
{
	_cleanup_(closep) int locked = -EBADF, netns_fd = -EBADF, link = -EBADF;
	_cleanup_(generation_free) struct generation g = GENERATION_NONE;
	_cleanup_(freep) char *path = NULL;
	uint32_t program;
	ino_t netns = 0;
	int r;

	g = GENERATION_NONE;
	r = own_netns(&netns);
	if (r == 0)
		r = state_path(bpffs, true, netns, &path);
	if (r < 0)
		return r;
	locked = lock_state(path, LOCK_EX, true);
	if (locked < 0)
		return locked;

	link = link_open(path, netns, &program);
	if (link >= 0) {
		*ret_loaded = false;
		return set_pin_mode(path, "link"); /* a load may have been killed before that */
	}
	if (link != -ENOENT)
		return link;
	remove_dead_neighbours(path);
	r = unpin(path, "link");
	if (r == 0)
		r = remove_generations_but(path, 0);
	if (r == 0)
		r = generation_create(NULL, NULL, &g);
	if (r == 0)
		r = generation_pin(&g, path);
	if (r < 0) {
		remove_state(path);
		return r;
	}

	netns_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (netns_fd < 0)
		r = fail(-errno, "cannot open the network namespace: %m");
	else if ((r = check_no_other(netns_fd, path)) < 0)
		; /* said */
	else if ((link = bpf_link_create(g.program, netns_fd, BPF_SK_LOOKUP, NULL)) < 0)
		r = fail(-errno, "cannot attach the dispatcher to the network namespace: %m");
	else
		r = pin(link, path, "link");
	if (r < 0) {
		remove_state(path);
		return r;
	}
	*ret_loaded = true;
	return 0;
}

int dispatcher_unload(const char *bpffs, bool *ret_unloaded)
{
	_cleanup_(closep) int locked = -EBADF;
	_cleanup_(freep) char *path = NULL;
	ino_t netns = 0;
	int r;

	*ret_unloaded = false;
	r = own_netns(&netns);
	if (r == 0)
		r = state_path(bpffs, false, netns, &path);
	if (r == 0) {
		locked = lock_state(path, LOCK_EX, false);
		r = locked < 0 ? locked : 0;
	}
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = remove_state(path);
	if (r == 0)
		*ret_unloaded = true;
	return r;
}

/* Tools and state must agree on the ABI, which every ABI has at the start of the ledger. */
static int check_abi(int ledger)
{
	_cleanup_(freep) uint32_t *value = NULL;
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info), key = 0, abi;

	if (bpf_obj_get_info_by_fd(ledger, &info, &size) < 0)
		return fail(-errno, "cannot examine the dispatcher's ledger: %m");
	value = calloc(1, info.value_size + sizeof(*value));
	if (!value || bpf_map_lookup_elem(ledger, &key, value) < 0)
		return fail(-errno, "cannot read the dispatcher's ledger: %m");
	abi = *value;
	if (abi == DISPATCHER_ABI)
		return 0;
	return fail(-EPROTO,
		"the loaded dispatcher has ABI %u and this program speaks ABI %u: run "
		"'isomctl upgrade' of the newer of the two",
		abi, DISPATCHER_ABI);
}

static int generation_open(const char *state, uint32_t id, bool writable, struct generation *ret)
{
	LIBBPF_OPTS(bpf_obj_get_opts, access, .file_flags = writable ? 0 : BPF_F_RDONLY);
	_cleanup_(generation_free) struct generation g = GENERATION_NONE;
	_cleanup_(freep) char *directory = generation_path(state, id);
	int r;

	g = GENERATION_NONE;
	if (!directory)
		return no_memory();
	for (enum map map = 0; map < MAPS; map++) {
		_cleanup_(freep) char *path = path_join(directory, pin_name(map));

		if (!path)
			return no_memory();
		g.maps[map] = bpf_obj_get_opts(path, &access);
		if (g.maps[map] < 0 && errno != ENOENT)
			return fail(-errno, "cannot open %s: %m", path);
		if (g.maps[map] < 0) {
			fail(-errno,
				"cannot open %s: %m: the dispatcher's state is damaged: run "
				"'isomctl unload' and 'isomctl load'",
				path);
			return -EIO;
		}
		if (map == MAP_LEDGER) {
			r = check_abi(g.maps[map]);
			if (r < 0)
				return r;
		}
	}
	r = generation_map(&g, writable);
	if (r < 0)
		return r;
	*ret = g;
	g = GENERATION_NONE;
	return 0;
}

static int dispatcher_open_state(struct dispatcher *d, const char *bpffs)
{
	uint32_t program;
	ino_t netns = 0;
	int r;

	r = own_netns(&netns);
	if (r == 0)
		r = state_path(bpffs, false, netns, &d->path);
	if (r < 0)
		return r;
	d->lock = lock_state(d->path, d->writable ? LOCK_EX : LOCK_SH, false);
	if (d->lock < 0)
		return d->lock;
	d->link = link_open(d->path, netns, &program);
	if (d->link < 0)
		return d->link;
	r = generation_open(d->path, program, d->writable, &d->now);
	if (r == 0 && d->writable)
		r = remove_generations_but(d->path, program);
	return r;
}

int dispatcher_open(
	const char *bpffs, bool writable, enum dispatcher_missing missing, struct dispatcher **ret)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail(-ENOMEM, "cannot open the dispatcher: %m");
	d->lock = d->link = -EBADF;
	d->writable = writable;
	d->now = GENERATION_NONE;

	r = dispatcher_open_state(d, bpffs);
	if (r == -ENOENT && missing == MISSING_IS_ERROR)
		return fail(r,
			"no dispatcher is loaded in this network namespace: run "
			"'isomctl load', or 'systemctl restart isomer'");
	if (r < 0)
		return r;
	*ret = take_pointer(d);
	return 0;
}

void dispatcher_unlock(struct dispatcher *d)
{
	closep(&d->lock);
	d->lock = -EBADF;
}

void dispatcher_close(struct dispatcher *d)
{
	if (!d)
		return;
	generation_free(&d->now);
	closep(&d->link);
	closep(&d->lock); /* last: this is the lock */
	free(d->path);
	free(d);
}

void dispatcher_closep(struct dispatcher **dispatcher)
{
	dispatcher_close(*dispatcher);
}

int dispatcher_switch(struct dispatcher *d, struct generation *next)
{
	uint32_t id = 0;
	int r;

	r = program_id(next->program, &id);
	if (r < 0)
		return fail(r, "cannot examine the program: %m");
	r = generation_pin(next, d->path);
	if (r < 0)
		return r;
	if (bpf_link_update(d->link, next->program, NULL) < 0) {
		_cleanup_(freep) char *path = generation_path(d->path, id);

		r = fail(-errno, "cannot put the new dispatcher into place: %m");
		if (path)
			remove_pins(path);
		return r;
	}
	generation_free(&d->now);
	d->now = *next;
	*next = GENERATION_NONE;
	if (remove_generations_but(d->path, id) < 0)
		warn("the next command that changes something removes it");
	return 0;
}

int dispatcher_program_id(const struct dispatcher *d, uint32_t *ret)
{
	struct bpf_link_info info = {};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(d->link, &info, &size) < 0)
		return -errno;
	*ret = info.prog_id;
	return 0;
}

/*
 * membarrier(2) with MEMBARRIER_CMD_GLOBAL is an RCU grace period. Kernels with nohz_full CPUs
 * refuse it; there, an update of a map of maps waits for one as well (maybe_wait_bpf_programs()
 * in the kernel's bpf/syscall.c).
 */
void dispatcher_wait_for_packets(void)
{
	_cleanup_(closep) int inner = -EBADF, outer = -EBADF;
	uint32_t key = 0;

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return;
	inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, sizeof(key), sizeof(key), 1, NULL);
	LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = (uint32_t)inner);
	outer = bpf_map_create(
		BPF_MAP_TYPE_ARRAY_OF_MAPS, NULL, sizeof(key), sizeof(key), 1, &options);
	if (outer < 0 || bpf_map_update_elem(outer, &key, &inner, BPF_ANY) < 0)
		warn("cannot wait for packets under way: %m");
}
