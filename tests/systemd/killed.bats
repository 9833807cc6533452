# shellcheck shell=bash disable=SC2317 # much is called by its name alone
#
# isomer-helper killed in the middle, as it enters whichever of its system calls, while clients ask: packets follow the old
# state or the new one, those for another unit are never refused, and the next command of the same kind makes whole what it
# finds. The commands are run by hand, for a unit that is active. tests/lib/walking.bash tells of WALK_SECONDS, which lets all
# calls have their turn.
load ../lib/container
load ../lib/units
load ../lib/by-hand

# kill_everywhere COMMAND...: lets it be killed at its calls. A test has functions `prepare`, called before each attempt, and
# `check`, called after it, which in the end makes whole what is left.
kill_everywhere() {
	local command=("$@") calls
	kill_once() {
		local status=0
		prepare
		WHEN="${command[*]} killed at $1"
		in_container kill-at "$1" "$HELPER" "${command[@]}" &>/dev/null || status=$?
		((status == 137 || status == 0)) || fail "$WHEN: exit code $status"
		check
		expect_whole
	}
	prepare
	calls=$(in_container kill-at 0 "$HELPER" "${command[@]}")
	((calls >= 30))
	check
	walk "$calls" kill_once
}

@test "bind, of what a section has more" {
	start_probing tcp 127.5.2.1 80
	prepare() { write_more 'Bind=tcp 127.5.3.0/24 80'; }
	check() {
		expect_answer 127.5.3.1 victim refused
		write_more
		helper bind victim.service
	}
	kill_everywhere bind victim.service
	stop_probing victim
}

@test "unbind" {
	start_probing tcp 127.5.1.1 80
	prepare() { :; }
	check() {
		expect_answer 127.5.2.1 victim refused
		helper bind victim.service
	}
	kill_everywhere unbind victim.service
	stop_probing steady
}

@test "register" {
	start_probing tcp 127.5.1.1 80
	prepare() { helper unregister victim.service; }
	check() {
		expect_answer 127.5.2.1 victim refused
		helper register victim.service
	}
	kill_everywhere register victim.service
	stop_probing steady
}

@test "unregister" {
	start_probing tcp 127.5.1.1 80
	prepare() { :; }
	check() {
		expect_answer 127.5.2.1 victim refused
		helper register victim.service
	}
	kill_everywhere unregister victim.service
	stop_probing steady
}

@test "start, of what is loaded" {
	start_probing tcp 127.5.2.1 80
	prepare() { :; }
	check() {
		expect_answer 127.5.2.1 victim
		isomctl bind unrelated tcp 127.5.4.1 80 >/dev/null
		isomctl unbind unrelated tcp 127.5.4.1 80 >/dev/null
	}
	kill_everywhere start
	stop_probing victim
}

@test "start, of what isn't loaded" {
	prepare() { helper stop; }
	check() { helper start; }
	kill_everywhere start
}

# As an unbind leaves them that is killed at the unit's stop.
@test "bindings that have outlived their unit go with the next reload of isomer.service" {
	systemctl stop victim
	wait_until assert_inactive isomer@victim.service.service
	helper bind victim.service
	assert_refused tcp 127.5.2.1 80
	[[ $(isomctl bindings) == *victim.service* ]]
	systemctl reload isomer
	[[ $(isomctl bindings) == *steady.service* ]]
	[[ $(isomctl bindings) != *victim.service* ]]
	systemctl start victim
	expect_whole
}

@test "stop" {
	prepare() { :; }
	check() {
		expect_answer 127.5.2.1 victim refused
		helper start
	}
	kill_everywhere stop
}

# In the place of the helper, what kills it at a call of the victim's registration, if /run/kill-at names one.
replace_helper() {
	in_container sh -ec "mv $HELPER $HELPER.real
		cat >$HELPER
		chmod 755 $HELPER" <<-END
		#!/bin/sh
		[ "\$1 \$2" != "register victim.service" ] || [ ! -e /run/kill-at ] ||
			exec kill-at "\$(cat /run/kill-at)" $HELPER.real "\$@"
		exec $HELPER.real "\$@"
	END
}

@test "register, by systemd at the unit's start: it fails, and leaves nothing to the next start" {
	local calls failed=0
	systemctl start victim
	calls=$(in_container kill-at 0 "$HELPER" register victim.service)
	replace_helper
	start_probing tcp 127.5.1.1 80
	kill_once() {
		WHEN="a start's registration killed at $1"
		systemctl stop victim
		in_container sh -c "echo $1 >/run/kill-at"
		if systemctl start victim 2>/dev/null; then
			expect_answer 127.5.2.1 victim # it made fewer calls this time
		else
			((++failed))
			wait_until assert_inactive isomer@victim.service.service
			expect_answer 127.5.2.1 refused
			[[ $(isomctl bindings) != *victim* ]] || fail "$WHEN: still bound:" "$(isomctl bindings)"
		fi
		in_container rm /run/kill-at
		systemctl start victim
		expect_whole
	}
	walk "$calls" kill_once
	stop_probing steady
	((failed > 0))
	in_container mv "$HELPER.real" "$HELPER"
}
