# shellcheck shell=bash
#
# Socket activation: dispatched traffic starts a service as other traffic does. Isomer registers the sockets that systemd
# holds, and does nothing else to them.

load ../lib/container
load ../lib/units

setup_file() {
	container_setup
	in_container ip route add local 2001:db8::/32 dev lo
}

server=/usr/lib/isomer-tests/echo-server

# socket NAME LINE...: a socket unit; with stdin as its section, if there is any.
socket() {
	local name=$1 section
	shift
	section=$(cat)
	{
		printf '%s\n' '[Socket]' "$@"
		[[ ! $section ]] || printf '%s\n' '[Isomer]' "$section"
	} | unit "$name.socket"
}

# service NAME [LINE...]: the service for it; likewise.
service() {
	local name=$1 section
	shift
	section=$(cat)
	{
		printf '%s\n' '[Service]' "ExecStart=$server --name $name --listen-fds" "$@"
		[[ ! $section ]] || printf '%s\n' '[Isomer]' "$section"
	} | unit "$name.service"
}

@test "the first connection after the socket's start starts the service, and again after it stopped" {
	socket web ListenStream=127.0.0.1:8001 </dev/null
	service web <<<'Bind=tcp 127.2.1.0/24 80'
	systemctl daemon-reload
	systemctl start web.socket
	for _ in 1 2 3 4; do
		assert_inactive web.service
		assert_answer web tcp 127.2.1.1 80
		wait_until systemctl --quiet is-active web.service # it answers before its start is done
		systemctl stop web.service 2>/dev/null
	done

	systemctl stop web.socket
	assert_refused tcp 127.2.1.1 80
}

@test "a service started by hand" {
	socket manual ListenStream=127.0.0.1:8002 </dev/null
	service manual Sockets=manual.socket <<<'Bind=tcp 127.2.2.0/24 80'
	systemctl daemon-reload
	systemctl start manual.service
	assert_answer manual tcp 127.2.2.1 80
	systemctl restart manual.service
	assert_answer manual tcp 127.2.2.1 80
}

@test "the socket unit has the section" {
	socket own ListenStream=127.0.0.1:8003 <<-END
		Label=own-label
		Bind=tcp 127.2.3.0/24 80
	END
	service own </dev/null
	systemctl daemon-reload
	systemctl start own.socket
	[[ $(isomctl bindings) == *own-label*own.socket* ]]
	assert_inactive own.service
	assert_answer own tcp 127.2.3.1 80
	systemctl restart own.service
	assert_answer own tcp 127.2.3.1 80
}

@test "ListenStream=PORT: IPv4 and IPv6" {
	socket dual ListenStream=8004 </dev/null
	service dual <<-END
		Bind=tcp 127.2.4.0/24 80
		Bind=tcp 2001:db8:4::/48 80
	END
	systemctl daemon-reload
	systemctl start dual.socket
	assert_answer dual tcp 2001:db8:4::1 80
	assert_answer dual tcp 127.2.4.1 80
}

@test "ListenDatagram=" {
	socket datagrams ListenDatagram=127.0.0.1:8005 "ListenDatagram=[::1]:8005" </dev/null
	service datagrams <<-END
		Bind=udp 127.2.5.0/24 53
		Bind=udp 2001:db8:5::/48 53
	END
	systemctl daemon-reload
	systemctl start datagrams.socket
	assert_inactive datagrams.service
	assert_answer datagrams udp 127.2.5.1 53
	assert_answer datagrams udp 2001:db8:5::1 53
}

@test "TCP and UDP in one socket unit" {
	socket both ListenStream=127.0.0.1:8006 ListenDatagram=127.0.0.1:8006 </dev/null
	service both <<-END
		Bind=tcp 127.2.6.0/24 53
		Bind=udp 127.2.6.0/24 53
	END
	systemctl daemon-reload
	systemctl start both.socket
	assert_answer both udp 127.2.6.1 53
	assert_answer both tcp 127.2.6.1 53
}

@test "Accept=yes, the section in the socket unit" {
	socket inetd ListenStream=127.0.0.1:8007 Accept=yes <<<'Bind=tcp 127.2.7.0/24 13'
	unit inetd@.service <<-'END'
		[Service]
		ExecStart=/bin/echo hello
		StandardOutput=socket
	END
	systemctl daemon-reload
	systemctl start inetd.socket
	[[ $(probe --count 3 tcp 127.2.7.1 13) == $'hello\nhello\nhello' ]]
}

# accepting NAME PORT: answers each connection with an instance of its own; stdin is the template's section.
accepting() {
	unit "$1.socket" <<-END
		[Socket]
		ListenStream=127.0.0.1:$2
		Accept=yes
	END
	unit "$1@.service" <<-END
		[Service]
		ExecStart=/bin/echo hello
		StandardOutput=socket
		[Isomer]
		$(cat)
	END
	systemctl daemon-reload
	systemctl start "$1.socket"
}

