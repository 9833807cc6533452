/* SPDX-License-Identifier: GPL-2.0-only */
/* systemd's unit files as text: see unitfile.h. */
#include "unitfile.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cleanup.h"

#define LARGEST_FILE    (16 << 20) /* a unit file above this is somebody's mistake */
#define WHITESPACE      " \t\n\r"
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* Reading */

static bool is_dev_null(const struct stat *status)
{
	return S_ISCHR(status->st_mode) && status->st_rdev == makedev(1, 3);
}

/* Without O_NONBLOCK a FIFO somebody left there would stop the boot. */
static int open_regular(const char *path, size_t *ret_size)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	if (!S_ISREG(status.st_mode) && !is_dev_null(&status))
		return -EINVAL;
	if (status.st_size > LARGEST_FILE)
		return -EFBIG;
	*ret_size = (size_t)status.st_size;
	return take_fd(fd);
}

/* The whole file with a NUL after it, to be freed by the caller. */
static int load(const char *path, char **ret, size_t *ret_size)
{
	_cleanup_(freep) char *text = NULL;
	_cleanup_(closep) int fd = -EBADF;
	size_t size = 0, done = 0;

	fd = open_regular(path, &size);
	if (fd < 0)
		return fd;
	text = malloc(size + 1);
	if (!text)
		return -ENOMEM;
	while (done < size) {
		ssize_t n = read(fd, text + done, size - done);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	text[done] = '\0';
	*ret = take_pointer(text);
	*ret_size = done;
	return 0;
}

struct reader {
	char *next;
	char *end;
	unsigned int number; /* of the line that was read last */
};

/* A line ends at LF, CR or NUL, or at several different ones of them of which NUL is the last. */
static char *skip_line_end(char *at, const char *end)
{
	const char *start = at;

	while (at < end && strchr("\r\n", *at) && !memchr(start, *at, (size_t)(at - start))) {
		if (*at++ == '\0')
			break;
	}
	return at;
}

static char *next_line(struct reader *reader)
{
	char *line = reader->next, *line_end;

	if (line >= reader->end)
		return NULL;
	line_end = line + strcspn(line, "\r\n");
	reader->next = skip_line_end(line_end, reader->end);
	reader->number++;
	*line_end = '\0';
	return line;
}

static bool is_comment(const char *line)
{
	line += strspn(line, WHITESPACE);
	return *line == '#' || *line == ';';
}

/* A backslash that is itself escaped continues nothing: of a run of them, an odd number does. */
static bool is_continued(const char *line, size_t length)
{
	size_t backslashes = 0;

	while (backslashes < length && line[length - 1 - backslashes] == '\\')
		backslashes++;
	return backslashes % 2 == 1;
}

static char *strip(char *text)
{
	size_t length;

	text += strspn(text, WHITESPACE);
	length = strlen(text);
	while (length > 0 && strchr(WHITESPACE, text[length - 1]))
		length--;
	text[length] = '\0';
	return text;
}

/* Takes one line, joined from its continuations, apart and shows it. */
static int show(char *text, struct unitfile_line *line, unitfile_visit *visit, void *context)
{
	char *equals;

	text = strip(text);
	if (!*text)
		return 0;

	line->key = NULL;
	line->value = text;
	if (text[0] == '[' && text[strlen(text) - 1] == ']') {
		text[strlen(text) - 1] = '\0';
		line->section = text + 1;
		line->value = NULL;
		return visit(line, context);
	}
	equals = strchr(text, '=');
	if (equals && equals > text) {
		*equals = '\0';
		line->key = strip(text);
		line->value = strip(equals + 1);
	}
	return visit(line, context);
}

/* The parts of the line that is being joined. */
struct parts {
	struct unitfile_part *part;
	size_t count;
	size_t allocated;
};

static void parts_free(struct parts *parts)
{
	free(parts->part);
}

static int parts_add(struct parts *parts, size_t offset, unsigned int number)
{
	if (parts->count == parts->allocated) {
		size_t allocated = parts->allocated ? 2 * parts->allocated : 8;
		struct unitfile_part *part = reallocarray(parts->part, allocated, sizeof(*part));

		if (!part)
			return -ENOMEM;
		parts->part = part;
		parts->allocated = allocated;
	}
	parts->part[parts->count++] = (struct unitfile_part){offset, number};
	return 0;
}

void unitfile_locate(const struct unitfile_line *line, const char *at, unsigned int *ret_number,
	unsigned int *ret_column)
{
	size_t offset = (size_t)(at - line->text), i = line->part_count - 1;

	while (i > 0 && line->parts[i].offset > offset)
		i--;
	*ret_number = line->parts[i].number;
	*ret_column = 1;
	for (const char *c = line->text + line->parts[i].offset; c < at; c++)
		*ret_column += ((unsigned char)*c & 0xc0) != 0x80; /* of UTF-8, the first bytes */
}

/* Continued lines are joined in place: the join is never longer than what it is made of. */
static int show_all(const char *path, char *text, size_t size, unitfile_visit *visit, void *context)
{
	struct unitfile_line line = {.path = path, .section = ""};
	struct reader reader = {.next = text, .end = text + size};
	_cleanup_(parts_free) struct parts parts = {};
	char *joined = NULL, *part;
	size_t length = 0;
	int r;

	if (strncmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
		reader.next += strlen(BYTE_ORDER_MARK);

	while ((part = next_line(&reader))) {
		size_t part_length = strlen(part);

		if (is_comment(part))
			continue;
		if (!joined) {
			joined = part;
			length = 0;
			parts.count = 0;
			line.number = reader.number;
		}
		r = parts_add(&parts, length, reader.number);
		if (r < 0)
			return r;
		memmove(joined + length, part, part_length + 1);
		length += part_length;
		line.text = joined;
		line.parts = parts.part;
		line.part_count = parts.count;
		if (is_continued(joined, length)) {
			joined[length - 1] = ' ';
			continue;
		}
		r = show(joined, &line, visit, context);
		if (r != 0)
			return r;
		joined = NULL;
	}
	return joined ? show(joined, &line, visit, context) : 0;
}

int unitfile_read(const char *path, unitfile_visit *visit, void *context)
{
	_cleanup_(freep) char *text = NULL;
	size_t size = 0;
	int r;

	r = load(path, &text, &size);
	if (!text)
		return r;
	return show_all(path, text, size, visit, context);
}

/* Unit names */

static const char *const unit_types[] = {"service", "socket", "target", "device", "mount",
	"automount", "swap", "timer", "path", "slice", "scope"};

static bool is_unit_type(const char *suffix)
{
	for (size_t i = 0; i < sizeof(unit_types) / sizeof(unit_types[0]); i++)
		if (strcmp(suffix, unit_types[i]) == 0)
			return true;
	return false;
}

/* The first @ begins the instance and the last dot the suffix, so an instance may have either. */
int unit_name_parse(const char *text, struct unit_name *ret, struct reason *reason)
{
	const char *dot = strrchr(text, '.'), *at, *prefix_end;
	struct unit_name name = {};

	if (strlen(text) >= UNIT_NAME_SIZE)
		return refuse(reason, "\"%.32s…\" is longer than the %d bytes of a unit's name",
			text, UNIT_NAME_SIZE - 1);
	if (!dot || !is_unit_type(dot + 1))
		return refuse(reason,
			"\"%s\" is not a unit's name: write it in full, like %s.service", text,
			*text ? text : "nginx");
	at = memchr(text, '@', (size_t)(dot - text));
	prefix_end = at ? at : dot;
	if (prefix_end == text)
		return refuse(reason, "\"%s\" is not a unit's name: nothing is before its %c", text,
			*prefix_end);
	for (const char *c = text; *c; c++)
		if (!isascii(*c) || (!isalnum(*c) && !strchr(":-_.\\@", *c)))
			return refuse(reason,
				"\"%s\" is not a unit's name: '%c' is not allowed in one", text,
				*c);

	strcpy(name.full, text);
	strcpy(name.suffix, dot + 1);
	memcpy(name.prefix, text, (size_t)(prefix_end - text));
	if (at)
		memcpy(name.instance_text, at + 1, (size_t)(dot - at - 1));
	name.instance = at ? name.instance_text : NULL;
	unit_name_copy(&name, ret);
	return 0;
}

bool unit_name_build(
	const char *prefix, const char *instance, const char *suffix, struct unit_name *ret)
{
	char text[3 * UNIT_NAME_SIZE];
	struct reason reason;

	snprintf(text, sizeof(text), "%s%s%s.%s", prefix, instance ? "@" : "",
		instance ? instance : "", suffix);
	return unit_name_parse(text, ret, &reason) == 0;
}

void unit_name_copy(const struct unit_name *name, struct unit_name *ret)
{
	*ret = *name;
	ret->instance = name->instance ? ret->instance_text : NULL;
}

bool unit_name_is_isomers_own(const struct unit_name *name)
{
	static const char *const own[] = {"isomer", "isomer-", "isomer-bind", "isomer-metrics"};

	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		if (strcmp(name->prefix, own[i]) == 0)
			return true;
	return false;
}

bool unit_name_is_template(const struct unit_name *name)
{
	return name->instance && !*name->instance;
}

bool unit_name_is_instance(const struct unit_name *name)
{
	return name->instance && *name->instance;
}

/* Specifiers */

/* Undoes systemd-escape(1): a dash was a slash, \x2d a byte. */
static int unescape(const char *text, char *ret, struct reason *reason)
{
	for (const char *c = text; *c; c++) {
		if (*c == '-') {
			*ret++ = '/';
		} else if (*c != '\\') {
			*ret++ = *c;
		} else {
			char digits[3] = {};
			char *digits_end;

			if (c[1] == 'x')
				memcpy(digits, c + 2, strnlen(c + 2, 2));
			*ret = (char)strtoul(digits, &digits_end, 16);
			if (!isxdigit((unsigned char)digits[0]) || digits_end != digits + 2 ||
				!*ret)
				return refuse(reason,
					"\"%s\" in the unit's name can't be unescaped: write a byte "
					"as \\x and two hexadecimal digits",
					text);
			ret++;
			c += strlen("x2d");
		}
	}
	*ret = '\0';
	return 0;
}

static const char *last_part_of_prefix(const struct unit_name *unit)
{
	const char *dash = strrchr(unit->prefix, '-');

	return dash ? dash + 1 : unit->prefix;
}

static const char *instance_or_nothing(const struct unit_name *unit)
{
	return unit->instance ? unit->instance : "";
}

/* Writes what the specifier stands for; it is never longer than a unit's name. */
static int specifier_value(char specifier, const struct unit_name *unit, char ret[UNIT_NAME_SIZE],
	struct reason *reason)
{
	switch (specifier) {
	case 'n':
		strcpy(ret, unit->full);
		return 0;
	case 'N':
		strcpy(ret, unit->full);
		*strrchr(ret, '.') = '\0';
		return 0;
	case 'p':
		strcpy(ret, unit->prefix);
		return 0;
	case 'i':
		strcpy(ret, instance_or_nothing(unit));
		return 0;
	case 'I':
		return unescape(instance_or_nothing(unit), ret, reason);
	case 'j':
		strcpy(ret, last_part_of_prefix(unit));
		return 0;
	case 'J':
		return unescape(last_part_of_prefix(unit), ret, reason);
	case 'H':
		ret[UNIT_NAME_SIZE - 1] = '\0';
		return gethostname(ret, UNIT_NAME_SIZE - 1) < 0 ? -errno : 0;
	case '%':
		strcpy(ret, "%");
		return 0;
	case '\0':
		return refuse(reason, "a lone %% ends the value: write %%%% for a percent sign");
	default:
		return refuse(reason,
			"%%%c is not a specifier that works here: use %%n %%N %%p %%i %%I %%j %%J %%H, "
			"or %%%% for a percent sign",
			specifier);
	}
}

int specifiers_expand(
	const char *text, const struct unit_name *unit, char **ret, struct reason *reason)
{
	_cleanup_(freep) char *expanded = NULL;
	size_t percents = 0;
	char *end;

	for (const char *c = text; *c; c++)
		percents += *c == '%';
	expanded = malloc(strlen(text) + percents * UNIT_NAME_SIZE + 1);
	if (!expanded)
		return -ENOMEM;

	end = expanded;
	for (; *text; text++) {
		if (*text == '%') {
			int r = specifier_value(*++text, unit, end, reason);

			if (r < 0)
				return r;
			end += strlen(end);
		} else {
			*end++ = *text;
		}
	}
	*end = '\0';
	*ret = take_pointer(expanded);
	return 0;
}

/* Values */

int boolean_parse(const char *text, bool *ret, struct reason *reason)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"1", true}, {"yes", true}, {"y", true}, {"true", true}, {"t", true},
		{"on", true}, {"0", false}, {"no", false}, {"n", false}, {"false", false},
		{"f", false}, {"off", false}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i].word) == 0) {
			*ret = words[i].value;
			return 0;
		}
	}
	return refuse(reason, "\"%.64s\" is not a boolean: write yes or no", text);
}

