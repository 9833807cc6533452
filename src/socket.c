/* SPDX-License-Identifier: GPL-2.0-only */
/* Sockets of this and of other processes: see socket.h. */
#include "socket.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "cleanup.h"
#include "say.h"

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C /* linux/sockios.h */
#endif

void socket_list_free(struct socket_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		close(list->sockets[i].fd);
	free(list->sockets);
	*list = (struct socket_list){};
}

const char *socket_format(const struct socket *socket, char text[LONGEST_SOCKET_TEXT])
{
	char address[INET6_ADDRSTRLEN], owner[64] = "";

	if (socket->pid)
		snprintf(owner, sizeof(owner), " of process %d", socket->pid);
	snprintf(text, LONGEST_SOCKET_TEXT, "%s %s %u (fd %d%s)", protocol_name(socket->protocol),
		address_format(&socket->address, address), socket->port, socket->number, owner);
	return text;
}

#define MOST_DESCRIBED 8

/* "2 TCP sockets that don't listen", with what goes in front of it. */
static void describe_others(FILE *text, size_t count, const char *one, const char *many, bool first)
{
	if (count)
		fprintf(text, "%s%zu %s", first ? "" : ", ", count, count == 1 ? one : many);
}

char *socket_list_describe(const struct socket_list *list)
{
	size_t size, described = 0;
	char *words = NULL;
	FILE *text = open_memstream(&words, &size);

	if (!text)
		return NULL;
	for (; described < list->count && described < MOST_DESCRIBED; described++) {
		char socket[LONGEST_SOCKET_TEXT];

		fprintf(text, "%s%s", described ? ", " : "",
			socket_format(&list->sockets[described], socket));
	}
	describe_others(text, list->count - described, "other", "others", false);
	describe_others(text, list->idle, "TCP socket that doesn't listen",
		"TCP sockets that don't listen", ftell(text) == 0);
	describe_others(text, list->connected, "connected UDP socket", "connected UDP sockets",
		ftell(text) == 0);
	describe_others(text, list->elsewhere, "socket of another network namespace",
		"sockets of another network namespace", ftell(text) == 0);
	if (ftell(text) == 0)
		fputs("none", text);
	fclose(text);
	return words;
}

/*
 * The network namespace of a socket, by ioctl_ns(2)'s sibling SIOCGSKNS: SO_NETNS_COOKIE came
 * with 5.14 only.
 */
static int check_netns(int fd)
{
	_cleanup_(closep) int netns = ioctl(fd, SIOCGSKNS);
	struct stat theirs, ours;

	if (netns < 0 || fstat(netns, &theirs) < 0 || stat("/proc/thread-self/ns/net", &ours) < 0)
		return -errno;
	return theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev ? 0 : -EXDEV;
}

static int option(int fd, int level, int name, int *ret)
{
	socklen_t size = sizeof(*ret);

	return getsockopt(fd, level, name, ret, &size) < 0 ? -errno : 0;
}

/* TCP or UDP over IP, and ready for a packet? */
static int check_kind(int fd, uint8_t *ret_protocol, int *ret_domain)
{
	int domain = 0, protocol = 0, listening = 0, r;
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);

	r = option(fd, SOL_SOCKET, SO_DOMAIN, &domain);
	if (r == 0)
		r = option(fd, SOL_SOCKET, SO_PROTOCOL, &protocol);
	if (r < 0)
		return r == -EBADF ? -ENOTSOCK : r; /* an O_PATH descriptor says EBADF */
	if ((domain != AF_INET && domain != AF_INET6) ||
		(protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return -ENOTSOCK;

	*ret_domain = domain;
	*ret_protocol = protocol == IPPROTO_TCP ? TCP : UDP;
	if (protocol == IPPROTO_TCP) {
		r = option(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening);
		return r < 0 ? r : listening ? 0 : -ENOTCONN;
	}
	return getpeername(fd, (struct sockaddr *)&peer, &size) == 0 ? -EISCONN : 0;
}

static int read_address(int fd, int domain, struct socket *socket)
{
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	} name = {};
	socklen_t size = sizeof(name);
	int v6only = 0, r;

	if (getsockname(fd, &name.any, &size) < 0)
		return -errno;
	if (domain == AF_INET) {
		memset(&socket->address.s6_addr[10], 0xff, 2);
		memcpy(&socket->address.s6_addr[12], &name.ipv4.sin_addr, 4);
		socket->port = ntohs(name.ipv4.sin_port);
		socket->families[IPV4] = true;
		return 0;
	}

	r = option(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only);
	if (r < 0)
		return r;
	socket->address = name.ipv6.sin6_addr;
	socket->port = ntohs(name.ipv6.sin6_port);
	/*
	 * The kernel would give IPv4 packets to any IPv6 socket that isn't v6only; but only the
	 * wildcard asked for both, and an address asked for its own family.
	 */
	socket->families[address_family(&socket->address)] = true;
	if (!v6only && IN6_IS_ADDR_UNSPECIFIED(&socket->address))
		socket->families[IPV4] = true;
	return 0;
}

