/* SPDX-License-Identifier: GPL-2.0-only */
/* Destinations and the sockets in them: see destination.h. */
#include "destination.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "say.h"

static bool is_free(const struct destination *destination)
{
	return destination->label[0] == '\0';
}

int destination_find(const struct dispatcher *d, const char *label, uint8_t family,
	uint8_t protocol, destination_id *ret)
{
	for (destination_id id = 0; id < d->now.ledger->destination_places; id++) {
		const struct destination *destination = &d->now.destinations[id];

		if (destination->family == family && destination->protocol == protocol &&
			strcmp(destination->label, label) == 0) {
			*ret = id;
			return 0;
		}
	}
	return -ENOENT;
}

static int clear_counters(const struct dispatcher *d, destination_id id)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_(freep) struct counters *zeros =
		calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*zeros));

	if (cpus < 0 || !zeros)
		return cpus < 0 ? cpus : -ENOMEM;
	return bpf_map_update_elem(d->now.maps[MAP_COUNTERS], &id, zeros, BPF_ANY);
}

int destination_acquire(struct dispatcher *d, const char *label, uint8_t family, uint8_t protocol,
	destination_id *ret)
{
	int r;

	if (destination_find(d, label, family, protocol, ret) == 0)
		return 0;
	for (destination_id id = 0; id < MAX_DESTINATIONS; id++) {
		struct destination *destination = &d->now.destinations[id];

		if (!is_free(destination))
			continue;
		r = d->writable ? clear_counters(d, id) : 0; /* else the place is one in our copy */
		if (r < 0)
			return fail(r, "cannot clear the counters of label \"%s\": %m", label);
		if (id >= d->now.ledger->destination_places)
			d->now.ledger->destination_places = id + 1;
		*destination = (struct destination){.family = family, .protocol = protocol};
		strncpy(destination->label, label, NAME_SIZE - 1);
		*ret = id;
		return 0;
	}
	return fail(-ENOSPC,
		"there is no room for label \"%s\": all %d destinations are in use (isomctl status "
		"lists them); unbind or unregister one",
		label, MAX_DESTINATIONS);
}

int destination_socket(const struct dispatcher *d, destination_id id, uint64_t *ret_cookie)
{
	/* User space reads the cookie from a sockmap whose values have 8 bytes (since 5.8). */
	if (bpf_map_lookup_elem(d->now.maps[MAP_SOCKETS], &id, ret_cookie) == 0)
		return 0;
	*ret_cookie = 0;
	return errno == ENOENT ? 0
			       : fail(-errno, "cannot tell whether label \"%s\" has a socket: %m",
					 d->now.destinations[id].label);
}

int destinations_release_idle(struct dispatcher *d)
{
	for (destination_id id = 0; id < d->now.ledger->destination_places; id++) {
		uint64_t cookie;
		int r;

		if (is_free(&d->now.destinations[id]) || d->now.ledger->destination_uses[id])
			continue;
		r = destination_socket(d, id, &cookie);
		if (r < 0)
			return r;
		if (!cookie)
			d->now.destinations[id] = (struct destination){};
	}
	return 0;
}

int destination_counters(const struct dispatcher *d, destination_id id, struct counters *ret)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_(freep) struct counters *values =
		calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*values));
	struct counters sum = {};

	if (cpus < 0 || !values)
		return cpus < 0 ? cpus : -ENOMEM;
	if (bpf_map_lookup_elem(d->now.maps[MAP_COUNTERS], &id, values) < 0)
		return -errno;
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum.lookups += values[cpu].lookups;
		sum.misses += values[cpu].misses;
		sum.errors += values[cpu].errors;
	}
	*ret = sum;
	return 0;
}

int destination_look(const struct dispatcher *d, destination_id id, struct destination_view *ret,
	bool *ret_in_use)
{
	const struct destination *record = &d->now.destinations[id];
	uint32_t bindings = d->now.ledger->destination_uses[id];
	uint64_t cookie = 0;
	int r = is_free(record) ? 0 : destination_socket(d, id, &cookie);

	*ret_in_use = !is_free(record) && (bindings || cookie);
	if (r < 0 || !*ret_in_use)
		return r;
	*ret = (struct destination_view){
		.id = id,
		.record = record,
		.bindings = bindings,
		.cookie = cookie,
		.known = cookie && cookie == record->cookie,
	};
	r = destination_counters(d, id, &ret->counters);
	return r < 0 ? fail(r, "cannot read the counters: %m") : 0;
}

/*
 * Registering.
 */

static int say_ambiguous(
	const char *unit, const struct registration *a, const struct registration *b)
{
	char one[LONGEST_SOCKET_TEXT], other[LONGEST_SOCKET_TEXT], address[INET6_ADDRSTRLEN];

	socket_format(a->socket, one);
	socket_format(b->socket, other);
	if (!unit[0])
		return fail(-ENOTUNIQ,
			"cannot register both %s and %s under label \"%s\": take one of them with "
			"isomctl register-pid",
			one, other, a->label);
	return fail(-ENOTUNIQ,
		"cannot register the sockets of %s: %s and %s would both be for label \"%s\": name "
		"the one in the section, like Socket=%s %s %u",
		unit, one, other, a->label, protocol_name(a->socket->protocol),
		address_format(&a->socket->address, address), a->socket->port);
}

static int check_ambiguity(const char *unit, const struct registration *registrations, size_t count)
{

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			const struct registration *a = &registrations[j], *b = &registrations[i];

			if (strcmp(a->label, b->label) == 0 &&
				socket_competes(a->socket, b->socket))
				return say_ambiguous(unit, a, b);
		}
	}
	return 0;
}

