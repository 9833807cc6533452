# shellcheck shell=bash disable=SC2317,SC2153,SC2034 # much is called by its name alone, or read by lib/failing
#
# isomctl where the kernel refuses, while clients ask: the command succeeds or says with exit status 1 what it tried and why it
# couldn't; packets follow the old state or the new one, as listed; and then the same command succeeds. tests/lib/failing.bash
# tells what fails, tests/lib/walking.bash of WALK_SECONDS and SEED.
load ../lib/netns
load ../lib/failing
load ../lib/states

setup() {
	need_strace
	states_setup
}

in_place() { in_ns "$@"; }
PROGRAM=$BUILD/isomctl

# expect_old_or_new OUTCOME: of the clients' answers and of the answer now; the new one alone, if the command succeeded.
expect_old_or_new() {
	expect_traffic old new
	case $1 in
	succeeded) expect_one_of "$(answers 80)" new ;;
	failed) expect_one_of "$(answers 80)" old new ;;
	esac
}

# between_two_states COMMAND...: what is bound to port 80 of 127.0.0.9 goes from old to new.
between_two_states() {
	prepare >/dev/null
	start_traffic
	check() {
		expect_old_or_new "$1"
		expect_listed
		[[ $1 == failed ]] || expect_mended new
	}
	fail_everywhere "$@"
}

@test "bind" {
	bind_that_moves
	between_two_states "${COMMAND[@]}"
}

@test "bind, of a range that cuts the ports anew" {
	bind_of_a_range_that_cuts
	between_two_states "${COMMAND[@]}"
}

@test "bind, of a range that is bound already" {
	register_both
	isomctl bind new tcp 127.0.0.0/8 50-100
	prepare() { :; }
	between_two_states bind new tcp 127.0.0.0/8 50-100
	[[ $(isomctl unbind new tcp 127.0.0.0/8 50-100) ]]
	assert_answer wildcard tcp 127.0.0.9 80
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
	between_two_states "${COMMAND[@]}"
}

@test "upgrade" {
	register_both
	isomctl bind new tcp 127.0.0.9 80
	prepare() { :; }
	between_two_states upgrade
}

# A label that has a socket and no binding is one that a careless look would take for idle.
@test "register-pid" {
	isomctl register-pid "$NEW" lonely tcp 127.0.0.1 8081
	prepare() {
		isomctl bind any tcp 127.0.0.9 80
		isomctl register-pid "$OLD" any tcp 127.0.0.1 8080
	}
	prepare >/dev/null
	start_traffic
	check() {
		expect_old_or_new "$1"
		isomctl bind lonely tcp 127.0.0.9 81 >/dev/null
		expect_one_of "$(answers 81)" new
		isomctl unbind lonely tcp 127.0.0.9 81 >/dev/null
		expect_tidy
	}
	fail_everywhere register-pid "$NEW" any tcp 127.0.0.1 8081
}

@test "register" {
	register_of_a_passed_socket
	prepare >/dev/null
	start_traffic
	check() {
		expect_traffic old silent refused
		case $1 in
		succeeded) expect_one_of "$(answers 80)" refused ;;
		failed) expect_one_of "$(answers 80)" old refused ;;
		esac
		expect_tidy
	}
	fail_everywhere "${COMMAND[@]}"
}

@test "unregister" {
	unregister_of_a_label
	prepare >/dev/null
	start_traffic
	check() {
		expect_traffic old refused
		case $1 in
		succeeded) expect_one_of "$(answers 80)" refused ;;
		failed) expect_one_of "$(answers 80)" old ;;
		esac
		expect_tidy
	}
	fail_everywhere "${COMMAND[@]}"
}

@test "load" {
	prepare() { isomctl unload; }
	check() {
		expect_one_of "$(answers 80)" wildcard
		[[ $1 == succeeded ]] || return 0
		expect_tidy
		isomctl bind old tcp 127.0.0.9 80 >/dev/null
		assert_refused tcp 127.0.0.9 80
	}
	fail_everywhere load
}

@test "unload" {
	unload_of_all
	check() {
		case $1 in
		succeeded)
			expect_one_of "$(answers 80)" wildcard
			[[ -z $(in_ns find /sys/fs/bpf -path '*/isomer/*') ]] || fail "$WHEN: something is left"
			;;
		failed) expect_one_of "$(answers 80)" old wildcard ;;
		esac
	}
	fail_everywhere "${COMMAND[@]}"
}
