/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finds the sockets of a unit, where systemd or the unit's processes hold them, and registers
 * those that its section is about: see helper.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cleanup.h"
#include "../destination.h"
#include "../say.h"
#include "../waiting.h"
#include "helper.h"

#define SYSTEMD_PID 1

/* After a reload is asked for, a server may yet close its sockets and open others. */
#define RELOAD_LOOKS         5
#define RELOAD_INTERVAL_MSEC 100

/*
 * Choosing: which of the sockets found go under which label.
 */

/* What the section wants and the sockets found give. */
struct choice {
	struct registration *registrations;
	size_t count;
	struct reason missing; /* what can't be dispatched at all; empty if nothing */
	bool partly;           /* something can be dispatched for one address family only */
};

static void choice_free(struct choice *choice)
{
	free(choice->registrations);
}

/* Which packets the section binds to a label, by protocol and family. */
struct wants {
	bool any;
	bool families[PROTOCOLS][FAMILIES];
};

static struct wants section_wants(const struct section *section, const char *label)
{
	struct wants wants = {};

	for (size_t i = 0; i < section->binding_count; i++) {
		const struct binding *binding = &section->bindings[i];

		if (strcmp(binding->label, label) != 0)
			continue;
		wants.any = true;
		wants.families[binding->selector.protocol]
			      [prefix_family(&binding->selector.prefix)] = true;
	}
	return wants;
}

/*
 * Compares what is bound to a label with the sockets chosen for it. A protocol without any socket
 * is missing. Of one with a socket for one family only, the other family's packets are refused,
 * which may be what the administrator wants for now.
 */
static void judge(const struct section *section, const char *label, struct choice *choice)
{
	struct wants wants = section_wants(section, label);

	for (uint8_t protocol = 0; protocol < PROTOCOLS; protocol++) {
		bool has[FAMILIES] = {};

		for (size_t i = 0; i < choice->count; i++) {
			const struct registration *chosen = &choice->registrations[i];

			if (chosen->socket->protocol != protocol ||
				strcmp(chosen->label, label) != 0)
				continue;
			for (uint8_t family = 0; family < FAMILIES; family++)
				has[family] = has[family] || chosen->socket->families[family];
		}
		for (uint8_t family = 0; family < FAMILIES; family++) {
			if (!wants.families[protocol][family] || has[family])
				continue;
			if (has[IPV4] || has[IPV6])
				choice->partly = true;
			else if (!choice->missing.text[0]) /* else said, and maybe with a line */
				give_reason(&choice->missing,
					"%s %s is bound to label \"%s\", and no such socket was "
					"found",
					family_name(family), protocol_name(protocol), label);
		}
	}
}

static void choose(struct choice *choice, const struct socket *socket, const char *label)
{
	choice->registrations[choice->count++] = (struct registration){socket, label};
}

/* Socket= lines: each names one socket (or one SO_REUSEPORT group, of which any member will do). */
static void choose_named(
	const struct section *section, const struct socket_list *found, struct choice *choice)
{
	char lines[400] = "";
	size_t length = 0;

	for (size_t i = 0; i < section->socket_count; i++) {
		const struct section_socket *named = &section->sockets[i];
		size_t j = 0;

		while (j < found->count &&
			!socket_listens_at(
				&found->sockets[j], named->protocol, &named->address, named->port))
			j++;
		if (j < found->count)
			choose(choice, &found->sockets[j], named->label);
		else if (length < sizeof(lines))
			length += (size_t)snprintf(lines + length, sizeof(lines) - length, "%s%s",
				length ? ", " : "", named->where);
	}
	if (length)
		give_reason(&choice->missing, "%s: no such socket was found", lines);
}

/* Is there another socket that could as well be meant? */
static bool is_ambiguous(const struct socket_list *found, const struct socket *socket)
{
	for (size_t i = 0; i < found->count; i++)
		if (socket_competes(&found->sockets[i], socket))
			return true;
	return false;
}

/*
 * Every socket goes under the label. Of a protocol that the section doesn't bind, several sockets
 * are nobody's concern (a server's own UDP clients, say); of one that it binds, they are an error,
 * which registering them says.
 */
static void choose_all(
	const struct section *section, const struct socket_list *found, struct choice *choice)
{
	struct wants wants = section_wants(section, section->label);

	for (size_t i = 0; i < found->count; i++) {
		const struct socket *socket = &found->sockets[i];
		const bool *bound = wants.families[socket->protocol];

		if (wants.any && !bound[IPV4] && !bound[IPV6] && is_ambiguous(found, socket))
			continue;
		choose(choice, socket, section->label);
	}
	if (choice->count == 0)
		give_reason(
			&choice->missing, "it has no listening TCP and no unconnected UDP socket");
}

