/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A crowd of clients that know who must answer: opens TCP connections to random addresses of an
 * IPv4 subnet, so many a second and several at once, reads what echo-server says ("NAME ADDRESS
 * PORT"), and compares it with what was dialled. On SIGTERM it prints a line:
 *
 *	SECONDS seconds, CONNECTIONS connections, REFUSED refused, WRONG wrong
 *
 * Wrong is every answer but that of one of the NAMEs and every failure but a refusal, which is also
 * a connection that is closed without an answer; --refusals allows these, else they are wrong as
 * well. The first wrong ones are printed to stderr.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE     32
#define PATIENCE    10.0 /* seconds for one connection */
#define WRONG_SHOWN 10

static const char usage[] =
	"crowd [--rate N] [--refusals] SUBNET LENGTH PORT NAME...   (until SIGTERM)\n"
	"  --rate N     connections a second (20000)\n"
	"  --refusals   a refusal is as good as an answer\n";

struct client {
	int fd; /* -1: none under way */
	struct sockaddr_in to;
	double begin;
};

static struct client clients[AT_ONCE];
static unsigned long connections, refused, wrong;
static int refusals_are_fine;
static char **names;
static volatile sig_atomic_t is_over;

static void end(int signal_number)
{
	is_over = signal_number;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void report_wrong(const struct client *client, const char *answer)
{
	if (wrong++ < WRONG_SHOWN)
		warnx("%s port %d: %s", inet_ntoa(client->to.sin_addr), ntohs(client->to.sin_port),
			answer);
}

/* Is it "NAME ADDRESS PORT", with one of the names and what was dialled? */
static bool is_right(const struct client *client, const char *answer)
{
	char expected[256];

	for (char **name = names; *name; name++) {
		snprintf(expected, sizeof(expected), "%s %s %d\n", *name,
			inet_ntoa(client->to.sin_addr), ntohs(client->to.sin_port));
		if (strcmp(answer, expected) == 0)
			return true;
	}
	return false;
}

static void finish(struct client *client)
{
	char answer[256];
	ssize_t n = recv(client->fd, answer, sizeof(answer) - 1, 0);

	connections++;
	/* A server that is stopped closes what it has accepted without a word. */
	if (n == 0 || (n < 0 && (errno == ECONNREFUSED || errno == ECONNRESET))) {
		refused++;
		if (!refusals_are_fine)
			report_wrong(client, n ? "refused" : "closed without a word");
	} else if (n < 0) {
		report_wrong(client, strerror(errno));
	} else {
		answer[n] = '\0';
		if (!is_right(client, answer))
			report_wrong(client, answer);
	}
	close(client->fd);
	client->fd = -1;
}

static void begin(struct client *client, int epoll)
{
	/* Closing with a RST leaves no TIME_WAIT behind. */
	const struct linger at_once = {.l_onoff = 1};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};

	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		err(1, "socket");
	setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	client->begin = now();
	if (connect(client->fd, (struct sockaddr *)&client->to, sizeof(client->to)) < 0 &&
		errno != EINPROGRESS) {
		finish(client);
		return;
	}
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
		err(1, "epoll_ctl");
}

/* Gives up those that wait in vain. */
static void lose_patience(void)
{
	for (struct client *client = clients; client < clients + AT_ONCE; client++) {
		if (client->fd < 0 || now() - client->begin < PATIENCE)
			continue;
		connections++;
		report_wrong(client, "no answer");
		close(client->fd);
		client->fd = -1;
	}
}

static void run(int epoll, uint32_t subnet, int length, int port, double rate)
{
	uint32_t hosts = length == 0 ? UINT32_MAX : (1U << (32 - length)) - 1;
	double start = now();
	unsigned long begun = 0;

	while (!is_over) {
		struct epoll_event events[AT_ONCE];
		int ready = epoll_wait(epoll, events, AT_ONCE, 1);

		for (int i = 0; i < ready; i++)
			finish(events[i].data.ptr);
		lose_patience();
		for (struct client *client = clients;
			client < clients + AT_ONCE && (double)begun < (now() - start) * rate;
			client++) {
			if (client->fd >= 0)
				continue;
			client->to = (struct sockaddr_in){.sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr.s_addr = htonl(subnet | ((uint32_t)random() & hosts))};
			begin(client, epoll);
			begun++;
		}
	}
	printf("%.0f seconds, %lu connections, %lu refused, %lu wrong\n", now() - start,
		connections, refused, wrong);
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"rate", required_argument, NULL, 'r'},
		{"refusals", no_argument, &refusals_are_fine, true},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	struct in_addr subnet;
	double rate = 20000;
	int option, epoll = epoll_create1(EPOLL_CLOEXEC);

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 'r')
			rate = atof(optarg);
		else if (option) {
			fputs(usage, stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	argv += optind;
	if (argc - optind < 4 || inet_pton(AF_INET, argv[0], &subnet) != 1)
		errx(2, "%s", usage);
	names = argv + 3;
	signal(SIGTERM, end);
	for (struct client *client = clients; client < clients + AT_ONCE; client++)
		client->fd = -1;
	run(epoll, ntohl(subnet.s_addr), atoi(argv[1]), atoi(argv[2]), rate);
	return wrong > 0;
}
