/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * time-run COMMAND [ARGUMENT...]: runs it, with its output dropped, and prints how many nanoseconds
 * passed from its start to its end. Fails if the command does.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "measure.h"

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	struct rusage usage;
	double before, after;
	int r, status;
	pid_t pid;

	die_with_parent();
	if (argc < 2)
		errx(2, "usage: time-run COMMAND [ARGUMENT...]");
	if (posix_spawn_file_actions_init(&actions) ||
		posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0))
		errx(1, "no memory");

	before = nanoseconds(CLOCK_MONOTONIC);
	r = posix_spawnp(&pid, argv[1], &actions, NULL, argv + 1, environ);
	if (r) {
		errno = r;
		err(1, "%s", argv[1]);
	}
	while (wait4(pid, &status, 0, &usage) < 0)
		if (errno != EINTR)
			err(1, "wait4");
	after = nanoseconds(CLOCK_MONOTONIC);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		errx(1, "%s failed, status %#x", argv[1], status);
	printf("%.0f\n", after - before);
	return 0;
}
