/* SPDX-License-Identifier: GPL-2.0-only */
/* The dispatcher of a network namespace as kernel objects: see dispatcher.h. */
#include "dispatcher.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
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
#include "privileges.h"
#include "say.h"

/*
 * Of the maps, which the group may read. The program and the link, which the kernel opens for
 * writing only, keep the mode that a pin is made with: 0600.
 */
#define MAP_MODE       0640
#define DIRECTORY_MODE 0750
#define LOCK_MODE      0700
#define READERS        "isomer" /* the group that may read, if there is one */
#define LOCK           "lock"   /* the directory, in that of the state, that is locked */
#define PROGRAM_NAME   "isomer_dispatch"
#define MOST_PROGRAMS  64  /* as many as the kernel attaches to a network namespace */
#define LEAST_CAPACITY 256 /* entries a table is made with: a few KiB */

/* For how long those without the lock wait for a switch to end: it takes much less. */
#define SWITCH_ATTEMPTS  100
#define SWITCH_POLL_USEC 10000

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

	if (!keys)
		return -ENOMEM;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
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

static uint32_t at_most(uint32_t count, uint32_t most)
{
	return count < most ? count : most;
}

/* How many entries of it a reader copies; the ledger, which tells, is its first. */
static size_t entries_to_copy(const struct generation *g, enum map map)
{
	return map == MAP_LEDGER    ? 1
		: map == MAP_OWNERS ? at_most(g->ledger->owner_places, MAX_OWNERS)
				    : at_most(g->ledger->destination_places, MAX_DESTINATIONS);
}

static void note_capacity(struct generation *g, enum map map, uint32_t max_entries)
{
	if (map < SIZED_MAPS)
		g->capacity[map] = max_entries / (map == MAP_SLOTS ? SLOTS_PER_ENTRY : 1);
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

/* CAP_PERFMON spares the verifier the paths that a CPU only guesses, which are too many. */
#define LOADING (PRIVILEGE(CAP_BPF) | PRIVILEGE(CAP_PERFMON) | PRIVILEGE(CAP_NET_ADMIN))

static int say_load_error(int error)
{
	char text[LONGEST_PRIVILEGES_TEXT];
	const char *missing = privileges_missing(LOADING, text);

	if (missing)
		return fail(-EPERM,
			"cannot load the dispatcher: %m: it takes root, and this process lacks %s",
			missing);
	if (error == -EPERM)
		return fail(error,
			"cannot load the dispatcher: %m: it takes root of the initial user "
			"namespace, and before Linux 5.11 a limit for locked memory (ulimit -l) "
			"of 16 MiB or more");
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
		note_capacity(g, i, bpf_map__max_entries(map));
	}
	return 0;
}

