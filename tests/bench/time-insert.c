/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * time-insert KIND COUNT: puts these bindings into an LPM trie, all with one call as far as the
 * kernel lets it, and prints how many nanoseconds that took.
 */
#include <bpf/bpf.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/cleanup.h"
#include "bindings.h"
#include "lpm.h"
#include "measure.h"

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_map_create_opts, flags, .map_flags = BPF_F_NO_PREALLOC);
	_cleanup_(freep) struct bench_binding *bindings = NULL;
	_cleanup_(freep) struct lpm_key *keys = NULL;
	_cleanup_(freep) struct lpm_value *values = NULL;
	_cleanup_(closep) int trie = -1;
	size_t count;
	double before;
	__u32 inserted;

	die_with_parent();
	if (argc != 3)
		errx(2, "usage: time-insert single|all|range|mixed COUNT");
	count = binding_count_parse(argv[2]);
	bindings = make_bindings(binding_kind_parse(argv[1]), count);
	keys = calloc(count, sizeof(*keys));
	values = calloc(count, sizeof(*values));
	if (!keys || !values)
		err(1, "%zu keys", count);
	for (size_t i = 0; i < count; i++) {
		keys[i] = lpm_key_of(&bindings[i]);
		values[i].prefixlen = keys[i].prefixlen;
	}
	trie = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "bench_insert", sizeof(*keys), sizeof(*values),
		count, &flags);
	if (trie < 0)
		err(1, "an LPM trie of %zu entries", count);

	inserted = count;
	before = nanoseconds(CLOCK_MONOTONIC);
	if (bpf_map_update_batch(trie, keys, values, &inserted, NULL) < 0)
		err(1, "batch insert into an LPM trie, after %u entries", inserted);
	printf("%.0f\n", nanoseconds(CLOCK_MONOTONIC) - before);
	return 0;
}
