/* SPDX-License-Identifier: GPL-2.0-only */
/* What unit files say of sockets: see wiring.h. */
#include "wiring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../binding.h"
#include "../cleanup.h"
#include "units.h"

struct reading {
	const struct unit_name *unit;
	struct wiring *wiring;
	bool v6only;
	bool other_protocol; /* neither TCP nor UDP */
};

/* "8080", "127.0.0.1:8080", "[::1]:8080"; false for what is neither TCP nor UDP. */
static bool endpoint_parse(const char *text, struct endpoint *endpoint)
{
	char address[INET6_ADDRSTRLEN + 2] = "::";
	const char *colon = strrchr(text, ':');
	struct reason reason;
	size_t length;

	if (colon) {
		length = (size_t)(colon - text);
		if (*text == '[') {
			text++;
			length--;
		}
		if (length >= sizeof(address))
			return false;
		memcpy(address, text, length);
		address[length] = '\0';
		address[strcspn(address, "]%")] = '\0'; /* a link-local one may have a scope */
	}
	return port_parse(colon ? colon + 1 : text, &endpoint->port, &reason) == 0 &&
		address_parse(address, &endpoint->address, &reason) == 0;
}

static int add_listen(struct reading *reading, uint8_t protocol, const struct unitfile_line *line)
{
	struct wiring *wiring = reading->wiring;
	struct endpoint endpoint = {.protocol = protocol, .place.path = line->path}, *longer;
	_cleanup_(freep) char *text = NULL;
	struct reason reason;
	int r;

	if (!*line->value) { /* clears the list, of all kinds */
		wiring->listen_count = 0;
		return 0;
	}
	r = specifiers_expand(line->value, reading->unit, &text, &reason);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (!endpoint_parse(text, &endpoint))
		return 0;
	unitfile_locate(line, line->key, &endpoint.place.line, &endpoint.place.column);
	longer = reallocarray(wiring->listens, wiring->listen_count + 1, sizeof(*longer));
	if (!longer)
		return -ENOMEM;
	wiring->listens = longer;
	wiring->listens[wiring->listen_count++] = endpoint;
	return 0;
}

