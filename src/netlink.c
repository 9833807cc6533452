/* SPDX-License-Identifier: GPL-2.0-only */
/* Questions to the kernel over netlink: see netlink.h. */
#include "netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"

/* States of sockets, as in the kernel's net/tcp_states.h; UDP uses two of them. */
#define STATE_ESTABLISHED 1
#define STATE_CLOSE       7
#define STATE_LISTEN      10

#define ANSWER_SIZE 32768 /* the kernel cuts a dump into no longer pieces */

static const int address_families[FAMILIES] = {[IPV4] = AF_INET, [IPV6] = AF_INET6};
static const uint8_t ip_protocols[PROTOCOLS] = {[TCP] = IPPROTO_TCP, [UDP] = IPPROTO_UDP};

static void mnl_closep(struct mnl_socket **nl)
{
	if (*nl)
		mnl_socket_close(*nl);
}

/* Sends a request and has each answer handled. */
static int ask(int bus, struct nlmsghdr *request, mnl_cb_t handle, void *context)
{
	_cleanup_(mnl_closep) struct mnl_socket *nl = mnl_socket_open2(bus, SOCK_CLOEXEC);
	_cleanup_(freep) char *buffer = malloc(ANSWER_SIZE);
	int on = 1, r = MNL_CB_OK;

	if (!nl || !buffer)
		return -errno;
	/* Has the kernel take a dump's filter for one; before 4.20 it shows all. */
	mnl_socket_setsockopt(nl, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	request->nlmsg_seq = 1;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
		mnl_socket_sendto(nl, request, request->nlmsg_len) < 0)
		return -errno;
	while (r == MNL_CB_OK) {
		ssize_t size = mnl_socket_recvfrom(nl, buffer, ANSWER_SIZE);

		if (size < 0)
			return -errno;
		errno = 0;
		r = mnl_cb_run(buffer, (size_t)size, request->nlmsg_seq, mnl_socket_get_portid(nl),
			handle, context);
		/* One answer without a request for an acknowledgement is all of it. */
		if (r == MNL_CB_OK && !(request->nlmsg_flags & NLM_F_DUMP))
			return 0;
	}
	return r == MNL_CB_STOP ? 0 : errno ? -errno : -EIO;
}

static struct in6_addr map_ipv4(const void *address)
{
	struct in6_addr mapped = {{{[10] = 0xff, [11] = 0xff}}};

	memcpy(&mapped.s6_addr[12], address, 4);
	return mapped;
}

/*
 * Routes.
 */

static int take_route_type(const struct nlmsghdr *answer, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(answer);

	*(uint8_t *)context = route->rtm_type;
	return MNL_CB_OK;
}

static bool is_no_route(int error)
{
	return error == -ENETUNREACH || error == -EHOSTUNREACH || error == -EACCES ||
		error == -EINVAL;
}

int route_type(const struct in6_addr *address, uint8_t *ret)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	uint8_t family = address_family(address);
	struct rtmsg *route;
	int r;

	request->nlmsg_type = RTM_GETROUTE;
	request->nlmsg_flags = NLM_F_REQUEST;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = (unsigned char)address_families[family];
	route->rtm_dst_len = family == IPV4 ? 32 : 128;
	if (family == IPV4)
		mnl_attr_put(request, RTA_DST, 4, &address->s6_addr[12]);
	else
		mnl_attr_put(request, RTA_DST, sizeof(*address), address);
	r = ask(NETLINK_ROUTE, request, take_route_type, ret);
	if (!is_no_route(r))
		return r;
	*ret = RTN_UNREACHABLE;
	return 0;
}

static int add_local_prefix(const struct nlmsghdr *answer, void *context)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(answer);
	struct local_prefixes *local = context;
	struct prefix prefix = {.length = route->rtm_dst_len}, *longer;
	bool is_ipv4 = route->rtm_family == AF_INET;
	const struct nlattr *attribute;
	static const uint32_t zero;

	if (route->rtm_type != RTN_LOCAL || route->rtm_table != RT_TABLE_LOCAL)
		return MNL_CB_OK;
	if (is_ipv4) {
		prefix.length += 96;
		prefix.address = map_ipv4(&zero);
	}
	mnl_attr_for_each(attribute, answer, sizeof(*route))
	{
		if (mnl_attr_get_type(attribute) != RTA_DST)
			continue;
		if (is_ipv4)
			prefix.address = map_ipv4(mnl_attr_get_payload(attribute));
		else
			memcpy(&prefix.address, mnl_attr_get_payload(attribute),
				sizeof(prefix.address));
	}
	longer = reallocarray(local->list, local->count + 1, sizeof(*longer));
	if (!longer)
		return MNL_CB_ERROR;
	local->list = longer;
	local->list[local->count++] = prefix;
	return MNL_CB_OK;
}