int socket_examine(int fd, struct socket *ret)
{
	_cleanup_(closep) int owned = fd;
	struct socket socket = {.number = fd};
	socklen_t size = sizeof(socket.cookie);
	int domain, reuseport = 0, r;

	r = check_kind(fd, &socket.protocol, &domain);
	if (r == 0)
		r = read_address(fd, domain, &socket);
	if (r == 0 && socket.port == 0)
		r = -ENOTCONN;
	if (r == 0)
		r = check_netns(fd);
	if (r == 0)
		r = option(fd, SOL_SOCKET, SO_REUSEPORT, &reuseport);
	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_COOKIE, &socket.cookie, &size) < 0)
		r = -errno;
	if (r < 0)
		return r;
	socket.reuseport = reuseport;
	socket.fd = take_fd(owned);
	*ret = socket;
	return 0;
}

const char *socket_refusal(int error)
{
	switch (-error) {
	case ENOTSOCK:
		return "is not a TCP or UDP socket";
	case ENOTCONN:
		return "is a socket that doesn't listen";
	case EISCONN:
		return "is a connected UDP socket, which the kernel never dispatches to";
	case EXDEV:
		return "is a socket of another network namespace";
	case EPERM:
		return "can't be examined: it takes root, or CAP_NET_ADMIN";
	default:
		return strerror(-error);
	}
}

/* Takes the socket. */
static int socket_list_add(struct socket_list *list, struct socket *socket)
{
	struct socket *longer;

	for (size_t i = 0; i < list->count; i++) {
		if (list->sockets[i].cookie == socket->cookie) {
			close(socket->fd);
			return 0;
		}
	}
	longer = reallocarray(list->sockets, list->count + 1, sizeof(*longer));
	if (!longer) {
		close(socket->fd);
		return -ENOMEM;
	}
	list->sockets = longer;
	list->sockets[list->count++] = *socket;
	return 0;
}

int socket_list_move(struct socket_list *to, struct socket_list *from, size_t index)
{
	struct socket socket = from->sockets[index];

	from->count--;
	memmove(&from->sockets[index], &from->sockets[index + 1],
		(from->count - index) * sizeof(socket));
	return socket_list_add(to, &socket);
}

static bool is_same_group(const struct socket *a, const struct socket *b)
{
	return a->reuseport && b->reuseport && a->port == b->port &&
		IN6_ARE_ADDR_EQUAL(&a->address, &b->address);
}

bool socket_competes(const struct socket *a, const struct socket *b)
{
	bool same_family = (a->families[IPV4] && b->families[IPV4]) ||
		(a->families[IPV6] && b->families[IPV6]);

	return a->protocol == b->protocol && same_family && a->cookie != b->cookie &&
		!is_same_group(a, b);
}

/* Did socket_examine() say that it isn't one to dispatch to, rather than that it can't tell? */
static bool is_unfit(int error)
{
	return error == -ENOTSOCK || error == -ENOTCONN || error == -EISCONN || error == -EXDEV;
}

/* Borrows one descriptor of a process, if it is a socket that can be dispatched to. */
static int add_borrowed(struct socket_list *list, int pidfd, pid_t pid, int number)
{
	struct socket socket;
	int fd, r;

	fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (fd < 0)
		return errno == EBADF ? 0 : -errno; /* closed meanwhile */
	r = socket_examine(fd, &socket);
	list->idle += r == -ENOTCONN;
	list->connected += r == -EISCONN;
	list->elsewhere += r == -EXDEV;
	if (r < 0)
		return is_unfit(r) ? 0 : r;
	socket.pid = pid;
	socket.number = number;
	return socket_list_add(list, &socket);
}

