/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * isomctl explain: the units behind a packet's binding, and those whose sections would bind it.
 * Bindings last from a unit's start to its stop, so that is where to look for what is missing.
 */
#include "explain.h"

#include <stdio.h>
#include <string.h>

#include "../cleanup.h"
#include "../section.h"
#include "../shellword.h"
#include "group.h"
#include "supply.h"
#include "units.h"
#include "wiring.h"

#define MOST_UNITS 8 /* of a binding, that systemd is asked about */

static bool is_started(const struct unit_state *state)
{
	static const char *const started[] = {"active", "reloading", "activating"};

	for (size_t i = 0; i < sizeof(started) / sizeof(*started); i++)
		if (strcmp(state->active, started[i]) == 0)
			return true;
	return false;
}

/* It crashed, say, and is started again in a while: "auto-restart", "auto-restart-queued". */
static bool waits_for_restart(const struct unit_state *state)
{
	return strncmp(state->sub, "auto-restart", strlen("auto-restart")) == 0;
}

/* A unit's name may have backslashes: those of a path's dashes are \x2d. */
static void propose_for_unit(struct note *note, const char *command, const char *unit)
{
	char word[SHELL_WORD_SIZE(NAME_SIZE)];

	propose(note, "%s %s", command, shell_word(unit, word, sizeof(word)));
}

/*
 * What a socket unit starts may not run by itself, with nothing passed to it: unless it is enabled
 * itself, and where that socket unit isn't started either, that is the one to start.
 */
static void propose_start(struct note *note, const struct unitpath *unitpath, const char *unit)
{
	_cleanup_(freep) char *enabled = systemd_property(unit, "UnitFileState");
	struct unit_name service, starter;
	const char *socket = starter.full;
	struct unit_state state;
	struct reason reason;

	if ((!enabled || strcmp(enabled, "enabled") != 0) &&
		unit_name_parse(unit, &service, &reason) == 0 &&
		wiring_find_starter(unitpath, &service, &starter) &&
		systemd_unit_states(&socket, 1, &state) && !is_started(&state))
		unit = socket;
	propose_for_unit(note, "systemctl start", unit);
}

/* What has isomer.service see to what units that run are to have. */
static const char *isomer_command(void)
{
	const char *isomer = "isomer.service";
	struct unit_state state;

	return systemd_unit_states(&isomer, 1, &state) && strcmp(state.active, "active") == 0
		? "systemctl reload isomer"
		: "systemctl start isomer";
}

/* It was started, and its label has no socket, or has lost it. */
static void note_no_socket(struct explanation *e, const struct unitpath *unitpath, const char *unit,
	const struct unit_state *state)
{
	const struct demand demand = {explained_label(e), address_family(&e->address), e->protocol};
	const char *family = family_name(demand.family), *protocol = protocol_name(e->protocol);
	struct note *note;

	switch (unit_supply(unitpath, unit, &demand)) {
	case NOT_DECLARED:
		add_note(e, "no_socket",
			"%s is %s, and its section puts no socket under this label (Label=, "
			"Socket=)",
			unit, state->active);
		break;
	case HAS_SOCKET:
		note = add_note(e, "no_socket",
			"%s is %s, and has an %s %s socket that isn't registered under this label",
			unit, state->active, family, protocol);
		propose(note, "%s", isomer_command());
		break;
	case NO_SOCKET_SEEN:
		note = add_note(e, "no_socket",
			"%s is %s, and has no %s %s socket under this label: have it listen on "
			"one, or see what its start said",
			unit, state->active, family, protocol);
		propose_for_unit(note, "journalctl --unit", unit);
	}
}

static void note_owner(struct explanation *e, const struct unitpath *unitpath, const char *unit,
	const struct unit_state *state)
{
	struct note *note;

	if (waits_for_restart(state)) {
		note = add_note(e, "unit_not_started",
			"%s has ended, and waits for its automatic restart", unit);
		propose_for_unit(note, "journalctl --unit", unit);
	} else if (!is_started(state)) {
		note = add_note(
			e, "unit_not_started", "%s isn't started: it is %s", unit, state->active);
		propose_start(note, unitpath, unit);
	} else if (e->verdict == REFUSED && !e->cookie) {
		note_no_socket(e, unitpath, unit, state);
	}
}