static int choose_sockets(
	const struct section *section, const struct socket_list *found, struct choice *ret)
{
	*ret = (struct choice){};
	ret->registrations =
		calloc(found->count + section->socket_count + 1, sizeof(*ret->registrations));
	if (!ret->registrations)
		return fail(-ENOMEM, "cannot choose among the sockets: %m");
	if (section->socket_count) {
		choose_named(section, found, ret);
		for (size_t i = 0; i < section->socket_count; i++)
			judge(section, section->sockets[i].label, ret);
	} else {
		choose_all(section, found, ret);
		judge(section, section->label, ret);
	}
	return 0;
}

#define LONGEST_ADVICE 192

static void advise(
	const struct socket_list *found, unsigned long long waited_usec, char text[LONGEST_ADVICE])
{
	char waited[64] = "";

	if (waited_usec && waited_usec != FOREVER)
		snprintf(waited, sizeof(waited), " within SocketTimeoutSec= (%g s)",
			(double)waited_usec / 1000000);
	if (found->elsewhere)
		snprintf(text, LONGEST_ADVICE,
			"its sockets are in another network namespace (PrivateNetwork=, "
			"NetworkNamespacePath=), and sections work in that of PID 1");
	else
		snprintf(text, LONGEST_ADVICE, "have it listen%s, or change the section", waited);
}

static int say_missing(const struct unit *unit, const struct socket_list *found,
	const struct choice *choice, unsigned long long waited_usec)
{
	bool has_others = found->count || found->idle || found->connected;
	_cleanup_(freep) char *others = has_others ? socket_list_describe(found) : NULL;
	char advice[LONGEST_ADVICE];

	advise(found, waited_usec, advice);
	return fail(-ENOENT, "cannot register the sockets of %s: %s%s%s: %s", unit->name.full,
		choice->missing.text, others ? ", but it has " : "", others ?: "", advice);
}

/*
 * The dispatcher is opened and locked once for all that is registered, when the first sockets are
 * found. Who waits lets go of it: others needn't wait as well.
 */
static int change_ensure(struct dispatcher **change)
{
	return *change ? 0 : change_begin(NULL, MISSING_IS_ERROR, change);
}

static void change_end(struct dispatcher **change)
{
	dispatcher_close(take_pointer(*change));
}

static int register_chosen(const char *unit, const struct choice *choice, enum occasion occasion,
	struct dispatcher **change)
{
	int r = change_ensure(change);

	return r < 0 ? r
		     : destinations_register(*change, unit, choice->registrations, choice->count,
			       occasion == RESTORED ? RESPECT : REPLACE);
}

/*
 * Sockets that systemd holds.
 */

/* "127.0.0.1:80" or "[::]:80", as a socket unit's Listen property has it. */
static int parse_endpoint(const char *text, struct in6_addr *ret_address, uint16_t *ret_port)
{
	char address[INET6_ADDRSTRLEN + 32];
	const char *colon = strrchr(text, ':');
	struct reason reason;
	size_t length;

	if (!colon || (size_t)(colon - text) >= sizeof(address))
		return -EINVAL;
	if (*text == '[')
		text++;
	length = strcspn(text, "]%"); /* without the scope of a link-local address */
	if (length > (size_t)(colon - text))
		length = (size_t)(colon - text);
	memcpy(address, text, length);
	address[length] = '\0';
	if (port_parse(colon + 1, ret_port, &reason) < 0)
		return -EINVAL;
	return address_parse(address, ret_address, &reason);
}

static bool unit_listens_at(const struct listen *listens, const struct socket *socket)
{
	for (const struct listen *listen = listens; listen->type; listen++) {
		uint8_t protocol = strcmp(listen->type, "Datagram") == 0 ? UDP : TCP;
		struct in6_addr address;
		uint16_t port;

		if (parse_endpoint(listen->address, &address, &port) == 0 &&
			socket_listens_at(socket, protocol, &address, port))
			return true;
	}
	return false;
}

/*
 * Borrows a socket unit's sockets from PID 1, which holds them from before its ExecStartPost= on;
 * systemd passes them there only from 256 on (PassFileDescriptorsToExec=).
 */
static int borrow_held(struct sd_bus *manager, const char *object, struct socket_list *list)
{
	_cleanup_(socket_list_free) struct socket_list all = {};
	_cleanup_(listens_free) struct listen *listens = NULL;
	int r = manager_get_listens(manager, object, &listens);

	if (r < 0)
		return r;
	r = socket_list_add_process(&all, SYSTEMD_PID);
	if (r < 0)
		return fail(r, "cannot borrow sockets of systemd: %m");
	for (size_t i = 0; i < all.count; i++) {
		if (!unit_listens_at(listens, &all.sockets[i]))
			continue;
		r = socket_list_move(list, &all, i--);
		if (r < 0)
			return fail(r, "cannot borrow sockets of systemd: %m");
	}
	return 0;
}

