/* SPDX-License-Identifier: GPL-2.0-only */
/* make-bindings KIND COUNT: prints these bindings as load-bindings reads them. */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/cleanup.h"
#include "bindings.h"
#include "measure.h"

int main(int argc, char **argv)
{
	_cleanup_(freep) struct bench_binding *bindings = NULL;
	size_t count;

	die_with_parent();
	if (argc != 3)
		errx(2, "usage: make-bindings single|all|range|mixed COUNT");
	count = binding_count_parse(argv[2]);
	bindings = make_bindings(binding_kind_parse(argv[1]), count);

	puts("{\"bindings\": [");
	for (size_t i = 0; i < count; i++) {
		const struct bench_binding *b = &bindings[i];
		struct in_addr address = {htonl(b->address)};
		char ports[32];

		if (b->port_low == b->port_high)
			snprintf(ports, sizeof(ports), "%u", b->port_low);
		else
			snprintf(ports, sizeof(ports), "\"%u-%u\"", b->port_low, b->port_high);
		printf("{\"label\": \"" BENCH_LABEL "\", \"protocol\": \"tcp\", "
		       "\"prefix\": \"%s/%u\", \"port\": %s}%s\n",
			inet_ntoa(address), b->length, ports, i + 1 < count ? "," : "");
	}
	puts("]}");
	if (fflush(stdout) == EOF)
		err(1, "stdout");
	return 0;
}
