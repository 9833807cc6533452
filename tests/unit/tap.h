/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests that report in TAP, the protocol that prove(1) and bats read: each check() is one line, and
 * main() ends with `return tap_end();`.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static unsigned int tap_checks, tap_failures;

/* One test, named as printf() would; returns the condition. */
__attribute__((format(printf, 2, 3))) static inline bool check(
	bool condition, const char *name, ...)
{
	va_list arguments;

	printf("%sok %u - ", condition ? "" : "not ", ++tap_checks);
	va_start(arguments, name);
	vprintf(name, arguments);
	va_end(arguments);
	putchar('\n');
	tap_failures += !condition;
	return condition;
}

/* check() that two texts are the same; shows both where they aren't. */
static inline bool check_text(const char *is, const char *expected, const char *name)
{
	bool same = check(strcmp(is, expected) == 0, "%s", name);

	if (!same)
		printf("#       is: %s\n# expected: %s\n", is, expected);
	return same;
}

/* check() that a text is in another. */
static inline bool check_within(const char *text, const char *expected, const char *name)
{
	bool within = check(strstr(text, expected), "%s", name);

	if (!within)
		printf("#       is: %s\n# expected: %s\n", text, expected);
	return within;
}

/* Says how many there were; returns what main() shall. */
static inline int tap_end(void)
{
	printf("1..%u\n", tap_checks);
	return tap_failures > 0;
}