int generation_create(
	const struct generation *last, const uint32_t capacity[SIZED_MAPS], struct generation *ret)
{
	_cleanup_(dispatcher_bpf_destroyp) struct dispatcher_bpf *skeleton = NULL;
	_cleanup_(generation_free) struct generation g = GENERATION_NONE;
	char text[LONGEST_PRIVILEGES_TEXT];
	int r;

	g = GENERATION_NONE;
	/* What it would say of a lack of privileges are hundreds of lines, none to the point. */
	if (privileges_missing(LOADING, text))
		libbpf_set_print(NULL);
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

#define NO_GROUP ((gid_t)-1) /* which lchown() leaves as it is */

/*
 * The group of readers, or NO_GROUP. Looked up in the file alone: other sources of groups may wait
 * for the network, which may wait for us.
 */
static gid_t find_readers(void)
{
	_cleanup_(fclosep) FILE *groups = fopen("/etc/group", "re");
	struct group *group = NULL;

	while (groups && (group = fgetgrent(groups)) && strcmp(group->gr_name, READERS) != 0)
		;
	return group ? group->gr_gid : NO_GROUP;
}

/* Lets the readers in. Not being allowed to leaves them out, and is no error. */
static int share(const char *path, mode_t mode, gid_t readers)
{
	if (readers != NO_GROUP && lchown(path, (uid_t)-1, readers) < 0)
		warn("cannot let the group " READERS " read %s: %m", path);
	return chmod(path, mode) < 0 ? fail(-errno, "cannot set the mode of %s: %m", path) : 0;
}

static int pin(int fd, const char *directory, const char *name)
{
	_cleanup_(freep) char *path = path_join(directory, name);

	if (!path)
		return no_memory();
	if (bpf_obj_pin(fd, path) < 0)
		return fail(-errno, "cannot pin %s: %m", path);
	return 0;
}

/* What others may read. */
static int pin_shared(int fd, const char *directory, const char *name, gid_t readers)
{
	_cleanup_(freep) char *path = path_join(directory, name);
	int r = path ? pin(fd, directory, name) : no_memory();

	return r == 0 ? share(path, MAP_MODE, readers) : r;
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
		return errno == ENOENT ? 0 : fail(-errno, "cannot remove %s: %m", path);
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

/* <bpffs>/isomer of <bpffs>/isomer/<inode> */
static char *parent_path(const char *state)
{
	return strndup(state, (size_t)(strrchr(state, '/') - state));
}

/* The directories on the way to the maps of a generation. */
static int share_directories(const char *generation, const char *state, gid_t readers)
{
	_cleanup_(freep) char *parent = parent_path(state);
	int r = parent ? share(parent, DIRECTORY_MODE, readers) : no_memory();

	if (r == 0)
		r = share(state, DIRECTORY_MODE, readers);
	return r == 0 ? share(generation, DIRECTORY_MODE, readers) : r;
}

static int generation_pin(const struct generation *g, const char *state)
{
	_cleanup_(freep) char *path = NULL;
	gid_t readers = find_readers();
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
		r = pin_shared(g->maps[map], path, pin_name(map), readers);
	if (r == 0)
		r = share_directories(path, state, readers);
	if (r < 0)
		remove_pins(path);
	return r;
}

/* Is it the directory of a generation? Then *ret is the id of its program. */
static bool is_generation(const struct dirent *entry, uint32_t *ret)
{
	if (entry->d_type != DT_DIR || !isdigit((unsigned char)entry->d_name[0]))
		return false;
	*ret = (uint32_t)strtoul(entry->d_name, NULL, 10);
	return true;
}

/* Removes the pins of every generation but one: what a switch, or a tool that died, left over. */
static int remove_generations_but(const char *state, uint32_t id)
{
	_cleanup_(closedirp) DIR *directory = opendir(state);
	struct dirent *entry;
	uint32_t found;

	if (!directory)
		return fail(-errno, "cannot remove what is left of others in %s: %m", state);
	while ((entry = readdir(directory))) {
		_cleanup_(freep) char *path = NULL;
		int r;

		if (!is_generation(entry, &found) || found == id)
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

/*
 * Says why what is pinned there can't be opened. Up to Linux 5.18, bpf(2) as a whole may be for who
 * has CAP_BPF.
 */
static int say_no_pin(const char *path)
{
	return errno == EPERM
		? fail(-errno,
			  "cannot open %s: %m: this kernel's bpf(2) takes root, or CAP_BPF "
			  "(sysctl kernel.unprivileged_bpf_disabled)",
			  path)
		: fail(-errno, "cannot open %s: %m", path);
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
		return errno == ENOENT ? 0 : say_no_pin(path);
	return bpf_link_detach(link) < 0 ? fail(-errno, "cannot detach %s: %m", path) : 0;
}

static int remove_directory(const char *parent, const char *name)
{
	_cleanup_(freep) char *path = path_join(parent, name);

	if (!path)
		return no_memory();
	return rmdir(path) < 0 && errno != ENOENT ? fail(-errno, "cannot remove %s: %m", path) : 0;
}

static bool has_lock(const char *state)
{
	_cleanup_(freep) char *path = path_join(state, LOCK);

	return path && access(path, F_OK) == 0;
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
	if (r == 0)
		r = remove_directory(state, LOCK);
	/* From here on others lock a new one, and may begin to load. */
	if (r == 0 && rmdir(state) < 0) {
		int error = -errno;

		if (error != -ENOENT && !(error == -ENOTEMPTY && has_lock(state)))
			r = fail(error, "cannot remove %s: %m", state);
	}
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
 * Opens the link of a state directory, and tells the program that it runs. Returns -EACCES,
 * unsaid, to those who may only read; and -ENOENT, unsaid, where there is none, or where its
 * network namespace is gone: inode numbers come back, and then the directory of a dead namespace
 * stands where that of a new one belongs.
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
		return errno == ENOENT || errno == EACCES ? -errno : say_no_pin(path);
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

/* Says who has access to what stands in a BPF file system. Returns -EPERM: it is said. */
static int say_no_access(const char *path)
{
	fail(-EACCES,
		"cannot look into %s: %m: it takes root; to read (status, bindings, explain), the "
		"group \"" READERS "\" is enough, if there was one when the dispatcher was loaded, "
		"and if it may search the BPF file system (chmod o+x)",
		path);
	return -EPERM;
}

/* Likewise of who may look and not change: the lock takes the right to write. */
static int say_no_change(const char *path)
{
	return fail(-EPERM,
		"cannot change what is in %s: it takes root: the group \"" READERS
		"\" may only read (status, bindings, explain)",
		path);
}

/*
 * Checks that nobody else could have put a directory, or what is in it, there. So, from a file
 * system that is safe, down to the pins, nothing can be exchanged under our feet. -ENOENT, unsaid.
 */
static int check_directory(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT    ? -ENOENT
			: errno == EACCES ? say_no_access(path)
					  : fail(-errno, "cannot examine %s: %m", path);
	if (!S_ISDIR(st.st_mode))
		return fail(-ENOTDIR,
			"%s is %s, where the dispatcher's directory belongs: remove it", path,
			S_ISLNK(st.st_mode) ? "a symbolic link" : "a file");
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return fail(-EPERM,
			"%s belongs to user %u, who could give us anything for the dispatcher: "
			"remove it",
			path, st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return fail(-EPERM,
			"others than its owner may write to %s: what is in there can't be trusted: "
			"remove it",
			path);
	return 0;
}

/* As with /tmp, others may have files there, if they can't touch ours. */
static int check_bpffs(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return fail(-errno, "cannot examine %s: %m", path);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) ||
		(st.st_mode & (S_IWGRP | S_IWOTH) && !(st.st_mode & S_ISVTX)))
		return fail(-EPERM,
			"%s can't be trusted, for others may move what is in there: chown root %s "
			"&& chmod 755 %s",
			path, path, path);
	return 0;
}

static int mount_bpffs(const char *path)
{
	if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755") < 0)
		return fail(-errno,
			"cannot mount a BPF file system on %s: %m: as root, run mount -t bpf bpf "
			"%s",
			path, path);
	notice("mounted a BPF file system on %s, in this mount namespace: nobody else sees it, "
	       "and it ends with the last process in here, as within 'ip netns exec': in place of "
	       "that, run 'isomctl --netns PATH' from outside",
		path);
	return 0;
}

/* Finds the BPF file system; mounts the default one where the kernel's mount point is bare. */
static int find_bpffs(const char *bpffs, bool may_mount, const char **ret)
{
	const char *path = bpffs ?: DEFAULT_BPFFS;
	int r = 0;

	if (!is_bpffs(path)) {
		if (bpffs)
			return fail(-EINVAL,
				"%s is not a BPF file system: mount one with: mount -t bpf bpf %s",
				path, path);
		if (!may_mount)
			return -ENOENT;
		r = mount_bpffs(path);
	}
	*ret = path;
	return r == 0 ? check_bpffs(path) : r;
}

/* Unsaid are -ENOENT, where its parent isn't there, and -EACCES. */
static int make_directory(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return 0;
	return errno == ENOENT || errno == EACCES ? -errno
						  : fail(-errno, "cannot make %s: %m", path);
}

/* Sees to it that a directory is there, where it is to be made, and that it is ours. */
static int take_directory(const char *path, bool create)
{
	int r = create ? make_directory(path, DIRECTORY_MODE) : 0;

	return r == 0 ? check_directory(path) : r;
}

/*
 * Opens the directory that is the lock. The state directory itself won't do: whoever may read it
 * could lock it, and have everybody wait. -ENOENT, unsaid, where the state directory is gone;
 * -EACCES, unsaid, to those who may only read.
 */
static int open_lock(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && mkdir(path, LOCK_MODE) == 0)
		return open_lock(path);
	if (fd < 0)
		return errno == ENOENT || errno == EACCES
			? -errno
			: fail(-errno, "cannot open %s: %m", path);
	return fd;
}

/* -EWOULDBLOCK, unsaid. */
static int lock(int fd, int operation, const char *path)
{
	while (flock(fd, operation) < 0)
		if (errno != EINTR)
			return errno == EWOULDBLOCK ? -EWOULDBLOCK
						    : fail(-errno, "cannot lock %s: %m", path);
	return 0;
}

/* Is this open directory still the one that the path leads to? */
static bool is_current(int fd, const char *path)
{
	struct stat open_one, named;

	return fstat(fd, &open_one) == 0 && lstat(path, &named) == 0 &&
		open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev;
}

/*
 * Locks a state directory. An unload may take it away while we wait: then try again. Unsaid are
 * -ENOENT, where there is none, -EWOULDBLOCK, and -EACCES to those who may only read.
 */
static int lock_state(const char *state, int operation, bool create)
{
	_cleanup_(freep) char *parent = parent_path(state), *path = path_join(state, LOCK);

	if (!parent || !path)
		return no_memory();
	for (;;) {
		_cleanup_(closep) int fd = -EBADF;
		int r = take_directory(parent, create);

		if (r == 0)
			r = take_directory(state, create);
		if (r == 0)
			r = fd = open_lock(path);
		if (r == -ENOENT && create)
			continue; /* an unload took it away in between */
		if (r >= 0)
			r = lock(fd, operation, path);
		if (r < 0)
			return r;
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

/* Has somebody else loaded one, since we saw that there was none? */
static bool is_there_by_now(const char *state)
{
	_cleanup_(freep) char *link = state ? path_join(state, "link") : NULL;

	return link && access(link, F_OK) == 0;
}

static int open_netns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? fail(-errno, "cannot open the network namespace: %m") : fd;
}

/*
 * Is a dispatcher attached here whose state is elsewhere? Two of them would both have their say.
 * Returns 0, or -EEXIST or another negative errno, said. state: where it would be; NULL: no BPF
 * file system is mounted.
 */
static int check_no_other(const char *state)
{
	uint32_t ids[MOST_PROGRAMS], count = MOST_PROGRAMS;
	_cleanup_(closep) int netns_fd = open_netns();

	if (netns_fd < 0)
		return netns_fd;
	if (bpf_prog_query(netns_fd, BPF_SK_LOOKUP, 0, NULL, ids, &count) < 0)
		return 0; /* what can't be asked need not be so */
	for (uint32_t i = 0; i < count; i++) {
		_cleanup_(closep) int program = bpf_prog_get_fd_by_id(ids[i]);
		struct bpf_prog_info info = {};
		uint32_t size = sizeof(info);

		if (program < 0 && errno == EPERM)
			warn("program %u is attached to this network namespace as well: without "
			     "CAP_SYS_ADMIN it can't be told whether it is a dispatcher that was "
			     "loaded with another --bpffs",
				ids[i]);
		else if (program >= 0 && bpf_obj_get_info_by_fd(program, &info, &size) == 0 &&
			strncmp(info.name, PROGRAM_NAME, sizeof(info.name)) == 0 &&
			!is_there_by_now(state))
			return fail(-EEXIST,
				"this network namespace has a dispatcher (program %u), whose state "
				"isn't %s: it was loaded with another --bpffs, or where another BPF "
				"file system is mounted: use it there, or unload it there",
				ids[i], state ?: "in " DEFAULT_BPFFS);
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
		return locked == -EACCES ? say_no_change(path) : locked;

	link = link_open(path, netns, &program);
	if (link >= 0) {
		*ret_loaded = false;
		return 0;
	}
	if (link != -ENOENT)
		return link == -EACCES ? say_no_access(path) : link;
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

	r = check_no_other(path);
	if (r == 0)
		r = netns_fd = open_netns();
	if (r < 0)
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
		r = locked == -EACCES ? say_no_change(path) : locked < 0 ? locked : 0;
	}
	if (r == -ENOENT)
		return check_no_other(path);
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
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size < sizeof(abi))
		return 0; /* no ledger of any ABI: check_shapes() says so */
	value = calloc(1, info.value_size + sizeof(*value));
	if (!value || bpf_map_lookup_elem(ledger, &key, value) < 0)
		return fail(-errno, "cannot read the dispatcher's ledger: %m");
	abi = *value;
	if (abi == DISPATCHER_ABI)
		return 0;
	return fail(-EPROTO,
		"the loaded dispatcher has ABI %u and this program speaks ABI %u: run "
		"'systemctl restart isomer' where units are dispatched to, or 'isomctl unload' and "
		"'isomctl load', and bind anew what was bound by hand",
		abi, DISPATCHER_ABI);
}

/* What a map is made of; what is sized to need has its size from the kernel. */
static const struct {
	uint32_t type, key_size, value_size, max_entries;
} map_shapes[MAPS] = {
	[MAP_SLOTS] = {BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct slot), 0},
	[MAP_CLAIMS] = {BPF_MAP_TYPE_HASH, sizeof(struct binding_key), sizeof(destination_id), 0},
	[MAP_GATE] = {BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct gate), 1},
	[MAP_LEDGER] = {BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct ledger), 1},
	[MAP_PORT_USES] = {BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct port_uses),
		PROTOCOLS *PORTS},
	[MAP_SOCKETS] = {BPF_MAP_TYPE_SOCKMAP, sizeof(destination_id), sizeof(uint64_t),
		MAX_DESTINATIONS},
	[MAP_COUNTERS] = {BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(destination_id),
		sizeof(struct counters), MAX_DESTINATIONS},
	[MAP_DESTINATIONS] = {BPF_MAP_TYPE_ARRAY, sizeof(destination_id),
		sizeof(struct destination), MAX_DESTINATIONS},
	[MAP_OWNERS] = {BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct owner), MAX_OWNERS},
};

