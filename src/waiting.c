/* SPDX-License-Identifier: GPL-2.0-only */
#include "waiting.h"

#include <time.h>

unsigned long long monotonic_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
}

void pause_msec(long milliseconds)
{
	const struct timespec interval = {.tv_nsec = milliseconds * 1000000L};

	nanosleep(&interval, NULL);
}
