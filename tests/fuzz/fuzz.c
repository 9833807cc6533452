/* SPDX-License-Identifier: GPL-2.0-only */
/* What the fuzz targets share: see fuzz.h. */
#include "fuzz.h"

#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/cleanup.h"

/* What is said */

struct said said;

void forget_said(void)
{
	for (size_t i = 0; i < said.count; i++)
		free(said.errors[i]);
	free(said.errors);
	said = (struct said){};
}

/* The linker puts these in the place of say_error() and warn(): see the Makefile. */
void __wrap_say_error(int error, const char *format, ...) _printf_(2, 3);
void __wrap_warn(const char *format, ...) _printf_(1, 2);

void __wrap_say_error(int error, const char *format, ...)
{
	va_list arguments;

	said.errors = reallocarray(said.errors, said.count + 1, sizeof(*said.errors));
	must(said.errors);
	errno = error < 0 ? -error : error;
	va_start(arguments, format);
	must(vasprintf(&said.errors[said.count++], format, arguments) > 0);
	va_end(arguments);
}

void __wrap_warn(const char *format, ...)
{
	(void)format;
}

/* Inputs */

char *text_of(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	must(text);
	return text;
}

char *take_line(char **rest)
{
	char *line = *rest, *end = strchrnul(line, '\n');

	*rest = *end ? end + 1 : end;
	*end = '\0';
	return line;
}

const char *file_of(unsigned int number, const void *content, size_t size)
{
	static int fds[FILES];
	static char paths[FILES][32];

	if (!fds[number]) {
		fds[number] = memfd_create("fuzz", MFD_CLOEXEC);
		must(fds[number] > 0);
		snprintf(paths[number], sizeof(paths[number]), "/proc/self/fd/%d", fds[number]);
	}
	must(ftruncate(fds[number], 0) == 0);
	must(pwrite(fds[number], content, size, 0) == (ssize_t)size);
	return paths[number];
}

/* Ends the line, one that would be continued, and the section. */
#define BETWEEN_FILES "\n\n[]\n"

void unit_files_write(const uint8_t *data, size_t size, struct unit_files *ret)
{
	static const char mark[] = "\n# drop-in\n";
	const uint8_t *found = memmem(data, size, mark, strlen(mark));
	size_t first = found ? (size_t)(found - data) + 1 : size, second = size - first;
	_cleanup_(freep) char *joined = malloc(size + sizeof(BETWEEN_FILES));

	must(joined);
	*ret = (struct unit_files){.count = found ? 2 : 1, .lengths = {first, second}};
	ret->paths[0] = file_of(0, data, first);
	ret->paths[1] = file_of(1, data + first, second);
	memcpy(joined, data, first);
	strcpy(joined + first, BETWEEN_FILES);
	memcpy(joined + first + strlen(BETWEEN_FILES), data + first, second);
	ret->joined = file_of(2, joined, size + strlen(BETWEEN_FILES));
}
