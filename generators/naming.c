/* SPDX-License-Identifier: GPL-2.0-only */
/* What the generator's drop-ins are called: see naming.h. */
#include "naming.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/say.h"

/* Between what packages and what administrators give their drop-ins. */
#define FIRST_NUMBER 50
#define LAST_NUMBER  99

#define DEFAULT_NAME "50-isomer.conf"
#define TILDE_NAME   "~" DEFAULT_NAME

/* A prefix, "@", a dot and a suffix. */
#define KEY_SIZE (UNIT_NAME_SIZE + 1 + 1 + sizeof(((struct unit_name *)NULL)->suffix))

struct family {
	char key[KEY_SIZE];
	struct family *joined; /* the one that it is a part of, for an alias; NULL: itself */
	bool is_used;
	const struct unitpath_dropin *read_before; /* the last one that ours must be read after */
	char name[NAME_MAX + 1];
};

/* Families */

static bool has_owner_that_begins(const struct naming *naming, const char *beginning)
{
	size_t low = 0, high = naming->owner_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(naming->owners[middle], beginning) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < naming->owner_count &&
		strncmp(naming->owners[low], beginning, strlen(beginning)) == 0;
}

/* "foo-.service", "foo-@.service" or "foo-@bar.service" */
static bool has_owner_of_prefix(const struct naming *naming, const char *prefix)
{
	char beginning[UNIT_NAME_SIZE + 1];

	snprintf(beginning, sizeof(beginning), "%s.", prefix);
	if (has_owner_that_begins(naming, beginning))
		return true;
	beginning[strlen(prefix)] = '@';
	return has_owner_that_begins(naming, beginning);
}

/*
 * All that can meet in a unit has the shortest prefix of its name that is an owner, else the whole
 * of it, but for the instance.
 */
static void make_key(const struct naming *naming, const struct unit_name *unit, char key[KEY_SIZE])
{
	char prefix[UNIT_NAME_SIZE], shortest[UNIT_NAME_SIZE];
	size_t length;

	strcpy(prefix, unit->prefix);
	strcpy(shortest, unit->prefix);
	while (unitpath_cut_prefix(prefix))
		if (has_owner_of_prefix(naming, prefix))
			strcpy(shortest, prefix);
	length = strlen(shortest);
	snprintf(key, KEY_SIZE, "%s%s.%s", shortest,
		unit->instance && length > 0 && shortest[length - 1] != '-' ? "@" : "",
		unit->suffix);
}

static int family_compare(const void *a, const void *b)
{
	return strcmp(((const struct family *)a)->key, ((const struct family *)b)->key);
}

/* NULL for what is no unit's name. */
static struct family *find_family(const struct naming *naming, const char *owner)
{
	struct family sought, *family;
	struct unit_name unit;
	struct reason reason;

	if (unit_name_parse(owner, &unit, &reason) < 0)
		return NULL;
	make_key(naming, &unit, sought.key);
	family = bsearch(
		&sought, naming->families, naming->family_count, sizeof(*family), family_compare);
	while (family && family->joined)
		family = family->joined;
	return family;
}

static void add_family(struct naming *naming, const char *owner)
{
	struct unit_name unit;
	struct reason reason;

	if (unit_name_parse(owner, &unit, &reason) == 0)
		make_key(naming, &unit, naming->families[naming->family_count++].key);
}

static void drop_duplicates(struct naming *naming)
{
	struct family *families = naming->families;
	size_t kept = 0;

	qsort(families, naming->family_count, sizeof(*families), family_compare);
	for (size_t i = 0; i < naming->family_count; i++)
		if (kept == 0 || family_compare(&families[kept - 1], &families[i]) != 0)
			families[kept++] = families[i];
	naming->family_count = kept;
}

/* The drop-ins for an alias are those of the unit, too. */
static void join_aliases(struct naming *naming)
{
	for (size_t i = 0; i < naming->unitpath->alias_count; i++) {
		const struct unitpath_file *file = naming->unitpath->aliases[i];
		struct family *alias = find_family(naming, file->name);
		struct family *target = find_family(naming, file->target);

		if (alias && target && alias != target)
			alias->joined = target;
	}
}

