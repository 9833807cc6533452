# shellcheck shell=bash disable=SC2317,SC2034 # much is called by its name alone, or read by lib/failing
#
# isomer-helper where the kernel refuses, while clients ask: the command succeeds or says with exit status 1 what it tried and
# why it couldn't; packets follow the old state or the new one, those for another unit are never refused; and then the same
# command succeeds. tests/lib/failing.bash tells what fails, tests/lib/walking.bash of WALK_SECONDS and SEED.
load ../lib/container
load ../lib/units
load ../lib/by-hand
load ../lib/failing

setup() {
	need_strace
	set_seed
}

in_place() { in_container "$@"; }
PROGRAM=$HELPER

# expect_outcome OUTCOME OLD NEW: of what a client of the victim gets, refused or the victim's answer.
expect_outcome() {
	case $1 in
	succeeded) expect_answer 127.5.2.1 "$3" ;;
	failed) expect_answer 127.5.2.1 "$2" "$3" ;;
	esac
}

@test "bind, of what a section has more" {
	start_probing tcp 127.5.2.1 80
	prepare() {
		write_more
		helper bind victim.service
		write_more 'Bind=tcp 127.5.3.0/24 80'
	}
	check() {
		case $1 in
		succeeded) expect_answer 127.5.3.1 victim ;;
		failed) expect_answer 127.5.3.1 refused victim ;;
		esac
	}
	fail_everywhere bind victim.service
	stop_probing victim
	write_more
	helper bind victim.service
	expect_whole
}

@test "unbind" {
	start_probing tcp 127.5.1.1 80
	prepare() {
		helper bind victim.service
		expect_whole
	}
	check() { expect_outcome "$1" victim refused; }
	fail_everywhere unbind victim.service
	stop_probing steady
	prepare
}

@test "register" {
	start_probing tcp 127.5.1.1 80
	prepare() { helper unregister victim.service; }
	check() {
		expect_outcome "$1" refused victim
		[[ $1 == failed ]] || expect_whole
	}
	fail_everywhere register victim.service
	stop_probing steady
}

@test "unregister" {
	start_probing tcp 127.5.1.1 80
	prepare() {
		helper register victim.service
		expect_whole
	}
	check() { expect_outcome "$1" victim refused; }
	fail_everywhere unregister victim.service
	stop_probing steady
	prepare
}

@test "start, of what is loaded" {
	start_probing tcp 127.5.2.1 80
	prepare() { :; }
	check() {
		# What is left of the last dispatcher is told, and the next command's to remove.
		! grep -q 'cannot remove' "$BATS_TEST_TMPDIR/said" || helper reload
		expect_whole
	}
	fail_everywhere start
	stop_probing victim
}

@test "start, of what isn't loaded" {
	prepare() { helper stop; }
	check() {
		# A unit that can't be restored is told, and no reason for isomer.service to fail.
		if [[ $1 == succeeded ]] && grep -q 'cannot' "$BATS_TEST_TMPDIR/said"; then
			expect_outcome failed refused victim
			helper reload
		fi
		expect_outcome "$1" refused victim
		[[ $1 == failed ]] || expect_whole
	}
	fail_everywhere start
}

@test "stop" {
	prepare() {
		helper start
		expect_whole
	}
	check() {
		expect_outcome "$1" victim refused
		[[ $1 == failed || -z $(in_container find /sys/fs/bpf -path '*/isomer/*') ]] || fail "$WHEN: something is left"
	}
	fail_everywhere stop
	prepare
}
