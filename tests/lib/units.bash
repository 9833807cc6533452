# shellcheck shell=bash
#
# Units that tests/systemd/*.bats have in common, and what they assert about them, on top of container.bash.

# listening_service NAME PORT: a service that listens there; stdin is its section. NAME may be a template's.
listening_service() {
	unit "$1.service" <<-END
		[Service]
		Type=notify
		ExecStart=/usr/lib/isomer-tests/echo-server --name ${1%@}${1##*[!@]}%i --notify tcp:127.0.0.1:$2
		[Isomer]
		$(cat)
	END
	systemctl daemon-reload
}

# assert_active UNIT..., assert_inactive UNIT...
assert_active() {
	local unit
	for unit; do
		systemctl --quiet is-active "$unit" || fail "$unit isn't active" "$(journal "$unit")" || return
	done
}

assert_inactive() {
	local unit
	for unit; do
		[[ $(systemctl is-active "$unit") == inactive ]] || fail "$unit isn't inactive" "$(journal "$unit")" || return
	done
}

# assert_unbound PREFIX: there is no binding of that prefix, whatever its length.
assert_unbound() {
	local list
	list=$(isomctl --json bindings) || return
	[[ $list != *"\"$1/"* ]] || fail "$1 is bound:" "$list"
}

# assert_journal UNIT TEXT...: each TEXT is in what the unit said, and systemd about it.
assert_journal() {
	local unit=$1 text said
	shift
	said=$(journal "$unit")
	for text; do
		[[ $said == *"$text"* ]] || fail "the journal of $unit has no \"$text\":" "$said" || return
	done
}

# assert_start_fails UNIT TEXT...: its start fails, and its journal has each TEXT.
assert_start_fails() {
	! systemctl start "$1" 2>/dev/null || fail "$1 started:" "$(journal "$1")" || return
	assert_journal "$@"
}

# start_probing [OPTION...] PROTOCOL ADDRESS PORT: keeps asking in the background, without a pause. It returns when there is
# a first answer, so that whatever the test does next happens to be while somebody asks.
start_probing() {
	ANSWERS=$BATS_TEST_TMPDIR/answers
	in_container rm -f /run/stop-probing
	# shellcheck disable=SC2016 # expanded by the shell in there
	in_container sh -c 'while [ ! -e /run/stop-probing ]; do probe --count 10 "$@"; done' sh "$@" &>"$ANSWERS" 3>&- &
	PROBING=$!
	wait_until test -s "$ANSWERS"
}

# stop_probing SERVER [WORD...]: ends it; SERVER has answered, and there was nothing else but, at most, these WORDs.
stop_probing() {
	local answer answers allowed=" $* "
	in_container touch /run/stop-probing
	wait "$PROBING"
	answers=$(cut -d' ' -f1 "$ANSWERS" | sort | uniq -c)
	[[ $answers == *" $1"* ]] || fail "$1 never answered:" "$answers" || return
	while read -r _ answer; do
		[[ $allowed == *" $answer "* ]] || fail "there were answers other than$allowed:" "$answers" || return
	done <<<"$answers"
}