#define SECOND 1000000ULL
#define MINUTE (SECOND * 60)
#define HOUR   (MINUTE * 60)
#define DAY    (HOUR * 24)
#define YEAR   (DAY * 365 + HOUR * 6) /* systemd's has a quarter of a leap day */

static const struct time_unit {
	const char *names; /* between spaces */
	unsigned long long usec;
} time_units[] = {
	{" seconds second sec s ", SECOND},
	{" minutes minute min m ", MINUTE},
	{" msec ms ", SECOND / 1000},
	{" usec us \u00b5s \u03bcs ", 1}, /* Unicode has a micro sign, and a Greek letter mu */
	{" hours hour hr h ", HOUR},
	{" days day d ", DAY},
	{" weeks week w ", DAY * 7},
	{" months month M ", YEAR / 12},
	{" years year y ", YEAR},
};

/* How long one of the unit is that *text begins with; a number without a unit means seconds. */
static unsigned long long take_time_unit(const char **text)
{
	size_t length = strcspn(*text, WHITESPACE "+-.0123456789");
	char name[16];

	if (length == 0)
		return SECOND;
	if (length > sizeof(name) - sizeof("  "))
		return 0;
	snprintf(name, sizeof(name), " %.*s ", (int)length, *text);
	for (size_t i = 0; i < sizeof(time_units) / sizeof(time_units[0]); i++) {
		if (strstr(time_units[i].names, name)) {
			*text += length;
			return time_units[i].usec;
		}
	}
	return 0;
}