/* The units whose the winner is: none of them may have a socket yet. */
static size_t list_owners(const struct explanation *e, const char *units[MOST_UNITS])
{
	struct group winner = {};
	size_t count = 0;

	if (e->match_count)
		winner = group_next(e->matches, e->match_count);
	for (size_t i = 0; i < winner.count && count < MOST_UNITS; i++)
		if (winner.first[i].key.owner)
			units[count++] = owner_name(e->d, winner.first[i].key.owner);
	return count;
}

static void look_at_owners(struct explanation *e, const struct unitpath *unitpath)
{
	const char *units[MOST_UNITS + 1];
	struct unit_state states[MOST_UNITS + 1];
	size_t owners = list_owners(e, units), count = owners;

	if (e->match_count && e->cookie &&
		e->d->now.destinations[e->destination].cookie == e->cookie &&
		e->d->now.destinations[e->destination].unit[0])
		snprintf(e->unit, sizeof(e->unit), "%s",
			e->d->now.destinations[e->destination].unit);
	if (e->unit[0])
		units[count++] = e->unit;
	if (!systemd_unit_states(units, count, states))
		return;
	if (e->unit[0])
		e->unit_state = states[owners];
	for (size_t i = 0; i < owners; i++)
		if (states[i].active[0])
			note_owner(e, unitpath, units[i], &states[i]);
}

/*
 * Units whose sections would bind it.
 */

struct candidate {
	struct unit_name name;
	bool required; /* what its section's Required= says */
};

struct candidates {
	const struct explanation *e;
	const struct unitpath *unitpath;
	struct candidate list[MOST_UNITS];
	size_t count;
};

static bool section_holds(const struct section *section, const struct explanation *e)
{
	for (size_t i = 0; i < section->binding_count; i++) {
		const struct selector *selector = &section->bindings[i].selector;

		if (selector->protocol == e->protocol &&
			prefix_holds(&selector->prefix, &e->address) &&
			ports_hold(&selector->ports, e->port))
			return true;
	}
	return false;
}

static bool is_candidate(const struct candidates *candidates, const struct unit_name *unit)
{
	for (size_t i = 0; i < candidates->count; i++)
		if (strcmp(candidates->list[i].name.full, unit->full) == 0)
			return true;
	return false;
}

static int look_at_section(const char *name, void *context)
{
	struct candidates *candidates = context;
	_cleanup_(freep) const char **files = NULL;
	struct unit_name asked, unit;
	struct section section;
	struct reason reason;
	size_t count;

	if (unit_name_parse(name, &asked, &reason) < 0 || unit_name_is_template(&asked))
		return 0; /* of a template's instances there is no list */
	if (unit_find_files(candidates->unitpath, &asked, &unit, &files, &count) < 0 || !count ||
		is_candidate(candidates, &unit))
		return 0;
	section_check(&unit, files, count, section_ignore, NULL, &section);
	if (section_holds(&section, candidates->e)) {
		struct candidate *candidate = &candidates->list[candidates->count++];

		candidate->required = section.required;
		unit_name_copy(&unit, &candidate->name);
	}
	section_free(&section);
	return candidates->count == MOST_UNITS;
}

/* "/nginx.service.d/isomer.conf", wherever on the unit path. */
static const char *dropin_tail(const char *path)
{
	const char *name = strrchr(path, '/');

	return memrchr(path, '/', (size_t)(name - path)) ?: name;
}

