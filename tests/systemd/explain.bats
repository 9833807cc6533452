# shellcheck shell=bash
#
# isomctl explain about the packets of units: whose socket it is, and that a unit isn't started.
load ../lib/container
load ../lib/units
load ../lib/json

server=/usr/lib/isomer-tests/echo-server

# explained EXPRESSION: of what is said about 127.7.0.1 port 80.
explained() { isomctl explain --json tcp 127.7.0.1 80 | json "($1)"; }

@test "explain names the unit, its state and its process, and how to start it" {
	listening_service web 8080 <<<'Bind=tcp 127.7.0.0/24 80'
	systemctl start web
	pid=$(systemctl show --property MainPID --value web)
	[[ $(explained 'root["verdict"], root["label"], root["bindings"][0]["units"]') == \
		"('dispatched', 'web', ['web.service'])" ]]
	[[ $(explained '[root["socket"][key] for key in ("unit", "unit_state")]') == "['web.service', 'active']" ]]
	[[ $(explained 'root["socket"]["process"]["pid"], root["notes"]') == "($pid, [])" ]]
	[[ $(isomctl explain tcp 127.7.0.1 80) == *'Unit: web.service, active (running)'* ]]

	# It has no socket for what it binds of another family.
	printf '[Isomer]\nBind=tcp ::1 80\n' | unit web.service.d/six.conf
	systemctl daemon-reload
	systemctl restart web
	[[ $(isomctl explain tcp ::1 80) == *'web.service is active, and has no ipv6 tcp socket under this label: have it listen on one'*'Do: journalctl --unit web.service'* ]]
	in_container rm /etc/systemd/system/web.service.d/six.conf
	systemctl daemon-reload
	systemctl restart web

	# Its bindings are to be there always; it isn't.
	systemctl start isomer@web.service.service
	systemctl enable --now isomer@web.service.service 2>/dev/null
	systemctl stop web
	[[ $(explained 'root["verdict"], root["notes"][0]["kind"], root["notes"][0]["remedy"]') == \
		"('refused', 'unit_not_started', 'systemctl start web.service')" ]]
	systemctl disable --now isomer@web.service.service 2>/dev/null
}

