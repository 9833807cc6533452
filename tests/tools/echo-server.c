/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A server that tells who answered: to each TCP connection and each UDP datagram it says its name
 * and the address and port that the client dialled ("NAME ADDRESS PORT"); what comes over a TCP
 * connection after that it echoes. Its options make it the kinds of servers that Isomer meets.
 * Once it listens it prints "listening". SIGTERM ends it with exit code 0.
 *
 * It is also the example of how a UDP server answers from the address and the port that were
 * dialled, which TCP does by itself: see answer_datagram().
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

static const char usage[] =
	"echo-server [OPTION]... [tcp:ADDRESS:PORT | udp:ADDRESS:PORT]...   (an IPv6 address in [])\n"
	"  --name NAME      what it answers by (echo)\n"
	"  --listen-fds     serve the sockets that systemd passes\n"
	"  --notify         tell systemd READY=1 once it listens\n"
	"  --delay-ms N     wait before the sockets are opened\n"
	"  --fork           open the sockets in a child process\n"
	"  --reuseport      with SO_REUSEPORT; name an address twice for a group of two\n"
	"  --v6only         with IPV6_V6ONLY\n"
	"  --nonblock       with O_NONBLOCK\n"
	"  --fd-at N        put them at the file descriptors N, N+1, ...\n"
	"  --opath          open O_PATH descriptors before them and after them\n"
	"  --dump-flags     add the socket's file status flags to the answer, in octal (04002)\n"
	"  --crash-after N  die by SIGKILL after N answers\n";

static struct {
	const char *name;
	int listen_fds, notify, fork, reuseport, v6only, nonblock, opath, dump_flags;
	int delay_ms, fd_at, crash_after;
} options = {.name = "echo"};

static const struct option long_options[] = {
	{"name", required_argument, NULL, 'n'},
	{"delay-ms", required_argument, NULL, 'd'},
	{"fd-at", required_argument, NULL, 'a'},
	{"crash-after", required_argument, NULL, 'c'},
	{"listen-fds", no_argument, &options.listen_fds, true},
	{"notify", no_argument, &options.notify, true},
	{"fork", no_argument, &options.fork, true},
	{"reuseport", no_argument, &options.reuseport, true},
	{"v6only", no_argument, &options.v6only, true},
	{"nonblock", no_argument, &options.nonblock, true},
	{"opath", no_argument, &options.opath, true},
	{"dump-flags", no_argument, &options.dump_flags, true},
	{"help", no_argument, NULL, 'h'},
	{},
};

union address {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static const int on = 1;

static socklen_t address_size(const union address *a)
{
	return a->sa.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

/* Makes an IPv4 address of an IPv4-mapped IPv6 one, which is how dual-stack sockets show it. */
static void unmap(union address *a)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = a->v6.sin6_port};

	if (a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return;
	memcpy(&v4.sin_addr, &a->v6.sin6_addr.s6_addr[12], sizeof(v4.sin_addr));
	a->v4 = v4;
}

static void map(union address *a)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = a->v4.sin_port};

	if (a->sa.sa_family != AF_INET)
		return;
	v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&v6.sin6_addr.s6_addr[12], &a->v4.sin_addr, sizeof(a->v4.sin_addr));
	a->v6 = v6;
}

/* Writes "NAME ADDRESS PORT\n" into `line`; returns its length. */
static int compose(char *line, size_t size, int listener, union address dialled)
{
	char host[INET6_ADDRSTRLEN], port[8], flags[16] = "";

	unmap(&dialled);
	if (getnameinfo(&dialled.sa, address_size(&dialled), host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV))
		return 0;
	if (options.dump_flags)
		snprintf(flags, sizeof(flags), " %#o", (unsigned)fcntl(listener, F_GETFL));
	return snprintf(line, size, "%s %s %s%s\n", options.name, host, port, flags);
}

static void count_answer(void)
{
	static int answers;

	if (++answers == options.crash_after)
		raise(SIGKILL);
}

static int answer_connection(int listener)
{
	union address dialled;
	socklen_t size = sizeof(dialled);
	char line[256];
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 || getsockname(fd, &dialled.sa, &size) < 0)
		return -1;
	send(fd, line, compose(line, sizeof(line), listener, dialled), MSG_NOSIGNAL);
	count_answer();
	return fd;
}