static int set_text(char **text, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static int add_words(char **words, const char *more)
{
	char *joined;

	if (asprintf(&joined, "%s %s", *words ?: "", more) < 0)
		return -ENOMEM;
	free(*words);
	*words = joined;
	return 0;
}

/* "0" is none, too, and says so here. */
static void read_start_timeout(struct wiring *wiring, const char *value)
{
	struct reason reason;

	if (timespan_parse(value, &wiring->start_timeout_usec, &reason) == 0 &&
		wiring->start_timeout_usec == 0)
		wiring->start_timeout_usec = FOREVER;
}

static void read_type(struct wiring *wiring, const char *value)
{
	wiring->notifies = strncmp(value, "notify", strlen("notify")) == 0;
	wiring->oneshot = strcmp(value, "oneshot") == 0;
}

static int read_service_line(struct wiring *wiring, const struct unitfile_line *line)
{
	struct reason reason;

	if (strcmp(line->key, "Type") == 0)
		read_type(wiring, line->value);
	if (strcmp(line->key, "RemainAfterExit") == 0)
		boolean_parse(line->value, &wiring->remains, &reason);
	if (strcmp(line->key, "TimeoutSec") == 0 || strcmp(line->key, "TimeoutStartSec") == 0)
		read_start_timeout(wiring, line->value);
	if (strcmp(line->key, "PrivateNetwork") == 0)
		boolean_parse(line->value, &wiring->private_network, &reason);
	if (strcmp(line->key, "NetworkNamespacePath") == 0)
		wiring->private_network = *line->value;
	if (strcmp(line->key, "RootDirectory") == 0)
		wiring->root_directory = *line->value && strcmp(line->value, "/") != 0;
	if (strcmp(line->key, "RootImage") == 0)
		wiring->root_image = *line->value && strcmp(line->value, "/") != 0;
	if (strcmp(line->key, "RootDirectoryStartOnly") == 0)
		boolean_parse(line->value, &wiring->root_for_start_only, &reason);
	return strcmp(line->key, "Sockets") == 0 ? add_words(&wiring->sockets, line->value) : 0;
}

static int read_line(const struct unitfile_line *line, void *context)
{
	struct reading *reading = context;
	struct wiring *wiring = reading->wiring;
	struct reason reason;

	if (!line->key)
		return 0;
	if (strcmp(line->section, "Service") == 0)
		return read_service_line(wiring, line);
	if (strcmp(line->section, "Socket") != 0)
		return 0;
	if (strcmp(line->key, "ListenStream") == 0)
		return add_listen(reading, TCP, line);
	if (strcmp(line->key, "ListenDatagram") == 0)
		return add_listen(reading, UDP, line);
	if (strcmp(line->key, "Service") == 0)
		return set_text(&wiring->service, line->value);
	if (strcmp(line->key, "Accept") == 0)
		boolean_parse(line->value, &wiring->accepts, &reason);
	if (strcmp(line->key, "BindIPv6Only") == 0)
		reading->v6only = strcmp(line->value, "ipv6-only") == 0;
	if (strcmp(line->key, "SocketProtocol") == 0)
		reading->other_protocol = *line->value;
	return 0;
}

int wiring_read(
	const struct unit_name *unit, const char *const *files, size_t count, struct wiring *ret)
{
	struct reading reading = {.unit = unit, .wiring = ret};
	int r = 0;

	*ret = (struct wiring){};
	for (size_t i = 0; i < count && r != -ENOMEM; i++)
		r = unitfile_read(files[i], read_line, &reading);
	if (reading.other_protocol)
		ret->listen_count = 0;
	for (size_t i = 0; i < ret->listen_count; i++)
		ret->listens[i].dual_stack =
			IN6_IS_ADDR_UNSPECIFIED(&ret->listens[i].address) && !reading.v6only;
	return r == -ENOMEM ? r : 0;
}

void wiring_free(struct wiring *wiring)
{
	free(wiring->listens);
	free(wiring->service);
	free(wiring->sockets);
	*wiring = (struct wiring){};
}

bool wiring_service(
	const struct wiring *wiring, const struct unit_name *socket, struct unit_name *ret)
{
	_cleanup_(freep) char *text = NULL;
	struct reason reason;

	if (wiring->accepts)
		return unit_name_build(socket->prefix, "", "service", ret);
	if (!wiring->service || !*wiring->service)
		return unit_name_build(socket->prefix, socket->instance, "service", ret);
	return specifiers_expand(wiring->service, socket, &text, &reason) == 0 &&
		unit_name_parse(text, ret, &reason) == 0;
}

struct starter_search {
	const struct unitpath *unitpath;
	const struct unit_name *service;
	struct unit_name *ret;
};

static int look_at_starter(const char *name, void *context)
{
	const struct starter_search *search = context;
	_cleanup_(wiring_free) struct wiring wiring = {};
	_cleanup_(freep) const char **files = NULL;
	struct unit_name asked, started;
	struct reason reason;
	size_t count;

	return unit_name_parse(name, &asked, &reason) == 0 && strcmp(asked.suffix, "socket") == 0 &&
		unit_find_files(search->unitpath, &asked, search->ret, &files, &count) == 0 &&
		count && wiring_read(search->ret, files, count, &wiring) == 0 &&
		wiring_service(&wiring, search->ret, &started) &&
		strcmp(started.full, search->service->full) == 0;
}

bool wiring_find_starter(
	const struct unitpath *unitpath, const struct unit_name *service, struct unit_name *ret)
{
	struct starter_search search = {unitpath, service, ret};
	struct unit_name namesake;

	return (unit_name_build(service->prefix, service->instance, "socket", &namesake) &&
		       look_at_starter(namesake.full, &search)) ||
		units_visit(unitpath, look_at_starter, &search);
}

static bool endpoint_takes(const struct endpoint *endpoint, uint8_t family)
{
	return address_family(&endpoint->address) == family ||
		(endpoint->dual_stack && family == IPV4);
}

bool endpoints_compete(const struct endpoint *a, const struct endpoint *b)
{
	bool same_family = (endpoint_takes(a, IPV4) && endpoint_takes(b, IPV4)) ||
		(endpoint_takes(a, IPV6) && endpoint_takes(b, IPV6));
	bool same = a->port == b->port && IN6_ARE_ADDR_EQUAL(&a->address, &b->address);

	return a->protocol == b->protocol && same_family && !same;
}

bool endpoint_is_at(const struct endpoint *endpoint, uint8_t protocol,
	const struct in6_addr *address, uint16_t port)
{
	static const struct in6_addr any_ipv4 = {{{[10] = 0xff, [11] = 0xff}}};

	return endpoint->protocol == protocol && endpoint->port == port &&
		(IN6_ARE_ADDR_EQUAL(&endpoint->address, address) ||
			(endpoint->dual_stack && IN6_ARE_ADDR_EQUAL(address, &any_ipv4)));
}
