/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The JSON document of bindings when it is long, and its second half is parsed at the same time: an
 * input is a document, and blank space before it makes it long. It is taken as it is without, or
 * the same is said of it, a line further down.
 */
#include <string.h>

#include "../../src/bindingfile.h"
#include "../../src/cleanup.h"
#include "fuzz.h"

#define NAME "bindings.json"

/* Longer than what is parsed in one piece, which a fuzzer's build makes as short as it can be. */
#ifdef LONG_DOCUMENT
#define BLANK_SPACE (LONG_DOCUMENT + 1)
#else
#define BLANK_SPACE ((1 << 20) + 1)
#endif

/* The document behind a line that is blank. */
static char *make_long(const uint8_t *data, size_t size)
{
	char *text = malloc(BLANK_SPACE + size);

	must(text);
	memset(text, ' ', BLANK_SPACE);
	text[BLANK_SPACE - 1] = '\n';
	memcpy(text + BLANK_SPACE, data, size);
	return text;
}

/* What is behind "NAME:LINE", and the line in *ret. */
static const char *place_of(const char *error, unsigned int *ret)
{
	int length = 0;

	must(sscanf(error, NAME ":%u%n", ret, &length) == 1 && length > 0);
	return error + length;
}

static void check_said_the_same(const char *short_error, const char *long_error)
{
	unsigned int line, line_of_long;
	const char *rest = place_of(short_error, &line);

	must(strcmp(rest, place_of(long_error, &line_of_long)) == 0);
	must(line_of_long == line + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(binding_file_free) struct binding_file file = {}, of_long = {};
	_cleanup_(freep) char *text = make_long(data, size);
	int r, r_of_long;

	forget_said();
	r = binding_file_parse(NAME, (const char *)data, size, NULL, &file);
	r_of_long = binding_file_parse(NAME, text, BLANK_SPACE + size, NULL, &of_long);
	must(r == r_of_long);
	if (r < 0) {
		must(said.count == 2);
		check_said_the_same(said.errors[0], said.errors[1]);
		return 0;
	}
	must(file.count == of_long.count);
	for (size_t i = 0; i < file.count; i++) {
		must(strcmp(file.bindings[i].label, of_long.bindings[i].label) == 0);
		must(selector_compare(&file.bindings[i].selector, &of_long.bindings[i].selector) ==
			0);
	}
	return 0;
}
