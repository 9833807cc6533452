# shellcheck shell=bash disable=SC2317,SC2153 # much is called by its name alone
#
# isomctl killed in the middle, as it enters whichever of its system calls, while clients ask: packets follow the old state or the
# new one, get to no third server's socket and, where both states have an answer, are not refused; and the next command works
# and mends. tests/lib/walking.bash tells of WALK_SECONDS, which lets all calls have their turn.
load ../lib/netns
load ../lib/states

setup() { states_setup; }

RUNNER=() # what, if anything, starts the command

kill_at() { in_ns "$BUILD/tests/kill-at" "$1" "${RUNNER[@]}" "$BUILD/isomctl" "${@:2}"; }

# kill_everywhere COMMAND...: does so with isomctl COMMAND. A test has a function `prepare`, called before each attempt,
# and a function `check`, called after each kill.
kill_everywhere() {
	local command=("$@") calls
	kill_once() {
		local status=0
		prepare >/dev/null
		WHEN="${command[*]} killed at $1"
		drop_traffic
		kill_at "$1" "${command[@]}" >/dev/null || status=$?
		# A call less than the first time, now and then: then it got through.
		((status == 137 || status == 0)) || fail "$WHEN: exit code $status"
		check
	}
	prepare >/dev/null
	calls=$(kill_at 0 "${command[@]}")
	((calls >= 30))
	walk "$calls" kill_once
}

# between_two_states COMMAND...: what is bound to port 80 of 127.0.0.9 goes from old to new, or the other way round.
between_two_states() {
	prepare >/dev/null
	start_traffic
	check() {
		expect_one_of "$(answers 80)" old new
		expect_mended old new
		expect_traffic old new
	}
	kill_everywhere "$@"
}

@test "bind, of something new" {
	register_both
	isomctl bind old tcp 127.0.0.0/8 80
	prepare() { isomctl unbind new tcp 127.0.0.9 80 2>/dev/null || true; }
	between_two_states bind new tcp 127.0.0.9 80
}

@test "bind, of what moves to another label" {
	bind_that_moves
	between_two_states "${COMMAND[@]}"
}

@test "bind, of a range that cuts the ports anew" {
	bind_of_a_range_that_cuts
	between_two_states "${COMMAND[@]}"
}

@test "unbind" {
	register_both
	isomctl bind new tcp 127.0.0.0/8 80
	prepare() { isomctl bind old tcp 127.0.0.9 80; }
	between_two_states unbind old tcp 127.0.0.9 80
}

@test "bind, of a range that the table has no place for" {
	bind_of_a_range_into_a_full_table
	between_two_states "${COMMAND[@]}"
}

@test "unbind, of a range" {
	unbind_of_a_range
	between_two_states "${COMMAND[@]}"
}

@test "unbind, of the only range" {
	unbind_of_the_only_range
	between_two_states "${COMMAND[@]}"
}

@test "load-bindings" {
	load_of_other_bindings
	prepare >/dev/null
	start_traffic
	check() {
		expect_one_of "$(answers 1 2 80 100 200 299 300)" old new
		expect_mended old new
		expect_traffic old new
	}
	kill_everywhere "${COMMAND[@]}"
}

@test "upgrade" {
	register_both
	isomctl bind old tcp 127.0.0.9 80
	start_traffic
	prepare() { :; }
	check() {
		expect_mended old
		expect_traffic old
	}
	kill_everywhere upgrade
}

@test "register-pid" {
	isomctl bind any tcp 127.0.0.9 80
	prepare() { isomctl register-pid "$OLD" any tcp 127.0.0.1 8080; }
	prepare >/dev/null
	start_traffic
	check() {
		expect_one_of "$(answers 80)" old new
		isomctl register-pid "$NEW" any tcp 127.0.0.1 8081 >/dev/null
		expect_one_of "$(answers 80)" new
		expect_traffic old new
		expect_tidy
	}
	kill_everywhere register-pid "$NEW" any tcp 127.0.0.1 8081
}

@test "register" {
	register_of_a_passed_socket
	prepare >/dev/null
	start_traffic
	check() {
		expect_one_of "$(answers 80)" old refused
		expect_traffic old silent refused
		prepare >/dev/null
		expect_one_of "$(answers 80)" old
		expect_tidy
	}
	kill_everywhere "${COMMAND[@]}"
}

@test "unregister" {
	unregister_of_a_label
	prepare >/dev/null
	start_traffic
	check() {
		expect_one_of "$(answers 80)" old refused
		expect_traffic old refused
		isomctl bind any tcp 127.0.0.9 80 >/dev/null
		expect_tidy
	}
	kill_everywhere "${COMMAND[@]}"
}

@test "load" {
	prepare() { isomctl unload; }
	check() {
		expect_one_of "$(answers 80)" wildcard
		isomctl load >/dev/null
		expect_tidy
		isomctl bind old tcp 127.0.0.9 80 >/dev/null
		isomctl register-pid "$OLD" old tcp 127.0.0.1 8080 >/dev/null
		expect_one_of "$(answers 80)" old
	}
	kill_everywhere load
}

@test "unload" {
	unload_of_all
	prepare >/dev/null
	start_traffic
	check() {
		expect_one_of "$(answers 80)" old wildcard
		isomctl unload >/dev/null
		expect_one_of "$(answers 80)" wildcard
		# Also while it is loaded again, and has no binding yet, or no socket.
		expect_traffic old wildcard refused
		[[ -z $(in_ns find /sys/fs/bpf -path '*/isomer/*') ]] || fail "$WHEN: something is left"
	}
	kill_everywhere "${COMMAND[@]}"
}
