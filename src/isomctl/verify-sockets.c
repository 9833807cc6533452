/* SPDX-License-Identifier: GPL-2.0-only */
/* isomctl verify: the sockets that a unit is to have. See verify.h. */
#include "verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../cleanup.h"
#include "../socket.h"
#include "supply.h"
#include "systemd.h"
#include "units.h"

struct openings {
	const struct checked *unit; /* whose Socket= lines are held against them */
	bool found[256];            /* by the index of the line; more aren't looked at */
	char units[512];            /* that may open the sockets: "web.socket, web6.socket" */
};

/* Of a protocol that isn't bound to it, several sockets aren't put under Label= at all. */
static bool is_put_under_label(const struct section *section, uint8_t protocol)
{
	bool bound = false;

	for (size_t i = 0; i < section->binding_count; i++) {
		const struct binding *binding = &section->bindings[i];

		if (strcmp(binding->label, section->label) != 0)
			continue;
		if (binding->selector.protocol == protocol)
			return true;
		bound = true;
	}
	return !bound;
}

static void report_competing(
	const struct checked *unit, const struct endpoint *endpoint, const struct endpoint *other)
{
	char address[INET6_ADDRSTRLEN], other_address[INET6_ADDRSTRLEN];
	const char *protocol = protocol_name(endpoint->protocol);

	address_format(&endpoint->address, address);
	address_format(&other->address, other_address);
	finding_add(&unit->verification->findings, unit->section.required ? ERROR : WARNING,
		unit->name.full, &endpoint->place,
		"%s %s %u and %s %s %u would both be for label \"%s\": name the one in the section, "
		"like Socket=%s %s %u",
		protocol, other_address, other->port, protocol, address, endpoint->port,
		unit->section.label, protocol, other_address, other->port);
}

/* Without Socket= lines, there is room for one socket of each protocol and family. */
static void check_room(const struct checked *unit, const struct wiring *wiring)
{
	if (unit->section.socket_count)
		return;
	for (size_t i = 1; i < wiring->listen_count; i++) {
		const struct endpoint *endpoint = &wiring->listens[i], *other = wiring->listens;

		while (other < endpoint && !endpoints_compete(other, endpoint))
			other++;
		if (other < endpoint && is_put_under_label(&unit->section, endpoint->protocol))
			report_competing(unit, endpoint, other);
	}
}

static void note_openings(struct openings *openings, const struct checked *socket)
{
	const struct section *section = &openings->unit->section;
	const struct wiring *wiring = &socket->wiring;
	size_t length = strlen(openings->units);

	check_room(openings->unit, wiring);
	snprintf(openings->units + length, sizeof(openings->units) - length, "%s%s",
		length ? ", " : "", socket->name.full);
	for (size_t i = 0; i < section->socket_count && i < sizeof(openings->found); i++)
		for (size_t j = 0; j < wiring->listen_count; j++)
			if (endpoint_is_at(&wiring->listens[j], section->sockets[i].protocol,
				    &section->sockets[i].address, section->sockets[i].port))
				openings->found[i] = true;
}

static void report_missing(
	struct verification *v, const struct openings *openings, const char *what)
{
	const struct section *section = &openings->unit->section;

	for (size_t i = 0; i < section->socket_count && i < sizeof(openings->found); i++) {
		const struct section_socket *socket = &section->sockets[i];
		char address[INET6_ADDRSTRLEN];

		if (!openings->found[i])
			finding_add(&v->findings, ERROR, openings->unit->name.full, &socket->place,
				"Socket=%s %s %u: %s %s", protocol_name(socket->protocol),
				address_format(&socket->address, address), socket->port,
				openings->units, what);
	}
}

static bool names_socket(const struct checked *service, const char *socket)
{
	_cleanup_(freep) char *words = strdup(service->wiring.sockets ?: "");
	char *rest = words, *word;

	while (words && (word = strsep(&rest, " \t"))) {
		_cleanup_(freep) char *text = NULL;
		struct reason reason;

		if (specifiers_expand(word, &service->name, &text, &reason) == 0 &&
			strcmp(text, socket) == 0)
			return true;
	}
	return false;
}

