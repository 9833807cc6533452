/* SPDX-License-Identifier: GPL-2.0-only */
/* The grammar of unit files, unit names, specifiers and values, held against systemd's. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/cleanup.h"
#include "../../src/unitfile.h"
#include "tap.h"

#define COUNT(array)    (sizeof(array) / sizeof((array)[0]))
#define BYTES(constant) constant, sizeof(constant) - 1

/* Writes down what is shown: "2 [Section] key=value;", "3 [Section];", "4 [Section] ?line;" */
static int write_down(const struct unitfile_line *line, void *context)
{
	FILE *shown = context;

	fprintf(shown, "%u [%s]", line->number, line->section);
	if (line->key)
		fprintf(shown, " %s=%s", line->key, line->value);
	else if (line->value)
		fprintf(shown, " ?%s", line->value);
	fputc(';', shown);
	return line->key && strcmp(line->key, "stop") == 0 ? 7 : 0;
}

static const struct {
	const char *name;
	const char *text;
	size_t size;
	const char *shown;
} texts[] = {
	{"an empty file", BYTES(""), ""},
	{"an assignment", BYTES("[A]\nb=c\n"), "1 [A];2 [A] b=c;"},
	{"no line end at the end", BYTES("[A]\nb=c"), "1 [A];2 [A] b=c;"},
	{"before the first section", BYTES("b=c\n"), "1 [] b=c;"},
	{"whitespace is stripped", BYTES("  [A]\t\n\t b \t= c  d \t\n"), "1 [A];2 [A] b=c  d;"},
	{"only the first = counts", BYTES("b=c=d\n"), "1 [] b=c=d;"},
	{"an empty value", BYTES("b=\nc= \n"), "1 [] b=;2 [] c=;"},
	{"no assignment", BYTES("[A]\nword\n=x\n[B\n"), "1 [A];2 [A] ?word;3 [A] ?=x;4 [A] ?[B;"},
	{"comments", BYTES("#b=c\n ;d\n\t# e\nf=g # h\n"), "4 [] f=g # h;"},
	{"a comment isn't continued", BYTES("# b\\\nc=d\n"), "2 [] c=d;"},
	{"continuation joins with a space", BYTES("b=c\\\nd\ne=f\n"), "1 [] b=c d;3 [] e=f;"},
	{"of more than two lines", BYTES("b=1\\\n2\\\n 3 \\\n\\\n4\nc="),
		"1 [] b=1 2  3   4;6 [] c=;"},
	{"comments between", BYTES("b=c\\\n# x\\\n ; y\nd\n"), "1 [] b=c d;"},
	{"an empty line ends it", BYTES("b=c\\\n\nd=e\n"), "1 [] b=c;3 [] d=e;"},
	{"the file's end ends it", BYTES("b=c\\\n"), "1 [] b=c;"},
	{"a backslash alone at the end", BYTES("b=c\\"), "1 [] b=c;"},
	{"an escaped backslash ends nothing", BYTES("b=c\\\\\nd=e\n"), "1 [] b=c\\\\;2 [] d=e;"},
	{"an escaped one and another", BYTES("b=c\\\\\\\nd=e\n"), "1 [] b=c\\\\ d=e;"},
	{"a header can be continued", BYTES("[A\\\nB]\nc=d"), "1 [A B];3 [A B] c=d;"},
	{"a blank after the backslash", BYTES("b=c\\ \nd=e\n"), "1 [] b=c\\;2 [] d=e;"},
	{"CRLF", BYTES("[A]\r\nb=c\\\r\nd\r\n\r\ne=f\r\n"), "1 [A];2 [A] b=c d;5 [A] e=f;"},
	{"CR", BYTES("[A]\rb=c\r\rd=e"), "1 [A];2 [A] b=c;4 [A] d=e;"},
	{"LFCR is one line end", BYTES("b=c\n\rd=e"), "1 [] b=c;2 [] d=e;"},
	{"NUL", BYTES("[A]\0b=c\0\nd=e\0"), "1 [A];2 [A] b=c;4 [A] d=e;"},
	{"NUL right after LF", BYTES("b=c\n\0d=e"), "1 [] b=c;2 [] d=e;"},
	{"NUL after a backslash", BYTES("b=c\\\0d=e"), "1 [] b=c d=e;"},
	{"a byte order mark", BYTES("\xef\xbb\xbf[A]\nb=c"), "1 [A];2 [A] b=c;"},
	{"a visit that ends it", BYTES("b=c\nstop=\nd=e"), "1 [] b=c;2 [] stop=;"},
};