int naming_init(const struct unitpath *unitpath, char *const *owners, size_t owner_count,
	struct naming *ret)
{
	size_t most = owner_count + 2 * unitpath->alias_count;

	*ret = (struct naming){unitpath, owners, owner_count, NULL, 0};
	ret->families = calloc(most + 1, sizeof(*ret->families));
	if (!ret->families)
		return -ENOMEM;
	for (size_t i = 0; i < owner_count; i++)
		add_family(ret, owners[i]);
	for (size_t i = 0; i < unitpath->alias_count; i++) {
		add_family(ret, unitpath->aliases[i]->name);
		add_family(ret, unitpath->aliases[i]->target);
	}
	drop_duplicates(ret);
	join_aliases(ret);
	return 0;
}

void naming_free(struct naming *naming)
{
	free(naming->families);
	*naming = (struct naming){};
}

void naming_add(struct naming *naming, const char *owner, const struct unitpath_dropin *read_before)
{
	struct family *family = find_family(naming, owner);

	if (!family)
		return;
	family->is_used = true;
	if (read_before &&
		(!family->read_before || strcmp(read_before->name, family->read_before->name) > 0))
		family->read_before = read_before;
}

/* Names */

static bool applies_to_whole_type(const struct unitpath_dropin *dropin)
{
	return !strchr(dropin->owner, '.');
}

/* A drop-in of that name, of the user's, would hide ours or be hidden. */
static bool is_taken(const struct naming *naming, const struct family *family)
{
	for (size_t i = 0; i < naming->unitpath->dropin_count; i++) {
		const struct unitpath_dropin *dropin = &naming->unitpath->dropins[i];

		if (strcmp(dropin->name, family->name) == 0 &&
			(applies_to_whole_type(dropin) ||
				find_family(naming, dropin->owner) == family))
			return true;
	}
	return false;
}

/* The first name of STEM~NUMBER-isomer.conf that is free and is read after `before`. */
static bool choose_number(
	const struct naming *naming, struct family *family, const char *before, size_t stem_length)
{
	for (int number = FIRST_NUMBER; number <= LAST_NUMBER; number++) {
		snprintf(family->name, sizeof(family->name), "%.*s%s%d-isomer.conf",
			(int)stem_length, before, stem_length > 0 ? "~" : "", number);
		if (strcmp(family->name, before) > 0 && !is_taken(naming, family))
			return true;
	}
	return false;
}

/* So much of a drop-in's name may stand before our ~, for that to sort behind what is left out. */
static size_t stem_length_of(const char *name)
{
	size_t length = strlen(name) - strlen(".conf");

	if (length > NAME_MAX - strlen(TILDE_NAME))
		length = NAME_MAX - strlen(TILDE_NAME);
	while (length > 0 && (unsigned char)name[length] >= '~')
		length--;
	return length;
}

/*
 * 50-isomer.conf. But a drop-in that is read later may empty a list that ours adds to: then the
 * next number for which that isn't so, and after "override.conf", override~50-isomer.conf, for ~
 * sorts behind the dot.
 */
static void choose_name(const struct naming *naming, struct family *family)
{
	const char *before = family->read_before ? family->read_before->name : "";

	if (choose_number(naming, family, before, 0))
		return;
	if (*before && choose_number(naming, family, before, stem_length_of(before)))
		return;
	if (family->read_before)
		warn("%s: no name is left for a drop-in of Isomer's that is read after this one: "
		     "rename it",
			family->read_before->path);
	if (!choose_number(naming, family, "", 0))
		strcpy(family->name, DEFAULT_NAME);
}

void naming_choose(struct naming *naming)
{
	for (size_t i = 0; i < naming->family_count; i++)
		if (naming->families[i].is_used)
			choose_name(naming, &naming->families[i]);
}

const char *naming_name(const struct naming *naming, const char *owner)
{
	const struct family *family = find_family(naming, owner);

	return family ? family->name : DEFAULT_NAME;
}
