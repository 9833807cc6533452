/* SPDX-License-Identifier: GPL-2.0-only */
/* The units on the unit path, for who looks through the sections of all of them. */
#pragma once

#include "../unitpath.h"

/*
 * The files that systemd would load a unit from, its fragment first: none where there are none, or
 * where it is masked. *ret_name is its own name, also of an alias. The caller frees the list, whose
 * texts are the unit path's. Returns 0 or -ENOMEM, unsaid.
 */
int unit_find_files(const struct unitpath *unitpath, const struct unit_name *name,
	struct unit_name *ret_name, const char ***ret, size_t *ret_count);

typedef int unit_visit(const char *name, void *context);

/*
 * Shows the names of all units that have a file or a drop-in of their own, templates among them,
 * and some of them twice. Ends with what visit() returns but 0.
 */
int units_visit(const struct unitpath *unitpath, unit_visit *visit, void *context);