/* Returns false once the connection is over. */
static bool echo(int connection)
{
	char buffer[4096];
	ssize_t n = recv(connection, buffer, sizeof(buffer), 0);

	return n > 0 && send(connection, buffer, n, MSG_NOSIGNAL) == n;
}

/* Answers through the socket itself, with another source address than the one it is bound to. */
static void send_from_address(
	int fd, const char *line, size_t size, union address from, union address to)
{
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {};
	struct iovec data = {(void *)line, size};
	struct msghdr message = {.msg_name = &to,
		.msg_namelen = address_size(&to),
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control};
	struct cmsghdr *c = (struct cmsghdr *)control;
	struct in_pktinfo v4 = {.ipi_spec_dst = from.v4.sin_addr};
	struct in6_pktinfo v6 = {from.v6.sin6_addr, from.v6.sin6_scope_id};
	bool is_v4 = from.sa.sa_family == AF_INET;

	c->cmsg_level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6;
	c->cmsg_type = is_v4 ? IP_PKTINFO : IPV6_PKTINFO;
	c->cmsg_len = is_v4 ? CMSG_LEN(sizeof(v4)) : CMSG_LEN(sizeof(v6));
	memcpy(CMSG_DATA(c), is_v4 ? (void *)&v4 : (void *)&v6, is_v4 ? sizeof(v4) : sizeof(v6));
	message.msg_controllen = is_v4 ? CMSG_SPACE(sizeof(v4)) : CMSG_SPACE(sizeof(v6));
	if (sendmsg(fd, &message, 0) < 0)
		warn("sendmsg");
}

/*
 * Answers from another port, which takes another socket. It is never connected: a connected socket
 * would draw the client's next datagrams away from the dispatcher; an unconnected one, for as long
 * as it lives, doesn't get what is dispatched.
 */
static void send_from_port(const char *line, size_t size, union address from, union address to)
{
	bool is_v4 = from.sa.sa_family == AF_INET;
	int fd = socket(from.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, is_v4 ? IPPROTO_IP : IPPROTO_IPV6, is_v4 ? IP_FREEBIND : IPV6_FREEBIND, &on,
		sizeof(on));
	if (bind(fd, &from.sa, address_size(&from)) < 0 ||
		sendto(fd, line, size, 0, &to.sa, address_size(&to)) < 0)
		warn("answer from another port");
	close(fd);
}

/*
 * Which address and port were dialled, IP_RECVORIGDSTADDR tells; a dual-stack socket has it in
 * IPv4's form or in IPv6's, by the packet. Where only the address isn't the socket's own, the
 * answer's source can be given with the answer.
 */
static void answer_datagram(int fd)
{
	char control[256], line[256], request[4096];
	union address client = {}, dialled = {}, own = {};
	struct iovec data = {request, sizeof(request)};
	struct msghdr message = {.msg_name = &client,
		.msg_namelen = sizeof(client),
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	socklen_t own_size = sizeof(own);
	int size;

	if (recvmsg(fd, &message, MSG_DONTWAIT) < 0 || getsockname(fd, &own.sa, &own_size) < 0)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR)
			memcpy(&dialled, CMSG_DATA(c), sizeof(dialled.v4));
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR)
			memcpy(&dialled, CMSG_DATA(c), sizeof(dialled.v6));
	}
	size = compose(line, sizeof(line), fd, dialled);
	if (dialled.v4.sin_port != own.v4.sin_port) {
		unmap(&client);
		send_from_port(line, size, dialled, client);
	} else {
		if (own.sa.sa_family == AF_INET6)
			map(&dialled);
		send_from_address(fd, line, size, dialled, client);
	}
	count_answer();
}