/* Does the service get this socket unit's sockets, by this section of its own? */
static bool serves(const struct checked *service, const struct checked *socket)
{
	struct unit_name started;

	if (socket->section.present || socket->wiring.accepts)
		return false;
	if (names_socket(service, socket->name.full))
		return true;
	return wiring_service(&socket->wiring, &socket->name, &started) &&
		strcmp(started.full, service->name.full) == 0;
}

static void look_at_socket_unit(struct openings *openings, const struct unit_name *name)
{
	struct verification *v = openings->unit->verification;
	struct checked socket = {.verification = v};

	if (unit_find_files(&v->unitpath, name, &socket.name, &socket.files, &socket.file_count) ==
			0 &&
		socket.file_count) {
		section_check(&socket.name, socket.files, socket.file_count, section_ignore, NULL,
			&socket.section);
		wiring_read(&socket.name, socket.files, socket.file_count, &socket.wiring);
		if (serves(openings->unit, &socket))
			note_openings(openings, &socket);
	}
	free(socket.files);
	section_free(&socket.section);
	wiring_free(&socket.wiring);
}

static void look_at_socket_units(struct openings *openings)
{
	const struct unitpath *unitpath = &openings->unit->verification->unitpath;
	const struct unit_name *service = &openings->unit->name;
	struct unit_name socket;
	struct reason reason;

	for (size_t i = 0; i < unitpath->file_count; i++) {
		const struct unitpath_file *file = &unitpath->files[i];

		if (file->kind == UNIT_FRAGMENT &&
			unit_name_parse(file->name, &socket, &reason) == 0 &&
			strcmp(socket.suffix, "socket") == 0)
			look_at_socket_unit(openings, &socket);
	}
	/* An instance has its template's file. */
	if (unit_name_is_instance(service) &&
		unit_name_build(service->prefix, service->instance, "socket", &socket))
		look_at_socket_unit(openings, &socket);
}

/* The sockets of a service that runs, where it may be looked into. */
static void check_processes(struct verification *v, struct openings *openings)
{
	const struct section *section = &openings->unit->section;
	const char *name = openings->unit->name.full;
	_cleanup_(socket_list_free) struct socket_list sockets = {};
	struct unit_state state;

	if (v->by_file || !section->socket_count || !systemd_unit_states(&name, 1, &state) ||
		strcmp(state.active, "active") != 0 ||
		borrow_sockets_of_service(name, &sockets) < 0)
		return;
	for (size_t i = 0; i < section->socket_count && i < sizeof(openings->found); i++)
		for (size_t j = 0; j < sockets.count; j++)
			if (socket_listens_at(&sockets.sockets[j], section->sockets[i].protocol,
				    &section->sockets[i].address, section->sockets[i].port))
				openings->found[i] = true;
	snprintf(openings->units, sizeof(openings->units), "%s", name);
	report_missing(v, openings, "runs, and has no such socket");
}

/* Of a label with Socket= lines, none is for a protocol that is bound to it: the start fails. */
static void check_protocols(struct verification *v, const struct checked *unit)
{
	const struct section *section = &unit->section;

	for (size_t i = 0; i < section->binding_count; i++) {
		const struct binding *binding = &section->bindings[i];
		bool named = false, served = false;

		for (size_t j = 0; j < section->socket_count; j++) {
			const struct section_socket *socket = &section->sockets[j];
			bool same = strcmp(socket->label, binding->label) == 0;

			named = named || same;
			served = served || (same && socket->protocol == binding->selector.protocol);
		}
		if (named && !served)
			finding_add(&v->findings, ERROR, unit->name.full,
				&section->binding_places[i],
				"%s is bound to \"%s\", and none of its Socket= lines is for %s",
				protocol_name(binding->selector.protocol), binding->label,
				protocol_name(binding->selector.protocol));
	}
}