@test "what isn't bound: explain names the units whose sections would, and what has become of them" {
	systemctl stop web
	[[ $(explained 'root["verdict"], root["notes"][0]["kind"], root["notes"][0]["remedy"]') == \
		"('not_bound', 'section_binds', 'systemctl start web.service')" ]]
	unit broken.service <<<$'[Service]\nType=oneshot\nExecStart=/bin/false\n[Isomer]\nBind=tcp 127.7.0.1 *'
	systemctl daemon-reload
	run systemctl start broken
	[[ $(isomctl explain tcp 127.7.0.1 80) == *'Note: the section of broken.service binds it, and isn'\''t started: it is failed'* ]]
	[[ $(explained '[note["remedy"] for note in root["notes"]]') == *'journalctl --unit broken.service'* ]]
	in_container rm /etc/systemd/system/broken.service
	systemctl daemon-reload

	systemctl start web
	printf '[Isomer]\nBind=tcp 127.7.9.0/24 80\n' | unit web.service.d/more.conf
	[[ $(isomctl explain tcp 127.7.9.1 80) == *'web.service'*'the unit runs without that line'*'Do: systemctl daemon-reload && systemctl reload isomer'* ]]
	systemctl stop isomer
	isomctl load
	[[ $(isomctl explain tcp 127.7.9.1 80) == *'Do: systemctl daemon-reload && systemctl start isomer'* ]]
	systemctl daemon-reload
	systemctl start isomer
	assert_answer web tcp 127.7.9.1 80
	systemctl stop web
}

@test "a unit's name in a command that is proposed is a word of it, whatever is in it and however long" {
	local name
	for name in 'a\x2db' "$(printf 'long%.0s' {1..50})"; do
		unit "$name.service" <<<$'[Service]\nExecStart=/bin/true\n[Isomer]\nBind=tcp 127.7.12.0/24 80'
		systemctl daemon-reload
		proposed=$(isomctl explain tcp 127.7.12.1 80)
		proposed=${proposed##*Do: systemctl start }
		[[ $(eval "printf %s $proposed") == "$name.service" ]]
		in_container rm "/etc/systemd/system/$name.service"
	done
	systemctl daemon-reload
}

@test "a section in drop-ins of a unit that there isn't: explain doesn't have it started" {
	unit tpyo.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 127.7.14.0/24 80'
	systemctl daemon-reload
	explained=$(isomctl explain tcp 127.7.14.1 80)
	[[ $explained == *'the section of tpyo.service would bind it, but there is no such unit, only drop-ins of it'* ]]
	[[ $explained != *'Do:'* ]]
	in_container rm -r /etc/systemd/system/tpyo.service.d
	systemctl daemon-reload
}

@test "a unit that goes on without Isomer: explain says that this may be so, and where to see why" {
	listening_service without 8086 <<-END
		Required=no
		Bind=tcp 127.7.11.0/24 80
		Socket=tcp 127.0.0.1 9999
	END
	systemctl start without
	[[ $(isomctl explain tcp 127.7.11.1 80) == *'the section of without.service binds it, and '*'goes on without Isomer, as Required=no lets it: its journal tells: it is active'*'Do: journalctl --unit without.service'* ]]

	# Once its files were changed, they are first to be taken over.
	printf '[Isomer]\nSocket=\n' | unit without.service.d/all.conf
	[[ $(isomctl explain tcp 127.7.11.1 80) == *'the unit runs without that line: it is active'*'Do: systemctl daemon-reload && systemctl reload isomer'* ]]
	systemctl daemon-reload
	systemctl reload isomer
	assert_answer without tcp 127.7.11.1 80
	systemctl stop without
}

waits_for_restart() { [[ $(systemctl show --property SubState --value waiting) == auto-restart* ]]; }

@test "a unit that waits for its automatic restart: explain doesn't tell it to listen" {
	unit waiting.service <<-END
		[Service]
		Type=notify
		ExecStart=$server --name waiting --notify --crash-after 1 tcp:127.0.0.1:8085
		Restart=always
		RestartSec=1h
		[Isomer]
		Bind=tcp 127.7.10.0/24 80
	END
	systemctl daemon-reload
	systemctl start waiting
	assert_answer waiting tcp 127.7.10.1 80
	wait_until waits_for_restart
	[[ $(isomctl explain tcp 127.7.10.1 80) == *'refused'*'waiting.service has ended, and waits for its automatic restart'*'Do: journalctl --unit waiting.service'* ]]
	systemctl stop waiting
}

# proposed: what explain says is to be done about 127.7.0.1 port 80.
proposed() { explained '[note["remedy"] for note in root["notes"]]'; }

# assert_lost UNIT NAME: its socket isn't registered, explain says so, and what it proposes brings NAME's answers back.
assert_lost() {
	assert_refused tcp 127.7.0.1 80
	[[ $(isomctl explain tcp 127.7.0.1 80) == *"$1 is active, and has an ipv4 tcp socket that isn't registered under this label"* ]]
	[[ $(proposed) == "['systemctl reload isomer']" ]]
	systemctl reload isomer
	assert_answer "$2" tcp 127.7.0.1 80
}

@test "a unit whose label has lost its socket: explain finds it in the unit's processes, and how to get it back" {
	listening_service blue 8087 <<<$'Label=colour\nBind=tcp 127.7.0.0/24 80\nSocket=tcp 127.0.0.1 8087'
	listening_service green 8088 <<<'Label=colour'
	systemctl start blue
	systemctl start green
	assert_answer green tcp 127.7.0.1 80
	systemctl stop green
	assert_lost blue.service blue

	isomctl unregister colour ipv4 tcp
	assert_lost blue.service blue

	unit plain.service <<<$'[Service]\nType=notify\nExecStart='"$server --notify tcp:127.0.0.1:8089"
	systemctl daemon-reload
	systemctl start plain
	isomctl register-pid "$(systemctl show --property MainPID --value plain)" colour tcp 127.0.0.1 8089
	systemctl stop plain
	assert_lost blue.service blue

	# Whoever may not look into processes is told what is seen without that.
	isomctl unregister colour ipv4 tcp
	[[ $(in_container setpriv --bounding-set=-sys_ptrace isomctl explain tcp 127.7.0.1 80) == \
		*'blue.service is active, and has no ipv4 tcp socket under this label: have it listen on one'* ]]
	systemctl stop blue
}

@test "a socket unit whose label has lost its socket" {
	unit held.socket <<<$'[Socket]\nListenStream=127.0.0.1:8090'
	unit held.service <<<$'[Service]\nExecStart='"$server --name held --listen-fds"$'\n[Isomer]\nBind=tcp 127.7.0.0/24 80\nBind=tcp ::1 80'
	systemctl daemon-reload
	systemctl start held.socket
	isomctl unregister held ipv4 tcp
	assert_lost held.socket held
	# PID 1 has other units' sockets, too.
	unit stranger.socket <<<$'[Socket]\nListenStream=[::1]:8094\nService=plain.service'
	systemctl daemon-reload
	systemctl start stranger.socket
	[[ $(isomctl explain tcp ::1 80) == *'held.socket is active, and has no ipv6 tcp socket under this label'* ]]
	systemctl stop stranger.socket held.socket held.service
}

@test "a socket that the section doesn't put under the label is none of the label's: explain tells it apart" {
	unit apart.service <<-END
		[Service]
		Type=notify
		ExecStart=$server --name apart --notify tcp:127.0.0.1:8091 tcp:[::1]:8091 tcp:127.0.0.1:8092
		[Isomer]
		Bind=tcp ::1 80
		Bind=elsewhere tcp 127.7.0.0/24 80
		Socket=tcp 127.0.0.1 8091
	END
	systemctl daemon-reload
	systemctl start apart
	[[ $(isomctl explain tcp ::1 80) == *'apart.service is active, and has no ipv6 tcp socket under this label: have it listen on one'* ]]
	[[ $(isomctl explain tcp 127.7.0.1 80) == *'apart.service is active, and its section puts no socket under this label (Label=, Socket=)'* ]]
	[[ $(proposed) == '[None]' ]]
	systemctl stop apart
}

@test "explain tells the service that got the socket of a socket unit, or the unit while there is none" {
	unit lazy.socket <<-END
		[Socket]
		ListenStream=127.0.0.1:8081
	END
	unit lazy.service <<-END
		[Service]
		ExecStart=$server --name lazy --listen-fds
		[Isomer]
		Bind=tcp 127.7.0.0/24 80
	END
	systemctl daemon-reload
	# While neither is started, it is the socket unit that is to be: of such a service alone nothing would listen.
	[[ $(proposed) == *"'systemctl start lazy.socket'"* ]]
	systemctl enable --now isomer@lazy.service.service 2>/dev/null
	[[ $(isomctl explain tcp 127.7.0.1 80) == *"lazy.service isn't started: it is inactive"*'Do: systemctl start lazy.socket'* ]]
	systemctl disable --now isomer@lazy.service.service 2>/dev/null
	systemctl start lazy.socket
	[[ $(explained '[root["socket"][key] for key in ("unit", "unit_state")]') == "['lazy.socket', 'active']" ]]
	[[ $(explained 'root["socket"]["process"]["pid"]') == 1 ]]
	assert_answer lazy tcp 127.7.0.1 80
	[[ $(explained 'root["socket"]["process"]["pid"]') == "$(systemctl show --property MainPID --value lazy)" ]]
	systemctl stop lazy.socket lazy.service
}

@test "a service that another socket unit starts, or that is enabled itself: explain names what is to be started" {
	unit door.socket <<<$'[Socket]\nListenStream=127.0.0.1:8093\nService=house.service'
	unit house.service <<-END
		[Service]
		ExecStart=$server --name house --listen-fds
		[Install]
		WantedBy=multi-user.target
		[Isomer]
		Bind=tcp 127.7.13.0/24 80
	END
	systemctl daemon-reload
	[[ $(isomctl explain tcp 127.7.13.1 80) == *'Do: systemctl start door.socket'* ]]
	systemctl enable house 2>/dev/null
	[[ $(isomctl explain tcp 127.7.13.1 80) == *'Do: systemctl start house.service'* ]]
	systemctl disable house 2>/dev/null
	systemctl start door.socket
	assert_answer house tcp 127.7.13.1 80
	systemctl stop door.socket house.service
}
