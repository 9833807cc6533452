/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the generator reads: an input is the files of a unit (see fuzz.h). What they say is what one
 * file says that has both; and the generator sees a section where the helper sees one.
 */
#include <string.h>

#include "../../generators/facts.h"
#include "../../src/cleanup.h"
#include "../../src/section.h"
#include "fuzz.h"

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void check_same(const struct facts *a, const struct facts *b)
{
	must(a->has_section == b->has_section);
	must(a->comes_first == b->comes_first);
	must(a->exec_reload == b->exec_reload);
	must(a->accept == b->accept);
	must(same_text(a->service, b->service));
	must(same_text(a->sockets, b->sockets));
	must(a->root_directory == b->root_directory);
	must(a->root_image == b->root_image);
	must(a->root_for_start_only == b->root_for_start_only);
}

static bool helper_sees_section(const struct unit_files *files)
{
	_cleanup_(section_free) struct section section;
	struct unit_name unit;
	struct reason reason;

	unit_name_parse("foo.service", &unit, &reason);
	section_read(&unit, files->paths, files->count, &section);
	forget_said();
	return section.present;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(facts_clear) struct facts sum = {}, of_joined;
	struct unit_files files;

	unit_files_write(data, size, &files);
	for (size_t i = 0; i < files.count; i++) {
		_cleanup_(facts_clear) struct facts facts;

		facts_read(files.paths[i], &facts);
		must(!facts.service || *facts.service);
		must(facts_add(&sum, &facts) == 0);
	}
	facts_read(files.joined, &of_joined);
	check_same(&sum, &of_joined);
	must(sum.has_section == helper_sees_section(&files));
	return 0;
}
