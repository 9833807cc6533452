/* SPDX-License-Identifier: GPL-2.0-only */
/* Sections that nobody reads, for only services and socket units have them, and each its own. */
#pragma once

#include "../section.h"
#include "../unitpath.h"

typedef void misplaced_visit(const struct section_place *place, void *context);

/* Shows where [Isomer] stands in the file. */
void misplaced_sections_of_file(const char *path, misplaced_visit *visit, void *context);

/*
 * Shows where [Isomer] stands in timers, paths, mounts, targets and the other types of units on
 * the unit path, and in their drop-ins. Links, which are mostly aliases, aren't followed.
 */
void misplaced_sections_visit(
	const struct unitpath *unitpath, misplaced_visit *visit, void *context);
