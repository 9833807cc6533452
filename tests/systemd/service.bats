# shellcheck shell=bash
#
# A service with a section: when `systemctl start` returns, bound traffic flows; when it can't flow, the start fails and
# the journal says why. All that a service can be is tried: early and late with its sockets, with one or many of them.

load ../lib/container
load ../lib/units

setup_file() {
	container_setup
	in_container ip route add local 2001:db8::/32 dev lo
}

server=/usr/lib/isomer-tests/echo-server

# service NAME [LINE...]: a service of that name, with stdin as its section and these lines besides.
service() {
	local name=$1 section
	shift
	section=$(cat)
	{
		printf '%s\n' '[Service]' "$@"
		[[ ! $section ]] || printf '%s\n' '[Isomer]' "$section"
	} | unit "$name.service"
	systemctl daemon-reload
}

@test "Type=notify: the first connection after the start is answered" {
	service notify Type=notify "ExecStart=$server --name notify --delay-ms 300 --notify tcp:127.0.0.1:8001" <<-END
		Bind=tcp 127.0.1.0/24 80
	END
	systemctl start notify
	assert_answer notify tcp 127.0.1.99 80
}

@test "Type=simple that listens half a second late: the start waits for it" {
	service late "ExecStart=$server --name late --delay-ms 500 tcp:127.0.0.1:8002" <<-END
		Bind=tcp 127.0.2.0/24 80
	END
	systemctl start late
	assert_answer late tcp 127.0.2.1 80
}

@test "Type=forking" {
	service forking Type=forking "ExecStart=/bin/sh -c '$server --name forking --delay-ms 200 tcp:127.0.0.1:8003 &'" <<-END
		Bind=tcp 127.0.3.0/24 80
	END
	systemctl start forking
	assert_answer forking tcp 127.0.3.1 80
}

@test "a child process has the sockets" {
	service child "ExecStart=$server --name child --fork --delay-ms 200 tcp:127.0.0.1:8004" <<-END
		Bind=tcp 127.0.4.0/24 80
	END
	systemctl start child
	assert_answer child tcp 127.0.4.1 80
}

@test "without Label= the label is the unit's name" {
	service nameless@ "ExecStart=$server --name %i tcp:127.0.0.1:8005" <<-END
		Bind=tcp 127.0.5.0/24 80
	END
	systemctl start nameless@one
	[[ $(isomctl bindings --label nameless@one) == *127.0.5.0/24* ]]
}

@test "Socket= chooses one of several sockets" {
	service choosy "ExecStart=$server --name choosy --delay-ms 200 tcp:127.0.0.1:8006 tcp:127.0.0.1:8007" <<-END
		Bind=tcp 127.0.6.0/24 80
		Socket=tcp 127.0.0.1 8007
	END
	systemctl start choosy
	assert_answer choosy tcp 127.0.6.1 80
	[[ $(isomctl status choosy) == *127.0.0.1:8007* ]]
}

@test "two labels in one section, each with a socket of its own" {
	service two-labels Type=notify \
		"ExecStart=$server --name two-labels --notify --dump-flags tcp:127.0.0.1:8008 tcp:127.0.0.1:8009" <<-END
		Bind=inner tcp 127.0.8.0/25 80
		Bind=outer tcp 127.0.8.128/25 80
		Socket=inner tcp 127.0.0.1 8008
		Socket=outer tcp 127.0.0.1 8009
	END
	systemctl start two-labels
	[[ $(isomctl status inner) == *127.0.0.1:8008* ]]
	[[ $(isomctl status outer) == *127.0.0.1:8009* ]]
	[[ $(probe tcp 127.0.8.1 80) == two-labels* ]]
	[[ $(probe tcp 127.0.8.129 80) == two-labels* ]]
}

@test "two sockets for one destination: the start fails and names both" {
	service ambiguous Type=notify \
		"ExecStart=$server --notify tcp:127.0.0.1:8010 tcp:127.0.0.1:8011" <<-END
		Bind=tcp 127.0.10.0/24 80
	END
	assert_start_fails ambiguous 'cannot register the sockets of ambiguous.service' '127.0.0.1 8011' \
		'name the one in the section, like Socket=tcp 127.0.0.1 8010'
	assert_refused tcp 127.0.10.1 80
}

