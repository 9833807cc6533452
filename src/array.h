/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory for lists that may have a million elements. In huge pages, where the kernel has them: else
 * a third of the time that a long list takes would be page faults.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* Like calloc(3), and for free(3); never NULL for want of elements. NULL: no memory. */
static inline void *array_alloc(size_t count, size_t size)
{
	size_t bytes;
	void *array;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - HUGE_PAGE)
		return NULL;
	if (bytes < HUGE_PAGE)
		return calloc(count + 1, size);
	bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	array = aligned_alloc(HUGE_PAGE, bytes);
	if (!array)
		return NULL;
	madvise(array, bytes, MADV_HUGEPAGE); /* a wish */
	return memset(array, 0, bytes);
}
