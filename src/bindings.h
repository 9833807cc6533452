/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is bound: the truth (who asked for which binding) and its changes, which keep the tables
 * that packets see in step.
 *
 * A binding may have several owners: the administrator, who is unnamed, and units. It lives until
 * the last one lets go of it. Two owners can't bind the same selector under two labels.
 *
 * All functions return 0 or a negative errno that they have said; on error nothing is changed. What
 * can't be bound because of another binding, though, is for the caller to say, who knows where it
 * was asked for: that is -EADDRINUSE, and a struct refusal that tells why.
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

/*
 * Binds for the administrator; a binding of the same selector moves to the new label. *ret_last is
 * the label under which he had bound it, or NULL; valid as long as the dispatcher.
 */
int bindings_bind(struct dispatcher *dispatcher, const struct binding *binding,
	const char **ret_last, struct refusal *refusal);

/* Unbinds what the administrator bound. -ENOENT if he didn't, or did under another label. */
int bindings_unbind(struct dispatcher *dispatcher, const struct binding *binding);

/* A binding of which the label is kept elsewhere, for lists of a million. */
struct labelled {
	const char *label; /* the same text is at the same address */
	struct selector selector;
};

/* What becomes of one selector when the administrator's bindings are replaced. */
struct difference {
	struct selector selector;
	const char *last; /* its label until now; NULL: it wasn't bound */
	const char *next; /* its label from now on; NULL: it isn't bound any more */
};

struct replacement {
	struct difference *differences; /* what is different, in the order of precedence */
	size_t count;
	size_t unchanged;
};

/*
 * Makes the administrator's bindings these, with one store, and tells what that made different; the
 * caller frees the array, whose labels live as long as the dispatcher. Of a dispatcher that was
 * opened for reading, nothing is changed: it tells what would be.
 */
int bindings_replace(struct dispatcher *dispatcher, const struct labelled *bindings, size_t count,
	progress_report *progress, struct replacement *ret, struct refusal *refusal);

/* What a unit is to have bound: all it has. */
struct unit_bindings {
	const char *unit;
	const struct binding *bindings; /* each one once */
	size_t count;
	bool had_any; /* filled in: were there any of the unit's before? */
	int result;   /* 0, or why it could not be done: then the unit keeps what it had */
	struct refusal refusal; /* where that is -EADDRINUSE; all else was said */
};

/*
 * Makes units' bindings these, in one go: what one lets go of, another may take. Where two of them,
 * or one of them and somebody else, bind the same under two labels, the later of them in the list
 * is left out. Returns the first result that isn't 0, or what went wrong with all of it.
 */
int bindings_sync(struct dispatcher *dispatcher, struct unit_bindings *units, size_t unit_count);

/*
 * All bindings of all owners in the order of precedence, those of the same selector side by side
 * (the key's owner tells them apart, the administrator's is first). The caller frees the array.
 */
int bindings_list(struct dispatcher *dispatcher, struct bound **ret, size_t *ret_count);

const char *owner_name(const struct dispatcher *dispatcher, uint16_t owner);
