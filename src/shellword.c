/* SPDX-License-Identifier: GPL-2.0-only */
#include "shellword.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

/* Letters of all languages (UTF-8), and what no shell has a meaning for. */
static bool is_plain(char c)
{
	return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 || strchr("._-+/:@%,=", c);
}

/* One character within '…' or, where there are control characters, within $'…' (bash, zsh). */
static const char *quoted(char c, bool in_ansi_quotes, char text[5])
{
	if (c == '\'')
		return in_ansi_quotes ? "\\'" : "'\\''";
	if (c == '\\' && in_ansi_quotes)
		return "\\\\";
	snprintf(text, 5, is_control(c) ? "\\x%02x" : "%c", (unsigned char)c);
	return text;
}

const char *shell_value(const char *text, char *buffer, size_t size)
{
	bool plain = *text, control = false;
	size_t length;

	for (const char *c = text; *c; c++) {
		plain = plain && is_plain(*c);
		control = control || is_control(*c);
	}
	if (plain) {
		snprintf(buffer, size, "%s", text);
		return buffer;
	}
	length = (size_t)snprintf(buffer, size, "%s'", control ? "$" : "");
	for (const char *c = text; *c && length < size; c++) {
		char one[5];

		length += (size_t)snprintf(
			buffer + length, size - length, "%s", quoted(*c, control, one));
	}
	if (length < size)
		snprintf(buffer + length, size - length, "'");
	return buffer;
}

const char *shell_word(const char *text, char *buffer, size_t size)
{
	size_t length = *text == '-' ? (size_t)snprintf(buffer, size, "-- ") : 0;

	shell_value(text, buffer + length, size - length);
	return buffer;
}
