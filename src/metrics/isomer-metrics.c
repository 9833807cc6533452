/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomer-metrics: serves the dispatcher's counters over HTTP. People say `isomctl metrics`, which
 * becomes this program: a program of its own, so that isomctl needn't load an HTTP library for
 * each of its commands.
 *
 *	isomer-metrics [--bpffs PATH] [ADDRESS PORT [PATH]]
 *
 * Without ADDRESS and PORT it serves the socket that systemd passes (sd_listen_fds(3)).
 */
#include <errno.h>
#include <getopt.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "../binding.h"
#include "../cleanup.h"
#include "../say.h"
#include "exposition.h"

#define MISUSED      2
#define DEFAULT_PATH "/metrics"
#define MOST_CLIENTS 64
#define PATIENCE_SEC 10 /* with a client that says nothing */

struct server {
	const char *bpffs;
	const char *path;
	_Atomic uint64_t collection_errors;
};

/* All that could be collected, as text; the caller frees it. NULL: there is no memory. */
static char *collect(struct server *server, enum exposition exposition, size_t *ret_size)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	char *text = NULL;
	FILE *to;

	if (dispatcher_open(server->bpffs, false, MISSING_IS_ERROR, &d) < 0)
		server->collection_errors++;
	to = open_memstream(&text, ret_size);
	if (to && exposition_write(to, exposition, d, server->collection_errors) < 0) {
		rewind(to);
		exposition_write(to, exposition, NULL, ++server->collection_errors);
	}
	if (to && fclose(to) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned int status,
	const char *content_type, char *text, size_t size)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result respond_in_words(struct MHD_Connection *connection, unsigned int status,
	const char *format, const char *argument)
{
	char *text = NULL;
	int size = asprintf(&text, format, argument);

	return size < 0
		? MHD_NO
		: respond(connection, status, "text/plain; charset=utf-8", text, (size_t)size);
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size,
	void **request)
{
	static char begun;
	struct server *server = context;
	enum exposition exposition;
	size_t size = 0;
	char *text;

	(void)version;
	(void)upload;
	if (!*request) { /* the headers are here; an answer is due when all of it is */
		*request = &begun;
		return MHD_YES;
	}
	if (*upload_size) { /* nobody wants to know */
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return respond_in_words(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			"%s: only GET and HEAD work here\n", method);
	if (strcmp(url, server->path) != 0)
		return respond_in_words(
			connection, MHD_HTTP_NOT_FOUND, "The metrics are at %s\n", server->path);
	exposition = exposition_choose(
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
	text = collect(server, exposition, &size);
	return text
		? respond(connection, MHD_HTTP_OK, exposition_content_type(exposition), text, size)
		: MHD_NO;
}

/* A listening socket at an address, said where it can't be had. */
static int listen_at(const char *address, const char *port)
{
	static const int on = 1;
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				.ai_socktype = SOCK_STREAM},
			*found = NULL;
	_cleanup_(closep) int fd = -EBADF;
	struct reason reason;
	uint16_t number;
	int r;

	if (port_parse(port, &number, &reason) < 0 || number == 0) {
		fail(-EINVAL, "cannot serve metrics at port \"%s\": write a number, 1 to 65535",
			port);
		return -EINVAL;
	}
	r = getaddrinfo(address, port, &hints, &found);
	if (r != 0)
		return fail(-EINVAL,
			"cannot serve metrics at \"%s\": write an IPv4 or IPv6 address", address);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
		r = -errno;
	freeaddrinfo(found);
	if (r == -EADDRINUSE)
		return fail(r,
			"cannot listen at %s port %s: %m: if isomer-metrics.socket has it, scrape that, or "
			"take another port",
			address, port);
	return r < 0 ? fail(r, "cannot listen at %s port %s: %m", address, port) : take_fd(fd);
}

/* The one socket that systemd passed. */
static int passed_socket(void)
{
	int count = sd_listen_fds(true);

	if (count < 0)
		return fail(count, "cannot take the socket that systemd passed: %m");
	if (count != 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, true) <= 0)
		return fail(-EINVAL,
			"systemd passed no socket, or not just one that listens: say where to serve "
			"the metrics (isomctl metrics ADDRESS PORT), or start isomer-metrics.socket");
	return SD_LISTEN_FDS_START;
}

/* Serves until SIGTERM or SIGINT. The socket is ours to close. */
static int serve(struct server *server, int fd)
{
	struct MHD_Daemon *daemon;
	sigset_t ends;
	int got;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL); /* in the server's thread, too */
	daemon = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC, 0,
		NULL, NULL, answer, server, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)MOST_CLIENTS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)PATIENCE_SEC, MHD_OPTION_END);
	if (!daemon) {
		close(fd);
		return fail(-EIO, "cannot start the HTTP server");
	}
	while (sigwait(&ends, &got) != 0)
		;
	/* Else it would shut the socket down, which systemd goes on listening at. */
	MHD_quiesce_daemon(daemon);
	MHD_stop_daemon(daemon);
	close(fd);
	return 0;
}

static void print_usage(FILE *to)
{
	fputs("Usage: isomer-metrics [--bpffs PATH] [ADDRESS PORT [PATH]]\n\n"
	      "What `isomctl metrics` runs, and isomer-metrics.service.\n",
		to);
}

int main(int argc, char **argv)
{
	enum { BPFFS = 1, HELP };
	static const struct option options[] = {
		{"bpffs", required_argument, NULL, BPFFS}, {"help", no_argument, NULL, HELP}, {}};
	struct server server = {.path = DEFAULT_PATH};
	int option, fd;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == BPFFS)
			server.bpffs = optarg;
		else {
			print_usage(option == HELP ? stdout : stderr);
			return option == HELP ? EXIT_SUCCESS : MISUSED;
		}
	}
	argv += optind;
	argc -= optind;
	if (argc == 1 || argc > 3) {
		print_usage(stderr);
		return MISUSED;
	}
	if (argc == 3)
		server.path = argv[2];
	if (server.path[0] != '/') {
		fprintf(stderr, "isomer-metrics: \"%s\" is no path: begin it with /\n",
			server.path);
		return MISUSED;
	}
	fd = argc ? listen_at(argv[0], argv[1]) : passed_socket();
	if (fd == -EINVAL && argc)
		return MISUSED;
	return fd >= 0 && serve(&server, fd) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
