/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The dispatcher of a network namespace as kernel objects: loading and attaching the program,
 * pinning it in bpffs, finding it again, replacing it, and the lock that orders the tools. Only
 * this module knows paths in bpffs; what stands in the tables is for bindings.h and
 * destination.h to say.
 *
 * A program and its maps are one generation. <bpffs>/isomer/<inode of the netns>/ holds the link
 * and one directory for each generation, named after its program's id. The link tells which one
 * is alive, so replacing a generation is one store in the kernel, and a tool killed at any moment
 * leaves the one or the other, whole. It also holds a directory that is the lock, and root's alone.
 *
 * If there is a group "isomer", its members may read the maps, and nothing else: they can't lock,
 * so what they read may be in the middle of a change.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "../bpf/dispatcher.h"

#define DEFAULT_BPFFS "/sys/fs/bpf"

enum map {
	/* Sized to need: a full one is replaced together with its generation. */
	MAP_SLOTS,
	MAP_CLAIMS,
	SIZED_MAPS,
	/* Made anew with each generation. */
	MAP_GATE = SIZED_MAPS,
	MAP_LEDGER,
	MAP_PORT_USES,
	/* Handed down from generation to generation. */
	MAP_SOCKETS,
	MAP_COUNTERS,
	MAP_DESTINATIONS,
	MAP_OWNERS,
	MAPS,
};

#define SLOTS_PER_ENTRY 2 /* so many slots has a table for each entry that it can hold */

struct generation {
	int program;
	int maps[MAPS];
	uint32_t capacity[SIZED_MAPS]; /* how many entries these maps can hold */

	/* The maps that are memory: shared with the kernel, or copies if opened for reading. */
	struct slot *slots;          /* while the whole table is gone through; else NULL */
	struct gate *gate;           /* not opened for reading */
	struct port_uses *port_uses; /* nor this */
	struct ledger *ledger;
	struct destination *destinations; /* MAX_DESTINATIONS of them */
	struct owner *owners;             /* MAX_OWNERS of them */
};

struct dispatcher {
	char *path;       /* the state directory */
	int lock;         /* of it, open and locked; or an error, for those who may only read */
	int link;         /* likewise */
	uint32_t program; /* the id of the one that is alive */
	bool writable;
	struct generation now;
};

/*
 * Loads and attaches an empty dispatcher in this thread's network namespace, unless there is one:
 * then *ret_loaded is false. bpffs: where a BPF file system is mounted; NULL for DEFAULT_BPFFS,
 * which is mounted where it isn't, as bpftool does.
 *
 * Needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN. Returns 0 or a negative errno, said.
 */
int dispatcher_load(const char *bpffs, bool *ret_loaded);

/*
 * Detaches the dispatcher of this network namespace and removes its state; *ret_unloaded is false
 * where there was none. Works on the state of any ABI. Returns 0 or a negative errno, said.
 */
int dispatcher_unload(const char *bpffs, bool *ret_unloaded);

/* What dispatcher_open() shall do about a dispatcher that isn't there. */
enum dispatcher_missing { MISSING_IS_ERROR, MISSING_IS_QUIET };

/*
 * Opens the dispatcher of this network namespace and locks it: shared for reading, exclusive for
 * changing, waiting for others to finish. bpffs as in dispatcher_load().
 *
 * Returns 0 and the dispatcher, for dispatcher_close(); -ENOENT where none is loaded (not said
 * with MISSING_IS_QUIET); -EPROTO where its state has another ABI; or another negative errno, all
 * said. Whoever opens to change it should use change_begin(), which mends what a killed tool left.
 */
int dispatcher_open(
	const char *bpffs, bool writable, enum dispatcher_missing missing, struct dispatcher **ret);

/* Lets others go on while we print: what was opened for reading is copies, and stays readable. */
void dispatcher_unlock(struct dispatcher *dispatcher);

void dispatcher_close(struct dispatcher *dispatcher);
void dispatcher_closep(struct dispatcher **dispatcher);

/*
 * Makes the next generation of a dispatcher: this build's program with empty tables of at least
 * these capacities (entries, by map; NULL: the least), and with the maps that are handed down.
 * Nothing is pinned and no packet sees it until dispatcher_switch(). last: NULL for the first.
 *
 * Returns 0 and the generation, for generation_free(), or a negative errno, said.
 */
int generation_create(
	const struct generation *last, const uint32_t capacity[SIZED_MAPS], struct generation *ret);

/* One that owns nothing yet. */
#define GENERATION_NONE                                                                            \
	(struct generation)                                                                        \
	{                                                                                          \
		.program = -EBADF, .maps = { [0 ... MAPS - 1] = -EBADF }                           \
	}

void generation_free(struct generation *generation);

/*
 * Makes `next` the generation that packets see, with one store, and removes the last one's pins.
 * On success, next is owned by the dispatcher and left empty. Returns 0, or a negative errno,
 * said, with nothing changed.
 */
int dispatcher_switch(struct dispatcher *dispatcher, struct generation *next);

/*
 * Waits until no packet is under way that might have seen what was removed from the tables before
 * this call: an RCU grace period.
 */
void dispatcher_wait_for_packets(void);
