/* SPDX-License-Identifier: GPL-2.0-only */
/* isomctl register, register-pid, unregister: which socket gets a label's packets. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../destination.h"
#include "../privileges.h"
#include "../say.h"
#include "../unitfile.h"
#include "../waiting.h"
#include "isomctl.h"

/* Registers sockets by hand and tells which ones. */
static int register_sockets(
	const struct options *options, const char *label, const struct socket_list *sockets)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	_cleanup_(freep) struct registration *registrations =
		calloc(sockets->count + 1, sizeof(*registrations));
	char text[LONGEST_SOCKET_TEXT], label_text[4 * NAME_SIZE];
	int r;

	if (!registrations)
		return fail(-ENOMEM, "cannot register sockets: %m");
	for (size_t i = 0; i < sockets->count; i++)
		registrations[i] = (struct registration){&sockets->sockets[i], label};

	r = change_begin(options->bpffs, MISSING_IS_ERROR, &d);
	if (r == 0)
		r = destinations_register(d, "", registrations, sockets->count, REPLACE);
	for (size_t i = 0; i < sockets->count && r == 0; i++)
		printf("registered %s under %s\n", socket_format(&sockets->sockets[i], text),
			printable(label, label_text, sizeof(label_text)));
	return r;
}

/*
 * register
 */

static int say_none_passed(const char *fds, const char *pid)
{
	char reason[64] = "LISTEN_FDS is not set";

	if (fds)
		snprintf(reason, sizeof(reason), "LISTEN_PID is %.20s, and this is process %d",
			pid ?: "not set", getpid());
	return fail(-ENOENT,
		"no sockets were passed (%s): run it from a socket unit with "
		"PassFileDescriptorsToExec=yes, or as 'isomctl register --help' shows",
		reason);
}

static int run_register(const struct options *options, int argc, char **argv)
{
	_cleanup_(socket_list_free) struct socket_list sockets = {};
	char label[NAME_SIZE];
	struct reason reason;
	/* sd_listen_fds(3) takes them out of the environment. */
	const char *fds = secure_getenv("LISTEN_FDS"), *pid = secure_getenv("LISTEN_PID");
	int passed;
	int r = take_arguments(&register_command, argc, &argv, 1, 1);

	if (r < 0)
		return -r;
	if (label_parse(argv[0], label, &reason) < 0)
		return misused(&register_command, "%s", reason.text);
	r = socket_list_add_passed(&sockets, UNFIT_IS_ERROR, &passed);
	if (r < 0)
		return r;
	if (passed == 0)
		return say_none_passed(fds, pid);
	return register_sockets(options, label, &sockets);
}

/*
 * register-pid
 */

static int parse_pid(const char *text, pid_t *ret)
{
	char *end;
	long pid;

	errno = 0;
	pid = strtol(text, &end, 10);
	end += strspn(end, " \t\r\n");
	if (errno || end == text || *end || pid <= 0 || pid != (pid_t)pid)
		return -EINVAL;
	*ret = (pid_t)pid;
	return 0;
}

/* Reads it from a file. -ENOENT, -ENODATA (it is empty yet) and other errors of reading: unsaid. */
static int read_pid_file(const char *path, pid_t *ret)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	char line[32] = "";

	if (!file)
		return -errno;
	if (!fgets(line, sizeof(line), file))
		return ferror(file) ? -errno : -ENODATA;
	if (parse_pid(line, ret) < 0)
		return fail(-EINVAL, "%s doesn't hold a process id: write the number of a process",
			path);
	return 0;
}

/* Drops from the list what doesn't listen there. */
static void keep_listening_at(
	struct socket_list *list, uint8_t protocol, const struct in6_addr *address, uint16_t port)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (socket_listens_at(&list->sockets[i], protocol, address, port))
			list->sockets[kept++] = list->sockets[i];
		else
			close(list->sockets[i].fd);
	}
	list->count = kept;
}

/* To borrow them, and to see which network namespace they are of. */
#define BORROWING (PRIVILEGE(CAP_SYS_PTRACE) | PRIVILEGE(CAP_NET_ADMIN))

