# shellcheck shell=bash
#
# What tests of all layers share: where the build is, how a test fails, and assertions about who answers. The function
# `probe`, which runs build/tests/probe where the test's servers are, comes from netns.bash or container.bash.

TESTS=$(realpath "${BASH_SOURCE[0]%/*}/..")
BUILD=${BUILD:-$TESTS/../build}

# fail WORD...: says why, and is false. (Where bash ignores false, as within `if`, add `|| return`.)
fail() {
	printf '%s\n' "$@" >&2
	return 1
}

need_root() { [[ $EUID == 0 ]] || skip "needs root"; }

# assert_answer NAME PROTOCOL ADDRESS PORT: the server of that name answers, and from where it was asked.
assert_answer() {
	local name=$1 answer
	shift
	answer=$(probe "$@")
	[[ $answer == "$name $2 $3" ]] || fail "probe $*: expected \"$name $2 $3\", got \"$answer\""
}

# assert_refused PROTOCOL ADDRESS PORT
assert_refused() {
	local answer
	answer=$(probe "$@")
	[[ $answer == refused ]] || fail "probe $*: expected \"refused\", got \"$answer\""
}

# wait_until COMMAND...: tries it again and again, for 30 seconds at most.
wait_until() {
	local deadline=$((SECONDS + 30))
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || fail "never came true: $*" || return
		pause 0.02
	done
}

# pause SECONDS, without a process: it waits for a line from a pipe in which there never is one.
pause() {
	[[ ${EMPTY_PIPE:-} ]] || exec {EMPTY_PIPE}<> <(:)
	read -r -t "$1" -u "$EMPTY_PIPE" _ || true
}
