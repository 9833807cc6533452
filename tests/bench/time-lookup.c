/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * time-lookup KIND COUNT ROUNDS: how long the dispatcher of this network namespace, which has
 * these bindings and a socket for their label, takes for a packet; beside it the two programs of
 * lookup.bpf.c with the same bindings. Prints a line for each row of the table:
 *
 *	ROW DISPATCHER WORST LPM WORST
 *
 * in ns, net of an empty program: each the median of the packets' figures and the greatest of them,
 * a packet's figure being the median of its rounds. "-" for what the trie can't do (ranges).
 * The row "assigning" has what counting and assigning the socket takes in all of them.
 *
 * The kernel runs each program over and over on one packet, so the caches are warm. It rounds its
 * own figure to whole ns, so the call as a whole is timed here, in CPU time of this thread.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <math.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../../src/cleanup.h"
#include "bindings.h"
#include "lookup.skel.h"
#include "lpm.h"
#include "measure.h"
#include "state.h"

#define REPEAT             20000 /* 1 to 5 ms: most of them go undisturbed */
#define PACKETS            14    /* two for each length in use */
#define ATTEMPTS           20    /* to find a packet that matches at the length wanted */
#define MAX_ROUNDS         1000
#define DESTINATION        0
#define EPHEMERAL_ANYTHING 40000

/* What is timed, in this order in each round. */
enum { EMPTY, DISPATCHER, LPM, ASSIGNING, PROGRAMS };

struct packet {
	struct bpf_sk_lookup context;
	double samples[PROGRAMS][MAX_ROUNDS];
};

struct set {
	enum binding_kind kind;
	struct bench_binding *bindings;
	size_t count;
	int programs[PROGRAMS];
};

static void aim(struct packet *packet, __u32 address, __u16 port)
{
	packet->context = (struct bpf_sk_lookup){
		.family = AF_INET,
		.protocol = IPPROTO_TCP,
		.remote_ip4 = htonl(INADDR_LOOPBACK),
		.remote_port = htons(EPHEMERAL_ANYTHING),
		.local_ip4 = htonl(address),
		.local_port = port,
	};
}

/* The length of the prefix that wins. */
static int winning_length(const struct set *set, __u32 address, __u16 port)
{
	int longest = -1;

	for (size_t i = 0; i < set->count; i++)
		if (set->bindings[i].length > longest &&
			binding_holds(&set->bindings[i], address, port))
			longest = set->bindings[i].length;
	return longest;
}

/* Aims at some address and port of some binding, if it can at one where none longer wins. */
static void aim_at_length_of(const struct set *set, struct packet *packet, size_t nth, __u64 *seed)
{
	__u8 length = set->bindings[nth % set->count].length;

	for (int attempt = 0, found = 0; attempt < ATTEMPTS && !found;) {
		size_t i = (size_t)next_random(seed) % set->count;
		const struct bench_binding *b = &set->bindings[i];
		__u32 host = next_random(seed) & ~mask_address(~0U, b->length);
		__u16 port = b->port_low ? b->port_low : 1 + next_random(seed) % 65535;

		if (b->length != length)
			continue;
		port += next_random(seed) % (b->port_high - b->port_low + 1);
		aim(packet, b->address | host, port);
		found = winning_length(set, b->address | host, port) == length;
		attempt++;
	}
}

/* Runs it that many times on the packet; ns for one of them. *assigned: did it pick a socket? */
static double run(int program, const struct packet *packet, int repeat, bool *assigned)
{
	struct bpf_sk_lookup out = {};
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &packet->context,
		.ctx_size_in = sizeof(packet->context), .ctx_out = &out,
		.ctx_size_out = sizeof(out), .repeat = repeat);
	double before = nanoseconds(CLOCK_THREAD_CPUTIME_ID), after;

	if (bpf_prog_test_run_opts(program, &options) < 0)
		err(1, "BPF_PROG_TEST_RUN");
	after = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
	if (options.retval != SK_PASS)
		errx(1, "a program refused a packet");
	*assigned = out.cookie != 0;
	return (after - before) / repeat;
}

static bool lpm_can(const struct set *set)
{
	return set->kind == SINGLE_PORTS || set->kind == ALL_PORTS;
}

/* What was timed is what was meant: every program finds a socket, or none does. */
static void check(const struct set *set, const struct packet *packet, bool bound)
{
	bool assigned;

	for (int i = DISPATCHER; i <= LPM; i++) {
		if (i == LPM && !lpm_can(set))
			continue;
		run(set->programs[i], packet, 1, &assigned);
		if (assigned != bound)
			errx(1, "%s %s a socket for %s port %u",
				i == LPM ? "the LPM program" : "the dispatcher",
				assigned ? "found" : "didn't find",
				inet_ntoa((struct in_addr){packet->context.local_ip4}),
				packet->context.local_port);
	}
}