/* A process may have more sockets than 1024, the usual limit for those who select(2). */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Whether it is a socket, or a negative errno. A look at the link spares borrowing the files. */
static int is_socket_link(int directory, const char *name)
{
	char target[sizeof("socket:")];
	ssize_t length = readlinkat(directory, name, target, sizeof(target));

	if (length < 0) /* ENOENT: closed meanwhile; EINVAL: . or .. */
		return errno == ENOENT || errno == EINVAL ? false : -errno;
	return length == sizeof(target) && memcmp(target, "socket:[", sizeof(target)) == 0;
}

/* How many descriptors the process has room for, in proc(5)'s FDSize, which everybody may read. */
static int count_descriptors(pid_t pid)
{
	char path[sizeof("/proc//status") + 3 * sizeof(pid)], line[256];
	_cleanup_(fclosep) FILE *status = NULL;
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	status = fopen(path, "re");
	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "FDSize: %d", &count) == 1)
			return count;
	return -ESRCH;
}

/* For those who may not list the process's descriptors: tries them all. */
static int add_all_borrowed(struct socket_list *list, int pidfd, pid_t pid)
{
	int r = 0, count = count_descriptors(pid);

	for (int number = 0; number < count && r == 0; number++)
		r = add_borrowed(list, pidfd, pid, number);
	return count < 0 ? count : r;
}

int socket_list_add_process(struct socket_list *list, pid_t pid)
{
	_cleanup_(closep) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	_cleanup_(closedirp) DIR *directory = NULL;
	char path[sizeof("/proc//fd") + 3 * sizeof(pid)];
	struct dirent *entry;

	if (pidfd < 0)
		return -errno;
	raise_file_limit();
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	directory = opendir(path);
	if (!directory && errno == EACCES)
		return add_all_borrowed(list, pidfd, pid);
	if (!directory)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((entry = readdir(directory))) {
		int r = is_socket_link(dirfd(directory), entry->d_name);

		if (r > 0)
			r = add_borrowed(list, pidfd, pid, atoi(entry->d_name));
		if (r < 0)
			return r == -EACCES ? -EPERM : r;
	}
	return 0;
}

/*
 * sd_listen_fds(), of the library loaded when it is called for. Linked with it and the seven that
 * come with it, `isomctl bind` would spend half of its time on them.
 */
static int listen_fds(void)
{
	int (*function)(int unset_environment);
	void *library;

	if (!secure_getenv("LISTEN_FDS"))
		return 0;
	library = dlopen("libsystemd.so.0", RTLD_NOW);
	*(void **)&function = library ? dlsym(library, "sd_listen_fds") : NULL;
	if (!function) {
		warn("%s", dlerror());
		return -ELIBACC;
	}
	return function(true);
}

int socket_list_add_passed(struct socket_list *list, enum unfit unfit, int *ret_passed)
{
	const char *fds = secure_getenv("LISTEN_FDS"), *pid = secure_getenv("LISTEN_PID");
	int count = listen_fds(); /* which takes them out of the environment */

	if (count < 0)
		return fail(count,
			"cannot take the sockets that systemd passes: LISTEN_FDS=%s or "
			"LISTEN_PID=%s is no such number: %m",
			fds, pid ?: "");
	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++) {
		struct socket socket;
		int r = socket_examine(fd, &socket);

		if (is_unfit(r) && unfit == UNFIT_IS_SKIPPED)
			continue;
		if (r < 0)
			return fail(r, "cannot register fd %d: it %s", fd, socket_refusal(r));
		r = socket_list_add(list, &socket);
		if (r < 0)
			return fail(r, "cannot register fd %d: %m", fd);
	}
	if (ret_passed)
		*ret_passed = count;
	return 0;
}

bool socket_listens_at(const struct socket *socket, uint8_t protocol,
	const struct in6_addr *address, uint16_t port)
{
	static const struct in6_addr any_ipv4 = {{{[10] = 0xff, [11] = 0xff}}};
	bool dual_stack = socket->families[IPV4] && socket->families[IPV6];

	if (socket->protocol != protocol || socket->port != port)
		return false;
	return IN6_ARE_ADDR_EQUAL(&socket->address, address) ||
		(dual_stack && IN6_ARE_ADDR_EQUAL(address, &any_ipv4));
}
