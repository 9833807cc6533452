/* SPDX-License-Identifier: GPL-2.0-only */
/* What `isomctl verify` finds: a list of errors and warnings, each with its place, and its end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../section.h"

enum severity { ERROR, WARNING };

struct finding {
	enum severity severity;
	char *unit; /* NULL: none in particular */
	char *path; /* NULL: no file */
	unsigned int line, column;
	char *text;
};

struct findings {
	struct finding *list;
	size_t count;
	size_t errors;
	bool out_of_memory; /* then there may be more than are listed */
};

/* unit and place may be NULL. The text is copied. */
void finding_add(struct findings *findings, enum severity severity, const char *unit,
	const struct section_place *place, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* By file and line; what is said twice of one place is said once. */
void findings_sort(struct findings *findings);

void findings_print(const struct findings *findings, size_t units);
void findings_print_json(const struct findings *findings, size_t units);
void findings_free(struct findings *findings);