@test "two sockets of one SO_REUSEPORT group are as good as one" {
	service group Type=notify \
		"ExecStart=$server --name group --notify --reuseport tcp:127.0.0.1:8012 tcp:127.0.0.1:8012" <<-END
		Bind=tcp 127.0.12.0/24 80
	END
	systemctl start group
	assert_answer group tcp 127.0.12.1 80
}

@test "sockets that don't come within SocketTimeoutSec= fail the start" {
	service deaf 'ExecStart=/bin/sleep infinity' <<-END
		Bind=tcp 127.0.13.0/24 80
		SocketTimeoutSec=200ms
	END
	assert_start_fails deaf 'cannot register the sockets of deaf.service: it has no listening TCP' \
		'have it listen within SocketTimeoutSec= (0.2 s)'
	assert_refused tcp 127.0.13.1 80
}

@test "Socket= lines of what isn't there fail the start, with all of them and what there is" {
	service elsewhere Type=notify "ExecStart=$server --notify tcp:127.0.0.1:8014" <<-END
		Bind=tcp 127.0.14.0/24 80
		Socket=tcp 127.0.0.1 9999
		Socket=tcp 127.0.0.1 8014
		Socket=udp 127.0.0.1 9998
	END
	assert_start_fails elsewhere \
		'/etc/systemd/system/elsewhere.service:6: Socket=tcp 127.0.0.1 9999, /etc/systemd/system/elsewhere.service:8: Socket=udp' \
		'no such socket was found, but it has tcp 127.0.0.1 8014 (fd'
}

@test "a protocol that is bound and not listened for fails the start, with what there is" {
	service half Type=notify "ExecStart=$server --notify udp:127.0.0.1:8013" <<<'Bind=tcp 127.0.13.0/24 80'
	assert_start_fails half 'cannot register the sockets of half.service: ipv4 tcp is bound to label "half"' \
		'but it has udp 127.0.0.1 8013 (fd' 'or change the section'
}

@test "a service that dies before it listens fails at once, not when the time is up" {
	service dying "ExecStart=/bin/sh -c 'sleep 0.2; exit 1'" <<-END
		Bind=tcp 127.0.15.0/24 80
		SocketTimeoutSec=infinity
	END
	assert_start_fails dying
	[[ $(systemctl show --property Result --value dying) != timeout ]]
}

@test "a dual-stack socket answers IPv4 and IPv6" {
	service dual Type=notify "ExecStart=$server --name dual --notify tcp:[::]:8016" <<-END
		Bind=tcp 127.0.16.0/24 80
		Bind=tcp 2001:db8:16::/48 80
	END
	systemctl start dual
	assert_answer dual tcp 127.0.16.1 80
	assert_answer dual tcp 2001:db8:16::1 80
}

@test "IPv6 bindings and no IPv6 socket: a warning, and IPv6 is refused" {
	service v4only Type=notify "ExecStart=$server --name v4only --notify tcp:127.0.0.1:8017" <<-END
		Bind=tcp 127.0.17.0/24 80
		Bind=tcp 2001:db8:17::/48 80
	END
	systemctl start v4only
	assert_journal v4only 'ipv6 tcp is bound to label "v4only"'
	assert_answer v4only tcp 127.0.17.1 80
	assert_refused tcp 2001:db8:17::1 80
}

@test "UDP: datagrams to all addresses of a subnet, answered from there" {
	service datagrams Type=notify "ExecStart=$server --name datagrams --notify udp:127.0.0.1:8018 udp:[::1]:8018" <<-END
		Bind=udp 127.0.18.0/24 53
		Bind=udp 2001:db8:18::/48 0
	END
	systemctl start datagrams
	assert_answer datagrams udp 127.0.18.1 53
	assert_answer datagrams udp 127.0.18.254 53
	assert_answer datagrams udp 2001:db8:18::1 12345
	assert_refused tcp 127.0.18.1 53
}

@test "a UDP socket too many, of a protocol that isn't bound, is nobody's concern" {
	service client Type=notify \
		"ExecStart=$server --name client --notify tcp:127.0.0.1:8019 udp:127.0.0.1:8019 udp:127.0.0.1:8020" <<-END
		Bind=tcp 127.0.19.0/24 80
	END
	systemctl start client
	assert_answer client tcp 127.0.19.1 80
}

