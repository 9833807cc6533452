# shellcheck shell=bash
#
# For tests of what a command refuses: `load ../lib/refusing`, beside what provides the command.
bats_require_minimum_version 1.5.0

# refuses STATUS TEXT COMMAND...: the command exits with that status, and has the text in what it says on stderr, and
# nothing on stdout. What it said stays in REFUSAL.
refuses() {
	local status_expected=$1 text=$2
	shift 2
	run --separate-stderr "$@"
	# shellcheck disable=SC2154 # run sets it
	REFUSAL=$stderr
	# shellcheck disable=SC2154 # and this
	[[ $status == "$status_expected" ]] || fail "$*: exit code $status, expected $status_expected" "$output" "$REFUSAL" || return
	[[ $REFUSAL == *"$text"* ]] || fail "$*: expected \"$text\" in:" "$REFUSAL" || return
	[[ -z $output ]] || fail "$*: on stdout:" "$output"
}
