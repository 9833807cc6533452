# shellcheck shell=bash
#
# For tests that go through many places, more than there is time for.
#
# All places for a disturbance are visited in random order, for WALK_SECONDS in each test; with WALK_SECONDS=all until all
# were, which takes minutes (so give TEST_TIMEOUT more of them, too). SEED repeats an order; a test that fails has printed it.

WALK_SECONDS=${WALK_SECONDS:-4}
LEAST_PLACES=3 # also where the machine is slow

set_seed() {
	RANDOM=${SEED:=$RANDOM}
	echo "SEED=$SEED"
}

# walk COUNT COMMAND...: the command with each of the numbers from 1 to COUNT, in random order, until the time is up.
walk() {
	local places place left visited begin=$SECONDS count=$1
	shift
	mapfile -t places < <(seq "$count")
	for ((visited = 0; visited < count; visited++)); do
		[[ $WALK_SECONDS == all ]] || ((SECONDS - begin < WALK_SECONDS || visited < LEAST_PLACES)) || break
		left=$((count - visited))
		place=$((RANDOM % left))
		"$@" "${places[place]}"
		places[place]=${places[left - 1]}
	done
	echo "$visited of $count places"
}

# expect_one_of ANSWER...: what was asked for is one of these; WHEN says what was done before.
expect_one_of() {
	local is=$1 answer
	shift
	for answer; do
		[[ $is != "$answer" ]] || return 0
	done
	fail "$WHEN: got \"$is\", expected one of:$(printf ' "%s"' "$@")"
}