static void test_texts(void)
{
	for (size_t i = 0; i < COUNT(texts); i++) {
		_cleanup_(closep) int fd = memfd_create("unit", MFD_CLOEXEC);
		_cleanup_(freep) char *shown = NULL;
		char path[64];
		size_t size;
		FILE *file = open_memstream(&shown, &size);
		bool written = write(fd, texts[i].text, texts[i].size) == (ssize_t)texts[i].size;
		int r;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		r = unitfile_read(path, write_down, file);
		fclose(file);
		check_text(shown, texts[i].shown, texts[i].name);
		if (!written || r != (strstr(texts[i].text, "stop") ? 7 : 0))
			check(false, "%s: returned %d", texts[i].name, r);
	}
}

static int show_nothing(const struct unitfile_line *line, void *context)
{
	(void)line, (void)context;
	return 7;
}

static void test_files(void)
{
	char directory[] = "/tmp/test-unitfile-XXXXXX";

	if (!check(mkdtemp(directory) && chdir(directory) == 0, "a directory for test files"))
		return;
	mkfifo("fifo", 0600);
	close(open("huge", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	if (symlink("loop", "loop") < 0 || truncate("huge", 1 << 30) < 0)
		check(false, "test files: %s", strerror(errno));

	check(unitfile_read("none", show_nothing, NULL) == -ENOENT, "a missing file");
	check(unitfile_read(".", show_nothing, NULL) == -EISDIR, "a directory");
	check(unitfile_read("fifo", show_nothing, NULL) == -EINVAL, "a FIFO doesn't block");
	check(unitfile_read("loop", show_nothing, NULL) == -ELOOP, "a link to itself");
	check(unitfile_read("huge", show_nothing, NULL) == -EFBIG, "a file of 1 GiB");
	check(unitfile_read("/dev/null", show_nothing, NULL) == 0, "/dev/null is empty");
	check(unitfile_read("/dev/zero", show_nothing, NULL) == -EINVAL, "another device");

	unlink("fifo");
	unlink("loop");
	unlink("huge");
	rmdir(directory);
}

static const struct {
	const char *text;
	const char *parts; /* "prefix instance suffix"; NULL: no unit's name */
} names[] = {
	{"foo.service", "foo - service"},
	{"foo@.service", "foo  service"},
	{"foo@bar.socket", "foo bar socket"},
	{"isomer@foo@bar.service.service", "isomer foo@bar.service service"},
	{"foo.bar.service", "foo.bar - service"},
	{"foo\\x2dbar@a\\x2db-c:_.service", "foo\\x2dbar a\\x2db-c:_ service"},
	{"foo@a.b", NULL},
	{"foo", NULL},
	{"", NULL},
	{".service", NULL},
	{"@a.service", NULL},
	{"foo.", NULL},
	{"foo bar.service", NULL},
	{"foo/bar.service", NULL},
	{"f\xc3\xb6\xc3\xb6.service", NULL},
};

static void test_names(void)
{
	char text[2 * UNIT_NAME_SIZE + 32], name[1024];
	struct unit_name unit;
	struct reason reason;

	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(name, sizeof(name), "the name \"%s\"", names[i].text);
		if (unit_name_parse(names[i].text, &unit, &reason) < 0)
			snprintf(text, sizeof(text), "refused");
		else
			snprintf(text, sizeof(text), "%s %s %s", unit.prefix,
				unit.instance ? unit.instance : "-", unit.suffix);
		check_text(text, names[i].parts ? names[i].parts : "refused", name);
	}

	memset(text, 'a', sizeof(text));
	strcpy(text + UNIT_NAME_SIZE - 1 - strlen(".service"), ".service");
	check(unit_name_parse(text, &unit, &reason) == 0, "a name of 255 bytes");
	strcpy(text + UNIT_NAME_SIZE - strlen(".service"), ".service");
	memset(text, 'a', UNIT_NAME_SIZE - strlen(".service"));
	check(unit_name_parse(text, &unit, &reason) == -EINVAL, "a name of 256 bytes is refused");
}

static const struct {
	const char *unit;
	const char *text;
	const char *expanded; /* NULL: refused */
} specifiers[] = {
	{"foo.service", "none", "none"},
	{"foo.service", "%n|%N|%p|%i|%I", "foo.service|foo|foo||"},
	{"foo@.service", "%n|%N|%p|%i", "foo@.service|foo@|foo|"},
	{"foo@a.b.service", "%n|%N|%p|%i", "foo@a.b.service|foo@a.b|foo|a.b"},
	{"foo@a-b\\x2dc.service", "%i|%I", "a-b\\x2dc|a/b-c"},
	{"foo-bar\\x2dbaz.service", "%j|%J|%p", "bar\\x2dbaz|bar-baz|foo-bar\\x2dbaz"},
	{"foo.service", "%j", "foo"},
	{"foo.service", "100%%%%", "100%%"},
	{"foo@\\x00.service", "%i", "\\x00"},
	{"foo@\\x00.service", "%I", NULL},
	{"foo@\\x.service", "%I", NULL},
	{"foo@\\x1.service", "%I", NULL},
	{"foo@\\n41.service", "%I", NULL},
	{"foo.service", "%", NULL},
	{"foo.service", "a%%%", NULL},
	{"foo.service", "%q", NULL},
};

static void test_specifiers(void)
{
	struct unit_name unit;
	struct reason reason;
	char host[64] = "", name[1024];

	for (size_t i = 0; i < COUNT(specifiers); i++) {
		_cleanup_(freep) char *expanded = NULL;

		snprintf(
			name, sizeof(name), "\"%s\" in %s", specifiers[i].text, specifiers[i].unit);
		unit_name_parse(specifiers[i].unit, &unit, &reason);
		if (specifiers_expand(specifiers[i].text, &unit, &expanded, &reason) < 0)
			check(!specifiers[i].expanded, "%s is refused: %s", name, reason.text);
		else
			check_text(expanded,
				specifiers[i].expanded ? specifiers[i].expanded : "refused", name);
	}

	_cleanup_(freep) char *expanded = NULL;
	gethostname(host, sizeof(host) - 1);
	check(specifiers_expand("%H", &unit, &expanded, &reason) == 0, "%%H expands");
	check_text(expanded, host, "it is the name of the host");
}

static void test_booleans(void)
{
	static const char *const yes[] = {"1", "yes", "Y", "true", "t", "ON"};
	static const char *const no[] = {"0", "no", "n", "False", "F", "off"};
	static const char *const neither[] = {"", "2", "yes ", "enable", "tr"};
	struct reason reason;
	bool value;

	for (size_t i = 0; i < COUNT(yes); i++)
		check(boolean_parse(yes[i], &value, &reason) == 0 && value, "%s is yes", yes[i]);
	for (size_t i = 0; i < COUNT(no); i++)
		check(boolean_parse(no[i], &value, &reason) == 0 && !value, "%s is no", no[i]);
	for (size_t i = 0; i < COUNT(neither); i++)
		check(boolean_parse(neither[i], &value, &reason) < 0, "\"%s\" is neither",
			neither[i]);
}

/* Each as `systemd-analyze timespan` takes it. */
static const struct {
	const char *text;
	unsigned long long usec;
} timespans[] = {
	{"5", 5000000},
	{"0", 0},
	{"500ms", 500000},
	{"1min 30s", 90000000},
	{"1min30", 90000000},
	{"1 h2", 3602000000},
	{" 5 6 ", 11000000},
	{"1.5s", 1500000},
	{".5s", 500000},
	{"1 .5", 1500000},
	{"0.0000001s", 0},
	{"5us", 5},
	{"5\xc2\xb5s", 5},
	{"5\xce\xbcs", 5},
	{"5 M", 13149000000000},
	{"1y 3months", 39447000000000},
	{"2 weeks 1 day", 15ULL * 86400 * 1000000},
	{"infinity", FOREVER},
};

static void test_timespans(void)
{
	static const char *const wrong[] = {"", " ", "-1", "1.s", "1e3", "0x10", "5 apples", "5sms",
		"5s s", "3.+1", "infinity x", "s", "18446744073709551616us", "9999999999999999s"};
	unsigned long long usec;
	struct reason reason;

	for (size_t i = 0; i < COUNT(timespans); i++)
		check(timespan_parse(timespans[i].text, &usec, &reason) == 0 &&
				usec == timespans[i].usec,
			"\"%s\" is %llu us", timespans[i].text, timespans[i].usec);
	for (size_t i = 0; i < COUNT(wrong); i++)
		check(timespan_parse(wrong[i], &usec, &reason) < 0, "\"%s\" is no time span",
			wrong[i]);
}

int main(void)
{
	test_texts();
	test_files();
	test_names();
	test_specifiers();
	test_booleans();
	test_timespans();
	return tap_end();
}
