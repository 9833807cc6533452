/* SPDX-License-Identifier: GPL-2.0-only */
/* A progress bar: see progress.h. One command shows one bar, which is this file's only state. */
#include "progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "../waiting.h"

#define PATIENCE_SEC 1.0 /* what is done by then needs no bar */
#define BAR_WIDTH    40

static struct {
	bool on_terminal;
	bool shown;
	double begin;
	const char *step;
	double from, to;
} bar;

static double now(void)
{
	return (double)monotonic_usec() / 1e6;
}

void progress_begin(void)
{
	bar.on_terminal = isatty(STDERR_FILENO);
	bar.begin = now();
}

void progress_step(const char *name, double from, double to)
{
	bar.step = name;
	bar.from = from;
	bar.to = to;
}

void progress_show(double share)
{
	double done = bar.from + share * (bar.to - bar.from);

	if (!bar.on_terminal || now() - bar.begin < PATIENCE_SEC)
		return;
	bar.shown = true;
	fprintf(stderr, "\r%s [", bar.step);
	for (int i = 0; i < BAR_WIDTH; i++)
		fputc(i < done * BAR_WIDTH ? '#' : ' ', stderr);
	fprintf(stderr, "] %3.0f %%", done * 100);
}

void progress_end(void)
{
	if (bar.shown)
		fputs("\r\033[K", stderr);
}
