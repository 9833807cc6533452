/* SPDX-License-Identifier: GPL-2.0-only */
/* The capabilities of this process: naming those that lack, and dropping those that aren't needed.
 */
#pragma once

#include <linux/capability.h>
#include <stddef.h>
#include <stdint.h>

/* A set of capabilities is the sum of these. */
#define PRIVILEGE(capability) (1ULL << (capability))

#define LONGEST_PRIVILEGES_TEXT 128

/*
 * Names those of the set that this process lacks, as in "CAP_BPF and CAP_PERFMON"; NULL where it
 * has them all. CAP_SYS_ADMIN does for what was split off from it.
 */
const char *privileges_missing(uint64_t needed, char text[LONGEST_PRIVILEGES_TEXT]);

/*
 * Gives up all others, for good, and also what executing a program could give. What was lacking
 * before stays lacking. Returns 0 or a negative errno, unsaid.
 */
int privileges_keep(uint64_t kept);
