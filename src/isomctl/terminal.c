/* SPDX-License-Identifier: GPL-2.0-only */
/* Colours and a pager: see terminal.h. There is one pager at most, which is this file's only state.
 */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LESS_OPTIONS "FRSXMK" /* systemctl's */

static const char *const codes[] = {
	[PLAIN] = "", [BOLD] = "1", [GREEN] = "1;32", [YELLOW] = "1;33", [RED] = "1;31"};

static struct {
	pid_t pid;    /* 0: none */
	int terminal; /* where stdout went before */
} pager;

static bool is_terminal(void)
{
	const char *kind = getenv("TERM");

	return isatty(STDOUT_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

bool terminal_has_colours(void)
{
	static const char *const offs[] = {"0", "no", "false", "off", "n", "f"};
	const char *unwanted = getenv("NO_COLOR"), *wanted = getenv("SYSTEMD_COLORS");

	for (size_t i = 0; wanted && i < sizeof(offs) / sizeof(*offs); i++)
		if (strcmp(wanted, offs[i]) == 0)
			return false;
	return is_terminal() && !(unwanted && *unwanted);
}

const char *coloured(bool colours, enum colour colour, const char *text, char *buffer, size_t size)
{
	if (!colours || colour == PLAIN)
		return text;
	snprintf(buffer, size, "\033[%sm%s\033[0m", codes[colour], text);
	return buffer;
}

/* Whoever has been made root shall not get a shell from less. */
static void set_less(void)
{
	const char *options = getenv("SYSTEMD_LESS");

	setenv("LESS", options ?: LESS_OPTIONS, true);
	if (getenv("SUDO_UID"))
		setenv("LESSSECURE", "1", true);
}

/* Starts one that reads from the pipe; 0 where that can't be. */
static pid_t start(char *const *words, int input)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	r = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	return r == 0 ? pid : 0;
}

static pid_t start_any(const char *wanted, int input)
{
	char shell[] = "sh", command[] = "-c", less[] = "less", more[] = "more";
	char *by_shell[] = {shell, command, (char *)wanted, NULL};
	char *defaults[][2] = {{less, NULL}, {more, NULL}};
	pid_t pid;

	if (wanted)
		return start(by_shell, input);
	pid = start(defaults[0], input);
	return pid ?: start(defaults[1], input);
}

void pager_begin(void)
{
	const char *wanted = getenv("SYSTEMD_PAGER");
	int ends[2];

	if (!wanted)
		wanted = getenv("PAGER");
	if (!is_terminal() || (wanted && (!*wanted || strcmp(wanted, "cat") == 0)) ||
		pipe2(ends, O_CLOEXEC) < 0)
		return;
	set_less();
	fflush(stdout);
	pager.terminal = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	pager.pid = pager.terminal < 0 ? 0 : start_any(wanted, ends[0]);
	if (pager.pid) {
		signal(SIGPIPE, SIG_IGN); /* it may be left before the end */
		dup2(ends[1], STDOUT_FILENO);
	}
	close(ends[0]);
	close(ends[1]);
}

void pager_end(void)
{
	if (!pager.pid)
		return;
	fflush(stdout);
	clearerr(stdout);
	dup2(pager.terminal, STDOUT_FILENO); /* the pipe's last end is closed by that */
	close(pager.terminal);
	while (waitpid(pager.pid, NULL, 0) < 0 && errno == EINTR)
		;
	pager.pid = 0;
}
