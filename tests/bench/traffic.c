/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * traffic udp|tcp SECONDS MILLISECONDS WAY...: how many datagrams or connections pass in a second.
 * Each WAY from a client to a server is
 *
 *	NAME:NETNS:ADDRESS:PORT:SERVER-ADDRESS:SERVER-PORT[:transparent|:proxied]
 *
 * in a network namespace of its own (the path of one): the client sends to ADDRESS and PORT, the
 * server listens on the others, with IP_TRANSPARENT if it says so, as tproxy asks for. Once all
 * servers listen it prints "ready" and waits for a line on stdin, so that the ways can be paved.
 *
 * The first way is what the others are compared with. Rounds of so many milliseconds take turns
 * for so many seconds: before and after each round of another way there is one of the first, and
 * their mean is what it is divided by. Seconds are those of CPU time of the client's thread, which
 * never sleeps: on a machine of its own they are the clock's, and other processes don't count. A
 * proxied way, where another process works too, goes by the clock. Prints a line for each way: NAME
 * MEDIAN-PER-SECOND MEDIAN-RATIO LOST, the last the share of datagrams sent that never came.
 *
 * Datagrams: one sender, one receiver, a processor each, a call for each datagram, one byte in it.
 * The receiver doesn't sleep, so that the sender, which carries each datagram through the kernel to
 * the receiver's queue, is what limits. Connections: one after the other, connect, accept, close of
 * both ends, in one thread; closed with a RST, so that no TIME_WAIT stays behind.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#define MAX_WAYS       16
#define MAX_TURNS      10000
#define WARM_UP        0.5 /* seconds */
#define RECEIVE_BUFFER (8 << 20)
#define CHECK_CLOCK    16    /* datagrams or connections between two looks at the clock */
#define ROUND_WARM_UP  64    /* datagrams: the first way's round is always the last but one */
#define PATIENCE       5     /* seconds for one connection */
#define LOST_AFTER     200e6 /* ns without a datagram */

struct way {
	char *name;
	int netns;
	struct sockaddr_in to, server;
	bool transparent, proxied;
	int listener, client;
	double rates[2 * MAX_TURNS * MAX_WAYS], ratios[MAX_TURNS];
	int rate_count, ratio_count;
	unsigned long sent, received;
};

static struct way ways[MAX_WAYS];
static int way_count;

/* What the receiver, a thread of its own, is told and tells. */
static _Atomic int receive_from = -1;
static atomic_ulong received;

static void enter(const struct way *way)
{
	if (setns(way->netns, CLONE_NEWNET) < 0)
		err(1, "%s: setns", way->name);
}

static struct sockaddr_in address_parse(const char *address, const char *port)
{
	struct sockaddr_in parsed = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};

	if (inet_pton(AF_INET, address, &parsed.sin_addr) != 1 || parsed.sin_port == 0)
		errx(2, "%s:%s: not an IPv4 address and a port", address, port);
	return parsed;
}

static void way_parse(char *text, struct way *way)
{
	enum { NAME, NETNS, ADDRESS, PORT, SERVER_ADDRESS, SERVER_PORT, OPTION, WORDS };
	char *words[WORDS] = {};
	int count = 0;

	while (count < WORDS && (words[count] = strsep(&text, ":")))
		count++;
	if (count < OPTION)
		errx(2, "%s: not a way", words[NAME]);
	way->name = words[NAME];
	way->to = address_parse(words[ADDRESS], words[PORT]);
	way->server = address_parse(words[SERVER_ADDRESS], words[SERVER_PORT]);
	way->transparent = words[OPTION] && strcmp(words[OPTION], "transparent") == 0;
	way->proxied = words[OPTION] && strcmp(words[OPTION], "proxied") == 0;
	way->netns = open(words[NETNS], O_RDONLY | O_CLOEXEC);
	if (way->netns < 0)
		err(1, "%s", words[NETNS]);
}

