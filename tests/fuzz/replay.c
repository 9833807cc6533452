/* SPDX-License-Identifier: GPL-2.0-only */
/* A fuzz target without a fuzzer: gives it the files that are named, and says which one it is at.
 */
#include <err.h>

#include "../../src/cleanup.h"
#include "fuzz.h"

static void replay(const char *path)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	_cleanup_(freep) uint8_t *data = NULL;
	long size;

	if (!file || fseek(file, 0, SEEK_END) < 0 || (size = ftell(file)) < 0)
		err(1, "%s", path);
	rewind(file);
	/* No byte more, so that the address sanitizer sees who reads beyond the end. */
	data = malloc((size_t)size);
	if (fread(data, 1, (size_t)size, file) != (size_t)size)
		err(1, "%s", path);
	LLVMFuzzerTestOneInput(data, (size_t)size);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		fprintf(stderr, "%s\n", argv[i]);
		replay(argv[i]);
	}
	return argc > 1 ? 0 : 2;
}
