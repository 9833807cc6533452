/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The grammar of unit files: an input is a file. What is shown of it, written down as a file of its
 * own, shows the same again.
 */
#include <string.h>

#include "../../src/cleanup.h"
#include "../../src/unitfile.h"
#include "fuzz.h"

struct seen {
	FILE *written;
	char *section; /* the last header */
	unsigned int number;
	unsigned int lines;
};

static bool is_stripped(const char *text)
{
	return !*text || (!strchr(" \t", text[0]) && !strchr(" \t", text[strlen(text) - 1]));
}

static int see(const struct unitfile_line *line, void *context)
{
	struct seen *seen = context;

	must(line->number > seen->number);
	must(!strpbrk(line->section, "\r\n"));
	seen->number = line->number;
	seen->lines++;
	if (!line->value) {
		must(!line->key);
		free(seen->section);
		seen->section = strdup(line->section);
		fprintf(seen->written, "[%s]\n", line->section);
		return 0;
	}
	must(strcmp(line->section, seen->section) == 0);
	must(is_stripped(line->value) && !strpbrk(line->value, "\r\n"));
	/* The blank is for values that end with a backslash. */
	if (line->key) {
		must(*line->key && is_stripped(line->key) && !strpbrk(line->key, "=\r\n"));
		fprintf(seen->written, "%s=%s \n", line->key, line->value);
	} else {
		must(*line->value);
		fprintf(seen->written, "%s \n", line->value);
	}
	return 0;
}

/* All that is seen of a file; returns the number of its last line. */
static unsigned int see_all(const char *path, char **ret_written, unsigned int *ret_lines)
{
	size_t size;
	struct seen seen = {.written = open_memstream(ret_written, &size), .section = strdup("")};

	must(unitfile_read(path, see, &seen) == 0);
	fclose(seen.written);
	free(seen.section);
	*ret_lines = seen.lines;
	return seen.number;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *written = NULL, *again = NULL, *text = NULL;
	unsigned int lines, lines_again;

	must(see_all(file_of(0, data, size), &written, &lines) <= size);
	/* What begins the first line isn't taken for a byte order mark then. */
	must(asprintf(&text, "\n%s", written) > 0);
	must(see_all(file_of(1, text, strlen(text)), &again, &lines_again) ==
		(lines > 0 ? lines + 1 : 0));
	must(strcmp(written, again) == 0);
	must(lines == lines_again);
	return 0;
}
