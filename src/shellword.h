/* SPDX-License-Identifier: GPL-2.0-only */
/* Labels may hold anything; here they become words of commands that somebody is to copy. */
#pragma once

#include <stddef.h>

/* Room for a text of so many bytes, whatever they are. */
#define SHELL_WORD_SIZE(bytes) (4UL * (bytes) + sizeof("-- $''"))

/*
 * The text as a shell takes it, quoted where need be: foo, 'two words', $'with\x1bescape'. One that
 * would be an option stands after "--". Returns buffer.
 */
const char *shell_word(const char *text, char *buffer, size_t size);

/* The same for an option's value, which may begin with a dash. */
const char *shell_value(const char *text, char *buffer, size_t size);
