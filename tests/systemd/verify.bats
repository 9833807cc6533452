# shellcheck shell=bash
#
# isomctl verify where systemd runs: the real unit path, and what the processes of running services have open.
load ../lib/container
load ../lib/units
bats_require_minimum_version 1.5.0

server=/usr/lib/isomer-tests/echo-server

@test "verify finds the sections on systemd's unit path, and looks into running services" {
	unit web.service <<-END
		[Service]
		Type=notify
		ExecStart=$server --name web --notify tcp:127.0.0.1:8080 udp:127.0.0.1:5353
		[Isomer]
		Bind=tcp 127.7.0.0/24 80
		Socket=tcp 127.0.0.1 8080
	END
	systemctl daemon-reload
	systemctl start web
	run isomctl verify
	# shellcheck disable=SC2154 # run sets them
	[[ $status == 0 && $output == '1 unit checked: 0 errors, 0 warnings' ]] || fail "$output"
	unit web.service.d/more.conf <<<$'[Isomer]\nSocket=udp 127.0.0.1 5353\nSocket=more tcp 127.0.0.1 8081'
	run isomctl verify web
	[[ $status == 1 ]] || fail "$output" || return
	[[ $output == '/etc/systemd/system/web.service.d/more.conf:3:1: error: Socket=tcp 127.0.0.1 8081: web.service runs, and has no such socket'$'\n'* ]] ||
		fail "$output"
	# What a generator made is a unit, too.
	in_container mkdir -p /run/systemd/generator.late
	unit made.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 127.7.0.1 80'
	run isomctl verify made
	[[ $output == 'made.service: warning: there is no made.service'* ]] || fail "$output" || return
	in_container touch /run/systemd/generator.late/made.service
	run isomctl verify made
	[[ $status == 0 && $output == '1 unit checked: 0 errors, 0 warnings' ]] || fail "$output" || return
	# A service that doesn't run can't be looked into.
	systemctl stop web
	isomctl verify web
}

@test "a start goes as verify says: a section in service.d is nobody's, and two sockets for one label are too many" {
	listening_service lone 8082 <<<'Bind=tcp 127.7.1.0/24 80'
	unit service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 127.7.2.0/24 80\nBind=x'
	systemctl daemon-reload
	systemctl start lone
	assert_unbound 127.7.2.0
	run isomctl verify lone
	[[ $status == 1 && $output == '/etc/systemd/system/service.d/isomer.conf:1:1: error: the section is passed over'* ]] || fail "$output" || return
	in_container rm /etc/systemd/system/service.d/isomer.conf
	isomctl verify lone

	unit two.socket <<<$'[Socket]\nListenStream=127.0.0.1:8083\nListenStream=127.0.0.1:8084'
	unit two.service <<<$'[Service]\nExecStart=/bin/true\n[Isomer]\nBind=tcp 127.7.3.0/24 80'
	systemctl daemon-reload
	run systemctl start two.socket
	[[ $status != 0 ]]
	assert_journal two.socket 'would both be for label "two": name the one in the section, like Socket=tcp 127.0.0.1 808'
	run isomctl verify two.socket
	[[ $status == 1 && $output == '/etc/systemd/system/two.socket:3:1: error: tcp 127.0.0.1 8083 and tcp 127.0.0.1 8084 would both be for label "two": name the one in the section, like Socket=tcp 127.0.0.1 808'* ]] || fail "$output"
}
