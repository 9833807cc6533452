/* SPDX-License-Identifier: GPL-2.0-only */
/* The [Isomer] section: what it says in the end, and what is said about wrong ones. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../src/cleanup.h"
#include "../../src/section.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MOST_FILES   2

/* What a section came to: "present required 5000000 | label tcp 10.0.0.0/8 80 | …" */
static void describe(const struct section *section, FILE *to)
{
	char prefix[LONGEST_PREFIX_TEXT], ports[LONGEST_PORTS_TEXT], address[INET6_ADDRSTRLEN];

	if (!section->present)
		fputs("absent ", to);
	if (!section->required)
		fputs("optional ", to);
	if (section->socket_timeout_usec != 5000000)
		fprintf(to, "%lldus ", (long long)section->socket_timeout_usec);
	fprintf(to, "<%s>", section->label);
	for (size_t i = 0; i < section->binding_count; i++) {
		const struct binding *binding = &section->bindings[i];

		fprintf(to, " | %s %s %s %s", binding->label,
			protocol_name(binding->selector.protocol),
			prefix_format(&binding->selector.prefix, prefix),
			ports_format(&binding->selector.ports, ports));
	}
	for (size_t i = 0; i < section->socket_count; i++) {
		const struct section_socket *socket = &section->sockets[i];

		fprintf(to, " | socket %s %s %s %u", socket->label, protocol_name(socket->protocol),
			address_format(&socket->address, address), socket->port);
	}
}

/* Files in memory under fixed names, so that tests can be tables of texts. */
#define FIRST_FD 100
#define PATH     "/proc/self/fd/100" /* of the first file */

