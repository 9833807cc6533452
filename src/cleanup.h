/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a variable owns is given back where its scope ends, in the manner of systemd's _cleanup_:
 *
 *	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void freep(void *pointer)
{
	free(*(void **)pointer);
}

static inline void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

static inline void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* Gives the value away: the variable owns nothing any more. */
#define take_fd(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -EBADF;                                                                     \
		taken_;                                                                            \
	})
#define take_pointer(pointer)                                                                      \
	({                                                                                         \
		typeof(pointer) taken_ = (pointer);                                                \
		(pointer) = NULL;                                                                  \
		taken_;                                                                            \
	})
