/* SPDX-License-Identifier: GPL-2.0-only */
/* One selector with all who bound it, and how it is shown: what bindings and explain share. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "../bindings.h"

struct group {
	const struct bound *first; /* the others come next in the list */
	size_t count;
};

/* The group at the start of a sorted list, which isn't empty. */
struct group group_next(const struct bound *list, size_t count);

/* "nginx.service web.socket", "-" stands for the administrator. The caller frees it. */
char *group_units(const struct dispatcher *d, const struct group *group);

/* The object of docs/json.md. */
json_t *group_json(const struct dispatcher *d, const struct group *group);
