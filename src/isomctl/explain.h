/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `isomctl explain` finds out about a packet, and the parts that do: explain.c asks the
 * program and the kernel's sockets, and shows it all; explain-route.c and explain-units.c add what
 * there is to know of routes and of units.
 */
#pragma once

#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../bindings.h"
#include "../destination.h"
#include "../netlink.h"
#include "../shellword.h"
#include "../trial.h"
#include "holders.h"
#include "isomctl.h"
#include "systemd.h"

/* What becomes of the packet as far as Isomer has a say. */
enum verdict { NOT_BOUND, REFUSED, DISPATCHED };

#define MOST_NOTES 16

/* Something to know beside that, and what to do about it. */
struct note {
	const char *kind;
	char text[512];
	char *remedy; /* a command; NULL: none */
};

struct explanation {
	const struct options *options;
	struct dispatcher *d;
	uint8_t protocol;
	struct in6_addr address;
	uint16_t port;

	struct bound *matches; /* the bindings that hold the packet, the winner first */
	size_t match_count;
	enum verdict verdict;
	struct trial trial;
	int trial_error; /* 0: the program was asked, else the tables alone tell */

	/* Where the winner leads. */
	destination_id destination;
	struct counters counters; /* before the trial */
	uint64_t cookie;          /* of the socket that is registered there */

	/* Which socket gets the packet, by Isomer's choice or without it. */
	bool has_socket;
	struct diag_socket socket;
	struct holder holder;
	char unit[NAME_SIZE]; /* that registered it, or whose process has it */
	struct unit_state unit_state;

	bool route_known;
	uint8_t route; /* RTN_LOCAL, … */
	struct note notes[MOST_NOTES];
	size_t note_count;
};

/* NULL for those above the most, which are left out. */
__attribute__((format(printf, 3, 4))) struct note *add_note(
	struct explanation *e, const char *kind, const char *format, ...);

/* What to do about it, after what was proposed before. The note may be NULL. */
__attribute__((format(printf, 2, 3))) void propose(struct note *note, const char *format, ...);

/* The winner's label, where there is one. */
const char *explained_label(const struct explanation *e);

#define LONGEST_ISOMCTL (2 * SHELL_WORD_SIZE(PATH_MAX) + sizeof("isomctl --netns  --bpffs "))
/* isomctl, as it is to be called about the same dispatcher: "isomctl --netns n1". */
const char *name_isomctl(const struct options *options, char text[LONGEST_ISOMCTL]);

/* Does such a packet get to a socket of this machine at all? Else there is a note that tells why.
 */
void look_at_route(struct explanation *e);

/*
 * What has become of the units that have bound the packet, or whose sections would. Also fills in
 * the unit that registered the socket, and its state.
 */
void look_at_units(struct explanation *e);
