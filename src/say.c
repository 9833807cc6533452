/* SPDX-License-Identifier: GPL-2.0-only */
/* Errors in words: see say.h. */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

void give_reason(struct reason *reason, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason->text, sizeof(reason->text), format, arguments);
	va_end(arguments);
}

/*
 * Is stderr what systemd connected to the journal, and not something that it was redirected to
 * since? $JOURNAL_STREAM has the device and the inode: see systemd.exec(5).
 */
static bool goes_to_journal(void)
{
	const char *stream = secure_getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat target;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
		fstat(STDERR_FILENO, &target) == 0 && target.st_dev == device &&
		target.st_ino == inode;
}

/* In the journal a message has a priority, and journald itself names the process (sd-daemon(3)). */
static void say(const char *priority, const char *kind, int error, const char *format, va_list ap)
{
	if (goes_to_journal())
		fputs(priority, stderr);
	else
		fprintf(stderr, "%s: %s", program_invocation_short_name, kind);
	errno = error < 0 ? -error : error;
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
}

void say_error(int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(SD_ERR, "", error, format, arguments);
	va_end(arguments);
}

void warn(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(SD_WARNING, "warning: ", errno, format, arguments);
	va_end(arguments);
}

void notice(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(SD_INFO, "", 0, format, arguments);
	va_end(arguments);
}

void occupy_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}
