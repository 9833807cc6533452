/* SPDX-License-Identifier: GPL-2.0-only */
/* Which processes hold a socket open, as far as /proc may be read. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../bpf/dispatcher.h"

struct holder {
	uint32_t inode;       /* the socket's; 0: none */
	unsigned int count;   /* how many processes have it open; 0: none that we see */
	pid_t pid;            /* the first of them, PID 1 only where no other has it */
	char name[32];        /* what that one runs */
	char unit[NAME_SIZE]; /* the unit whose control group that one is in; empty: none */
};

/* Fills in all but the inodes, with one walk through /proc. */
void holders_find(struct holder *holders, size_t count);

/* The "process" of docs/json.md: null where there is none. */
json_t *holder_json(const struct holder *holder);