/* Has it files that systemd hasn't read yet? Of a drop-in in a new directory it doesn't know. */
static bool is_outdated(const struct unitpath *unitpath, const struct unit_name *unit)
{
	_cleanup_(freep) char *changed = systemd_property(unit->full, "NeedDaemonReload");
	_cleanup_(freep) char *loaded = systemd_property(unit->full, "DropInPaths");
	_cleanup_(freep) const struct unitpath_dropin **dropins = NULL;
	bool outdated = changed && strcmp(changed, "yes") == 0;
	size_t count;

	if (!loaded || unitpath_dropins(unitpath, unit, &dropins, &count) < 0)
		return outdated;
	for (size_t i = 0; i < count && !outdated; i++)
		outdated = !strstr(loaded, dropin_tail(dropins[i]->path));
	return outdated;
}

/* Its section had no such line when the unit was started, or the unit went on without it. */
static void note_running_candidate(struct explanation *e, const struct unitpath *unitpath,
	const struct candidate *candidate, const struct unit_state *state)
{
	bool goes_without = !candidate->required && !is_outdated(unitpath, &candidate->name);
	struct note *note = add_note(e, "section_binds",
		"the section of %s binds it, and the unit runs without that line%s: it is %s",
		candidate->name.full,
		goes_without ? ", or goes on without Isomer, as Required=no lets it: its journal "
			       "tells"
			     : "",
		state->active);

	if (goes_without)
		propose_for_unit(note, "journalctl --unit", candidate->name.full);
	else
		propose(note, "systemctl daemon-reload && %s", isomer_command());
}

static void note_candidate(struct explanation *e, const struct unitpath *unitpath,
	const struct candidate *candidate, const struct unit_state *state)
{
	const char *unit = candidate->name.full;
	bool waits = waits_for_restart(state);
	struct note *note;

	if (is_started(state) && !waits) {
		note_running_candidate(e, unitpath, candidate, state);
	} else if (strcmp(state->load, "not-found") == 0) {
		add_note(e, "section_binds",
			"the section of %s would bind it, but there is no such unit, only drop-ins "
			"of it",
			unit);
	} else {
		note = add_note(e, "section_binds",
			"the section of %s binds it, and isn't started: it is %s", unit,
			waits ? "waiting for its automatic restart" : state->active);
		if (strcmp(state->active, "inactive") == 0)
			propose_start(note, unitpath, unit);
		else
			propose_for_unit(note, "journalctl --unit", unit);
	}
}

/* Bindings last from a unit's start to its stop, so the reason may be that it isn't started. */
static void look_for_sections(struct explanation *e, const struct unitpath *unitpath)
{
	struct candidates candidates = {.e = e, .unitpath = unitpath};
	struct unit_state states[MOST_UNITS];
	const char *units[MOST_UNITS];

	if (!systemd_is_there() || !systemd_is_in_our_netns())
		return;
	units_visit(unitpath, look_at_section, &candidates);
	for (size_t i = 0; i < candidates.count; i++)
		units[i] = candidates.list[i].name.full;
	if (systemd_unit_states(units, candidates.count, states))
		for (size_t i = 0; i < candidates.count; i++)
			note_candidate(e, unitpath, &candidates.list[i], &states[i]);
}

/* What was bound by hand is nobody's to start. */
static void look_for_registration(struct explanation *e)
{
	char word[SHELL_WORD_SIZE(NAME_SIZE)], isomctl[LONGEST_ISOMCTL];
	const char *units[MOST_UNITS];
	struct note *note;

	if (e->verdict != REFUSED || e->cookie || list_owners(e, units))
		return;
	note = add_note(e, "no_socket",
		"a server's %s %s socket is to be registered under this label",
		family_name(address_family(&e->address)), protocol_name(e->protocol));
	propose(note, "%s register-pid PID %s %s ADDRESS PORT", name_isomctl(e->options, isomctl),
		shell_word(explained_label(e), word, sizeof(word)), protocol_name(e->protocol));
}

void look_at_units(struct explanation *e)
{
	_cleanup_(unitpath_free) struct unitpath unitpath = {};

	if (e->verdict != DISPATCHED && systemd_is_there())
		unitpath_load(&unitpath); /* as far as there is memory */
	look_at_owners(e, &unitpath);
	look_for_registration(e);
	if (e->match_count == 0)
		look_for_sections(e, &unitpath);
}