int local_prefixes_read(struct local_prefixes *ret)
{
	int r = 0;

	*ret = (struct local_prefixes){};
	for (uint8_t family = 0; family < FAMILIES && r == 0; family++) {
		char buffer[256];
		struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
		struct rtmsg *route;

		request->nlmsg_type = RTM_GETROUTE;
		request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
		route->rtm_family = (unsigned char)address_families[family];
		route->rtm_table = RT_TABLE_LOCAL;
		route->rtm_type = RTN_LOCAL;
		r = ask(NETLINK_ROUTE, request, add_local_prefix, ret);
	}
	return r;
}

void local_prefixes_free(struct local_prefixes *local)
{
	free(local->list);
	*local = (struct local_prefixes){};
}

enum locality prefix_locality(const struct local_prefixes *local, const struct prefix *prefix)
{
	enum locality locality = NOT_LOCAL;

	for (size_t i = 0; i < local->count; i++) {
		if (!prefix_overlaps(&local->list[i], prefix))
			continue;
		if (local->list[i].length <= prefix->length)
			return ALL_LOCAL;
		locality = PARTLY_LOCAL;
	}
	return locality;
}

/*
 * Sockets.
 */

struct visiting {
	uint8_t protocol;
	diag_visit *visit;
	void *context;
	int result;
};

static struct in6_addr diag_address(const struct inet_diag_msg *message, const __be32 *address)
{
	struct in6_addr ipv6;

	if (message->idiag_family == AF_INET)
		return map_ipv4(address);
	memcpy(&ipv6, address, sizeof(ipv6));
	return ipv6;
}

static int show_socket(const struct nlmsghdr *answer, void *context)
{
	const struct inet_diag_msg *message = mnl_nlmsg_get_payload(answer);
	struct visiting *visiting = context;
	struct diag_socket socket = {
		.protocol = visiting->protocol,
		.is_ipv6 = message->idiag_family == AF_INET6,
		.address = diag_address(message, message->id.idiag_src),
		.port = ntohs(message->id.idiag_sport),
		.peer = diag_address(message, message->id.idiag_dst),
		.peer_port = ntohs(message->id.idiag_dport),
		.cookie = (uint64_t)message->id.idiag_cookie[1] << 32 | message->id.idiag_cookie[0],
		.device = message->id.idiag_if,
		.inode = message->idiag_inode,
		.uid = message->idiag_uid,
		.queued = message->idiag_rqueue,
		.queue_limit = message->idiag_wqueue,
	};
	const struct nlattr *attribute;

	mnl_attr_for_each(attribute, answer, sizeof(*message)) if (mnl_attr_get_type(attribute) ==
		INET_DIAG_SKV6ONLY) socket.v6only = mnl_attr_get_u8(attribute);
	visiting->result = visiting->visit(&socket, visiting->context);
	return visiting->result == 0 ? MNL_CB_OK : MNL_CB_STOP;
}

int sockets_visit(uint8_t protocol, diag_visit *visit, void *context)
{
	struct visiting visiting = {protocol, visit, context, 0};
	int r = 0;

	for (uint8_t family = 0; family < FAMILIES && r == 0 && visiting.result == 0; family++) {
		char buffer[256];
		struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
		struct inet_diag_req_v2 *wanted;

		request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
		request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		wanted = mnl_nlmsg_put_extra_header(request, sizeof(*wanted));
		wanted->sdiag_family = (__u8)address_families[family];
		wanted->sdiag_protocol = ip_protocols[protocol];
		wanted->idiag_states = protocol == TCP ? 1 << STATE_LISTEN
						       : 1 << STATE_CLOSE | 1 << STATE_ESTABLISHED;
		r = ask(NETLINK_SOCK_DIAG, request, show_socket, &visiting);
	}
	return r < 0 ? r : visiting.result;
}

bool diag_socket_takes(
	const struct diag_socket *socket, const struct in6_addr *address, uint16_t port)
{
	static const struct in6_addr any_ipv4 = {{{[10] = 0xff, [11] = 0xff}}};

	if (socket->port != port)
		return false;
	if (IN6_ARE_ADDR_EQUAL(&socket->address, address))
		return true;
	if (address_family(address) == IPV6)
		return IN6_IS_ADDR_UNSPECIFIED(&socket->address);
	return IN6_ARE_ADDR_EQUAL(&socket->address, &any_ipv4) ||
		(socket->is_ipv6 && !socket->v6only && IN6_IS_ADDR_UNSPECIFIED(&socket->address));
}
