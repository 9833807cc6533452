# shellcheck shell=bash disable=SC2317 # much is called by its name alone
#
# For tests of a program where the kernel refuses: one of its system calls fails, or that one and all of its kind from then on.
# With ERRORS_PER_CALL=1 one of the errors that a call can have, picked at random, stands for all of them: with
# WALK_SECONDS=all, each call is seen to fail in a seventh of the time.
#
# `load ../lib/failing`, beside walking.bash. A file that does says
#
#   PROGRAM                  whose calls fail
#   in_place COMMAND...      runs a command where the program is to be run
#   RUNNER                   if anything, the words that start the program
#   drop_traffic             if there are clients, to forget what they were answered so far: states.bash, loaded after this

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
RUNNER=()
drop_traffic() { :; }

# The address sanitizer doesn't live on where it can't map memory.
! grep -q __asan_init "$BUILD/isomctl" || unset 'ERRORS[mmap]'

need_strace() { command -v strace >/dev/null || skip "needs strace"; }

# traced EXPRESSION... -- ARGUMENT...: the program under strace; what it said is in $BATS_TEST_TMPDIR/said. The leak sanitizer
# would trace it as well, which only one may.
traced() {
	local expressions=()
	while [[ $1 != -- ]]; do
		expressions+=(-e "$1")
		shift
	done
	in_place timeout --kill-after=1 $((${TEST_TIMEOUT:-180} / 3)) strace -qq -E ASAN_OPTIONS=detect_leaks=0 -o /proc/self/fd/9 "${expressions[@]}" "${RUNNER[@]}" "$PROGRAM" "${@:2}" \
		> "$BATS_TEST_TMPDIR/output" 2> "$BATS_TEST_TMPDIR/said" 9> "$BATS_TEST_TMPDIR/trace"
}

# list_failures ARGUMENT...: sets FAILURES to all that can go wrong with it, from the first call on that can have an effect:
# "CALL:error=ERROR:when=NUMBER".
list_failures() {
	local call error begun calls of_call
	local -A numbers=()
	calls=$(printf ',?%s' "${!ERRORS[@]}")
	traced "trace=${calls:1}" -- "$@"
	FAILURES=()
	while IFS='(' read -r call _; do
		[[ ${ERRORS[$call]:-} ]] || continue
		numbers[$call]=$((${numbers[$call]:-0} + 1))
		[[ ! $call =~ ^(flock|mkdir|mkdirat|bpf)$ ]] || begun=yes
		[[ ${begun:-} ]] || continue
		of_call=()
		for error in ${ERRORS[$call]}; do
			of_call+=("$call:error=$error:when=${numbers[$call]}")
			# Who is interrupted without end waits without end.
			[[ $error == EINTR ]] || of_call+=("$call:error=$error:when=${numbers[$call]}+")
		done
		if [[ ${ERRORS_PER_CALL:-} == 1 ]]; then
			FAILURES+=("${of_call[RANDOM % ${#of_call[@]}]}")
		else
			FAILURES+=("${of_call[@]}")
		fi
	done < "$BATS_TEST_TMPDIR/trace"
}

# It said what couldn't be done, and that the error was why. Only libbpf, which loads the program, may have gone on without
# what the call was for, to fail in another way; where it was to find out whether the kernel maps memory, at what can't be
# mapped then.
expect_reason() {
	local error=${1#*error=} name=${PROGRAM##*/} said
	error=${WORDS[${error%%:*}]}
	said=$(grep "^$name: " "$BATS_TEST_TMPDIR/said" || true)
	[[ $said == *"$name: cannot "*"$error"* || $said == *"$name: cannot load the dispatcher: "* ||
		$said == *"$name: cannot read the dispatcher's gate: Invalid argument"* ]] ||
		fail "$WHEN: said nothing of \"$error\":" "$(head -c 1000 "$BATS_TEST_TMPDIR/said")"
}

# fail_everywhere ARGUMENT...: lets each call of the program fail. A test has functions `prepare`, called before each attempt,
# and `check OUTCOME`, called after it: succeeded, or failed.
fail_everywhere() {
	local arguments=("$@")
	fail_once() {
		local failure=${FAILURES[$1 - 1]} status=0
		prepare >/dev/null
		WHEN="${arguments[*]} with $failure"
		drop_traffic
		traced "trace=${failure%%:*}" "inject=$failure" -- "${arguments[@]}" || status=$?
		case $status in
		0) check succeeded ;;
		1)
			expect_reason "$failure"
			check failed
			in_place "${RUNNER[@]}" "$PROGRAM" "${arguments[@]}" >/dev/null || fail "$WHEN: failed again"
			check succeeded
			;;
		*)
			fail "$WHEN: exit code $status:" "$(head -c 1000 "$BATS_TEST_TMPDIR/said")" \
				"The last of its calls:" "$(tail -n 5 "$BATS_TEST_TMPDIR/trace")"
			;;
		esac
	}
	prepare >/dev/null
	list_failures "${arguments[@]}"
	((${#FAILURES[@]} >= ${ERRORS_PER_CALL:-50}))
	walk ${#FAILURES[@]} fail_once
}