/* One "1.5 h" of a span. Returns false where it is none. */
static bool take_time(const char **text, unsigned long long *ret)
{
	const char *whole = *text, *fraction = "";
	unsigned long long unit, usec = 0;

	*text += strspn(*text, "0123456789");
	if (**text == '.') {
		fraction = ++*text;
		*text += strspn(*text, "0123456789");
		if (*text == fraction)
			return false;
	} else if (*text == whole) {
		return false;
	}
	*text += strspn(*text, WHITESPACE);
	unit = take_time_unit(text);
	if (unit == 0)
		return false;

	for (; isdigit((unsigned char)*whole); whole++)
		if (__builtin_mul_overflow(usec, 10, &usec) ||
			__builtin_add_overflow(usec, (unsigned int)(*whole - '0'), &usec))
			return false;
	if (__builtin_mul_overflow(usec, unit, &usec))
		return false;
	for (; isdigit((unsigned char)*fraction); fraction++) {
		unit /= 10;
		if (__builtin_add_overflow(usec, unit * (unsigned int)(*fraction - '0'), &usec))
			return false;
	}
	*ret = usec;
	return true;
}

int timespan_parse(const char *text, unsigned long long *ret, struct reason *reason)
{
	const char *rest = text + strspn(text, WHITESPACE);
	unsigned long long span = 0, usec;

	if (strcmp(rest, "infinity") == 0) {
		*ret = FOREVER;
		return 0;
	}
	do {
		if (!take_time(&rest, &usec) || __builtin_add_overflow(span, usec, &span))
			return refuse(reason,
				"\"%.64s\" is not a time span: write one like 5s, 500ms, 1min 30s or "
				"infinity",
				text);
		rest += strspn(rest, WHITESPACE);
	} while (*rest);
	*ret = span;
	return 0;
}