static void open_server(struct way *way, int type)
{
	static const struct timeval patience = {.tv_sec = PATIENCE};
	static const int on = 1, buffer = RECEIVE_BUFFER;
	int fd;

	enter(way);
	fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(1, "%s: socket", way->name);
	if (way->transparent && setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) < 0)
		err(1, "%s: IP_TRANSPARENT", way->name);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (bind(fd, (struct sockaddr *)&way->server, sizeof(way->server)) < 0 ||
		(type == SOCK_STREAM && listen(fd, SOMAXCONN) < 0))
		err(1, "%s: cannot listen on port %d", way->name, ntohs(way->server.sin_port));
	way->listener = fd;
}

/* A stretch of work on both clocks, and how many things a second were done in it by each. */
struct stretch {
	double clock, cpu;               /* its begin */
	double clock_passed, cpu_passed; /* until now */
};

struct pace {
	double by_clock, by_cpu;
};

static struct stretch begin(void)
{
	return (struct stretch){
		.clock = nanoseconds(CLOCK_MONOTONIC), .cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID)};
}

static bool has_lasted(struct stretch *stretch, double duration)
{
	stretch->clock_passed = nanoseconds(CLOCK_MONOTONIC) - stretch->clock;
	stretch->cpu_passed = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - stretch->cpu;
	return stretch->clock_passed >= duration;
}

static struct pace pace_of(const struct stretch *stretch, unsigned long count)
{
	return (struct pace){(double)count / stretch->clock_passed * 1e9,
		(double)count / stretch->cpu_passed * 1e9};
}

/*
 * UDP
 */

static void *receive(void *unused)
{
	(void)unused;
	pin_to_cpu(1);
	for (;;) {
		int fd = atomic_load_explicit(&receive_from, memory_order_relaxed);
		char byte;

		if (fd >= 0 && recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
			atomic_fetch_add_explicit(&received, 1, memory_order_relaxed);
	}
	return NULL;
}

static void open_udp_client(struct way *way)
{
	way->client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (way->client < 0 ||
		connect(way->client, (struct sockaddr *)&way->to, sizeof(way->to)) < 0)
		err(1, "%s: connect", way->name);
}

/* Waits until so many have been received, or none has been for a while: the rest is lost. */
static void drain(unsigned long before, unsigned long sent)
{
	unsigned long last = atomic_load(&received), until = before + sent;
	double now = nanoseconds(CLOCK_MONOTONIC), came = now;

	while (last < until && now - came < (last == before ? PATIENCE * 1e9 : LOST_AFTER)) {
		unsigned long got = atomic_load(&received);

		now = nanoseconds(CLOCK_MONOTONIC);
		if (got != last)
			came = now;
		last = got;
	}
}

static void send_datagrams(const struct way *way, int count)
{
	for (int i = 0; i < count; i++)
		if (send(way->client, "x", 1, 0) < 0)
			err(1, "%s: send", way->name);
}

static struct pace udp_round(struct way *way, double duration)
{
	unsigned long before, sent = 0, got;
	struct stretch stretch;

	before = atomic_load(&received);
	atomic_store(&receive_from, way->listener);
	send_datagrams(way, ROUND_WARM_UP);
	stretch = begin();
	do {
		send_datagrams(way, CHECK_CLOCK);
		sent += CHECK_CLOCK;
	} while (!has_lasted(&stretch, duration));
	drain(before, ROUND_WARM_UP + sent);
	got = atomic_load(&received) - before;
	got = got > ROUND_WARM_UP ? got - ROUND_WARM_UP : 0;
	atomic_store(&receive_from, -1);
	if (got == 0)
		errx(1, "%s: no datagram came", way->name);
	way->sent += sent;
	way->received += got;
	return pace_of(&stretch, got);
}

/*
 * TCP
 */

static void one_connection(struct way *way)
{
	static const struct linger at_once = {.l_onoff = 1};
	static const struct timeval patience = {.tv_sec = PATIENCE};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), server;

	if (client < 0)
		err(1, "socket");
	setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(client, (struct sockaddr *)&way->to, sizeof(way->to)) < 0)
		err(1, "%s: connect", way->name);
	server = accept4(way->listener, NULL, NULL, SOCK_CLOEXEC);
	if (server < 0)
		err(1, "%s: accept", way->name);
	close(client);
	close(server);
}