static int say_process_error(int error, pid_t pid)
{
	char text[LONGEST_PRIVILEGES_TEXT];
	const char *missing = privileges_missing(BORROWING, text);

	if (error == -ESRCH)
		return fail(error,
			"cannot register a socket of process %d: there is no such process", pid);
	if (error == -EPERM && missing)
		return fail(error,
			"cannot borrow sockets of process %d: %m: it takes root, and this process "
			"lacks %s",
			pid, missing);
	if (error == -EPERM)
		return fail(error,
			"cannot borrow sockets of process %d: %m: it has privileges that this one "
			"lacks, or a security module denies it (ptrace(2))",
			pid);
	return fail(error, "cannot borrow sockets of process %d: %m", pid);
}

struct pid_request {
	const char *process; /* PID, or the path of a file that holds it */
	char label[NAME_SIZE];
	uint8_t protocol;
	struct in6_addr address;
	uint16_t port;

	unsigned long long patient_usec; /* of --wait; FOREVER: as long as the process lives */
	unsigned long long begin_usec;
};

/* Returns 0 and the arguments in *argv, or MISUSED. */
static int take_pid_request(int argc, char ***argv, struct pid_request *ret)
{
	static const struct option long_options[] = {{"wait", required_argument, NULL, 'w'}, {}};
	struct reason reason;
	char **words;

	*ret = (struct pid_request){.begin_usec = monotonic_usec()};
	optind = 0;
	while (getopt_long_only(argc, *argv, "", long_options, NULL) != -1)
		if (timespan_parse(optarg, &ret->patient_usec, &reason) < 0)
			return misused(&register_pid_command, "--wait: %s", reason.text);
	argc -= optind - 2; /* from before the "--" on */
	*argv += optind - 2;
	if (take_arguments(&register_pid_command, argc, argv, 5, 5) < 0)
		return MISUSED;
	words = *argv;
	if (label_parse(words[1], ret->label, &reason) < 0 ||
		protocol_parse(words[2], &ret->protocol, &reason) < 0 ||
		address_parse(words[3], &ret->address, &reason) < 0 ||
		port_parse(words[4], &ret->port, &reason) < 0)
		return misused(&register_pid_command, "%s", reason.text);
	ret->process = words[0];
	return 0;
}

static bool may_wait(const struct pid_request *request)
{
	return monotonic_usec() - request->begin_usec < request->patient_usec;
}

/* A PID file may be written later than its daemon is started. */
static int find_process(const struct pid_request *request, pid_t *ret)
{
	const char *text = request->process;
	int r;

	if (parse_pid(text, ret) == 0)
		return 0;
	while ((r = read_pid_file(text, ret)) == -ENOENT || r == -ENODATA) {
		if (!may_wait(request))
			break;
		pause_msec(POLL_INTERVAL_MSEC);
	}
	if (r == -ENODATA)
		return fail(r, "%s is empty, and should hold a process id", text);
	if (r < 0 && r != -EINVAL) /* that is said */
		return fail(r,
			"\"%s\" is neither a process id nor a readable file: %m: write a number "
			"from 1, or the path of a PID file",
			text);
	return r;
}

/* Waits for it to end, so long. */
static bool has_ended(int pidfd, int milliseconds)
{
	struct pollfd process = {.fd = pidfd, .events = POLLIN};

	return poll(&process, 1, milliseconds) == 1;
}

/*
 * Borrows the socket of a process that is asked for. What was found is the process's as long as
 * that hasn't ended: afterwards its id may be another one's.
 */
static int find_listening(const struct pid_request *request, pid_t pid, struct socket_list *ret)
{
	_cleanup_(closep) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	bool last_look, ended;

	if (pidfd < 0)
		return say_process_error(-errno, pid);
	do {
		int r;

		last_look = !may_wait(request);
		r = socket_list_add_process(ret, pid);
		if (r < 0 && r != -ESRCH)
			return say_process_error(r, pid);
		keep_listening_at(ret, request->protocol, &request->address, request->port);
		ended = has_ended(pidfd, ret->count || last_look ? 0 : POLL_INTERVAL_MSEC);
	} while (!ended && ret->count == 0 && !last_look);
	return ended ? fail(-ESRCH, "cannot register a socket of process %d: it has ended", pid)
		     : 0;
}

/* Who waits for a process learns before that there is nothing to register it with. */
static int look_for_dispatcher(const struct options *options)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;

	return dispatcher_open(options->bpffs, false, MISSING_IS_ERROR, &d);
}

/* Where it has none that could be meant, but others elsewhere, these are the ones that are wanted.
 */
