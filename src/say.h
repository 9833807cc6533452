/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Errors in words, to stderr. Functions return a negative errno all the way up; the one that knows
 * what was tried and what to do says it, once, with fail(); whoever is above only passes it on.
 *
 * Parsers don't know where their text comes from (a command line, FILE:LINE), so they give a
 * `struct reason` instead, for the caller to put into its sentence.
 */
#pragma once

#include <errno.h>

#define _printf_(string, first) __attribute__((format(printf, string, first)))

/* Why a text was refused: a phrase like «"tpc" is not a protocol: write tcp or udp». */
struct reason {
	char text[640];
};

/* Fills in the reason; is -EINVAL, for the parser to return. */
#define refuse(reason, ...) (give_reason(reason, __VA_ARGS__), -EINVAL)

/*
 * Says an error; %m is the text of `error`, a negative errno, which is its value. Always negative,
 * also where somebody passes an errno that is 0, so that no failure is taken for a success.
 */
#define fail(error, ...)                                                                           \
	({                                                                                         \
		int error_ = (error);                                                              \
		say_error(error_, __VA_ARGS__);                                                    \
		error_ < 0 ? error_ : -EIO;                                                        \
	})

void give_reason(struct reason *reason, const char *format, ...) _printf_(2, 3);
void say_error(int error, const char *format, ...) _printf_(2, 3);

/* Says what doesn't stop the work; %m is the text of errno. */
void warn(const char *format, ...) _printf_(1, 2);

/* Says on stderr what was done beside what was asked for. */
void notice(const char *format, ...) _printf_(1, 2);

/*
 * For programs that PID 1 runs with nobody to read their stderr (systemd.generator(7)): where that
 * is /dev/null, all that is said from here on goes to the journal, or to the kernel's log where
 * there is no journal yet. Never waits for either.
 */
void say_to_the_log(void);

/*
 * Has standard input, output and error be open, if only to nothing: else the next file that is
 * opened would be one of them, and get what is said. Writing to one that was closed stays an error.
 */
void occupy_standard_streams(void);
