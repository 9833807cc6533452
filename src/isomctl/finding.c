/* SPDX-License-Identifier: GPL-2.0-only */
/* What `isomctl verify` finds: see finding.h. */
#include "finding.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "isomctl.h"

static const char *const severity_names[] = {[ERROR] = "error", [WARNING] = "warning"};

void finding_add(struct findings *findings, enum severity severity, const char *unit,
	const struct section_place *place, const char *format, ...)
{
	struct finding finding = {.severity = severity};
	struct finding *longer = reallocarray(findings->list, findings->count + 1, sizeof(*longer));
	va_list arguments;

	findings->errors += severity == ERROR;
	if (!longer) {
		findings->out_of_memory = true;
		return;
	}
	findings->list = longer;
	va_start(arguments, format);
	if (vasprintf(&finding.text, format, arguments) < 0)
		finding.text = NULL;
	va_end(arguments);
	finding.unit = unit ? strdup(unit) : NULL;
	if (place) {
		finding.path = strdup(place->path);
		finding.line = place->line;
		finding.column = place->column;
	}
	if (!finding.text || (unit && !finding.unit) || (place && !finding.path))
		findings->out_of_memory = true;
	findings->list[findings->count++] = finding;
}

static int text_compare(const char *a, const char *b)
{
	return strcmp(a ?: "", b ?: "");
}

static int finding_compare(const void *a, const void *b)
{
	const struct finding *x = a, *y = b;
	int order = text_compare(x->path, y->path);

	if (order == 0)
		order = (x->line > y->line) - (x->line < y->line);
	if (order == 0)
		order = (x->column > y->column) - (x->column < y->column);
	if (order == 0)
		order = (int)x->severity - (int)y->severity;
	return order ?: text_compare(x->text, y->text);
}

static void finding_clear(struct finding *finding)
{
	free(finding->unit);
	free(finding->path);
	free(finding->text);
}

void findings_sort(struct findings *findings)
{
	size_t kept = 0;

	if (!findings->count)
		return;
	qsort(findings->list, findings->count, sizeof(*findings->list), finding_compare);
	findings->errors = 0;
	for (size_t i = 0; i < findings->count; i++) {
		struct finding *finding = &findings->list[i];

		/* Several units may have a file. */
		if (kept > 0 && finding_compare(&findings->list[kept - 1], finding) == 0) {
			finding_clear(finding);
			continue;
		}
		findings->errors += finding->severity == ERROR;
		findings->list[kept++] = *finding;
	}
	findings->count = kept;
}

void findings_print(const struct findings *findings, size_t units)
{
	size_t warnings = findings->count - findings->errors;

	for (const struct finding *finding = findings->list;
		finding < findings->list + findings->count; finding++) {
		size_t size = 4 * strlen(finding->text ?: "") + sizeof("\\xNN");
		_cleanup_(freep) char *text = malloc(size);

		if (finding->path)
			printf("%s:", finding->path);
		if (finding->line)
			printf("%u:%u:", finding->line, finding->column);
		if (!finding->path && finding->unit)
			printf("%s:", finding->unit);
		if (finding->path || finding->unit)
			putchar(' ');
		printf("%s: %s\n", severity_names[finding->severity],
			text ? printable(finding->text ?: "", text, size) : "");
	}
	printf("%zu unit%s checked: %zu error%s, %zu warning%s\n", units, units == 1 ? "" : "s",
		findings->errors, findings->errors == 1 ? "" : "s", warnings,
		warnings == 1 ? "" : "s");
}

static json_t *json_number(unsigned int number)
{
	return number ? json_integer(number) : json_null();
}

void findings_print_json(const struct findings *findings, size_t units)
{
	json_t *list = json_array(), *root;

	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->list[i];

		json_array_append_new(list,
			json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "severity",
				severity_names[finding->severity], "unit",
				finding->unit ? json_text(finding->unit) : json_null(), "file",
				finding->path ? json_text(finding->path) : json_null(), "line",
				json_number(finding->line), "column",
				json_number(finding->line ? finding->column : 0), "text",
				json_text(finding->text ?: "")));
	}
	root = json_pack("{s:I, s:I, s:I, s:o}", "units", (json_int_t)units, "errors",
		(json_int_t)findings->errors, "warnings",
		(json_int_t)(findings->count - findings->errors), "findings", list);
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

void findings_free(struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++)
		finding_clear(&findings->list[i]);
	free(findings->list);
}
