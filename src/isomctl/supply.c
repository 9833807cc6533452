/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether a unit could have a socket under a label: see supply.h. */
#include "supply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cleanup.h"
#include "../section.h"
#include "../socket.h"
#include "systemd.h"
#include "units.h"
#include "wiring.h"

#define SYSTEMD_PID 1

struct supplier {
	struct unit_name name;
	struct wiring wiring;
	struct section section; /* its own, or that of its service */
	bool is_socket;
};

static void supplier_free(struct supplier *supplier)
{
	wiring_free(&supplier->wiring);
	section_free(&supplier->section);
}

/* A socket unit without a section goes by that of the service that it starts. */
static int read_section_of_service(const struct unitpath *unitpath, struct supplier *socket)
{
	_cleanup_(freep) const char **files = NULL;
	struct unit_name started, service;
	size_t count;
	int r;

	if (socket->wiring.accepts || !wiring_service(&socket->wiring, &socket->name, &started))
		return 0;
	r = unit_find_files(unitpath, &started, &service, &files, &count);
	if (r < 0)
		return r;
	section_free(&socket->section);
	return section_check(&service, files, count, section_ignore, NULL, &socket->section);
}

static int read_supplier(
	const struct unitpath *unitpath, const char *unit, struct supplier *supplier)
{
	_cleanup_(freep) const char **files = NULL;
	struct unit_name name;
	struct reason reason;
	size_t count;
	int r = unit_name_parse(unit, &name, &reason);

	if (r == 0)
		r = unit_find_files(unitpath, &name, &supplier->name, &files, &count);
	if (r == 0)
		r = wiring_read(&supplier->name, files, count, &supplier->wiring);
	if (r == 0)
		r = section_check(
			&supplier->name, files, count, section_ignore, NULL, &supplier->section);
	if (r < 0)
		return r;
	supplier->is_socket = strcmp(supplier->name.suffix, "socket") == 0;
	return supplier->is_socket && !supplier->section.present
		? read_section_of_service(unitpath, supplier)
		: 0;
}

int borrow_sockets_of_service(const char *service, struct socket_list *list)
{
	_cleanup_(freep) pid_t *processes = NULL;
	size_t count;

	if (!systemd_unit_processes(service, &processes, &count))
		return -ESRCH;
	for (size_t i = 0; i < count; i++) {
		int r = socket_list_add_process(list, processes[i]);

		if (r < 0 && r != -ESRCH)
			return r;
	}
	return count ? 0 : -ESRCH;
}

/* Of a socket unit, all that PID 1 has. */
static int borrow_sockets(const struct supplier *supplier, struct socket_list *list)
{
	return supplier->is_socket ? socket_list_add_process(list, SYSTEMD_PID)
				   : borrow_sockets_of_service(supplier->name.full, list);
}

/* PID 1 has those of other units as well. */
static bool is_its_own(const struct supplier *supplier, const struct socket *socket)
{
	for (size_t i = 0; i < supplier->wiring.listen_count; i++) {
		const struct endpoint *listen = &supplier->wiring.listens[i];

		if (socket_listens_at(socket, listen->protocol, &listen->address, listen->port))
			return true;
	}
	return !supplier->is_socket;
}

static bool is_declared(
	const struct section *section, const struct socket *socket, const char *label)
{
	for (size_t i = 0; i < section->socket_count; i++) {
		const struct section_socket *line = &section->sockets[i];

		if (strcmp(line->label, label) == 0 &&
			socket_listens_at(socket, line->protocol, &line->address, line->port))
			return true;
	}
	return !section->socket_count;
}

enum supply unit_supply(
	const struct unitpath *unitpath, const char *unit, const struct demand *demand)
{
	_cleanup_(supplier_free) struct supplier supplier = {};
	_cleanup_(socket_list_free) struct socket_list list = {};

	if (read_supplier(unitpath, unit, &supplier) < 0 || !supplier.section.present)
		return NO_SOCKET_SEEN;
	if (!section_serves(&supplier.section, demand->label))
		return NOT_DECLARED;
	if (borrow_sockets(&supplier, &list) < 0)
		return NO_SOCKET_SEEN;
	for (size_t i = 0; i < list.count; i++) {
		const struct socket *socket = &list.sockets[i];

		if (socket->protocol == demand->protocol && socket->families[demand->family] &&
			is_its_own(&supplier, socket) &&
			is_declared(&supplier.section, socket, demand->label))
			return HAS_SOCKET;
	}
	return NO_SOCKET_SEEN;
}