/* Its processes' sockets are elsewhere: only those that a socket unit opens for it can be had. */
static void check_network(struct verification *v, const struct checked *unit)
{
	if (unit->wiring.private_network)
		finding_add(&v->findings, WARNING, unit->name.full, NULL,
			"PrivateNetwork= or NetworkNamespacePath= puts its sockets into another network "
			"namespace, and sections work in that of PID 1: let a socket unit open them");
}

/* Sockets are looked for when its start is done, or, if it doesn't tell, as soon as it runs. */
static void check_start(struct verification *v, const struct checked *unit)
{
	const struct section *section = &unit->section;
	const struct wiring *wiring = &unit->wiring;

	if (wiring->oneshot && !wiring->remains)
		finding_add(&v->findings, WARNING, unit->name.full, NULL,
			"it is Type=oneshot without RemainAfterExit=yes: when its sockets are looked "
			"for, it has no process left: give it another Type=, or let a socket unit open "
			"them");
	if (section->socket_timeout_place.path && !wiring->notifies && wiring->start_timeout_usec &&
		section->socket_timeout_usec > wiring->start_timeout_usec)
		finding_add(&v->findings, WARNING, unit->name.full, &section->socket_timeout_place,
			"SocketTimeoutSec= is longer than TimeoutStartSec= (%g s), after which systemd "
			"ends the start",
			(double)wiring->start_timeout_usec / 1000000);
}

/* What a socket unit opens is known from its files; of other sockets, a process may tell. */
static void check_openings(struct verification *v, const struct checked *unit)
{
	struct openings openings = {.unit = unit};

	if (unit_name_is_template(&unit->name) || !unit->section.present)
		return;
	if (is_socket_unit(unit))
		note_openings(&openings, unit);
	else
		look_at_socket_units(&openings);
	if (openings.units[0]) {
		report_missing(v, &openings, "doesn't open such a socket");
	} else {
		check_processes(v, &openings);
		check_network(v, unit);
		check_start(v, unit);
	}
}

/* Its hooks would run in there. */
static void check_root(struct verification *v, const struct checked *unit)
{
	const struct wiring *wiring = &unit->wiring;

	if (strcmp(unit->name.suffix, "service") == 0 && unit->section.present &&
		(wiring->root_directory || wiring->root_image) && !wiring->root_for_start_only)
		finding_add(&v->findings, unit->section.required ? ERROR : WARNING, unit->name.full,
			NULL,
			"it has %s=, where isomer-helper isn't found: it takes "
			"RootDirectoryStartOnly=yes as well",
			wiring->root_directory ? "RootDirectory" : "RootImage");
}

/* Does any unit register a socket under the label, as far as its files tell? */
static bool is_registered(const struct verification *v, const char *label)
{
	for (size_t i = 0; i < v->count; i++)
		if (section_serves(&v->units[i]->section, label))
			return true;
	return false;
}

/* Labels that a unit binds, each said once, at its first line. */
static void check_labels(struct verification *v, const struct checked *unit)
{
	const struct section *section = &unit->section;

	if (unit_name_is_template(&unit->name))
		return;
	for (size_t i = 0; i < section->binding_count; i++) {
		const char *label = section->bindings[i].label;
		size_t first = 0;

		while (strcmp(section->bindings[first].label, label) != 0)
			first++;
		if (first == i && !is_registered(v, label))
			finding_add(&v->findings, WARNING, unit->name.full,
				&section->binding_places[i],
				"label \"%s\" gets no socket: of the units looked at, none has it as its "
				"Label= or in a Socket= line: what is bound to it is refused",
				label);
	}
}

/* A socket unit with a section registers its own sockets: it fails without any. */
static void check_has_listens(struct verification *v, const struct checked *unit)
{
	if (is_socket_unit(unit) && unit->section.present && unit->wiring.listen_count == 0)
		finding_add(&v->findings, ERROR, unit->name.full, NULL,
			"it has a section, and no TCP or UDP socket (ListenStream=, "
			"ListenDatagram=)");
}

void check_sockets(struct verification *v, const struct checked *unit)
{
	check_protocols(v, unit);
	check_openings(v, unit);
	check_has_listens(v, unit);
	check_root(v, unit);
	check_labels(v, unit);
}