static int file_of(const char *text, size_t number, char path[64])
{
	_cleanup_(closep) int memory = memfd_create("unit", MFD_CLOEXEC);
	int fd = dup2(memory, FIRST_FD + (int)number);

	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

/* section_read() with what it says kept for the test to look at. */
static int read_files(const char *unit_text, const char *const files[], size_t count,
	struct section *ret, char **ret_said)
{
	_cleanup_(closep) int said = memfd_create("said", MFD_CLOEXEC), before = dup(2);
	struct unit_name unit;
	struct reason reason;
	off_t length;
	int r;

	unit_name_parse(unit_text, &unit, &reason);
	dup2(said, 2);
	r = section_read(&unit, files, count, ret);
	dup2(before, 2);

	length = lseek(said, 0, SEEK_END);
	*ret_said = calloc(1, (size_t)length + 1);
	if (pread(said, *ret_said, (size_t)length, 0) != length)
		abort();
	return r;
}

/* The same for texts, and with what it came to described. */
static int read_section(const char *unit, const char *const texts[], size_t count,
	char **ret_result, char **ret_said)
{
	char paths[MOST_FILES][64];
	const char *files[MOST_FILES];
	int fds[MOST_FILES], r;
	struct section section;
	size_t size;
	FILE *result;

	for (size_t i = 0; i < count; i++) {
		fds[i] = file_of(texts[i], i, paths[i]);
		files[i] = paths[i];
	}
	r = read_files(unit, files, count, &section, ret_said);
	result = open_memstream(ret_result, &size);
	describe(&section, result);
	fclose(result);
	section_free(&section);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return r;
}

static const struct {
	const char *name;
	const char *unit;
	const char *text;
	const char *result;
} right[] = {
	{"no section", "foo.service", "[Service]\nBind=x\n", "absent <foo>"},
	{"a header alone", "foo.service", "[Isomer]\n", "<foo>"},
	{"the other header", "foo.service", "[X-Isomer]\nLabel=a\n", "<a>"},
	{"the label of an instance", "foo@a.service", "[Isomer]\n", "<foo@a>"},
	{"specifiers in a label", "foo@a\\x20b.service", "[Isomer]\nLabel=%p of %I\n",
		"<foo of a b>"},
	{"the last label wins", "foo.service", "[Isomer]\nLabel=a\nLabel=b\n", "<b>"},
	{"no label again", "foo.service", "[Isomer]\nLabel=a\nLabel=\n", "<foo>"},
	{"a binding", "foo.service", "[Isomer]\nBind=tcp 10.0.0.0/8 80\n",
		"<foo> | foo tcp 10.0.0.0/8 80"},
	{"a label after its bindings", "foo.service",
		"[Isomer]\nBind=udp 2001:db8::/32 *\nLabel=a b\n",
		"<a b> | a b udp 2001:db8::/32 *"},
	{"labels of one's own", "foo.service",
		"[Isomer]\nBind=my label  tcp\t10.1.0.0/16 80\nBind=x tcp 10.2.0.0/16 0\nLabel=b\n",
		"<b> | my label tcp 10.1.0.0/16 80 | x tcp 10.2.0.0/16 *"},
	{"specifiers everywhere", "udp-53@10.0.0.0-24.service", "[Isomer]\nBind=%n udp %I %j\n",
		"<udp-53@10.0.0.0-24> | udp-53@10.0.0.0-24.service udp 10.0.0.0/24 53"},
	{"a continued line", "foo.service", "[Isomer]\nBind=tcp \\\n# why\n 10.0.0.0/8 \\\n 80\n",
		"<foo> | foo tcp 10.0.0.0/8 80"},
	{"an empty value clears the list", "foo.service",
		"[Isomer]\nBind=tcp 10.0.0.0/8 80\nSocket=tcp 10.0.0.1 80\nBind=\nSocket=\n"
		"Bind=tcp 10.0.0.0/8 81\n",
		"<foo> | foo tcp 10.0.0.0/8 81"},
	{"the same twice", "foo.service",
		"[Isomer]\nBind=tcp 10.0.0.0/8 80\nBind=foo TCP 10.1.2.3/8 80\n"
		"Socket=tcp ::1 80\nSocket=tcp ::1 80\n",
		"<foo> | foo tcp 10.0.0.0/8 80 | socket foo tcp ::1 80"},
	{"sockets", "foo.service", "[Isomer]\nLabel=a\nSocket=b udp 0.0.0.0 53\nSocket=tcp :: 80\n",
		"<a> | socket b udp 0.0.0.0 53 | socket a tcp :: 80"},
	{"one place, two labels, undone", "foo.service",
		"[Isomer]\nBind=a tcp 10.0.0.0/8 80\nBind=\nBind=b tcp 10.0.0.0/8 80\n",
		"<foo> | b tcp 10.0.0.0/8 80"},
	{"not required", "foo.service", "[Isomer]\nRequired=off\n", "optional <foo>"},
	{"required again", "foo.service", "[Isomer]\nRequired=off\nRequired=\n", "<foo>"},
	{"a time", "foo.service", "[Isomer]\nSocketTimeoutSec=1min 1s\n", "61000000us <foo>"},
	{"no limit", "foo.service", "[Isomer]\nSocketTimeoutSec=infinity\n", "-1us <foo>"},
	{"no time again", "foo.service", "[Isomer]\nSocketTimeoutSec=1\nSocketTimeoutSec=\n",
		"<foo>"},
	{"keys of the user's own", "foo.service", "[Isomer]\nX-Note=x\n", "<foo>"},
	{"other sections", "foo.service", "[Isomer]\nLabel=a\n[Service]\nLabel=b\nword\n", "<a>"},
};

/* All of them, under foo@a.service. */
static const struct {
	const char *name;
	const char *text;
	const char *said;
} wrong[] = {
	{"a protocol", "[Isomer]\nBind=tpc 10.0.0.0/8 80\n",
		PATH ":2: Bind=tpc 10.0.0.0/8 80: \"tpc\" is not a protocol: write tcp or udp\n"},
	{"a prefix", "[Isomer]\nBind=tcp 10.0.0.0/33 80\n",
		PATH ":2: Bind=tcp 10.0.0.0/33 80: \"10."},
	{"a port", "[Isomer]\nBind=tcp 10.0.0.0/8 http\n", "\"http\" is not a port"},
	{"too few words", "[Isomer]\nBind=tcp 80\n",
		PATH ":2: Bind=tcp 80: these are too few words"},
	{"a prefix for an address", "[Isomer]\nSocket=tcp 10.0.0.0/8 80\n",
		PATH ":2: Socket=tcp 10.0.0.0/8 80: \"10.0.0.0/8\" is not an IP address"},
	{"all ports for a socket", "[Isomer]\nSocket=tcp ::1 0\n", "\"0\" is not a port"},
	{"a specifier", "[Isomer]\nLabel=%x\n", PATH ":2: Label=%x: %x is not a specifier"},
	{"an empty protocol", "[Isomer]\nBind=%%i %j 10.0.0.0/8 80\n", "\"foo\" is not a protocol"},
	{"a key", "[Isomer]\n\nBnd=tcp\n", PATH ":3: Bnd=tcp: this key is unknown"},
	{"no assignment", "[Isomer]\nBind tcp\n", PATH ":2: Bind tcp: this is no assignment"},
	{"a header left open", "[Isomer]\n[Service\n", PATH ":2: [Service: this is no assignment"},
	{"a boolean", "[Isomer]\nRequired=2\n", PATH ":2: Required=2: \"2\" is not a boolean"},
	{"a time", "[Isomer]\nSocketTimeoutSec=1x\n", "\"1x\" is not a time span"},
	{"continued lines have the first one's number", "[Isomer]\n\nBind=\\\ntcp \\\n80\n",
		PATH ":3: Bind=tcp  80: "},
	{"the second of two errors", "[Isomer]\nBind=x\nRequired=x\n", PATH ":3: Required=x: "},
	{"one binding, two labels",
		"[Isomer]\nBind=a tcp 10.0.0.0/8 80\nBind=tcp ::/0 1\nBind=b tcp 10.1.1.1/8 80\n",
		PATH ":4: Bind=b tcp 10.1.1.1/8 80: is for \"b\" here, but for \"a\" at " PATH
		     ":2 (Bind=a tcp "
		     "10.0.0.0/8 80)"},
	{"one of them the default", "[Isomer]\nBind=tcp ::/0 *\nBind=b tcp ::/0 0\nLabel=c\n",
		"is for \"b\" here, but for \"c\" at " PATH ":2 (Bind=tcp ::/0 *)"},
	{"one socket, two labels", "[Isomer]\nSocket=a tcp ::1 80\nSocket=b tcp ::1 80\n",
		PATH ":3: Socket=b tcp ::1 80: is for \"b\" here, but for \"a\" at " PATH
		     ":2 (Socket=a"},
};

static void test_right(void)
{
	for (size_t i = 0; i < COUNT(right); i++) {
		_cleanup_(freep) char *result = NULL, *said = NULL;
		int r = read_section(right[i].unit, &right[i].text, 1, &result, &said);

		check_text(r == 0 ? result : said, right[i].result, right[i].name);
	}
}

static void test_wrong(void)
{
	for (size_t i = 0; i < COUNT(wrong); i++) {
		_cleanup_(freep) char *result = NULL, *said = NULL;
		int r = read_section("foo@a.service", &wrong[i].text, 1, &result, &said);

		check_within(r == -EINVAL ? said : "not refused", wrong[i].said, wrong[i].name);
	}
}

static void test_files(void)
{
	const char *texts[] = {"[Isomer]\nBind=tcp 10.0.0.0/8 80\nRequired=no\n",
		"[Isomer]\nBind=udp 10.0.0.0/8 80\nLabel=a\n"};
	const char *cleared[] = {"[Isomer]\nBind=tcp 10.0.0.0/8 80\n", "[X-Isomer]\nBind=\n"};
	const char *broken[] = {"[Isomer]\nRequired=no\nBind=x\n", "[Isomer]\nLabel=a\n"};
	const char *const missing[] = {"/nonexistent/foo.service"};
	_cleanup_(freep) char *result = NULL, *result2 = NULL, *result3 = NULL;
	_cleanup_(freep) char *said = NULL, *said2 = NULL, *said3 = NULL, *said4 = NULL;
	struct section section;

	read_section("foo.service", texts, 2, &result, &said);
	check_text(result, "optional <a> | a tcp 10.0.0.0/8 80 | a udp 10.0.0.0/8 80",
		"a drop-in adds to the fragment");
	read_section("foo.service", cleared, 2, &result2, &said2);
	check_text(result2, "<foo>", "a drop-in clears what the fragment has");
	check(read_section("foo.service", broken, 2, &result3, &said3) == -EINVAL,
		"a wrong fragment and a right drop-in");
	check_text(result3, "optional <a>", "what could be read of them");

	check(read_files("foo.service", missing, 1, &section, &said4) == -ENOENT, "a missing file");
	check_within(said4, "/nonexistent/foo.service: No such file", "is named");
	check(!section.present && section.required, "it says nothing, so a failure counts");
	section_free(&section);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* `count` different bindings, none sorted as it shall be, as a file. */
static char *many_lines(unsigned int count)
{
	size_t size;
	char *text;
	FILE *stream = open_memstream(&text, &size);

	fputs("[Isomer]\n", stream);
	for (unsigned int i = 0; i < count; i++)
		fprintf(stream, "Bind=l%u tcp 10.%u.%u.%u 80\n", i, i * 7 / 65536,
			i * 7 / 256 % 256, i * 7 % 256);
	fclose(stream);
	return text;
}

static void test_many(void)
{
	_cleanup_(freep) char *text = many_lines(10000), *too_many = many_lines(100001);
	_cleanup_(freep) char *result = NULL, *said = NULL, *result2 = NULL, *said2 = NULL;
	double start = seconds(), taken;
	int r = read_section("foo.service", (const char *const[]){text}, 1, &result, &said);

	taken = seconds() - start;
	check(r == 0, "10,000 bindings");
	check(taken < 1, "are quick: %.3f s", taken);
	r = read_section("foo.service", (const char *const[]){too_many}, 1, &result2, &said2);
	check(r == -EINVAL && strstr(said2, ":100002: "), "the 100,001st binding is refused");
}

static void test_passed_over(void)
{
	static const char *const passed_over[] = {"/etc/systemd/system/service.d/isomer.conf",
		"/usr/lib/systemd/system/socket.d/isomer.conf"};
	static const char *const read[] = {"/etc/systemd/system/web.service.d/isomer.conf",
		"/etc/service.d/system/web.service", "/service.d", "service.d", "isomer.conf", ""};

	for (size_t i = 0; i < COUNT(passed_over); i++)
		check(section_is_passed_over(passed_over[i]), "%s is passed over", passed_over[i]);
	for (size_t i = 0; i < COUNT(read); i++)
		check(!section_is_passed_over(read[i]), "\"%s\" is not", read[i]);
}

int main(void)
{
	test_right();
	test_wrong();
	test_files();
	test_many();
	test_passed_over();
	return tap_end();
}