/*
 * A section that socket units share may be about the sockets of any of them. Each registers what it
 * has, as long as it has anything.
 */
static int register_held_of(const struct unit *unit, enum occasion occasion,
	struct dispatcher **change, size_t *ret_count)
{
	_cleanup_(socket_list_free) struct socket_list found = {};
	_cleanup_(choice_free) struct choice choice = {};
	int r = socket_list_add_passed(&found, UNFIT_IS_SKIPPED, NULL);

	if (r == 0)
		r = borrow_held(unit->manager, unit->object, &found);
	if (r >= 0)
		r = choose_sockets(&unit->section, &found, &choice);
	if (r < 0)
		return r;
	*ret_count = found.count;
	if (found.count == 0 || (unit->has_siblings && choice.count))
		choice.missing = (struct reason){};
	if (choice.missing.text[0])
		return say_missing(unit, &found, &choice, 0);
	return found.count ? register_chosen(unit->name.full, &choice, occasion, change) : 0;
}

static int register_trigger(const struct unit *service, const char *name, enum occasion occasion,
	struct dispatcher **change, bool *served)
{
	_cleanup_(unit_close) struct unit socket = {};
	size_t count = 0;
	int r = unit_open(service->manager, name, &socket);

	if (r == 0)
		r = register_held_of(&socket, occasion, change, &count);
	if (count && (socket.inherits || service->section.socket_count == 0))
		*served = true;
	return r;
}

/*
 * Registers the sockets that systemd holds for the unit: a socket unit's own, or those of the
 * active socket units that trigger a service, each by the section that counts for it. Of a service,
 * *ret_served tells whether that is all its section is about: it isn't where there are no such
 * sockets, and where they have sections of their own and the service's has Socket= lines.
 */
static int register_held(const struct unit *unit, enum occasion occasion,
	struct dispatcher **change, bool *ret_served)
{
	_cleanup_(strings_free) char **triggers = NULL;
	bool served = false;
	size_t count = 0;
	int r;

	if (unit->is_socket) {
		r = register_held_of(unit, occasion, change, &count);
		*ret_served = count;
		/* Unix sockets alone: the section is about those that its service opens itself. */
		if (r == 0 && count == 0 && !unit->inherits)
			return fail(-ENOENT,
				"cannot register the sockets of %s: it has no TCP or UDP socket "
				"(ListenStream=, ListenDatagram=)",
				unit->name.full);
		return r;
	}
	r = manager_get_strings(
		unit->manager, unit->object, UNIT_INTERFACE, "TriggeredBy", &triggers);
	for (char **trigger = triggers; r == 0 && *trigger; trigger++) {
		const char *dot = strrchr(*trigger, '.');

		if (dot && strcmp(dot, ".socket") == 0 &&
			manager_is_active(unit->manager, *trigger))
			r = register_trigger(unit, *trigger, occasion, change, &served);
	}
	*ret_served = served;
	return r;
}

/*
 * Sockets of a service's processes.
 */

/* All processes but this one, which is in the unit's control group too. */
static int find_in_processes(const struct unit *unit, struct socket_list *list, size_t *ret_count)
{
	_cleanup_(freep) pid_t *processes = NULL;
	size_t count;
	int r = manager_get_processes(unit->manager, unit->name.full, &processes, &count);

	*ret_count = 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		if (processes[i] == getpid())
			continue;
		r = socket_list_add_process(list, processes[i]);
		if (r == -ESRCH)
			r = 0; /* it ended meanwhile */
		else if (r < 0)
			return fail(r, "cannot borrow sockets of process %d of %s: %m",
				processes[i], unit->name.full);
		else
			(*ret_count)++;
	}
	return r;
}

/* A service that tells when it is ready has its sockets by then. */
static bool tells_readiness(const struct unit *unit)
{
	_cleanup_(freep) char *type = NULL;

	return manager_get_string(unit->manager, unit->object, SERVICE_INTERFACE, "Type", &type) ==
		0 &&
		strncmp(type, "notify", strlen("notify")) == 0;
}

/* One look; *ret_complete tells whether another one later could find more that is wanted. */
static int register_if_complete(const struct unit *unit, enum occasion occasion,
	struct dispatcher **change, unsigned long long patient_usec, bool last_look,
	bool *ret_complete)
{
	_cleanup_(socket_list_free) struct socket_list found = {};
	_cleanup_(choice_free) struct choice choice = {};
	size_t processes;
	int r = find_in_processes(unit, &found, &processes);

	if (r == 0)
		r = choose_sockets(&unit->section, &found, &choice);
	if (r < 0)
		return r;
	if (processes == 0)
		return fail(-ESRCH,
			"cannot register the sockets of %s: it has no process left (a service of "
			"Type=oneshot has none once it has started): journalctl --unit %s",
			unit->name.full, unit->name.full);

	*ret_complete = !choice.missing.text[0] && !choice.partly;
	if (!*ret_complete && !last_look)
		return 0;
	*ret_complete = true;
	if (choice.missing.text[0])
		return say_missing(unit, &found, &choice, patient_usec);
	return register_chosen(unit->name.full, &choice, occasion, change);
}