@test "Accept=yes, the section in the template" {
	accepting labelled 8008 <<<$'Label=labelled\nBind=tcp 127.2.8.0/24 13'
	[[ $(probe --count 3 tcp 127.2.8.1 13) == $'hello\nhello\nhello' ]]
}

@test "Accept=yes, the section in the template, without a label" {
	accepting unlabelled 8018 <<<'Bind=tcp 127.2.18.0/24 13'
	[[ $(probe --count 3 tcp 127.2.18.1 13) == $'hello\nhello\nhello' ]]
}

@test "two socket units of one service, each with a section" {
	socket front-a ListenStream=127.0.0.1:8009 Service=front.service FileDescriptorName=a <<<'Bind=tcp 127.2.9.0/24 80'
	socket front-b ListenStream=127.0.0.1:8010 Service=front.service FileDescriptorName=b <<<'Bind=tcp 127.2.10.0/24 80'
	service front </dev/null
	systemctl daemon-reload
	systemctl start front-a.socket front-b.socket
	assert_answer front tcp 127.2.10.1 80
	assert_answer front tcp 127.2.9.1 80
	[[ $(isomctl status front-a) == *127.0.0.1:8009* ]]
	[[ $(isomctl status front-b) == *127.0.0.1:8010* ]]
}

@test "two socket units of one service that has the section, with Socket= lines" {
	socket back-a ListenStream=127.0.0.1:8011 Service=back.service FileDescriptorName=a </dev/null
	socket back-b ListenStream=127.0.0.1:8012 Service=back.service FileDescriptorName=b </dev/null
	service back <<-END
		Bind=back-a tcp 127.2.11.0/24 80
		Bind=back-b tcp 127.2.12.0/24 80
		Socket=back-a tcp 127.0.0.1 8011
		Socket=back-b tcp 127.0.0.1 8012
	END
	systemctl daemon-reload
	systemctl start back-a.socket back-b.socket
	assert_answer back tcp 127.2.12.1 80
	assert_answer back tcp 127.2.11.1 80
}

@test "a socket unit and its service, each with a section: each registers its own" {
	socket half ListenStream=127.0.0.1:8016 <<-END
		Label=half-held
		Bind=tcp 127.2.16.0/24 80
	END
	service half "ExecStart=" "ExecStart=$server --name half --listen-fds tcp:127.0.0.1:8017" <<-END
		Label=half-opened
		Bind=tcp 127.2.17.0/24 80
		Socket=tcp 127.0.0.1 8017
	END
	systemctl daemon-reload
	systemctl start half.socket
	systemctl start half.service
	assert_answer half tcp 127.2.16.1 80
	assert_answer half tcp 127.2.17.1 80
	[[ $(isomctl status half-held) == *127.0.0.1:8016* ]]
	[[ $(isomctl status half-opened) == *127.0.0.1:8017* ]]
}

@test "a socket unit's bindings stay while its service restarts" {
	socket busy ListenStream=127.0.0.1:8013 </dev/null
	service busy <<<'Bind=tcp 127.2.13.0/24 80'
	systemctl daemon-reload
	systemctl start busy.socket
	start_probing tcp 127.2.13.1 80
	systemctl restart busy.service
	systemctl restart busy.service
	# Connections that the old server had taken but not answered yet are lost with it, with Isomer or without.
	stop_probing busy refused silent
}

# The file status flags of the socket that answers there.
flags() { probe tcp "$1" 80 | cut -d' ' -f4; }

@test "O_NONBLOCK of a live server's sockets is its own affair" {
	local what
	socket blocking ListenStream=127.0.0.1:8014 </dev/null
	socket nonblocking ListenStream=127.0.0.1:8015 </dev/null
	service blocking "ExecStart=" "ExecStart=$server --dump-flags --listen-fds" <<<'Bind=tcp 127.2.14.0/24 80'
	service nonblocking "ExecStart=" "ExecStart=$server --dump-flags --listen-fds" NonBlocking=yes <<<'Bind=tcp 127.2.15.0/24 80'
	systemctl daemon-reload
	systemctl start blocking.socket nonblocking.socket
	for what in true 'systemctl daemon-reload' 'systemctl daemon-reexec' 'systemctl reload isomer' 'systemctl restart isomer' \
		'systemctl restart blocking nonblocking' 'systemctl start blocking.socket nonblocking.socket' \
		'systemctl restart isomer@blocking.service.service isomer@nonblocking.service.service'; do
		$what
		[[ $(flags 127.2.14.1) == 02 ]] || fail "after $what: $(flags 127.2.14.1)"
		[[ $(flags 127.2.15.1) == 04002 ]] || fail "after $what: $(flags 127.2.15.1)"
	done
}

