/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs a command and kills it as it enters its Nth system call, whichever that is, for the tests of
 * what a killed tool leaves. strace can do the like for the Nth call of one kind; this goes through
 * all of them in the order in which they are made. Counted is from the first call on that can have
 * an effect on others (flock, mkdir, bpf): before that a command only starts up and reads.
 *
 * Exit status: the command's own, or 137 if it was killed. On stdout, instead of the command's own
 * output: how many calls it was about to make or, if N is 0, made altogether.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLED 137 /* what a shell says of SIGKILL */

static pid_t start(char **command)
{
	pid_t pid = fork();

	if (pid < 0)
		err(2, "fork");
	if (pid)
		return pid;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		err(2, "cannot be traced");
	/* The leak sanitizer would trace as well, and only one may. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", false);
	execvp(command[0], command);
	err(2, "%s", command[0]);
}

/* Has effects on others, or orders them: what a tool does from here on may be left half done. */
static bool begins_work(unsigned long long call)
{
	switch (call) {
	case SYS_flock:
	case SYS_bpf:
#ifdef SYS_mkdir
	case SYS_mkdir:
#endif
	case SYS_mkdirat:
		return true;
	default:
		return false;
	}
}

static bool enters_call(pid_t pid, unsigned long long *ret_call)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0)
		err(2, "cannot read the system call");
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	*ret_call = info.entry.nr;
	return true;
}

/* Returns the command's wait status. */
static int trace(pid_t pid, unsigned long last, unsigned long *ret_count)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	unsigned long long call;
	int status, signal = 0;

	*ret_count = 0;
	if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status) ||
		ptrace(PTRACE_SETOPTIONS, pid, NULL, options) < 0)
		err(2, "cannot trace");
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, (long)signal) < 0 && errno != ESRCH)
			err(2, "cannot let it go on");
		if (waitpid(pid, &status, 0) < 0)
			err(2, "cannot wait for it");
		if (!WIFSTOPPED(status))
			return status;
		bool is_call = WSTOPSIG(status) == (SIGTRAP | 0x80);

		signal = is_call || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		if (!is_call || !enters_call(pid, &call) || (*ret_count == 0 && !begins_work(call)))
			continue;
		if (++*ret_count == last)
			kill(pid, SIGKILL);
	}
}

int main(int argc, char **argv)
{
	unsigned long count;
	char *end;

	if (argc < 3)
		errx(2, "usage: kill-at N COMMAND...");
	unsigned long last = strtoul(argv[1], &end, 10);

	if (*end)
		errx(2, "\"%s\" is not a number", argv[1]);
	int status = trace(start(argv + 2), last, &count);

	printf("%lu\n", count);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
