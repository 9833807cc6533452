/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asks who answers. For each "tcp|udp ADDRESS PORT" it prints one line: what echo-server said
 * ("NAME ADDRESS PORT"), or one of the words below. Probes run one after the other; tests that
 * have thousands of them give them on stdin, a line each.
 *
 *   refused      a RST, or ICMP port unreachable
 *   timeout      no answer within the time
 *   unreachable  no way there (no route, not a local address)
 *   silent       a connection that was closed before anything was said
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char usage[] =
	"probe [--timeout-ms N] [--count N] [tcp|udp ADDRESS PORT]...   (or a line each on stdin)\n"
	"  --timeout-ms N  how long to wait for each answer (10000)\n"
	"  --count N       make each probe N times\n";

static const struct option long_options[] = {
	{"timeout-ms", required_argument, NULL, 't'},
	{"count", required_argument, NULL, 'c'},
	{"help", no_argument, NULL, 'h'},
	{},
};

static int timeout_ms = 10000;

/* The word for why there was no answer. */
static const char *word_for(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ECONNRESET:
		return "refused";
	case EAGAIN:
	case ETIMEDOUT:
		return "timeout";
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EADDRNOTAVAIL:
	case EINVAL: /* from a loopback address to an address elsewhere */
		return "unreachable";
	case 0:
		return "silent";
	default:
		return strerror(error);
	}
}

/* Waits until the socket can be read or written; returns 0 or what went wrong. */
static int await(int fd, short events)
{
	struct pollfd ready = {.fd = fd, .events = events};
	int error = 0;
	socklen_t size = sizeof(error);

	if (poll(&ready, 1, timeout_ms) != 1)
		return ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error;
}

/* Connects to `to`, says something if it is UDP, and reads a line. Returns 0 or an errno. */
static int ask(int fd, const struct addrinfo *to, char *line, size_t size)
{
	ssize_t n;
	int error;

	if (connect(fd, to->ai_addr, to->ai_addrlen) < 0 && errno != EINPROGRESS)
		return errno;
	if (to->ai_socktype == SOCK_DGRAM && send(fd, "?", 1, 0) < 0)
		return errno;
	if (to->ai_socktype == SOCK_STREAM && (error = await(fd, POLLOUT)))
		return error;
	if ((error = await(fd, POLLIN)))
		return error;
	/* The server sends its line at once and in one piece. */
	if ((n = recv(fd, line, size - 1, 0)) < 0)
		return errno;
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	return 0;
}

static void probe(const char *protocol, const char *address, const char *port)
{
	/* Closing with a RST leaves no TIME_WAIT behind, which thousands of probes would run into.
	 */
	const struct linger at_once = {.l_onoff = 1};
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *to;
	char line[512] = "";
	int fd, error;

	if (strcmp(protocol, "tcp") && strcmp(protocol, "udp"))
		errx(2, "%s: not a protocol: write tcp or udp", protocol);
	hints.ai_socktype = !strcmp(protocol, "tcp") ? SOCK_STREAM : SOCK_DGRAM;
	if (getaddrinfo(address, port, &hints, &to))
		errx(2, "%s %s: not an address and a port", address, port);

	fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	error = ask(fd, to, line, sizeof(line));
	puts(*line ? line : word_for(error));
	close(fd);
	freeaddrinfo(to);
}

int main(int argc, char **argv)
{
	char protocol[8], address[64], port[8];
	int option, count = 1;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 't')
			timeout_ms = atoi(optarg);
		else if (option == 'c')
			count = atoi(optarg);
		else {
			fputs(usage, stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	/* Whoever reads along gets each answer when it is there, and whole. */
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	argv += optind;
	argc -= optind;
	if (argc % 3)
		errx(2, "a probe is three words: tcp|udp ADDRESS PORT");
	for (; *argv; argv += 3)
		for (int i = 0; i < count; i++)
			probe(argv[0], argv[1], argv[2]);
	if (!argc)
		while (scanf("%7s %63s %7s", protocol, address, port) == 3)
			for (int i = 0; i < count; i++)
				probe(protocol, address, port);
	return ferror(stdout) ? 1 : 0;
}
