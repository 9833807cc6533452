# shellcheck shell=bash
#
# isomctl killed in the middle. strace kills it at its first call of a kind, then at the second, and so on until it gets
# through: each time packets follow the old state or the new one, never a mixture, and the next command works and mends.
#
# The commands that make a hundred calls are killed at every third, from a random one of the first three on; KILL_STEP=N
# takes every Nth instead.
load ../lib/netns

setup() {
	command -v strace >/dev/null || skip "needs strace"
	netns_setup
	isomctl load
	start_server --name old tcp:127.0.0.1:8080
	OLD=$SERVER_PID
	start_server --name new tcp:127.0.0.1:8081
	NEW=$SERVER_PID
}

# kill_at_calls STEP CALLS COMMAND...: does so with isomctl COMMAND, for each of the kinds of system calls. A test has a
# function `prepare`, called before each attempt, and a function `check`, called after each kill.
kill_at_calls() {
	local step=$1 calls=$2 call count kills=0
	shift 2
	((step == 1)) || step=${KILL_STEP:-$step}
	for call in $calls; do
		for ((count = 1 + RANDOM % step; count < 200; count += step)); do
			prepare >/dev/null
			killed_at "$call" $count "$@" || break
			((++kills))
			WHEN="$* killed at $call $count"
			check
		done
	done
	echo "$kills times: $*"
	((kills * step >= 10))
}

# killed_at CALL COUNT COMMAND...: was it? It has to succeed otherwise. (The sanitizers' search for leaks doesn't work in what
# strace runs, and there would end the command as a failure.)
killed_at() {
	local call=$1 count=$2 status=0
	shift 2
	in_ns env ASAN_OPTIONS=detect_leaks=0 strace -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$count" \
		"$BUILD/isomctl" "$@" >/dev/null 2>&1 || status=$?
	((status == 137 || status == 0)) || fail "$*: exit code $status"
	((status == 137))
}

# The names of who answers at some ports of 127.0.0.9, each one once; label NONE's packets are refused.
answers() {
	local port probes=()
	for port; do
		probes+=(tcp 127.0.0.9 "$port")
	done
	probe "${probes[@]}" | cut -d' ' -f1 | sort -u | paste -sd' '
}

# expect_one_of ANSWER...: what was asked for is one of these.
expect_one_of() {
	local is=$1 answer
	shift
	for answer; do
		[[ $is != "$answer" ]] || return 0
	done
	fail "$WHEN: got \"$is\", expected one of:$(printf ' "%s"' "$@")"
}

# The next command works, and after it what is listed for port 80 is what is dispatched.
mends() {
	isomctl bind unrelated tcp 127.0.0.99 99 >/dev/null
	isomctl unbind unrelated tcp 127.0.0.99 99 >/dev/null
	expect_one_of "$(answers 80)" \
		"$(isomctl bindings --protocol tcp --ip 127.0.0.9 --port 80 | awk 'NR == 2 { print $1 }')"
	isomctl --json status > "$BATS_TEST_TMPDIR/status"
}

register_both() {
	isomctl register-pid "$OLD" old tcp 127.0.0.1 8080
	isomctl register-pid "$NEW" new tcp 127.0.0.1 8081
}

@test "bind, of something new" {
	register_both
	isomctl bind old tcp 127.0.0.0/8 80
	prepare() { isomctl unbind new tcp 127.0.0.9 80 2>/dev/null || true; }
	check() {
		expect_one_of "$(answers 80)" old new
		mends
	}
	kill_at_calls 1 "bpf" bind new tcp 127.0.0.9 80
}

@test "bind, of what moves to another label" {
	register_both
	prepare() { isomctl bind old tcp 127.0.0.9 80; }
	check() {
		expect_one_of "$(answers 80)" old new
		mends
	}
	kill_at_calls 1 "bpf membarrier" bind new tcp 127.0.0.9 80
}

@test "unbind" {
	register_both
	isomctl bind new tcp 127.0.0.0/8 80
	prepare() { isomctl bind old tcp 127.0.0.9 80; }
	check() {
		expect_one_of "$(answers 80)" old new
		mends
	}
	kill_at_calls 1 "bpf membarrier" unbind old tcp 127.0.0.9 80
}

@test "load-bindings" {
	local label
	register_both
	for label in old new; do
		python3 -c '
import json, sys
print(json.dumps({"bindings": [{"label": sys.argv[1], "prefix": "127.0.0.0/8", "port": 1 + i} for i in range(300)]}))
' $label > "$BATS_TEST_TMPDIR/$label.json"
	done
	prepare() { isomctl load-bindings "$BATS_TEST_TMPDIR/old.json"; }
	check() {
		expect_one_of "$(answers 1 2 80 100 200 299 300)" old new
		mends
	}
	kill_at_calls 3 "bpf mkdir chmod membarrier unlinkat rmdir" load-bindings "$BATS_TEST_TMPDIR/new.json"
}

@test "upgrade" {
	register_both
	isomctl bind old tcp 127.0.0.9 80
	prepare() { isomctl version; }
	check() {
		expect_one_of "$(answers 80)" old
		mends
	}
	kill_at_calls 3 "bpf mkdir chmod membarrier unlinkat rmdir" upgrade
}

@test "register-pid" {
	isomctl bind any tcp 127.0.0.9 80
	prepare() { isomctl register-pid "$OLD" any tcp 127.0.0.1 8080; }
	check() {
		expect_one_of "$(answers 80)" old new
		isomctl register-pid "$NEW" any tcp 127.0.0.1 8081 >/dev/null
		expect_one_of "$(answers 80)" new
	}
	kill_at_calls 1 "bpf" register-pid "$NEW" any tcp 127.0.0.1 8081
}

@test "unregister" {
	isomctl bind any tcp 127.0.0.9 80
	prepare() { isomctl register-pid "$OLD" any tcp 127.0.0.1 8080; }
	check() {
		expect_one_of "$(answers 80)" old refused
	}
	kill_at_calls 1 "bpf" unregister any ipv4 tcp
}

@test "load" {
	prepare() { isomctl unload; }
	check() {
		isomctl load >/dev/null
		isomctl bind old tcp 127.0.0.9 80 >/dev/null
		isomctl register-pid "$OLD" old tcp 127.0.0.1 8080 >/dev/null
		expect_one_of "$(answers 80)" old
	}
	kill_at_calls 3 "bpf mkdir chmod" load
}

@test "unload" {
	start_server --name wildcard tcp:0.0.0.0:80
	prepare() {
		isomctl load
		isomctl bind old tcp 127.0.0.9 80
		isomctl register-pid "$OLD" old tcp 127.0.0.1 8080
	}
	check() {
		expect_one_of "$(answers 80)" old wildcard
		isomctl unload >/dev/null
		expect_one_of "$(answers 80)" wildcard
		[[ -z $(in_ns find /sys/fs/bpf -path '*/isomer/*') ]] || fail "$WHEN: something is left"
	}
	kill_at_calls 1 "unlink unlinkat rmdir" unload
}
