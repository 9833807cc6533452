/* SPDX-License-Identifier: GPL-2.0-only */
/* Errors in words: see say.h. */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "cleanup.h"

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

/* By say_to_the_log(): where a message goes, as one datagram or one write(). */
static int log_fd = -EBADF;
static bool log_is_the_kernels;

/* "<4>isomer-generator[123]: …", which is what both take: syslog(3)'s, and kmsg's. */
static void say_in_the_log(const char *priority, int error, const char *format, va_list ap)
{
	_cleanup_(freep) char *text = NULL, *line = NULL;
	int length;

	errno = error;
	if (vasprintf(&text, format, ap) < 0) {
		text = NULL;
		return;
	}
	length = asprintf(&line, "%s%s[%d]: %s%s", priority, program_invocation_short_name,
		getpid(), text, log_is_the_kernels ? "\n" : "");
	if (length < 0) {
		line = NULL;
		return;
	}
	if (log_is_the_kernels)
		(void)!write(log_fd, line, (size_t)length);
	else
		send(log_fd, line, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool is_nothing(int fd)
{
	struct stat target, nothing;

	return fstat(fd, &target) == 0 && stat("/dev/null", &nothing) == 0 &&
		S_ISCHR(target.st_mode) && target.st_rdev == nothing.st_rdev;
}

void say_to_the_log(void)
{
	static const struct sockaddr_un journal = {
		.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/dev-log"};

	if (!is_nothing(STDERR_FILENO))
		return;
	log_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (log_fd >= 0 && connect(log_fd, (const struct sockaddr *)&journal, sizeof(journal)) == 0)
		return;
	if (log_fd >= 0)
		close(log_fd);
	log_fd = open("/dev/kmsg", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	log_is_the_kernels = true;
}

/* In the journal a message has a priority, and journald itself names the process (sd-daemon(3)). */
static void say(const char *priority, const char *kind, int error, const char *format, va_list ap)
{
	if (log_fd >= 0) {
		say_in_the_log(priority, error < 0 ? -error : error, format, ap);
		return;
	}
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