#define DAMAGED "the dispatcher's state is damaged: run 'isomctl unload' and 'isomctl load'"

/*
 * Memory that is mapped or copied has to have the size that we take it for. Notes the capacities of
 * the maps that are sized to need.
 */
static int check_shapes(struct generation *g, const char *directory)
{
	for (enum map map = 0; map < MAPS; map++) {
		struct bpf_map_info info = {};
		uint32_t size = sizeof(info), entries = map_shapes[map].max_entries;

		if (bpf_obj_get_info_by_fd(g->maps[map], &info, &size) < 0)
			return fail(-errno, "cannot examine %s/%s: %m", directory, pin_name(map));
		if (info.type != map_shapes[map].type ||
			info.key_size != map_shapes[map].key_size ||
			info.value_size != map_shapes[map].value_size ||
			(entries ? info.max_entries != entries
				 : info.max_entries & (info.max_entries - 1)))
			return fail(-EIO, "%s/%s is not a map of ours: " DAMAGED, directory,
				pin_name(map));
		note_capacity(g, map, info.max_entries);
	}
	return 0;
}

/* Says why a map can't be opened. The kernel says EACCES of what is nothing pinned, too. */
static int say_no_map(const char *path)
{
	int error = -errno;
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return fail(-EIO, "%s is not a map of ours: " DAMAGED, path);
	errno = -error;
	if (error == -ENOENT) {
		fail(error, "cannot open %s: %m: " DAMAGED, path);
		return -EIO;
	}
	return error == -EACCES ? say_no_access(path) : say_no_pin(path);
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
		if (g.maps[map] < 0)
			return say_no_map(path);
	}
	r = check_abi(g.maps[MAP_LEDGER]);
	if (r == 0)
		r = check_shapes(&g, directory);
	if (r == 0)
		r = generation_map(&g, writable);
	if (r < 0)
		return r;
	if (g.ledger->destination_places > MAX_DESTINATIONS || g.ledger->owner_places > MAX_OWNERS)
		return fail(-EIO, "the ledger in %s counts what can't be: " DAMAGED, directory);
	*ret = g;
	g = GENERATION_NONE;
	return 0;
}

