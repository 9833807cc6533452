/* SPDX-License-Identifier: GPL-2.0-only */
/* The dispatcher of this network namespace, as it is pinned, for programs that measure it. */
#pragma once

#include <linux/bpf.h>

/* /sys/fs/bpf/isomer/<inode of the network namespace>. The caller frees it. */
char *state_directory(void);

/*
 * Opens the program that the link in the state directory leads to and tells about it, or exits with
 * a word about it. The caller closes it.
 */
int open_dispatcher(void);
