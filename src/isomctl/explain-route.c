/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl explain: the route of a packet, for only what is local gets to a socket, and the command
 * that would have it arrive.
 */
#include "explain.h"

#include <limits.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../cleanup.h"
#include "../shellword.h"

#define LONGEST_IP (SHELL_WORD_SIZE(PATH_MAX) + sizeof("nsenter --net= ip"))

/* ip(8), for the network namespace that was asked about. */
static void name_ip(const struct options *options, char text[LONGEST_IP])
{
	static const char named[] = "/run/netns/";
	const char *netns = options->netns;
	char word[SHELL_WORD_SIZE(PATH_MAX)];

	if (netns && strncmp(netns, named, strlen(named)) == 0)
		netns += strlen(named);
	if (!netns)
		snprintf(text, LONGEST_IP, "ip");
	else if (strchr(netns, '/'))
		snprintf(text, LONGEST_IP, "nsenter --net=%s ip",
			shell_value(netns, word, sizeof(word)));
	else
		snprintf(text, LONGEST_IP, "ip -n %s", shell_value(netns, word, sizeof(word)));
}

static bool loopback_is_up(void)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = {.ifr_name = "lo"};

	return fd < 0 || ioctl(fd, SIOCGIFFLAGS, &lo) < 0 || lo.ifr_flags & IFF_UP;
}

static bool is_loopback(const struct in6_addr *address)
{
	return IN6_IS_ADDR_LOOPBACK(address) ||
		(address_family(address) == IPV4 && address->s6_addr[12] == IN_LOOPBACKNET);
}

/*
 * What to make local: all of the binding, or the address alone, where the rest may be other
 * machines': of 0.0.0.0/0, and of what holds addresses of this machine, as its own subnet does.
 */
static struct prefix prefix_to_make_local(const struct explanation *e)
{
	_cleanup_(local_prefixes_free) struct local_prefixes local = {};
	struct prefix address = {e->address, 128}, bound;

	if (!e->match_count)
		return address;
	bound = selector_of_key(&e->matches[0].key).prefix;
	return prefix_written_length(&bound) > 0 && local_prefixes_read(&local) == 0 &&
			prefix_locality(&local, &bound) == NOT_LOCAL
		? bound
		: address;
}

/* Routes take a lo that is up, which has those of its own addresses. */
static void propose_route(struct note *note, const struct explanation *e)
{
	struct prefix local = prefix_to_make_local(e);
	char prefix[LONGEST_PREFIX_TEXT], ip[LONGEST_IP];
	bool up = loopback_is_up();

	name_ip(e->options, ip);
	if (!up)
		propose(note, "%s link set lo up", ip);
	if (up || !is_loopback(&e->address))
		propose(note, "%s %sroute add local %s dev lo", ip,
			address_family(&e->address) == IPV6 ? "-6 " : "",
			prefix_format(&local, prefix));
}

static bool is_multicast(const struct in6_addr *address)
{
	return IN6_IS_ADDR_MULTICAST(address) ||
		(address_family(address) == IPV4 && address->s6_addr[12] >> 4 == 14);
}

/* 255.255.255.255 */
static bool is_limited_broadcast(const struct in6_addr *address)
{
	return address_family(address) == IPV4 && address->s6_addr32[3] == INADDR_BROADCAST;
}

/* The kernel names a route all the same; what others send to other addresses does arrive. */
static void note_loopback_down(struct explanation *e)
{
	struct note *note = add_note(e, "loopback_down",
		"the interface lo is down: what this machine sends to its own addresses doesn't "
		"arrive");
	char ip[LONGEST_IP];

	name_ip(e->options, ip);
	propose(note, "%s link set lo up", ip);
	if (is_loopback(&e->address))
		e->route = RTN_UNREACHABLE;
}

static void note_link_local(struct explanation *e, const char *address)
{
	struct note *note = add_note(e, "not_local",
		"%s is a link-local address, and no interface here has it: a packet to it doesn't "
		"arrive at any socket",
		address);
	char ip[LONGEST_IP];

	name_ip(e->options, ip);
	propose(note, "%s address add %s/64 dev INTERFACE", ip, address);
}

static void note_not_local(struct explanation *e)
{
	char address[INET6_ADDRSTRLEN];
	struct note *note;

	address_format(&e->address, address);
	if (IN6_IS_ADDR_LINKLOCAL(&e->address)) {
		note_link_local(e, address);
		return;
	}
	if (e->route == RTN_BROADCAST || e->route == RTN_MULTICAST || e->route == RTN_ANYCAST) {
		add_note(e, "not_local", "%s is a %s address: what is sent there is not dispatched",
			address,
			e->route == RTN_BROADCAST           ? "broadcast"
				: e->route == RTN_MULTICAST ? "multicast"
							    : "anycast");
		return;
	}
	note = add_note(e, "not_local",
		"%s isn't local on this machine: a packet to it doesn't arrive at any socket%s",
		address,
		e->route == RTN_UNICAST
			? "; what the machine sends there goes elsewhere, and wouldn't any more"
			: "");
	propose_route(note, e);
}

void look_at_route(struct explanation *e)
{
	e->route_known = route_type(&e->address, &e->route) == 0;
	if (e->route_known && is_multicast(&e->address))
		e->route = RTN_MULTICAST; /* whatever routes there are for who sends to it */
	if (e->route_known && is_limited_broadcast(&e->address))
		e->route = RTN_BROADCAST; /* likewise */
	if (e->route_known && e->route == RTN_LOCAL && !loopback_is_up())
		note_loopback_down(e);
	else if (e->route_known && e->route != RTN_LOCAL)
		note_not_local(e);
}
