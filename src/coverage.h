/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which of a set of bindings can never win, because those that come before it in the order of
 * precedence hold all its packets between them. Pure.
 */
#pragma once

#include <stddef.h>

#include "binding.h"

/* By protocol, family, address and length, then ports: what lies within a prefix comes after it. */
int selector_compare_by_address(const struct selector *a, const struct selector *b);

/* An idle binding, and one of those that take its packets, the one that takes most. */
struct idle {
	size_t index;
	size_t taker;
};

/*
 * The selectors are all different, and sorted by selector_compare_by_address(). The caller frees
 * *ret. Returns 0, -ENOMEM, or -E2BIG where that would take too long: then *ret has those found
 * until then.
 */
int coverage_find_idle(
	const struct selector *selectors, size_t count, struct idle **ret, size_t *ret_count);