static struct pace tcp_round(struct way *way, double duration)
{
	unsigned long count = 0;
	struct stretch stretch;

	enter(way);
	for (int i = 0; i < CHECK_CLOCK; i++)
		one_connection(way);
	stretch = begin();
	do {
		for (int i = 0; i < CHECK_CLOCK; i++)
			one_connection(way);
		count += CHECK_CLOCK;
	} while (!has_lasted(&stretch, duration));
	return pace_of(&stretch, count);
}

static struct pace one_round(struct way *way, int type, double duration)
{
	struct pace pace;

	pace = type == SOCK_DGRAM ? udp_round(way, duration) : tcp_round(way, duration);
	way->rates[way->rate_count++] = way->proxied ? pace.by_clock : pace.by_cpu;
	return pace;
}

/* One of a way's rounds, by the mean of those of the first way before and after it. */
static double ratio(const struct way *way, struct pace it, struct pace before, struct pace after)
{
	if (way->proxied)
		return it.by_clock / ((before.by_clock + after.by_clock) / 2);
	return it.by_cpu / ((before.by_cpu + after.by_cpu) / 2);
}

/* For so many seconds, and at least once. */
static void take_turns(int type, double seconds, double duration)
{
	double end = nanoseconds(CLOCK_MONOTONIC) + seconds * 1e9;
	int turn = 0;

	do {
		struct pace before = one_round(&ways[0], type, duration);

		ways[0].ratios[ways[0].ratio_count++] = 1;
		for (int i = 1; i < way_count; i++) {
			/* Every way follows every other in its turn. */
			struct way *way = &ways[1 + (i + turn) % (way_count - 1)];
			struct pace it = one_round(way, type, duration);
			struct pace after = one_round(&ways[0], type, duration);

			way->ratios[way->ratio_count++] = ratio(way, it, before, after);
			before = after;
		}
	} while (++turn < MAX_TURNS && nanoseconds(CLOCK_MONOTONIC) < end);
}

static void forget(struct way *way)
{
	way->rate_count = way->ratio_count = 0;
	way->sent = way->received = 0;
}

int main(int argc, char **argv)
{
	int type;
	double seconds, duration;
	pthread_t receiver;
	char line[16];

	die_with_parent();
	if (argc < 5 || argc > 4 + MAX_WAYS)
		errx(2, "usage: traffic udp|tcp SECONDS MILLISECONDS WAY...");
	type = strcmp(argv[1], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
	seconds = atof(argv[2]);
	duration = atof(argv[3]) * 1e6;
	if (seconds <= 0 || duration <= 0)
		errx(2, "%s %s: not a number of seconds and one of milliseconds", argv[2], argv[3]);
	for (char **word = argv + 4; *word; word++) {
		struct way *way = &ways[way_count++];

		way_parse(*word, way);
		open_server(way, type);
		if (type == SOCK_DGRAM)
			open_udp_client(way);
	}
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;

	if (type == SOCK_DGRAM && pthread_create(&receiver, NULL, receive, NULL) != 0)
		errx(1, "no thread");
	pin_to_cpu(0);
	take_turns(type, WARM_UP, duration);
	for (int i = 0; i < way_count; i++)
		forget(&ways[i]);
	take_turns(type, seconds, duration);

	for (struct way *way = ways; way < ways + way_count; way++)
		printf("%s %.0f %.4f %.4f\n", way->name, median(way->rates, way->rate_count),
			median(way->ratios, way->ratio_count),
			way->sent > way->received ? 1 - (double)way->received / (double)way->sent
						  : 0);
	return 0;
}
