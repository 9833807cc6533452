/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The [Isomer] section: an input is the files of a unit (see fuzz.h); a first line such as
 * "#foo@bar.service" names another unit than foo@a-b.service. What a section came to, written as a
 * section, comes to the same; what is refused is said with its line.
 */
#include <errno.h>
#include <string.h>

#include "../../src/cleanup.h"
#include "../../src/section.h"
#include "fuzz.h"

static void find_unit(const uint8_t *data, size_t size, struct unit_name *ret)
{
	_cleanup_(freep) char *text = text_of(data, size);
	char *rest = text, *line = take_line(&rest);
	struct reason reason;

	if (*line != '#' || unit_name_parse(line + 1, ret, &reason) < 0)
		unit_name_parse("foo@a-b.service", ret, &reason);
}

/* Each error begins with a file's name and the number of one of its lines. */
static void check_said(int r, const struct unit_files *files)
{
	must((r < 0) == (said.count > 0));
	for (size_t i = 0; i < said.count; i++) {
		const char *error = said.errors[i];
		size_t file = 0;
		unsigned int line;
		int length = 0;

		while (strncmp(error, files->paths[file], strlen(files->paths[file])) != 0)
			must(++file < files->count);
		error += strlen(files->paths[file]);
		must(sscanf(error, ":%u: %n", &line, &length) == 1 && length > 0);
		must(line > 0 && line <= files->lengths[file]);
		must(strlen(error) > (size_t)length);
	}
}

static bool label_is_valid(const char *label)
{
	return *label && strnlen(label, NAME_SIZE) < NAME_SIZE;
}

static void check_section(const struct section *section)
{
	must(label_is_valid(section->label));
	for (size_t i = 0; i < section->binding_count; i++) {
		const struct binding *binding = &section->bindings[i];

		must(label_is_valid(binding->label));
		must(binding->selector.protocol < PROTOCOLS);
		must(i == 0 || selector_compare(&binding[-1].selector, &binding->selector) < 0);
	}
	for (size_t i = 0; i < section->socket_count; i++) {
		must(label_is_valid(section->sockets[i].label));
		must(section->sockets[i].protocol < PROTOCOLS);
		must(section->sockets[i].port > 0);
		must(strstr(section->sockets[i].where, ": Socket="));
	}
}

/* Writes the label with its percent signs doubled. False: specifiers alone can bring it about. */
static bool write_label(FILE *to, const char *label)
{
	size_t length = strlen(label);

	for (size_t i = 0; i < length; i++) {
		if (strchr("\r\n", label[i]) ||
			(strchr(" \t", label[i]) && (i == 0 || i == length - 1)))
			return false;
		fprintf(to, label[i] == '%' ? "%%%%" : "%c", label[i]);
	}
	return true;
}

/* As the user could have written it; NULL where nobody could. To be freed. */
static char *write_section(const struct section *section)
{
	char place[LONGEST_SELECTOR_TEXT], address[INET6_ADDRSTRLEN];
	char *text;
	size_t size;
	FILE *file = open_memstream(&text, &size);
	bool can_be;

	fputs(section->present ? "[X-Isomer]\nLabel=" : "#", file);
	can_be = write_label(file, section->label);
	fputs(" \n", file);
	if (section->present)
		fprintf(file, "Required=%s\n", section->required ? "true" : "false");
	if (section->present && section->socket_timeout_usec == FOREVER)
		fputs("SocketTimeoutSec=infinity\n", file);
	else if (section->present)
		fprintf(file, "SocketTimeoutSec=%lluus\n", section->socket_timeout_usec);
	for (size_t i = 0; i < section->binding_count; i++) {
		fputs("Bind=", file);
		can_be &= write_label(file, section->bindings[i].label);
		fprintf(file, " %s\n", selector_format(&section->bindings[i].selector, place));
	}
	for (size_t i = 0; i < section->socket_count; i++) {
		const struct section_socket *socket = &section->sockets[i];

		fputs("Socket=", file);
		can_be &= write_label(file, socket->label);
		fprintf(file, " %s %s %u\n", protocol_name(socket->protocol),
			address_format(&socket->address, address), socket->port);
	}
	fclose(file);
	if (can_be)
		return text;
	free(text);
	return NULL;
}

static void check_same(const struct section *a, const struct section *b)
{
	must(a->present == b->present && a->required == b->required);
	must(a->socket_timeout_usec == b->socket_timeout_usec);
	must(strcmp(a->label, b->label) == 0);
	must(a->binding_count == b->binding_count);
	for (size_t i = 0; i < a->binding_count; i++) {
		must(strcmp(a->bindings[i].label, b->bindings[i].label) == 0);
		must(selector_compare(&a->bindings[i].selector, &b->bindings[i].selector) == 0);
	}
	must(a->socket_count == b->socket_count);
	for (size_t i = 0; i < a->socket_count; i++) {
		const struct section_socket *x = &a->sockets[i], *y = &b->sockets[i];

		must(strcmp(x->label, y->label) == 0);
		must(x->protocol == y->protocol && x->port == y->port);
		must(memcmp(&x->address, &y->address, sizeof(x->address)) == 0);
	}
}

static void check_reads_the_same(
	const struct unit_name *unit, const char *path, const struct section *expected)
{
	_cleanup_(section_free) struct section section;

	must(section_read(unit, &path, 1, &section) == 0);
	check_same(expected, &section);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(section_free) struct section section, of_joined;
	_cleanup_(freep) char *text = NULL;
	struct unit_files files;
	struct unit_name unit;
	int r;

	find_unit(data, size, &unit);
	unit_files_write(data, size, &files);
	forget_said();
	r = section_read(&unit, files.paths, files.count, &section);
	must(r == 0 || r == -EINVAL);
	check_said(r, &files);
	must(section_read(&unit, &files.joined, 1, &of_joined) == r);
	must(section.present == of_joined.present);
	if (r < 0)
		return 0;

	check_section(&section);
	check_same(&section, &of_joined);
	text = write_section(&section);
	if (text)
		check_reads_the_same(&unit, file_of(0, text, strlen(text)), &section);
	return 0;
}