static int register_from_processes(const struct unit *unit, enum occasion occasion,
	struct dispatcher **change, unsigned long long patient_usec)
{
	unsigned long long begin = monotonic_usec();
	bool complete = false;
	int r = 0;

	while (!complete && r == 0) {
		bool last_look = monotonic_usec() - begin >= patient_usec;

		r = register_if_complete(
			unit, occasion, change, patient_usec, last_look, &complete);
		if (!complete && r == 0) {
			change_end(change);
			pause_msec(POLL_INTERVAL_MSEC);
		}
	}
	return r;
}

int unit_register_from_processes(const struct unit *unit, enum occasion occasion)
{
	_cleanup_(change_end) struct dispatcher *change = NULL;

	return register_from_processes(unit, occasion, &change, 0);
}

/* What a start waits for, and a reload: its server may be about to exchange its sockets. */
static int register_patiently(const struct unit *unit, struct dispatcher **change)
{
	bool reloading = unit_is_reloading(unit);
	unsigned long long patient_usec =
		reloading || !tells_readiness(unit) ? unit->section.socket_timeout_usec : 0;
	int r = register_from_processes(unit, STARTED, change, patient_usec);

	for (int i = 0; r == 0 && reloading && i < RELOAD_LOOKS; i++) {
		change_end(change);
		pause_msec(RELOAD_INTERVAL_MSEC);
		r = register_from_processes(unit, STARTED, change, patient_usec);
	}
	return r;
}

/* By label, protocol and family: what one destination is for. */
static int destination_compare(const void *a, const void *b)
{
	const struct binding *x = *(const struct binding *const *)a;
	const struct binding *y = *(const struct binding *const *)b;
	int order = strcmp(x->label, y->label);

	if (order == 0)
		order = x->selector.protocol - y->selector.protocol;
	if (order == 0)
		order = (int)prefix_family(&x->selector.prefix) -
			(int)prefix_family(&y->selector.prefix);
	return order;
}

static void warn_if_empty(
	const struct unit *unit, const struct dispatcher *d, const struct binding *binding)
{
	uint8_t protocol = binding->selector.protocol;
	uint8_t family = prefix_family(&binding->selector.prefix);
	uint64_t cookie = 0;
	destination_id id;

	if (destination_find(d, binding->label, family, protocol, &id) == 0 &&
		destination_socket(d, id, &cookie) < 0)
		return;
	if (!cookie)
		warn("%s: %s %s is bound to label \"%s\", and no such socket is registered under "
		     "it: those packets are refused",
			unit->name.full, family_name(family), protocol_name(protocol),
			binding->label);
}

/* What the section binds, and nobody has a socket for: that may come later, from another unit. */
static void warn_of_refused(const struct unit *unit, struct dispatcher **change)
{
	const struct section *section = &unit->section;
	_cleanup_(freep) const struct binding **bindings =
		calloc(section->binding_count + 1, sizeof(*bindings));

	if (!bindings || change_ensure(change) < 0)
		return;
	for (size_t i = 0; i < section->binding_count; i++)
		bindings[i] = &section->bindings[i];
	qsort(bindings, section->binding_count, sizeof(*bindings), destination_compare);
	for (size_t i = 0; i < section->binding_count; i++)
		if (i == 0 || destination_compare(&bindings[i - 1], &bindings[i]) != 0)
			warn_if_empty(unit, *change, bindings[i]);
}

int unit_register(const struct unit *unit, enum occasion occasion)
{
	_cleanup_(change_end) struct dispatcher *change = NULL;
	bool served = false;
	int r = register_held(unit, occasion, &change, &served);

	if (r == 0 && !served && !unit->is_socket)
		r = occasion == STARTED ? register_patiently(unit, &change)
					: register_from_processes(unit, occasion, &change, 0);
	/* A socket unit may have but a part of what the section of its service is about. */
	if (r == 0 && !unit->has_siblings && (served || !unit->inherits))
		warn_of_refused(unit, &change);
	return r;
}

int unit_unregister(const char *name)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = change_begin(NULL, MISSING_IS_QUIET, &d);

	return r == -ENOENT ? 0 : r < 0 ? r : destinations_unregister_unit(d, name);
}
