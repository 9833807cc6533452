# shellcheck shell=bash disable=SC2317,SC2153 # much is called by its name alone
#
# isomctl where the kernel refuses: one of its system calls fails, or that one and all of its kind from then on, while clients
# ask. The command succeeds or says with exit status 1 what it tried and why it couldn't; packets follow the old state or the
# new one, as listed; and then the same command succeeds. tests/lib/walking.bash tells of WALK_SECONDS and SEED.
load ../lib/netns
load ../lib/states

setup() {
	command -v strace >/dev/null || skip "needs strace"
	states_setup
}

declare -gA ERRORS=(
	[bpf]="ENOMEM EPERM E2BIG ENOSPC EINTR" [openat]="EMFILE ENOMEM" [flock]="EINTR EIO" [mmap]=ENOMEM
	[fcntl]=EMFILE [mkdir]="ENOSPC EPERM" [mkdirat]="ENOSPC EPERM" [chmod]=EPERM [fchmodat]=EPERM [membarrier]=EPERM
	[unlink]=EPERM [unlinkat]=EPERM [rmdir]=EBUSY
)
declare -gA WORDS=(
	[ENOMEM]="Cannot allocate memory" [EPERM]="Operation not permitted" [E2BIG]="Argument list too long"
	[ENOSPC]="No space left on device" [EINTR]="Interrupted system call" [EMFILE]="Too many open files"
	[EIO]="Input/output error" [EBUSY]="Device or resource busy"
)

# traced EXPRESSION... -- COMMAND...: isomctl COMMAND under strace; what it said is in $BATS_TEST_TMPDIR/said.
traced() {
	local expressions=()
	while [[ $1 != -- ]]; do
		expressions+=(-e "$1")
		shift
	done
	in_ns timeout --kill-after=1 60 strace -qq -o "$BATS_TEST_TMPDIR/trace" "${expressions[@]}" "$BUILD/isomctl" "${@:2}" \
		> "$BATS_TEST_TMPDIR/output" 2> "$BATS_TEST_TMPDIR/said"
}

# list_failures COMMAND...: sets FAILURES to all that can go wrong with it, from the first call on that can have an effect:
# "CALL:error=ERROR:when=NUMBER".
list_failures() {
	local call error begun calls
	local -A numbers=()
	calls=$(printf ',?%s' "${!ERRORS[@]}")
	traced "trace=${calls:1}" -- "$@"
	FAILURES=()
	while IFS='(' read -r call _; do
		[[ ${ERRORS[$call]:-} ]] || continue
		numbers[$call]=$((${numbers[$call]:-0} + 1))
		[[ ! $call =~ ^(flock|mkdir|mkdirat|bpf)$ ]] || begun=yes
		[[ ${begun:-} ]] || continue
		for error in ${ERRORS[$call]}; do
			FAILURES+=("$call:error=$error:when=${numbers[$call]}")
			# Who is interrupted without end waits without end.
			[[ $error == EINTR ]] || FAILURES+=("$call:error=$error:when=${numbers[$call]}+")
		done
	done < "$BATS_TEST_TMPDIR/trace"
}

# It said what couldn't be done, and that the error was why. Only libbpf, which loads the program, may have gone on without
# what the call was for, to fail in another way.
expect_reason() {
	local error=${1#*error=} said
	error=${WORDS[${error%%:*}]}
	said=$(grep '^isomctl: ' "$BATS_TEST_TMPDIR/said")
	[[ $said == *"isomctl: cannot "*"$error"* || $said == *"isomctl: cannot load the dispatcher: "* ]] ||
		fail "$WHEN: said nothing of \"$error\":" "$(head -c 1000 "$BATS_TEST_TMPDIR/said")"
}

# fail_everywhere COMMAND...: lets each call of isomctl COMMAND fail. A test has functions `prepare`, called before each
# attempt, and `check OUTCOME`, called after it: succeeded, or failed.
fail_everywhere() {
	local command=("$@")
	fail_once() {
		local failure=${FAILURES[$1 - 1]} status=0
		prepare >/dev/null
		WHEN="${command[*]} with $failure"
		drop_traffic
		traced "trace=${failure%%:*}" "inject=$failure" -- "${command[@]}" || status=$?
		case $status in
		0) check succeeded ;;
		1)
			expect_reason "$failure"
			check failed
			isomctl "${command[@]}" >/dev/null || fail "$WHEN: failed again"
			check succeeded
			;;
		*) fail "$WHEN: exit code $status:" "$(head -c 1000 "$BATS_TEST_TMPDIR/said")" ;;
		esac
	}
	prepare >/dev/null
	list_failures "${command[@]}"
	((${#FAILURES[@]} >= 50))
	walk ${#FAILURES[@]} fail_once
}

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

@test "unbind, of a range" {
	unbind_of_a_range
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
