/* SPDX-License-Identifier: GPL-2.0-only */
/* isomctl load, unload, upgrade, version: the dispatcher as a whole. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "../bindings.h"
#include "../cleanup.h"
#include "../dispatcher.h"
#include "../say.h"
#include "isomctl.h"
#include "systemd.h"

/* Is what is loaded fit for use? Returns 0 or a negative errno, said. */
static int check_loaded(const struct options *options)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = dispatcher_open(options->bpffs, false, MISSING_IS_QUIET, &d);

	return r == -ENOENT ? 0 : r; /* somebody unloads it just now */
}

static int run_load(const struct options *options, int argc, char **argv)
{
	bool loaded;
	int r = take_arguments(&load_command, argc, &argv, 0, 0);

	if (r < 0)
		return -r;
	r = dispatcher_load(options->bpffs, &loaded);
	if (r == 0 && !loaded)
		r = check_loaded(options);
	if (r == 0)
		puts(loaded ? "loaded the dispatcher" : "the dispatcher is loaded already");
	return r;
}

static bool units_have_lost_it(void)
{
	_cleanup_(freep) char *state = NULL;

	if (systemd_is_in_our_netns())
		state = systemd_property("isomer.service", "ActiveState");
	return state && strcmp(state, "active") == 0;
}

static int run_unload(const struct options *options, int argc, char **argv)
{
	bool unloaded;
	int r = take_arguments(&unload_command, argc, &argv, 0, 0);

	if (r < 0)
		return -r;
	r = dispatcher_unload(options->bpffs, &unloaded);
	if (r == 0)
		puts(unloaded ? "unloaded the dispatcher" : "no dispatcher is loaded");
	if (r == 0 && unloaded && units_have_lost_it())
		warn("isomer.service is active, and the units with an [Isomer] section have lost "
		     "their bindings: systemctl reload isomer gives them back, systemctl stop "
		     "isomer is the way to take it all away");
	return r;
}

static int run_upgrade(const struct options *options, int argc, char **argv)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = take_arguments(&upgrade_command, argc, &argv, 0, 0);

	if (r < 0)
		return -r;
	r = change_begin(options->bpffs, MISSING_IS_ERROR, &d);
	if (r == 0)
		r = bindings_upgrade(d);
	if (r == 0)
		puts("upgraded the dispatcher");
	return r;
}

static int run_version(const struct options *options, int argc, char **argv)
{
	_cleanup_(dispatcher_closep) struct dispatcher *d = NULL;
	int r = take_arguments(&version_command, argc, &argv, 0, 0);

	if (r < 0)
		return -r;
	if (!options->json) {
		printf("isomctl %s, ABI %d\n", ISOMER_VERSION, DISPATCHER_ABI);
		fflush(stdout); /* before an error on stderr */
	}
	r = dispatcher_open(options->bpffs, false, MISSING_IS_QUIET, &d);
	if (r == -EACCES || r == -EPERM)
		notice("so which dispatcher is loaded, if any, can't be told: that takes root");
	else if (r < 0 && r != -ENOENT)
		return r;

	if (options->json) {
		json_t *root = json_pack("{s:s, s:i, s:o}", "version", ISOMER_VERSION, "abi",
			DISPATCHER_ABI, "program", d ? json_integer(d->program) : json_null());

		json_dumpf(root, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(root);
		return 0;
	}
	if (r == -EACCES || r == -EPERM)
		return 0;
	if (d)
		printf("the dispatcher is loaded, program %u\n", d->program);
	else
		puts("no dispatcher is loaded");
	return 0;
}

const struct command load_command = {
	.name = "load",
	.arguments = "",
	.summary = "load the dispatcher into this network namespace",
	.help = "Loads the dispatcher and attaches it to this network namespace. It stays, with\n"
		"its bindings and sockets, until 'isomctl unload'. Where one is loaded already,\n"
		"says so and succeeds.\n\n"
		"Examples:\n"
		"  isomctl load\n"
		"  isomctl --netns /run/netns/blue load\n",
	.run = run_load,
};

const struct command unload_command = {
	.name = "unload",
	.arguments = "",
	.summary = "detach the dispatcher and drop all its state",
	.help = "Detaches the dispatcher from this network namespace: from then on the kernel\n"
		"finds sockets as if Isomer weren't there. All bindings and registrations are\n"
		"dropped; no connection is. Where none is loaded, says so and succeeds. While\n"
		"isomer.service is active, use 'systemctl stop isomer' instead.\n\n"
		"Example:\n"
		"  isomctl unload\n",
	.run = run_unload,
};

const struct command upgrade_command = {
	.name = "upgrade",
	.arguments = "",
	.summary = "put this version's program in place of the loaded one",
	.help = "Replaces the loaded program by the one that this isomctl carries, over the same\n"
		"bindings and sockets, in one step: every packet meets the old one or the new.\n\n"
		"Example:\n"
		"  isomctl upgrade\n",
	.run = run_upgrade,
};

const struct command version_command = {
	.name = "version",
	.arguments = "",
	.summary = "print the version, and what is loaded",
	.help = "Prints the version of isomctl, the ABI that it shares with a dispatcher, and\n"
		"whether one is loaded.\n\n"
		"Examples:\n"
		"  isomctl version\n"
		"  isomctl version --json\n",
	.run = run_version,
};
