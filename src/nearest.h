/* SPDX-License-Identifier: GPL-2.0-only */
/* Which of some words somebody may have meant who wrote another one. */
#pragma once

/*
 * The one of the candidates (NULL at the end) that is the fewest letters away: inserted, left out,
 * replaced, or swapped with its neighbour; the case doesn't count. NULL where none is near.
 */
const char *nearest_word(const char *word, const char *const *candidates);