static int say_not_found(const struct pid_request *request, pid_t pid, char **words)
{
	_cleanup_(socket_list_free) struct socket_list sockets = {};
	_cleanup_(freep) char *others = NULL;
	char remedy[64] = "have it listen there, or wait for that with --wait 5s";

	socket_list_add_process(&sockets, pid);
	others = socket_list_describe(&sockets);
	if (sockets.elsewhere && !sockets.count)
		snprintf(remedy, sizeof(remedy), "use --netns /proc/%d/ns/net", pid);
	else if (request->patient_usec)
		snprintf(remedy, sizeof(remedy), "have it listen there, or wait longer");
	return fail(-ENOENT,
		"cannot register a socket of process %d: it has no %s socket at %s port %s that could "
		"be: it has %s: %s",
		pid, words[2], words[3], words[4], others ?: "others", remedy);
}

static int run_register_pid(const struct options *options, int argc, char **argv)
{
	_cleanup_(socket_list_free) struct socket_list sockets = {};
	struct pid_request request;
	pid_t pid = 0;
	int r = take_pid_request(argc, &argv, &request);

	if (r != 0)
		return r;
	if (request.patient_usec)
		r = look_for_dispatcher(options);
	if (r == 0)
		r = find_process(&request, &pid);
	if (r == 0)
		r = find_listening(&request, pid, &sockets);
	if (r < 0)
		return r;
	if (sockets.count == 0)
		return say_not_found(&request, pid, argv);
	return register_sockets(options, request.label, &sockets);
}

/*
 * unregister
 */

static int run_unregister(const struct options *options, int argc, char **argv)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	struct reason reason;
	uint8_t family = IPV4, protocol;
	int r = take_arguments(&unregister_command, argc, &argv, 3, 3);

	if (r < 0)
		return -r;
	while (family < FAMILIES && strcasecmp(argv[1], family_name(family)) != 0)
		family++;
	if (family == FAMILIES)
		return misused(&unregister_command,
			"\"%s\" is not an address family: write ipv4 or ipv6", argv[1]);
	if (protocol_parse(argv[2], &protocol, &reason) < 0)
		return misused(&unregister_command, "%s", reason.text);
	r = change_begin(options->bpffs, MISSING_IS_ERROR, &d);
	if (r == 0)
		r = destination_unregister(d, argv[0], family, protocol);
	if (r == 0)
		printf("unregistered the %s %s socket of %s\n", family_name(family),
			protocol_name(protocol), argv[0]);
	return r;
}

const struct command register_command = {
	.name = "register",
	.arguments = "LABEL",
	.summary = "register the sockets that systemd passes (sd_listen_fds)",
	.help = "Puts the sockets that were passed to isomctl under the label, in place of those\n"
		"that were there. A dual-stack IPv6 socket takes IPv4 packets too. Units with an\n"
		"[Isomer] section don't need this.\n\n"
		"Examples:\n"
		"  in a socket unit (systemd 256 or later):\n"
		"    PassFileDescriptorsToExec=yes\n"
		"    ExecStartPost=isomctl register web\n"
		"  in a script that got sockets, before it becomes the server that keeps them:\n"
		"    (LISTEN_PID=$BASHPID exec isomctl register web)\n"
		"    LISTEN_PID=$$ exec server\n",
	.run = run_register,
};

const struct command register_pid_command = {
	.name = "register-pid",
	.arguments = "[--wait TIMESPAN] PID|PIDFILE LABEL PROTOCOL IP PORT",
	.summary = "register a socket of a running process",
	.help = "--wait TIMESPAN  wait so long (\"5\" seconds, \"500ms\", \"infinity\") for PIDFILE\n"
		"                 to be there and for the process to listen; by default both\n"
		"                 must be so already\n\n"
		"Borrows the process's socket that listens at IP and PORT and puts it under the\n"
		"label, in place of what was there. The process notices nothing.\n\n"
		"Examples:\n"
		"  isomctl register-pid 4242 web tcp 127.0.0.1 8080\n"
		"  isomctl register-pid --wait 5 $! web tcp 127.0.0.1 8080\n"
		"  isomctl register-pid /run/nginx.pid web tcp :: 80\n",
	.run = run_register_pid,
};

const struct command unregister_command = {
	.name = "unregister",
	.arguments = "LABEL ipv4|ipv6 tcp|udp",
	.summary = "take a label's socket out",
	.help = "Packets of the label's bindings are refused from then on, until a socket is\n"
		"registered again. The socket itself stays open.\n\n"
		"Example:\n"
		"  isomctl unregister web ipv4 tcp\n",
	.run = run_unregister,
};
