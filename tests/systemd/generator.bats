# shellcheck shell=bash
#
# What a daemon-reload makes of unit files: the hooks of units with a section, whatever else is in their files, and nothing
# for all others.

load ../lib/container
load ../lib/units
bats_require_minimum_version 1.5.0

server=/usr/lib/isomer-tests/echo-server

# hooks UNIT: the commands of Isomer's that systemd has for it, a line each.
hooks() {
	systemctl show --property=ExecStartPre,ExecStartPost,ExecReload,ExecStopPre,ExecStopPost "$1" |
		sed -n 's|^\(Exec[A-Za-z]*\)={.* argv\[\]=[^ ]*isomer-helper \([a-z]*\) .*|\1 \2|p' | sort
}

assert_hooks() {
	local unit=$1 expected=$2 got
	got=$(hooks "$unit" | paste -sd,)
	[[ $got == "$expected" ]] || fail "expected hooks of $unit: $expected" "got: $got"
}

service_hooks='ExecStartPost register,ExecStopPost unregister'

# service NAME PORT [LINE...]: that listens there, without a section.
service() {
	local name=$1 port=$2
	shift 2
	printf '%s\n' '[Service]' Type=notify "ExecStart=$server --name $name --notify tcp:127.0.0.1:$port" "$@" |
		unit "$name.service"
}

@test "a section added and removed" {
	service changing 8001
	systemctl daemon-reload
	assert_hooks changing ''
	unit changing.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 127.6.1.0/24 80'
	systemctl daemon-reload
	assert_hooks changing "$service_hooks"
	[[ $(systemctl show --property=Wants,After changing) == *isomer@changing.service.service*isomer@changing.service.service* ]]
	systemctl start changing
	assert_answer changing tcp 127.6.1.1 80

	in_container rm /etc/systemd/system/changing.service.d/isomer.conf
	systemctl daemon-reload
	assert_hooks changing ''
	systemctl restart changing
	wait_until assert_refused tcp 127.6.1.1 80
}

@test "a unit without a section is untouched" {
	service plain 8002
	unit plain.socket <<<$'[Socket]\nListenStream=127.0.0.1:8003'
	systemctl daemon-reload
	assert_hooks plain.service ''
	assert_hooks plain.socket ''
	[[ -z $(systemctl show --property=DropInPaths --value plain.service) ]]
	[[ $(systemctl show --property=Wants plain.service plain.socket) != *isomer* ]]
}

@test "sockets are registered after a reload only where there is a reload" {
	service reloading 8004 ExecReload=/bin/true '[Isomer]' 'Bind=tcp 127.6.4.0/24 80'
	service unreloading 8005 '[Isomer]' 'Bind=tcp 127.6.5.0/24 80'
	systemctl daemon-reload
	assert_hooks reloading "ExecReload register,$service_hooks"
	assert_hooks unreloading "$service_hooks"
	systemctl start reloading unreloading
	systemctl reload reloading
	run ! systemctl reload unreloading
	assert_active reloading unreloading
}

@test "a socket unit, and one whose service has the section" {
	unit own.socket <<<$'[Socket]\nListenStream=127.0.0.1:8006\n[Isomer]\nBind=tcp 127.6.6.0/24 80'
	service own 8007
	unit inherits.socket <<<$'[Socket]\nListenStream=127.0.0.1:8008'
	service inherits 8009 '[Isomer]' 'Bind=tcp 127.6.8.0/24 80'
	unit elsewhere.socket <<<$'[Socket]\nListenStream=127.0.0.1:8010\nService=inherits.service'
	systemctl daemon-reload
	assert_hooks own.service ''
	for socket in own inherits elsewhere; do
		assert_hooks $socket.socket 'ExecStartPost register,ExecStopPre unregister'
	done
}

@test "a template and one of its instances" {
	service many@ 8011 '[Isomer]' 'Bind=tcp 127.6.11.0/24 80'
	service few@ 8012
	unit few@chosen.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 127.6.12.0/24 80'
	systemctl daemon-reload
	assert_hooks many@a "$service_hooks"
	assert_hooks few@chosen "$service_hooks"
	assert_hooks few@other ''
}

@test "an alias" {
	service real 8013 '[Isomer]' 'Bind=tcp 127.6.13.0/24 80'
	in_container ln -s real.service /etc/systemd/system/alias.service
	systemctl daemon-reload
	assert_hooks real "$service_hooks"
	systemctl start alias
	assert_answer real tcp 127.6.13.1 80
	[[ $(isomctl bindings) == *real.service* ]]
}

@test "drop-ins of the user that empty the lists, whatever their names" {
	local name
	service emptied 8014 '[Isomer]' 'Bind=tcp 127.6.14.0/24 80'
	for name in 10-early override zz-last; do
		unit emptied.service.d/$name.conf <<-END
			[Service]
			ExecStartPre=
			ExecStartPre=/bin/true
			ExecStartPost=
			ExecStopPost=
		END
		systemctl daemon-reload
		assert_hooks emptied "$service_hooks"
	done
	systemctl start emptied
	assert_answer emptied tcp 127.6.14.1 80
}

@test "a drop-in of the user that has the name of ours" {
	service crowded 8015
	unit crowded.service.d/50-isomer.conf <<<$'[Isomer]\nBind=tcp 127.6.15.0/24 80'
	systemctl daemon-reload
	assert_hooks crowded "$service_hooks"
	systemctl start crowded
	assert_answer crowded tcp 127.6.15.1 80
}

@test "a masked unit stays masked" {
	unit masked.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 127.6.16.0/24 80'
	in_container ln -s /dev/null /etc/systemd/system/masked.service
	systemctl daemon-reload
	[[ $(systemctl is-enabled masked) == masked* ]]
	run ! systemctl start masked
}

@test "a file that can't be read is skipped with a warning, and the others are served" {
	in_container ln -s loop.service /etc/systemd/system/loop.service
	in_container mkdir /etc/systemd/system/directory.service
	unit binary.service < <(head -c 4096 /bin/true)
	service fine 8017 '[Isomer]' 'Bind=tcp 127.6.17.0/24 80'
	systemctl daemon-reload
	assert_hooks fine "$service_hooks"
}

@test "what the generator passes over is in the journal" {
	unit service.d/all.conf <<<$'[Isomer]\nBind=tcp 127.6.9.0/24 80'
	systemctl daemon-reload
	wait_until is_in_journal
	in_container rm /etc/systemd/system/service.d/all.conf
	systemctl daemon-reload
}

is_in_journal() {
	in_container journalctl --identifier isomer-generator --priority warning |
		grep -F "/etc/systemd/system/service.d/all.conf: the section is skipped: it would apply to Isomer's own units too"
}
