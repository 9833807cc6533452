#!/usr/bin/env bats
#
# The fuzz targets on the inputs that are kept in tests/fuzz/corpus: those to start from, and those that once brought a target
# down. `make fuzz` lets a fuzzer make up more.

setup() {
	TESTS=$BATS_TEST_DIRNAME/..
	: "${BUILD:=$TESTS/../build}"
}

# replay TARGET: what it prints is the name of each file, and what doesn't hold for the last one.
replay() { "$BUILD/tests/replay-$1" "$TESTS/fuzz/corpus/$1"/*; }

@test "words of bindings" { replay binding; }
@test "JSON documents of bindings" { replay bindingfile; }
@test "JSON documents of bindings, when they are long" { replay longbindingfile; }
@test "the generator's reading of unit files" { replay facts; }
@test "sections" { replay section; }
@test "unit names and specifiers" { replay specifiers; }
@test "the grammar of unit files" { replay unitfile; }
@test "booleans and time spans" { replay values; }

@test "each target is among these" {
	local target
	for target in "$TESTS"/fuzz/fuzz-*.c; do
		target=${target##*/fuzz-}
		grep -q "{ replay ${target%.c}; }" "$BATS_TEST_FILENAME"
	done
}
