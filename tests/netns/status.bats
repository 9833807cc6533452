# shellcheck shell=bash
#
# isomctl status as the page that one looks at: in a pipe, on a terminal, again and again. What its columns and counters
# say, listings.bats sees.
load ../lib/netns
load ../lib/refusing
load ../lib/json

setup() {
	netns_setup
	isomctl load
	isomctl bind web tcp 127.0.0.0/8 80
	isomctl bind idle tcp 127.0.0.0/8 81
	probe tcp 127.0.0.1 81
}

# on_terminal [VARIABLE=VALUE...] ARGUMENT...: what isomctl prints on one, with no settings but these. Its lines end in \r.
on_terminal() {
	local settings=()
	while [[ $1 == [A-Z]*=* ]]; do
		settings+=("$1")
		shift
	done
	in_ns env -i PATH="$PATH" TERM=xterm SHELL=/bin/sh "${settings[@]}" script -qec "$BUILD/isomctl $*" /dev/null </dev/null
}

@test "nothing in a pipe is coloured, waits for a pager, or shows progress, whatever the environment says" {
	local command
	for command in status 'status --watch=0.05' bindings 'explain tcp 127.0.0.1 80' 'status --json' verify; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr in_ns env TERM=xterm SYSTEMD_COLORS=1 SYSTEMD_PAGER='sed s/^/paged/' PAGER='sed s/^/paged/' \
			SYSTEMD_UNIT_PATH=/nonexistent timeout 0.5 "$BUILD/isomctl" $command
		# shellcheck disable=SC2154 # run sets it
		[[ $output && $output != *$'\e'* && $output != *paged* && $output != *$'\r'* ]] || fail "$command: $output" || return
		# shellcheck disable=SC2154 # and this
		[[ -z $stderr ]] || fail "$command: $stderr"
	done
}

@test "on a terminal it is coloured, unless NO_COLOR, SYSTEMD_COLORS or TERM say otherwise" {
	[[ $(on_terminal status --no-pager) == *$'\e[1;32mloaded\e[0m since '* ]]
	[[ $(on_terminal status --no-pager) == *$'\e[1;33m1\e[0m '* ]] # a miss
	[[ $(on_terminal NO_COLOR= status --no-pager) == *$'\e['* ]]
	for setting in NO_COLOR=1 SYSTEMD_COLORS=0 TERM=dumb; do
		output=$(on_terminal $setting status --no-pager)
		[[ $output == *'loaded since '* && $output != *$'\e['* ]] || fail "$setting: $output"
	done
	# Colours move no column.
	diff <(on_terminal status --no-pager | sed 's/\x1b\[[0-9;]*m//g; s/\r$//') <(isomctl status)
}

@test "on a terminal a pager shows it: SYSTEMD_PAGER, PAGER, or none if that is empty or cat" {
	[[ $(on_terminal PAGER='sed s/^/paged/' status) == *'pagedDispatcher: '* ]]
	[[ $(on_terminal SYSTEMD_PAGER='sed s/^/first/' PAGER='sed s/^/second/' status) == *'firstDispatcher: '* ]]
	for setting in PAGER= PAGER=cat SYSTEMD_PAGER= SYSTEMD_PAGER=cat; do
		output=$(on_terminal PAGER='sed s/^/paged/' "$setting" status)
		[[ $output == *'Dispatcher: '* && $output != *paged* ]] || fail "$setting: $output"
	done
	for words in 'status --no-pager' 'status --json'; do
		# shellcheck disable=SC2086 # words
		output=$(on_terminal PAGER='sed s/^/paged/' $words)
		[[ $output != *paged* ]] || fail "$words: $output"
	done
	# One that is left before the end is no failure.
	on_terminal PAGER=true status
}

@test "the heading tells the version, the kernel, the program, and since when" {
	start=$(date +%s)
	text=$(isomctl status)
	[[ $text == "Dispatcher: loaded since "*", program "*"Version: isomctl $(isomctl --version | cut -d' ' -f2), ABI "*", Linux $(uname -r)"* ]]
	before=$(isomctl status --json)
	isomctl upgrade
	after=$(isomctl status --json)
	[[ $(json 'root["dispatcher"]["kernel"], root["dispatcher"]["version"]' <<<"$after") == "$(uname -r) $(isomctl --version | cut -d' ' -f2)" ]]
	[[ $(json 'root["dispatcher"]["loaded_at"]' <<<"$after") == "$(json 'root["dispatcher"]["loaded_at"]' <<<"$before")" ]]
	(($(json 'root["dispatcher"]["program_loaded_at"]' <<<"$after") >= start - 1))
	[[ $(json 'root["dispatcher"]["program"]' <<<"$after") != "$(json 'root["dispatcher"]["program"]' <<<"$before")" ]]
}

@test "it names the process that has a socket" {
	start_server --name web tcp:127.0.0.1:8080
	isomctl register-pid "$SERVER_PID" web tcp 127.0.0.1 8080
	[[ $(isomctl status web --json | json 'root["destinations"][0]["process"]') == \
		"{'pid': $SERVER_PID, 'name': 'echo-server', 'holders': 1}" ]]
	[[ $(isomctl status web) == *" $SERVER_PID echo-server" ]]
}

@test "--watch shows it again and again, with rates" {
	setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount \
		"$BUILD/isomctl" status --watch=0.1 --json >"$BATS_TEST_TMPDIR/looks" 3>&- &
	watcher=$!
	# Not one of them is lost: as long as it looks, some tell of those that came in between.
	saw_misses() {
		probe --count 20 tcp 127.0.0.1 81
		json '[1 for line in open(sys.argv[2]) if line.endswith("}\n") for d in json.loads(line)["destinations"] if (d["misses_per_second"] or 0) > 0 and d["label"] == "idle"][0]' <<<0 || return
	}
	json() { python3 -c 'import json, sys; root = json.load(sys.stdin); eval(f"print({sys.argv[1]})")' "$1" "$BATS_TEST_TMPDIR/looks"; }
	wait_until saw_misses
	kill "$watcher"
	[[ $(head -n 1 "$BATS_TEST_TMPDIR/looks" | json 'root["destinations"][0]["misses_per_second"]') == None ]]

	text=$(in_ns timeout 1 "$BUILD/isomctl" status --watch=0.1 web || true)
	[[ $(grep -c '^Dispatcher: ' <<<"$text") -gt 1 ]]
	[[ $text == *LOOKUPS/S*MISSES/S* ]]
	# Whoever reads no further ends it.
	isomctl status --watch=0.05 | head -n 3 >/dev/null
	for seconds in x 0 -1 nan 1e9 ''; do
		refuses 2 'is no number of seconds' isomctl status --watch="$seconds"
	done
	refuses 2 'one argument too many' isomctl status web idle
	refuses 1 'neither a binding to label "nosuch" nor a socket under it' isomctl status --watch=0.05 nosuch
	refuses 1 'seconds are written --watch=SECONDS' isomctl status --watch 1
}