@test "a socket unit with unix sockets alone, whose service has the section and listens itself" {
	socket engine ListenStream=/run/engine.sock </dev/null
	service engine "ExecStart=" Type=notify "ExecStart=$server --name engine --notify tcp:127.0.0.1:8019" \
		<<<'Bind=tcp 127.2.19.0/24 80'
	systemctl daemon-reload
	systemctl start engine.socket
	systemctl start engine.service
	assert_answer engine tcp 127.2.19.1 80
}

@test "a socket unit with unix sockets alone and a section of its own has nothing to register" {
	socket deaf ListenStream=/run/deaf.sock <<<'Bind=tcp 127.2.20.0/24 80'
	service deaf </dev/null
	systemctl daemon-reload
	assert_start_fails deaf.socket 'deaf.socket: it has no TCP or UDP socket (ListenStream=, ListenDatagram=)'
}

@test "unix sockets and FIFOs beside the others" {
	socket mixed ListenStream=/run/mixed.sock ListenFIFO=/run/mixed.fifo ListenStream=127.0.0.1:8021 </dev/null
	service mixed <<<'Bind=tcp 127.2.21.0/24 80'
	systemctl daemon-reload
	systemctl start mixed.socket
	[[ $(isomctl status mixed) == *127.0.0.1:8021* ]]
}

@test "a socket unit that activates a service without a section, and that one with a section names in Sockets=" {
	socket lent ListenStream=127.0.0.1:8025 </dev/null
	service lent </dev/null
	service borrower Sockets=lent.socket <<<'Bind=tcp 127.2.25.0/24 80'
	systemctl daemon-reload
	systemctl start lent.socket
	[[ $(isomctl bindings --label borrower) == *127.2.25.0/24*lent.socket* ]]
	[[ $(isomctl status borrower) == *127.0.0.1:8025*lent.socket* ]]
	systemctl start borrower.service
	assert_answer borrower tcp 127.2.25.1 80
	systemctl stop borrower.service lent.socket
	assert_unbound 127.2.25.0
}

# How it was started is the instance's own affair for as long as it runs.
@test "Accept=yes: an instance that runs on, a daemon-reload and a reload of isomer.service" {
	local instance command
	unit lasting.socket <<<$'[Socket]\nListenStream=127.0.0.1:8026\nAccept=yes'
	unit lasting@.service <<-'END'
		[Service]
		ExecStart=/bin/sh -c 'echo hello; exec sleep infinity'
		StandardOutput=socket
		[Isomer]
		Label=lasting
		Bind=tcp 127.2.26.0/24 13
	END
	systemctl daemon-reload
	systemctl start lasting.socket
	[[ $(probe tcp 127.2.26.1 13) == hello ]]
	instance=$(systemctl list-units --plain --no-legend 'lasting@*.service' | cut -d' ' -f1)
	[[ $instance == lasting@*.service ]]
	for command in 'reload isomer' daemon-reload 'reload isomer' daemon-reexec 'restart isomer'; do
		# shellcheck disable=SC2086 # two words
		systemctl $command
		wait_until systemctl --quiet is-active isomer
		systemctl show --property=TriggeredBy "$instance"
		[[ $(journal isomer) != *"$instance"* ]] || fail "after $command: $(journal isomer)"
		[[ $(isomctl bindings) != *"$instance"* ]] || fail "after $command: $(isomctl bindings)"
		[[ $(probe tcp 127.2.26.1 13) == hello ]]
	done
	systemctl stop lasting.socket 'lasting@*.service'
}

@test "the socket unit is stopped, and its service runs on" {
	socket leaving ListenStream=127.0.0.1:8023 </dev/null
	service leaving <<<'Bind=tcp 127.2.23.0/24 80'
	systemctl daemon-reload
	systemctl start leaving.socket
	assert_answer leaving tcp 127.2.23.1 80
	wait_until systemctl --quiet is-active leaving.service
	systemctl stop leaving.socket
	assert_active leaving.service
	assert_answer leaving tcp 127.2.23.2 80
	[[ $(isomctl status leaving) == *leaving.service* ]]
	systemctl stop leaving.service
	assert_refused tcp 127.2.23.1 80
	assert_unbound 127.2.23.0
}

@test "PrivateNetwork=yes: the sockets are systemd's, and so is their network namespace" {
	socket secluded ListenStream=127.0.0.1:8024 </dev/null
	service secluded PrivateNetwork=yes <<<'Bind=tcp 127.2.24.0/24 80'
	systemctl daemon-reload
	systemctl start secluded.socket
	assert_answer secluded tcp 127.2.24.1 80
	wait_until systemctl --quiet is-active secluded.service
	systemctl restart secluded.service
	assert_answer secluded tcp 127.2.24.2 80
	systemctl stop secluded.socket
	assert_answer secluded tcp 127.2.24.2 80
	systemctl stop secluded.service
	assert_refused tcp 127.2.24.2 80
}