/* Leaves the figures of all packets in each first sample. */
static void print_row(const char *row, struct packet *packets, int rounds, const bool *columns)
{
	printf("%s", row);
	for (int program = DISPATCHER; program <= LPM; program++) {
		double figures[PACKETS];

		if (!columns[program]) {
			printf(" - -");
			continue;
		}
		for (int i = 0; i < PACKETS; i++)
			figures[i] = median(packets[i].samples[program], rounds);
		printf(" %.2f", median(figures, PACKETS));
		printf(" %.2f", figures[PACKETS - 1]);
	}
	putchar('\n');
}

static void measure(
	const struct set *set, const char *row, struct packet *packets, bool bound, int rounds)
{
	const bool columns[PROGRAMS] = {[DISPATCHER] = true, [LPM] = lpm_can(set)};
	bool assigned;

	for (int i = 0; i < PACKETS; i++)
		check(set, &packets[i], bound);
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < PACKETS; i++) {
			double empty = run(set->programs[EMPTY], &packets[i], REPEAT, &assigned);

			for (int j = DISPATCHER; j < PROGRAMS; j++)
				packets[i].samples[j][round] =
					run(set->programs[j], &packets[i], REPEAT, &assigned) -
					empty;
		}
	}
	print_row(row, packets, rounds, columns);
	if (set->kind != SINGLE_PORTS || !bound)
		return;
	for (int i = 0; i < PACKETS; i++)
		memcpy(packets[i].samples[DISPATCHER], packets[i].samples[ASSIGNING],
			sizeof(packets[i].samples[ASSIGNING]));
	print_row("assigning", packets, rounds, (const bool[PROGRAMS]){[DISPATCHER] = true});
}

static void measure_rows(const struct set *set, int rounds)
{
	static const char *const rows[] = {
		[SINGLE_PORTS] = "bound",
		[ALL_PORTS] = "wildcard",
		[PORT_RANGES] = "range",
		[MIXED] = "mixed",
	};
	static struct packet packets[PACKETS];
	__u64 seed = 7;

	for (int i = 0; i < PACKETS; i++)
		aim_at_length_of(set, &packets[i], i, &seed);
	measure(set, rows[set->kind], packets, true, rounds);
	if (set->kind != SINGLE_PORTS)
		return;

	for (int i = 0; i < PACKETS; i++)
		packets[i].context.local_port = UNBOUND_PORT;
	measure(set, "unbound", packets, false, rounds);

	for (int i = 0; i < PACKETS; i++)
		aim(&packets[i], UNBOUND_ADDRESS + i, set->bindings[i % set->count].port_low);
	measure(set, "elsewhere", packets, false, rounds);
}

static void fill_trie(const struct set *set, int trie)
{
	_cleanup_(freep) struct lpm_key *keys = calloc(set->count, sizeof(*keys));
	_cleanup_(freep) struct lpm_value *values = calloc(set->count, sizeof(*values));
	__u32 count = set->count;

	if (!keys || !values)
		err(1, "%zu keys", set->count);
	for (size_t i = 0; i < set->count; i++) {
		keys[i] = lpm_key_of(&set->bindings[i]);
		values[i] = (struct lpm_value){DESTINATION, keys[i].prefixlen};
	}
	if (bpf_map_update_batch(trie, keys, values, &count, NULL) < 0)
		err(1, "batch insert into an LPM trie");
}

/* A listening socket, which the programs of lookup.bpf.c assign. It stays open. */
static __u64 listening_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || listen(fd, 1) < 0)
		err(1, "a listening socket");
	return fd;
}

int main(int argc, char **argv)
{
	const __u32 destination = DESTINATION;
	struct lookup_bpf *programs;
	struct set set;
	__u64 socket;
	int rounds;

	die_with_parent();
	if (argc != 4)
		errx(2, "usage: time-lookup single|all|range|mixed COUNT ROUNDS");
	set.kind = binding_kind_parse(argv[1]);
	set.count = binding_count_parse(argv[2]);
	set.bindings = make_bindings(set.kind, set.count);
	rounds = atoi(argv[3]);
	if (rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "%s: not a number of rounds", argv[3]);
	pin_to_cpu(1);

	programs = lookup_bpf__open();
	if (!programs || bpf_map__set_max_entries(programs->maps.trie, set.count) < 0 ||
		lookup_bpf__load(programs) < 0)
		err(1, "the programs of lookup.bpf.c");
	if (lpm_can(&set))
		fill_trie(&set, bpf_map__fd(programs->maps.trie));
	socket = listening_socket();
	if (bpf_map_update_elem(
		    bpf_map__fd(programs->maps.bench_sockets), &destination, &socket, 0) < 0)
		err(1, "a socket in a sockmap");

	set.programs[EMPTY] = bpf_program__fd(programs->progs.do_nothing);
	set.programs[DISPATCHER] = open_dispatcher();
	set.programs[LPM] = bpf_program__fd(programs->progs.two_lpm_lookups);
	set.programs[ASSIGNING] = bpf_program__fd(programs->progs.assign_only);
	measure_rows(&set, rounds);

	lookup_bpf__destroy(programs);
	free(set.bindings);
	return 0;
}
