/* SPDX-License-Identifier: GPL-2.0-only */
/* The units on the unit path: see units.h. */
#include "units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"

int unit_find_files(const struct unitpath *unitpath, const struct unit_name *name,
	struct unit_name *ret_name, const char ***ret, size_t *ret_count)
{
	_cleanup_(freep) const struct unitpath_dropin **dropins = NULL;
	const struct unitpath_file *fragment;
	const char **files;
	size_t count = 0;
	int r;

	*ret = NULL;
	*ret_count = 0;
	unitpath_resolve(unitpath, name, ret_name, &fragment);
	if (fragment && fragment->kind == UNIT_MASK)
		return 0;
	r = unitpath_dropins(unitpath, ret_name, &dropins, &count);
	if (r < 0)
		return r;
	*ret = files = calloc(count + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	if (fragment)
		files[(*ret_count)++] = fragment->path;
	for (size_t i = 0; i < count; i++)
		files[(*ret_count)++] = dropins[i]->path;
	return 0;
}

static bool is_last_of_owner(const struct unitpath *unitpath, size_t i)
{
	return i + 1 == unitpath->dropin_count ||
		strcmp(unitpath->dropins[i].owner, unitpath->dropins[i + 1].owner) != 0;
}

/* "service", and "foo-.service": their drop-ins are for the units of the type, or named so. */
static bool is_unit(const char *owner)
{
	const char *end = strpbrk(owner, "@.");

	return strchr(owner, '.') && end > owner && end[-1] != '-';
}

int units_visit(const struct unitpath *unitpath, unit_visit *visit, void *context)
{
	int r = 0;

	for (size_t i = 0; i < unitpath->file_count && r == 0; i++)
		if (unitpath->files[i].kind == UNIT_FRAGMENT)
			r = visit(unitpath->files[i].name, context);
	for (size_t i = 0; i < unitpath->dropin_count && r == 0; i++)
		if (is_last_of_owner(unitpath, i) && is_unit(unitpath->dropins[i].owner))
			r = visit(unitpath->dropins[i].owner, context);
	return r;
}
