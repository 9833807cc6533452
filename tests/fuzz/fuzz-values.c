/* SPDX-License-Identifier: GPL-2.0-only */
/* Booleans and time spans: an input is a value. */
#include <string.h>
#include <strings.h>

#include "../../src/cleanup.h"
#include "../../src/unitfile.h"
#include "fuzz.h"

static bool is_one_of(const char *text, const char *words)
{
	_cleanup_(freep) char *list = strdup(words);
	char *rest = list, *word;

	while ((word = strsep(&rest, " ")))
		if (strcasecmp(word, text) == 0)
			return true;
	return false;
}

static void check_boolean(const char *text)
{
	struct reason reason = {}, reason_before = {};
	bool value = false, before = true;
	bool is_boolean = taken(boolean_parse(text, &value, &reason), &reason);

	must(is_boolean == taken(boolean_parse(text, &before, &reason_before), &reason_before));
	must((value == before) == is_boolean);
	must(is_boolean == is_one_of(text, "1 yes y true t on 0 no n false f off"));
	must(!is_boolean || value == is_one_of(text, "1 yes y true t on"));
}

/* In microseconds it is the same span, and with another one behind it both together. */
static void check_timespan(const char *text)
{
	unsigned long long span = 1234, again, longer;
	_cleanup_(freep) char *sum = NULL;
	char in_usec[32];
	struct reason reason = {};

	if (!taken(timespan_parse(text, &span, &reason), &reason)) {
		must(span == 1234);
		return;
	}
	if (span == FOREVER)
		return;
	snprintf(in_usec, sizeof(in_usec), "%lluus", span);
	must(timespan_parse(in_usec, &again, &reason) == 0 && again == span);
	must(asprintf(&sum, "%s \t1s", text) > 0);
	if (timespan_parse(sum, &longer, &reason) == 0)
		must(longer == span + 1000000);
	else
		must(span + 1000000 < span);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *text = text_of(data, size);

	check_boolean(text);
	check_timespan(text);
	return 0;
}