/*
 * The record goes first. If we die before the socket is in, then the record doesn't have the
 * cookie of the socket that is, and nobody believes it.
 */
static int put_socket(
	struct dispatcher *d, const char *unit, const struct socket *socket, destination_id id)
{
	struct destination *destination = &d->now.destinations[id], last = *destination;
	uint64_t fd = (uint64_t)socket->fd, there;
	char text[LONGEST_SOCKET_TEXT];
	int r = destination_socket(d, id, &there);

	if (r < 0)
		return r;
	memset(destination->unit, 0, sizeof(destination->unit));
	strncpy(destination->unit, unit, NAME_SIZE - 1);
	memcpy(destination->address, &socket->address, sizeof(destination->address));
	destination->port = socket->port;
	destination->cookie = socket->cookie;
	if (there == socket->cookie)
		return 0; /* it is there: putting it in again would take it out for a moment */
	if (bpf_map_update_elem(d->now.maps[MAP_SOCKETS], &id, &fd, BPF_ANY) < 0) {
		r = -errno;
		*destination = last;
		return fail(r, "cannot register %s: %m", socket_format(socket, text));
	}
	return 0;
}

/* A place for each family of each registration, or none at all. */
static int acquire_all(struct dispatcher *d, const struct registration *registrations, size_t count,
	destination_id (*ids)[FAMILIES])
{
	for (size_t i = 0; i < count; i++) {
		const struct registration *registration = &registrations[i];

		for (uint8_t family = 0; family < FAMILIES; family++) {
			int r;

			if (!registration->socket->families[family])
				continue;
			r = destination_acquire(d, registration->label, family,
				registration->socket->protocol, &ids[i][family]);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int take_socket_out(struct dispatcher *d, destination_id id)
{
	struct destination *destination = &d->now.destinations[id];

	/* It may have been closed, and left by itself, just now. */
	if (bpf_map_delete_elem(d->now.maps[MAP_SOCKETS], &id) < 0 && errno != ENOENT &&
		errno != EINVAL)
		return fail(-errno, "cannot unregister the socket of label \"%s\": %m",
			destination->label);
	memset(destination->unit, 0, sizeof(destination->unit));
	destination->cookie = 0;
	return 0;
}

/* The unit that registered the socket that it holds, "" for the administrator; NULL: it holds none.
 */
static int find_registrant(const struct dispatcher *d, destination_id id, const char **ret)
{
	const struct destination *destination = &d->now.destinations[id];
	uint64_t cookie;
	int r = destination_socket(d, id, &cookie);

	*ret = r == 0 && cookie && cookie == destination->cookie ? destination->unit : NULL;
	return r;
}

/* Takes out the unit's sockets from all destinations but these. */
static int take_back_others(struct dispatcher *d, const char *unit, const bool *kept)
{
	for (destination_id id = 0; id < d->now.ledger->destination_places; id++) {
		const char *registrant;
		int r;

		if (kept[id] || is_free(&d->now.destinations[id]) ||
			strcmp(d->now.destinations[id].unit, unit) != 0)
			continue;
		r = find_registrant(d, id, &registrant);
		if (r == 0 && registrant)
			r = take_socket_out(d, id);
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_sockets(struct dispatcher *d, const char *unit,
	const struct registration *registration, const destination_id ids[FAMILIES],
	enum incumbent incumbent, bool *kept)
{
	int r = 0;

	for (uint8_t family = 0; family < FAMILIES && r == 0; family++) {
		destination_id id = ids[family];
		const char *registrant = NULL;

		if (!registration->socket->families[family])
			continue;
		kept[id] = true;
		if (incumbent == RESPECT)
			r = find_registrant(d, id, &registrant);
		if (r == 0 && (!registrant || strcmp(registrant, unit) == 0))
			r = put_socket(d, unit, registration->socket, id);
	}
	return r;
}

int destinations_register(struct dispatcher *d, const char *unit,
	const struct registration *registrations, size_t count, enum incumbent incumbent)
{
	_cleanup_(freep) destination_id(*ids)[FAMILIES] = calloc(count + 1, sizeof(*ids));
	bool kept[MAX_DESTINATIONS] = {};
	int r;

	if (!ids)
		return fail(-ENOMEM, "cannot register sockets: %m");
	r = check_ambiguity(unit, registrations, count);
	if (r == 0)
		r = acquire_all(d, registrations, count, ids);
	for (size_t i = 0; i < count && r == 0; i++)
		r = put_sockets(d, unit, &registrations[i], ids[i], incumbent, kept);
	if (r < 0 || unit[0] == '\0')
		return r;
	return take_back_others(d, unit, kept);
}

int destination_unregister(
	struct dispatcher *d, const char *label, uint8_t family, uint8_t protocol)
{
	uint64_t cookie = 0;
	destination_id id;
	int r = 0;

	if (destination_find(d, label, family, protocol, &id) == 0)
		r = destination_socket(d, id, &cookie);
	if (r < 0)
		return r;
	if (!cookie)
		return fail(-ENOENT,
			"cannot unregister it: label \"%s\" has no %s %s socket: 'isomctl status' lists those "
			"that there are",
			label, family_name(family), protocol_name(protocol));
	return take_socket_out(d, id);
}

int destinations_unregister_unit(struct dispatcher *d, const char *unit)
{
	const bool none[MAX_DESTINATIONS] = {};

	return take_back_others(d, unit, none);
}
