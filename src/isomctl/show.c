/* SPDX-License-Identifier: GPL-2.0-only */
/* How results are shown: tables with aligned columns, and texts from elsewhere. See isomctl.h. */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isomctl.h"

enum { MEASURE = 1, PRINT, DONE };

/* Characters, not bytes: of a UTF-8 sequence only the first byte counts, of a colour's none. */
static int width(const char *text)
{
	int characters = 0;

	for (; *text; text++) {
		if (*text == '\033')
			text += strcspn(text, "m");
		else
			characters += ((unsigned char)*text & 0xc0) != 0x80;
		if (!*text)
			break;
	}
	return characters;
}

void table_begin(struct table *table, const char *const titles[])
{
	*table = (struct table){.titles = titles};
}

bool table_pass(struct table *table)
{
	if (++table->pass == DONE)
		return false;
	table_row(table, table->titles);
	return true;
}

void table_row(struct table *table, const char *const cells[])
{
	for (int i = 0; table->titles[i]; i++) {
		int cell = width(cells[i]);
		bool last = !table->titles[i + 1];

		if (table->pass == MEASURE && cell > table->widths[i])
			table->widths[i] = cell;
		else if (table->pass == PRINT)
			printf("%s%*s", cells[i], last ? 0 : table->widths[i] - cell + 2, "");
	}
	if (table->pass == PRINT)
		putchar('\n');
}

const char *printable(const char *text, char *buffer, size_t size)
{
	size_t length = 0;

	for (; *text && length + sizeof("\\xNN") <= size; text++) {
		unsigned char byte = (unsigned char)*text;

		if (iscntrl(byte) || byte == '\\')
			length += (size_t)snprintf(buffer + length, size - length, "\\x%02x", byte);
		else
			buffer[length++] = *text;
	}
	buffer[length] = '\0';
	return buffer;
}

json_t *json_text(const char *text)
{
	static const char replacement[] = "\xef\xbf\xbd";
	json_t *json = json_string(text);
	size_t size = 0;
	char *valid = NULL;
	FILE *out;

	if (json || !(out = open_memstream(&valid, &size)))
		return json;
	/* Rare and short: byte by byte, what isn't ASCII is replaced. */
	for (; *text; text++)
		if ((unsigned char)*text < 0x80)
			fputc(*text, out);
		else
			fputs(replacement, out);
	fclose(out);
	json = json_string(valid);
	free(valid);
	return json;
}
