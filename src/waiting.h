/* SPDX-License-Identifier: GPL-2.0-only */
/* Waiting for what the kernel gives no notice of: a process that opens a socket, say. */
#pragma once

/* Between two looks. */
#define POLL_INTERVAL_MSEC 10

/* Microseconds since some moment, by a clock that nobody sets (clock_gettime(2)). */
unsigned long long monotonic_usec(void);

/* Sleeps so long, less than a second, or until a signal is caught. */
void pause_msec(long milliseconds);
