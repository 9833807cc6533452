/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The dispatcher's counters as text for Prometheus, in its own format or as OpenMetrics
 * (https://prometheus.io/docs/instrumenting/exposition_formats/, OpenMetrics 1.0).
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "../dispatcher.h"

enum exposition { PROMETHEUS_TEXT, OPENMETRICS, EXPOSITIONS };

/* What to send as Content-Type. */
const char *exposition_content_type(enum exposition exposition);

/* What a client wants: its Accept header, NULL if it sent none. */
enum exposition exposition_choose(const char *accept);

/*
 * Writes all metrics. The dispatcher is NULL where it could not be read: then there are only the
 * build and the number of failed collections, this one included. Returns 0, or a negative errno,
 * said, if the counters could not be read; what was written by then is not to be used.
 */
int exposition_write(FILE *to, enum exposition exposition, const struct dispatcher *dispatcher,
	uint64_t collection_errors);
