# shellcheck shell=bats
#
# The demo, and its recording in docs.
bats_require_minimum_version 1.5.0
load ../lib/probing

# What differs from one machine and one time to the next.
without_the_occasion() {
	sed -E -e 's/^systemd [0-9].*/systemd/' -e 's/since [^,]*/since/' -e 's/program [0-9]+/program/' \
		-e 's/^( +Version: isomctl [^,]*, ABI [0-9]+), .*/\1/' \
		-e 's/^(echo .*) [0-9]+( +[^ ]+:8080 .* active) .*/\1\2/' -e 's/ +/ /g'
}

@test "all its answers are right, and docs/demo.txt is its recording" {
	run -0 "$TESTS/demo/demo"
	diff <(without_the_occasion <<<"$output") <(without_the_occasion <"$TESTS/../docs/demo.txt") ||
		fail "make it anew: tests/demo/demo >docs/demo.txt"
}
