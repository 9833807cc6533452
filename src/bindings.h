/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is bound: the truth (who asked for which binding) and its changes, which keep the tables
 * that packets see in step.
 *
 * A binding may have several owners: the administrator, who is unnamed, and units. It lives until
 * the last one lets go of it. Two owners can't bind the same selector under two labels.
 *
 * All functions return 0 or a negative errno that they have said; on error nothing is changed.
 */
#pragma once

#include <stddef.h>

#include "binding.h"
#include "dispatcher.h"
#include "lookup.h"

/*
 * Opens the dispatcher to change it (see dispatcher_open()) and first makes whole what a tool that
 * was killed left half done.
 */
int change_begin(const char *bpffs, enum dispatcher_missing missing, struct dispatcher **ret);

/* Puts this build's program into place, over tables derived anew. */
int bindings_upgrade(struct dispatcher *dispatcher);

/* Binds for the administrator; a binding of the same selector moves to the new label. */
int bindings_bind(struct dispatcher *dispatcher, const struct binding *binding);

/* Unbinds what the administrator bound. -ENOENT if he didn't, or did under another label. */
int bindings_unbind(struct dispatcher *dispatcher, const struct binding *binding);

/* Makes the administrator's bindings these, with one store. Two for one selector: -EINVAL. */
int bindings_replace(struct dispatcher *dispatcher, const struct binding *bindings, size_t count);

/* Makes a unit's bindings these; count 0 drops all. */
int bindings_sync(struct dispatcher *dispatcher, const char *unit, const struct binding *bindings,
	size_t count);

/*
 * All bindings of all owners in the order of precedence, those of the same selector side by side
 * (the key's owner tells them apart). The caller frees the array.
 */
int bindings_list(const struct dispatcher *dispatcher, struct bound **ret, size_t *ret_count);

/* The unit's name; "" for the administrator. Valid as long as the dispatcher. */
const char *owner_name(const struct dispatcher *dispatcher, uint16_t owner);
