/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzz targets share. A target is a file fuzz-NAME.c with one LLVMFuzzerTestOneInput(),
 * which holds a part of Isomer that reads what people write against what is promised of it; what
 * it has to start from is in corpus/NAME/. libFuzzer calls it with inputs that it makes up
 * (`make fuzz`), replay.c with those of files (tests/unit/test-corpora.bats).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/say.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What holds for every input; ends the process where it doesn't. */
#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: it doesn't hold that %s\n", __FILE__, __LINE__,    \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/*
 * A parser that takes nothing leaves its result as it was, which is for the caller to check, and
 * gives a reason. The reason is to be empty before. True: it was taken.
 */
#define taken(result, reason)                                                                      \
	({                                                                                         \
		int taken_ = (result);                                                             \
		must(taken_ == 0 || taken_ == -EINVAL);                                            \
		must((taken_ == 0) == ((reason)->text[0] == '\0'));                                \
		taken_ == 0;                                                                       \
	})

/*
 * What was said since the last forget_said(), instead of to stderr: errors alone, for warnings are
 * about files that can't be read.
 */
struct said {
	char **errors;
	size_t count;
};

extern struct said said;
void forget_said(void);

/* The input as a text, which ends at its first NUL. To be freed. */
char *text_of(const uint8_t *data, size_t size);

/* Cuts the line off that *rest begins with, and returns it; an empty one at the end. */
char *take_line(char **rest);

/* The path of a file in memory with that content; there are a few, by their numbers. */
#define FILES 3
const char *file_of(unsigned int number, const void *content, size_t size);

/*
 * The files of a unit within one input: from the line "# drop-in" on it is the second one. Each is
 * written to the file of its number; a third has both after one another, and says the same to
 * those who begin each file anew.
 */
struct unit_files {
	const char *paths[2], *joined;
	size_t lengths[2];
	size_t count;
};

void unit_files_write(const uint8_t *data, size_t size, struct unit_files *ret);
