/* SPDX-License-Identifier: GPL-2.0-only */
/* Which word somebody may have meant: see nearest.h. */
#include "nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LONGEST 32 /* a longer word is no slip of the pen */

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The optimal string alignment distance; neither text is longer than LONGEST. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[LONGEST + 1][LONGEST + 1];
	size_t a_length = strlen(a), b_length = strlen(b);

	for (size_t i = 0; i <= a_length; i++) {
		for (size_t j = 0; j <= b_length; j++) {
			if (i == 0 || j == 0) {
				rows[i][j] = i + j;
				continue;
			}
			rows[i][j] = least(least(rows[i - 1][j], rows[i][j - 1]) + 1,
				rows[i - 1][j - 1] + !same_letter(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
				same_letter(a[i - 2], b[j - 1]))
				rows[i][j] = least(rows[i][j], rows[i - 2][j - 2] + 1);
		}
	}
	return rows[a_length][b_length];
}

const char *nearest_word(const char *word, const char *const *candidates)
{
	const char *nearest = NULL;
	size_t best = 0;

	if (strlen(word) > LONGEST)
		return NULL;
	for (; *candidates; candidates++) {
		size_t length = strlen(*candidates),
		       far = length <= LONGEST ? distance(word, *candidates) : length;

		/* A third of the letters may be wrong. */
		if (far <= (length + 2) / 3 && (!nearest || far < best)) {
			nearest = *candidates;
			best = far;
		}
	}
	return nearest;
}
