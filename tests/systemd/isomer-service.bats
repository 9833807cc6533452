# shellcheck shell=bash
#
# isomer.service, and what happens to running units when it, or systemd itself, is reloaded, restarted or stopped: no unit
# is ever restarted for it, and not one packet goes astray.

load ../lib/container
load ../lib/units
load ../lib/refusing

server=/usr/lib/isomer-tests/echo-server

# What all tests here look at: a service that listens by itself, a socket-activated one, and a binding made by hand.
setup_file() {
	container_setup
	unit direct.service <<-END
		[Service]
		Type=notify
		ExecStart=$server --name direct --notify tcp:127.0.0.1:8001
		[Isomer]
		Bind=tcp 127.3.1.0/24 80
	END
	unit held.socket <<-END
		[Socket]
		ListenStream=127.0.0.1:8002
	END
	unit held.service <<-END
		[Service]
		ExecStart=$server --name held --listen-fds
		[Isomer]
		Bind=tcp 127.3.2.0/24 80
	END
	systemctl daemon-reload
	systemctl start direct held.socket
}

setup() { systemctl start isomer direct held.socket; }

# What a test added to the sections goes again.
teardown() {
	in_container rm -rf /etc/systemd/system/{direct,held}.service.d
	systemctl stop --quiet held.socket held.service direct
	systemctl reset-failed # held.service answers before its start is done, and may be stopped then
	systemctl daemon-reload
}

# While a command runs, all are asked; and after it the same processes answer.
assert_nothing_lost_by() {
	local pid
	pid=$(main_pid direct)
	isomctl bind direct tcp 127.3.3.0/24 80
	for address in 127.3.1.1 127.3.2.1 127.3.3.1; do
		start_probing tcp $address 80
		"$@"
		"$@"
		wait_until systemctl is-active isomer
		stop_probing "$([[ $address == 127.3.2.1 ]] && echo held || echo direct)"
	done
	[[ $(main_pid direct) == "$pid" ]]
}

main_pid() { systemctl show --property=MainPID --value "$1"; }

@test "systemctl daemon-reload loses nothing" {
	assert_nothing_lost_by systemctl daemon-reload
}

@test "systemctl daemon-reexec loses nothing" {
	assert_nothing_lost_by systemctl daemon-reexec
}

@test "systemctl reload isomer loses nothing" {
	assert_nothing_lost_by systemctl reload isomer
}

@test "systemctl restart isomer loses nothing" {
	assert_nothing_lost_by systemctl restart isomer
}

@test "a stop takes dispatch away, a start brings it back, to services and sockets that run on" {
	local pid
	pid=$(main_pid direct)
	systemctl stop held.service 2>/dev/null
	systemctl stop isomer
	assert_refused tcp 127.3.1.1 80
	assert_active direct held.socket
	systemctl start isomer
	assert_answer direct tcp 127.3.1.1 80
	assert_inactive held.service
	assert_answer held tcp 127.3.2.1 80
	[[ $(main_pid direct) == "$pid" ]]
}

@test "a unit that starts while isomer.service is stopped starts it" {
	systemctl stop direct
	systemctl stop isomer
	systemctl start direct
	assert_active isomer
	assert_answer direct tcp 127.3.1.1 80
}

@test "a unit that is restarted while isomer.service is stopped starts it" {
	systemctl stop isomer
	systemctl restart direct
	assert_answer direct tcp 127.3.1.1 80
	wait_until systemctl is-active isomer # it had loaded; other units may be a little later
}

@test "a unit that takes its time to stop has neither isomer.service nor other units wait" {
	listening_service slow 8031 <<<'Bind=tcp 127.3.31.0/24 80'
	unit slow.service.d/slow.conf <<<$'[Service]\nExecStop=/bin/sh -c "until [ -e /run/stop-slow ]; do sleep 0.05; done"'
	systemctl daemon-reload
	systemctl start slow
	systemctl --no-block restart slow
	wait_until is_stopping slow
	local command
	for command in 'reload isomer' 'restart isomer' 'restart direct' 'stop isomer' 'restart direct'; do
		# shellcheck disable=SC2086 # two words
		systemctl $command
		is_stopping slow
	done
	assert_answer direct tcp 127.3.1.1 80
	in_container touch /run/stop-slow
	wait_until assert_answer slow tcp 127.3.31.1 80
	systemctl stop slow
}

is_stopping() { [[ $(systemctl show --property ActiveState --value "$1") == deactivating ]]; }

@test "a unit stops as ever while isomer.service is stopped" {
	systemctl stop isomer
	systemctl stop direct held.socket held.service
	assert_inactive direct held.socket held.service
	[[ $(systemctl is-active isomer@direct.service.service) != failed ]]
}

@test "a reload applies what a running unit's section says by now" {
	local pid
	unit direct.service.d/changed.conf <<-'END'
		[Isomer]
		Label=direct-changed
		Bind=
		Bind=tcp 127.3.4.0/24 80
	END
	pid=$(main_pid direct)
	systemctl daemon-reload
	assert_answer direct tcp 127.3.1.1 80
	assert_refused tcp 127.3.4.1 80

	systemctl reload isomer
	assert_refused tcp 127.3.1.1 80
	assert_answer direct tcp 127.3.4.1 80
	[[ $(isomctl bindings --label direct-changed) == *127.3.4.0/24* ]]

	in_container rm /etc/systemd/system/direct.service.d/changed.conf
	systemctl daemon-reload
	systemctl reload isomer
	assert_answer direct tcp 127.3.1.1 80
	assert_refused tcp 127.3.4.1 80
	[[ $(main_pid direct) == "$pid" ]]
}

