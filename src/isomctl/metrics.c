/* SPDX-License-Identifier: GPL-2.0-only */
/* isomctl metrics: becomes isomer-metrics, which serves the counters over HTTP. */
#include <errno.h>
#include <unistd.h>

#include "../say.h"
#include "isomctl.h"

static int run_metrics(const struct options *options, int argc, char **argv)
{
	char program[] = METRICS_PATH, bpffs[] = "--bpffs", end[] = "--";
	char *words[8] = {program};
	int count = take_arguments(&metrics_command, argc, &argv, 0, 3), next = 1;

	if (count < 0)
		return -count;
	if (count == 1)
		return misused(&metrics_command, "it needs PORT as well");
	if (options->bpffs) {
		words[next++] = bpffs;
		words[next++] = (char *)options->bpffs;
	}
	words[next++] = end;
	for (int i = 0; i < count; i++)
		words[next++] = argv[i];
	execv(program, words);
	return fail(-errno,
		"cannot run %s: %m: install Isomer whole (its package, or make install)", program);
}

const struct command metrics_command = {
	.name = "metrics",
	.arguments = "[ADDRESS PORT [PATH]]",
	.summary = "serve the counters to Prometheus, over HTTP",
	.help = "Serves http://ADDRESS:PORT/metrics (or PATH) until it is ended, for Prometheus and\n"
		"whoever reads its text format or OpenMetrics: lookups, misses, errors, bindings\n"
		"and sockets by label, domain (ipv4, ipv6) and protocol. Without ADDRESS and PORT\n"
		"it serves the socket that systemd passes: isomer-metrics.socket has one.\n\n"
		"Examples:\n"
		"  isomctl metrics 127.0.0.1 8000\n"
		"  isomctl metrics ::1 8000 /isomer\n"
		"  systemctl start isomer-metrics.socket\n",
	.run = run_metrics,
};
