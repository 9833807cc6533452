/* SPDX-License-Identifier: GPL-2.0-only */
/* Unit names and specifiers: an input is a unit's name, a line end, and a text to expand. */
#include <string.h>

#include "../../src/cleanup.h"
#include "../../src/unitpath.h"
#include "fuzz.h"

/* Parts that name the unit again, in one piece. */
static void check_name(const char *text, const struct unit_name *unit)
{
	char prefix[UNIT_NAME_SIZE];
	struct unit_name built, copy;
	size_t length = strlen(unit->prefix);

	must(strcmp(unit->full, text) == 0 && length > 0);
	must(!(unit_name_is_template(unit) && unit_name_is_instance(unit)));
	must(!unit->instance || unit->instance == unit->instance_text);
	must(unit_name_build(unit->prefix, unit->instance, unit->suffix, &built));
	must(strcmp(built.full, text) == 0);
	unit_name_copy(unit, &copy);
	must(!unit->instance || copy.instance == copy.instance_text);

	/* Each is shorter than the one before, and begins the name. */
	strcpy(prefix, unit->prefix);
	while (unitpath_cut_prefix(prefix)) {
		must(strlen(prefix) <= length && prefix[strlen(prefix) - 1] == '-');
		must(strncmp(prefix, unit->prefix, strlen(prefix)) == 0);
		length = strlen(prefix) - 1;
	}
}

/* Is there a reason to refuse the text? */
static bool is_right(const char *text, const struct unit_name *unit)
{
	for (; *text; text++) {
		if (*text != '%')
			continue;
		text++;
		if (!*text || !strchr("nNpiIjJH%", *text))
			return false;
		if (strchr("IJ", *text) && strchr(unit->full, '\\'))
			return false; /* or maybe not */
	}
	return true;
}

static char *expand(const char *text, const struct unit_name *unit)
{
	struct reason reason = {};
	char *expanded = NULL;

	if (!taken(specifiers_expand(text, unit, &expanded, &reason), &reason)) {
		must(!expanded);
		must(!is_right(text, unit));
		return NULL;
	}
	must(strlen(expanded) <= strlen(text) * UNIT_NAME_SIZE);
	return expanded;
}

/* With each percent sign doubled, the text is what it expands to. */
static void check_escaped(const char *text, const struct unit_name *unit)
{
	_cleanup_(freep) char *escaped = calloc(2, strlen(text) + 1), *expanded = NULL;
	char *end = escaped;

	must(escaped);
	for (const char *c = text; *c; c++) {
		if (*c == '%')
			*end++ = '%';
		*end++ = *c;
	}
	expanded = expand(escaped, unit);
	must(expanded && strcmp(expanded, text) == 0);
}

/* What is before and behind a place expands to the halves of the whole, unless it parts two %. */
static void check_halves(const char *text, const struct unit_name *unit, const char *expanded)
{
	_cleanup_(freep) char *first = strndup(text, strlen(text) / 2), *one = NULL, *two = NULL;

	must(first);
	one = expand(first, unit);
	two = expand(text + strlen(first), unit);
	if (!one || !two)
		return;
	must(strlen(one) + strlen(two) == strlen(expanded));
	must(strncmp(expanded, one, strlen(one)) == 0);
	must(strcmp(expanded + strlen(one), two) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *text = text_of(data, size), *expanded = NULL;
	char *rest = text, *name = take_line(&rest);
	struct unit_name unit = {.full = "unchanged"};
	struct reason reason = {};

	if (!taken(unit_name_parse(name, &unit, &reason), &reason)) {
		must(strcmp(unit.full, "unchanged") == 0);
		return 0;
	}
	check_name(name, &unit);
	check_escaped(rest, &unit);
	expanded = expand(rest, &unit);
	if (expanded)
		check_halves(rest, &unit, expanded);
	return 0;
}
