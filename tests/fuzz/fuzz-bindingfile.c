/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The JSON document of bindings: an input is one. What is taken is JSON in jansson's eyes, too, has
 * as many entries, and written again is the same; what isn't is said with its place, and leaves
 * nothing.
 */
#include <jansson.h>
#include <string.h>

#include "../../src/bindingfile.h"
#include "../../src/cleanup.h"
#include "fuzz.h"

#define NAME "bindings.json"

static void check_said(const char *text, size_t size)
{
	size_t line, column, lines = 1;
	int length = 0;

	must(said.count == 1);
	must(sscanf(said.errors[0], NAME ":%zu:%zu: %n", &line, &column, &length) == 2);
	must(length > 0 && said.errors[0][length] != ':');
	must(strstr(said.errors[0], ": nothing was changed"));
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	must(line >= 1 && line <= lines && column >= 1 && column <= size + 1);
}

/* How many bindings the whole tree of the document has. */
static size_t count_in_tree(const char *text, size_t size)
{
	_cleanup_(json_decrefp) json_t *tree = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	size_t i, count = 0;
	json_t *entry;

	must(json_object_size(tree) == 1 && json_is_array(json_object_get(tree, "bindings")));
	json_array_foreach(json_object_get(tree, "bindings"), i, entry)
	{
		must(json_is_string(json_object_get(entry, "label")));
		if (!json_is_false(json_object_get(entry, "by_hand")))
			count += json_object_get(entry, "protocol") ? 1 : PROTOCOLS;
	}
	return count;
}

static char *write_document(const struct binding_file *file)
{
	char prefix[LONGEST_PREFIX_TEXT], ports[LONGEST_PORTS_TEXT], *text;
	_cleanup_(json_decrefp) json_t *list = json_array();

	for (size_t i = 0; i < file->count; i++) {
		const struct labelled *binding = &file->bindings[i];

		must(json_array_append_new(list,
			     json_pack("{ss ss ss ss}", "label", binding->label, "protocol",
				     protocol_name(binding->selector.protocol), "prefix",
				     prefix_format(&binding->selector.prefix, prefix), "port",
				     ports_format(&binding->selector.ports, ports))) == 0);
	}
	list = json_pack("{so}", "bindings", list); /* which takes it over */
	text = json_dumps(list, 0);
	must(text);
	return text;
}

static void check_same(const struct binding_file *a, const struct binding_file *b)
{
	must(a->count == b->count);
	for (size_t i = 0; i < a->count; i++) {
		must(strcmp(a->bindings[i].label, b->bindings[i].label) == 0);
		must(selector_compare(&a->bindings[i].selector, &b->bindings[i].selector) == 0);
		/* The same label is at the same place. */
		must(i == 0 ||
			(a->bindings[i].label == a->bindings[0].label) ==
				(strcmp(a->bindings[i].label, a->bindings[0].label) == 0));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(binding_file_free) struct binding_file file, again;
	_cleanup_(freep) char *text = NULL;
	int r;

	again = (struct binding_file){};
	forget_said();
	r = binding_file_parse(NAME, (const char *)data, size, NULL, &file);
	must(r == 0 || r == -EINVAL);
	if (r < 0) {
		check_said((const char *)data, size);
		return 0;
	}
	must(said.count == 0);
	must(file.count == count_in_tree((const char *)data, size));
	text = write_document(&file);
	must(binding_file_parse(NAME, text, strlen(text), NULL, &again) == 0);
	check_same(&file, &again);
	return 0;
}
