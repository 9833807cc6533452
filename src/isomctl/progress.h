/* SPDX-License-Identifier: GPL-2.0-only */
/* A progress bar on stderr, if that is a terminal, for work that takes longer than a second. */
#pragma once

void progress_begin(void);

/* What is done now, and from which to which share of the whole it goes. */
void progress_step(const char *name, double from, double to);

/* Shows how far the step has come, 0 to 1. */
void progress_show(double share);

/* Takes the bar away again. */
void progress_end(void);