@test "its own ports stay as they were" {
	service owner Type=notify "ExecStart=$server --name owner --notify tcp:127.0.0.1:8021" <<-END
		Bind=tcp 127.0.21.0/24 80
	END
	systemctl start owner
	assert_answer owner tcp 127.0.0.1 8021
	assert_refused tcp 127.0.21.1 8021
}

@test "sockets that a reload opens are registered when the reload returns" {
	local port_is_free='/usr/lib/isomer-tests/probe tcp 127.0.0.1 8022 | grep -q refused'
	service reloading \
		"ExecStart=/bin/sh -c '$server --name before tcp:127.0.0.1:8022 & echo \$! >/run/before.pid; exec sleep infinity'" \
		"ExecReload=/bin/sh -c 'kill -KILL \$(cat /run/before.pid); until $port_is_free; do :; done; $server --name after tcp:127.0.0.1:8022 &'" \
		<<-END
		Bind=tcp 127.0.22.0/24 80
	END
	systemctl start reloading
	assert_answer before tcp 127.0.22.1 80
	systemctl reload reloading
	assert_answer after tcp 127.0.22.1 80
}

@test "PrivateNetwork=yes: its own sockets are out of reach, and it is told" {
	service secluded Type=notify PrivateNetwork=yes "ExecStart=$server --notify tcp:[::]:8023" <<-END
		Bind=tcp 127.0.23.0/24 80
	END
	assert_start_fails secluded 'in another network namespace' PrivateNetwork=
}

# own_root NAME [LINE...]: a service whose commands run in a root directory of their own; stdin is its section. systemd before
# 248 doesn't see to its being able to notify.
own_root() {
	in_container mkdir -p /srv/root/usr
	in_container ln -sfn usr/lib /srv/root/lib
	in_container ln -sfn usr/lib64 /srv/root/lib64
	service "$1" RootDirectory=/srv/root "BindReadOnlyPaths=/usr /run/systemd/notify" MountAPIVFS=yes Type=notify \
		"ExecStart=$server --name $1 --notify tcp:127.0.0.1:8026" "${@:2}"
}

@test "RootDirectory=: the start fails, and the journal has the remedy" {
	own_root rooted <<<'Bind=tcp 127.0.26.0/24 80'
	run systemctl start rooted
	[[ $status != 0 ]]
	assert_inactive rooted
	assert_journal isomer-bind@rooted.service.service 'rooted.service has RootDirectory=/srv/root' RootDirectoryStartOnly=yes
	assert_refused tcp 127.0.26.1 80
	assert_unbound 127.0.26.0
}

@test "RootDirectory= and Required=no: the service starts without Isomer" {
	own_root optional <<<$'Bind=tcp 127.0.27.0/24 80\nRequired=no'
	systemctl start optional
	assert_journal isomer-bind@optional.service.service 'optional.service has RootDirectory=/srv/root' 'goes on without Isomer'
	assert_answer optional tcp 127.0.0.1 8026
	assert_refused tcp 127.0.27.1 80
	systemctl stop optional
}

@test "RootDirectory= and RootDirectoryStartOnly=yes" {
	own_root start-only RootDirectoryStartOnly=yes <<<'Bind=tcp 127.0.28.0/24 80'
	systemctl start start-only
	assert_answer start-only tcp 127.0.28.1 80
	systemctl stop start-only
	assert_refused tcp 127.0.28.1 80
}

@test "what is bound to a label without any socket is warned of" {
	service astray Type=notify "ExecStart=$server --name astray --notify tcp:127.0.0.1:8024" <<-END
		Bind=tcp 127.0.24.0/24 80
		Bind=nowhere tcp 127.0.24.0/24 81
		Bind=nowhere tcp 127.0.24.0/24 82
		Bind=nowhere udp 127.0.24.0/24 81
	END
	systemctl start astray
	assert_answer astray tcp 127.0.24.1 80
	assert_refused tcp 127.0.24.1 81
	assert_journal astray 'ipv4 tcp is bound to label "nowhere", and no such socket' 'ipv4 udp is bound to label "nowhere"'
	[[ $(journal astray | grep -c 'ipv4 tcp is bound to label "nowhere"') == 1 ]]

	service found Type=notify "ExecStart=$server --notify tcp:127.0.0.1:8025" <<<'Label=nowhere'
	systemctl start found
	systemctl restart astray
	[[ $(journal astray | grep -c 'ipv4 tcp is bound to label "nowhere"') == 1 ]]
}