@test "a reload applies changed sections of socket units" {
	unit held.service.d/changed.conf <<<$'[Isomer]\nBind=tcp 127.3.5.0/24 80'
	systemctl daemon-reload
	systemctl reload isomer
	assert_inactive held.service
	assert_answer held tcp 127.3.5.1 80
	assert_answer held tcp 127.3.2.1 80

	in_container rm /etc/systemd/system/held.service.d/changed.conf
	systemctl daemon-reload
	systemctl reload isomer
	assert_refused tcp 127.3.5.1 80
	assert_answer held tcp 127.3.2.1 80
}

@test "a reload applies a changed label that a socket unit and its running service have in common" {
	assert_answer held tcp 127.3.2.1 80
	unit held.service.d/changed.conf <<<$'[Isomer]\nLabel=held-changed'
	systemctl daemon-reload
	systemctl reload isomer
	[[ $(isomctl bindings --label held-changed) == *127.3.2.0/24* ]] || fail "$(journal isomer)"
	assert_answer held tcp 127.3.2.1 80
}

@test "a section gone wrong is said at the reload, and keeps no other unit from its own" {
	unit direct.service.d/wrong.conf <<<$'[Isomer]\nBind=tcp nonsense 80'
	unit held.service.d/more.conf <<<$'[Isomer]\nBind=tcp 127.3.6.0/24 80'
	systemctl daemon-reload
	systemctl reload isomer
	assert_journal isomer /etc/systemd/system/direct.service.d/wrong.conf:2 direct.service
	assert_answer held tcp 127.3.6.1 80
	assert_answer direct tcp 127.3.1.1 80
}

@test "of two units under one label the later one keeps the traffic" {
	local name
	for name in earlier later; do
		listening_service $name $((8010 + ${#name})) <<<$'Label=shared\nBind=tcp 127.3.7.0/24 80'
	done
	systemctl start earlier
	systemctl start later
	assert_answer later tcp 127.3.7.1 80
	for command in 'reload isomer' 'restart isomer' 'stop isomer' 'start isomer'; do
		# shellcheck disable=SC2086 # two words
		systemctl $command
		[[ $command == stop* ]] || assert_answer later tcp 127.3.7.1 80
	done
}

@test "of two units that want the same under two labels, the one that got it gets it again" {
	local name
	for name in winner loser; do
		listening_service $name $((8020 + ${#name})) <<<$'Required=no\nBind=tcp 127.3.16.0/24 80'
	done
	systemctl start winner
	systemctl start loser
	assert_answer winner tcp 127.3.16.1 80
	systemctl stop isomer
	systemctl start isomer
	assert_answer winner tcp 127.3.16.1 80
	assert_journal isomer "loser.service has not all that its section asks for"
	systemctl stop winner loser
}

@test "a reload, a restart and a start bring running units in that only now got a section" {
	local command pid port=8020
	for command in 'reload isomer' 'restart isomer' 'start isomer'; do
		((++port))
		unit "new-$port.service" <<-END
			[Service]
			Type=notify
			ExecStart=$server --name new-$port --notify tcp:127.0.0.1:$port
		END
		unit "newsock-$port.socket" <<<$'[Socket]\nListenStream=127.0.0.2:'$port
		unit "newsock-$port.service" <<<$'[Service]\nExecStart='"$server --name newsock-$port --listen-fds"
		systemctl daemon-reload
		systemctl start "new-$port" "newsock-$port.socket"
		pid=$(main_pid "new-$port")
		unit "new-$port.service.d/isomer.conf" <<<$'[Isomer]\nBind=tcp 127.3.8.0/24 '$port
		unit "newsock-$port.service.d/isomer.conf" <<<$'[Isomer]\nBind=tcp 127.3.9.0/24 '$port
		systemctl daemon-reload
		[[ $command != start* ]] || systemctl stop isomer
		# shellcheck disable=SC2086 # two words
		systemctl $command
		assert_answer "new-$port" tcp 127.3.8.1 $port
		assert_answer "newsock-$port" tcp 127.3.9.1 $port
		[[ $(main_pid "new-$port") == "$pid" ]]
		wait_until systemctl --quiet is-active "isomer@new-$port.service.service"
		systemctl stop "newsock-$port.socket" "newsock-$port.service" "new-$port"
		assert_refused tcp 127.3.8.1 $port
		assert_refused tcp 127.3.9.1 $port
	done
}

@test "a reload loads the dispatcher where somebody has unloaded it" {
	run -0 --separate-stderr isomctl unload
	# shellcheck disable=SC2154 # run sets it
	[[ $output == "unloaded the dispatcher" && $stderr == *'isomer.service is active'*'systemctl reload isomer'* ]] || fail "$output" "$stderr"
	assert_refused tcp 127.3.1.1 80
	systemctl reload isomer
	assert_answer direct tcp 127.3.1.1 80
}

# In place of the ledger comes one that begins with another ABI's number.
@test "a reload replaces the dispatcher of another ABI, and says what that costs" {
	local ledger
	isomctl bind by-hand tcp 127.3.10.0/24 80
	ledger=$(in_container find /sys/fs/bpf/isomer -name ledger)
	in_container rm "$ledger"
	in_container bpftool map create "$ledger" type array key 4 value 8 entries 1 name ledger
	in_container bpftool map update pinned "$ledger" key 0 0 0 0 value 99 0 0 0 0 0 0 0
	systemctl reload isomer
	assert_journal isomer 'bound by hand is gone'
	assert_answer direct tcp 127.3.1.1 80
	[[ $(isomctl bindings) != *by-hand* ]]
}
