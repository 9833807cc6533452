/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The JSON document that `isomctl load-bindings` reads and `isomctl --json bindings` writes:
 *
 *	{"bindings": [{"label": …, "prefix": …, "port": …, "protocol": …}, …]}
 *
 * It may have a million entries, so they are parsed one by one, and no tree of them is ever made.
 */
#pragma once

#include <stddef.h>

#include "bindings.h"

struct binding_file {
	struct labelled
		*bindings; /* in the order of the file; an entry without a protocol gives two */
	size_t count;
	void *labels; /* each text once: what the bindings point to */
};

/*
 * Parses the document, of which `name` is the name for errors. Entries of units ("by_hand": false)
 * are passed over. Returns 0, or a negative errno that was said with FILE:LINE:COLUMN; give back
 * with binding_file_free() in either case.
 */
int binding_file_parse(const char *name, const char *text, size_t length, progress_report *progress,
	struct binding_file *ret);

/* Where something stands in the document: the `entry`th entry, all counted from 1. */
struct binding_place {
	size_t line, column, entry;
};

/* The last place that asks for the binding, in a text that could be parsed; zeros: there is none.
 */
struct binding_place binding_file_find(
	const char *text, size_t length, const struct binding *binding);

void binding_file_free(struct binding_file *file);