/*
 * The generation that is alive, for those who may not open the link: the only one there is. During
 * a switch there are two, for a moment, and after a tool that was killed, until the next change.
 */
static int find_only_generation(const char *state, uint32_t *ret)
{
	for (int attempt = 0; attempt < SWITCH_ATTEMPTS; attempt++) {
		_cleanup_(closedirp) DIR *directory = opendir(state);
		struct dirent *entry;
		int count = 0;

		if (!directory)
			return errno == EACCES ? say_no_access(state) : -ENOENT;
		while ((entry = readdir(directory)))
			count += is_generation(entry, ret);
		if (count < 2)
			return count ? 0 : -ENOENT;
		usleep(SWITCH_POLL_USEC);
	}
	return fail(-EBUSY,
		"%s has several generations of the dispatcher, and only root can tell which one "
		"is in use: a change takes long, or was cut off, and the next one tidies up",
		state);
}

static int dispatcher_open_state(struct dispatcher *d, const char *bpffs)
{
	ino_t netns = 0;
	int r;

	r = own_netns(&netns);
	if (r == 0)
		r = state_path(bpffs, false, netns, &d->path);
	if (r < 0)
		return r;
	d->lock = r = lock_state(d->path, d->writable ? LOCK_EX : LOCK_SH, false);
	if (r >= 0)
		d->link = r = link_open(d->path, netns, &d->program);
	if (r == -EACCES && d->writable)
		return say_no_change(d->path);
	if (r == -EACCES) {
		dispatcher_unlock(d); /* what we wait for then may take the lock */
		r = find_only_generation(d->path, &d->program);
	}
	if (r < 0)
		return r;
	r = generation_open(d->path, d->program, d->writable, &d->now);
	if (r == 0 && d->writable)
		r = remove_generations_but(d->path, d->program);
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
		return check_no_other(d->path)
			?: fail(r,
				   "no dispatcher is loaded in this network namespace: run "
				   "'isomctl load' (with the same --netns and --bpffs), or "
				   "'systemctl restart isomer'");
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
	d->program = id;
	*next = GENERATION_NONE;
	if (remove_generations_but(d->path, id) < 0)
		warn("the next command that changes something removes it");
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
