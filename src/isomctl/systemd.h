/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What systemd says of units, by `systemctl show`: so isomctl need not be linked with libsystemd,
 * which would double the time that `isomctl bind` takes. What can't be found out is an empty text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Is systemd the PID 1 of this machine (sd_booted(3))? */
bool systemd_is_there(void);

/* Is this its network namespace? That is where units' sections bind. */
bool systemd_is_in_our_netns(void);

struct unit_state {
	char load[32];   /* "loaded", "not-found", … */
	char active[32]; /* "active", "inactive", "failed", … */
	char sub[32];    /* "running", "listening", "dead", … */
};

/* The states of so many units. False where systemd can't be asked; then all texts are empty. */
bool systemd_unit_states(const char *const *units, size_t count, struct unit_state *ret);

/* One property of a unit, or (unit NULL) of systemd itself. Caller frees; NULL: can't be told. */
char *systemd_property(const char *unit, const char *property);

/* The processes in a unit's control groups; the caller frees them. False: can't be told. */
bool systemd_unit_processes(const char *unit, pid_t **ret, size_t *ret_count);