/* Opens the socket that a text like tcp:192.0.2.1:80 or udp:[::]:53 asks for. */
static int open_socket(const char *text)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
	int fd, v6only = options.v6only;
	char host[64], port[8];

	hints.ai_socktype = strncmp(text, "tcp:", 4) ? SOCK_DGRAM : SOCK_STREAM;
	if (sscanf(text, "%*[tcudp]:[%63[^]]]:%7s", host, port) != 2 &&
		sscanf(text, "%*[tcudp]:%63[^:]:%7s", host, port) != 2)
		errx(2, "%s: write tcp:ADDRESS:PORT or udp:ADDRESS:PORT", text);
	if (getaddrinfo(host, port, &hints, &found))
		errx(2, "%s: not an address and a port", text);

	fd = socket(
		found->ai_family, found->ai_socktype | (options.nonblock ? SOCK_NONBLOCK : 0), 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (options.reuseport)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (found->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
	if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 ||
		(found->ai_socktype == SOCK_STREAM && listen(fd, SOMAXCONN) < 0))
		err(1, "%s", text);
	freeaddrinfo(found);

	if (!options.fd_at)
		return fd;
	if (dup2(fd, options.fd_at) < 0)
		err(1, "file descriptor %d", options.fd_at);
	close(fd);
	return options.fd_at++;
}

static void open_opath(void)
{
	for (int i = 0; options.opath && i < 3; i++)
		if (open("/", O_PATH) < 0)
			err(1, "/");
}

/* What an event's file descriptor is, kept beside it in the event. */
enum role { LISTENER, DATAGRAMS, CONNECTION };

static void watch(int epoll, int fd, enum role role)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)role << 32 | fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void watch_socket(int epoll, int fd)
{
	int type = 0;
	socklen_t size = sizeof(type);

	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
	if (type == SOCK_DGRAM) {
		setsockopt(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, &on, sizeof(on));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, &on, sizeof(on));
		/* Else IPv6 refuses to send from an address that is local by a route alone. */
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
		/* Else no second socket could have this port at another address. */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	}
	watch(epoll, fd, type == SOCK_DGRAM ? DATAGRAMS : LISTENER);
}

static int open_all(char **texts)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), passed = 0;

	usleep(options.delay_ms * 1000);
	open_opath();
	if (options.listen_fds && (passed = sd_listen_fds(true)) <= 0)
		errx(1, "systemd passed no sockets");
	for (int i = 0; i < passed; i++)
		watch_socket(epoll, SD_LISTEN_FDS_START + i);
	for (; *texts; texts++)
		watch_socket(epoll, open_socket(*texts));
	open_opath();
	return epoll;
}

static void serve(int epoll)
{
	struct epoll_event event;

	for (;;) {
		if (epoll_wait(epoll, &event, 1, -1) < 1)
			continue;
		int fd = (int)event.data.u64, connection;
		switch ((enum role)(event.data.u64 >> 32)) {
		case LISTENER:
			if ((connection = answer_connection(fd)) >= 0)
				watch(epoll, connection, CONNECTION);
			break;
		case DATAGRAMS:
			answer_datagram(fd);
			break;
		case CONNECTION:
			if (!echo(fd))
				close(fd);
		}
	}
}

/* Goes on in a child; the parent stays until the child has ended, or dies and takes it along. */
static void go_on_in_child(int *ready)
{
	int status, pipes[2];
	char byte;
	pid_t child;

	if (pipe(pipes) < 0 || (child = fork()) < 0)
		err(1, "fork");
	close(pipes[!!child]);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		*ready = pipes[1];
		return;
	}
	if (read(pipes[0], &byte, 1) == 1) {
		puts("listening");
		if (options.notify)
			sd_notify(false, "READY=1");
	}
	waitpid(child, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

static void end(int signal_number)
{
	_exit(signal_number == SIGTERM ? EXIT_SUCCESS : EXIT_FAILURE);
}

int main(int argc, char **argv)
{
	int option, epoll, ready = -1;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 'n')
			options.name = optarg;
		else if (option == 'd')
			options.delay_ms = atoi(optarg);
		else if (option == 'a')
			options.fd_at = atoi(optarg);
		else if (option == 'c')
			options.crash_after = atoi(optarg);
		else if (option) {
			fputs(usage, stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGTERM, end);

	if (options.fork)
		go_on_in_child(&ready);
	epoll = open_all(argv + optind);
	if (ready >= 0) {
		(void)!write(ready, "", 1);
	} else {
		puts("listening");
		if (options.notify)
			sd_notify(false, "READY=1");
	}
	serve(epoll);
}
