# shellcheck shell=bats
#
# Which sockets can be registered, how they are found, and who gets the packets while servers come, change and die.
# shellcheck disable=SC2030,SC2031 # each test has SERVERS of its own
load ../lib/netns
load ../lib/refusing

# In all tests, label foo is bound to port 80 of 127.0.0.9 and of 2001:db8::9, for TCP and UDP.
setup() {
	netns_setup
	in_ns ip route add local 2001:db8::/64 dev lo
	isomctl load
	for protocol in tcp udp; do
		isomctl bind foo $protocol 127.0.0.9 80
		isomctl bind foo $protocol 2001:db8::9 80
	done
}

@test "register-pid finds a socket at any file descriptor number, past O_PATH descriptors and open connections" {
	start_server --name far --opath --fd-at 1000 tcp:127.0.0.1:8080
	coproc client { in_ns bash -c 'exec 5<>/dev/tcp/127.0.0.1/8080; head -n1 <&5; read -r _' 3>&-; }
	read -r -t 10 _ <&"${client[0]}"
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	assert_answer far tcp 127.0.0.9 80
}

@test "register-pid takes the process from a PIDFILE" {
	start_server --name foo tcp:127.0.0.1:8080
	echo "$SERVER_PID" > "$BATS_TEST_TMPDIR/server.pid"
	isomctl register-pid "$BATS_TEST_TMPDIR/server.pid" foo tcp 127.0.0.1 8080
	assert_answer foo tcp 127.0.0.9 80
	printf %s "$SERVER_PID" > "$BATS_TEST_TMPDIR/server.pid"
	isomctl register-pid "$BATS_TEST_TMPDIR/server.pid" foo tcp 127.0.0.1 8080

	refuses 1 "neither a process id nor a readable file" \
		isomctl register-pid "$BATS_TEST_TMPDIR/none" foo tcp 127.0.0.1 8080
	echo foo > "$BATS_TEST_TMPDIR/server.pid"
	refuses 1 "doesn't hold a process id" isomctl register-pid "$BATS_TEST_TMPDIR/server.pid" foo tcp 127.0.0.1 8080
}

@test "register-pid --wait: until the process listens, or the time is over, or the process ends" {
	local server waiting parent status=0
	setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount \
		"$BUILD/tests/echo-server" --name slow --delay-ms 500 tcp:127.0.0.1:8080 3>&- >/dev/null &
	server=$!
	isomctl register-pid --wait 30s $server foo tcp 127.0.0.1 8080
	assert_answer slow tcp 127.0.0.9 80
	refuses 1 "cannot register a socket of process $server: it has no tcp socket at 127.0.0.1 port 8081 that could be: it has tcp 127.0.0.1 8080 (fd 5 of process $server): have it listen there, or wait longer" \
		isomctl register-pid --wait 100ms $server foo tcp 127.0.0.1 8081
	assert_answer slow tcp 127.0.0.9 80

	isomctl register-pid --wait infinity $server foo tcp 127.0.0.1 8081 2>"$BATS_TEST_TMPDIR/said" &
	waiting=$!
	wait_until holds_pidfd "isomctl register-pid --wait infinity $server"
	kill -KILL $server
	wait $waiting || status=$?
	[[ $status == 1 && $(<"$BATS_TEST_TMPDIR/said") == *"process $server: it has ended"* ]] || fail "$status, $(<"$BATS_TEST_TMPDIR/said")"
	wait $server || true
	refuses 1 "process $server: there is no such process" isomctl register-pid --wait infinity $server foo tcp 127.0.0.1 8080

	# It has ended, and is still there, for its parent doesn't ask what became of it.
	# shellcheck disable=SC2016 # expanded by that shell
	setpriv --pdeathsig KILL sh -c 'setpriv --pdeathsig KILL sleep infinity & echo $! >"$1" && exec sleep infinity' sh "$BATS_TEST_TMPDIR/child" 3>&- &
	parent=$!
	wait_until grep -qx sleep /proc/$parent/comm
	server=$(<"$BATS_TEST_TMPDIR/child")
	kill "$server"
	wait_until grep -q 'State:.Z' "/proc/$server/status"
	refuses 1 "process $server: it has ended" isomctl register-pid --wait infinity "$server" foo tcp 127.0.0.1 8080
	kill $parent
}

# holds_pidfd COMMAND: of the process whose command line ends so.
holds_pidfd() { readlink "/proc/$(pgrep -n -f "^$BUILD/$1")"/fd/* | grep -q pidfd; }

@test "register-pid --wait: until the PID file is there, and has something in it" {
	local file=$BATS_TEST_TMPDIR/late.pid
	start_server --name late tcp:127.0.0.1:8080
	isomctl register-pid --wait 30s "$file" foo tcp 127.0.0.1 8080 &
	wait_until pgrep -f "^$BUILD/isomctl register-pid --wait 30s"
	: >"$file"
	echo "$SERVER_PID" >"$file"
	wait $!
	assert_answer late tcp 127.0.0.9 80
	: >"$file"
	refuses 1 "late.pid is empty, and should hold a process id" isomctl register-pid --wait 50ms "$file" foo tcp 127.0.0.1 8080
	rm "$file"
	refuses 1 "neither a process id nor a readable file" isomctl register-pid --wait 50ms "$file" foo tcp 127.0.0.1 8080
	isomctl unload
	refuses 1 "no dispatcher is loaded" isomctl register-pid --wait infinity "$file" foo tcp 127.0.0.1 8080
}

@test "it doesn't matter whether the binding or the socket comes first" {
	start_server --name early tcp:127.0.0.1:8080
	isomctl register-pid "$SERVER_PID" early tcp 127.0.0.1 8080
	isomctl bind early tcp 127.0.0.10 80
	assert_answer early tcp 127.0.0.10 80
}

@test "one socket can stand under several labels" {
	start_server --name both tcp:127.0.0.1:8080
	isomctl bind bar tcp 127.0.0.10 80
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	isomctl register-pid "$SERVER_PID" bar tcp 127.0.0.1 8080
	assert_answer both tcp 127.0.0.9 80
	assert_answer both tcp 127.0.0.10 80
	isomctl unregister bar ipv4 tcp
	assert_answer both tcp 127.0.0.9 80
	assert_refused tcp 127.0.0.10 80
}

@test "a dual-stack socket gets IPv4 and IPv6" {
	start_server --name dual "tcp:[::]:8080" "udp:[::]:8080"
	isomctl register-pid "$SERVER_PID" foo tcp :: 8080
	isomctl register-pid "$SERVER_PID" foo udp 0.0.0.0 8080
	for protocol in tcp udp; do
		assert_answer dual $protocol 127.0.0.9 80
		assert_answer dual $protocol 2001:db8::9 80
	done
}

@test "an IPv6 socket that is v6only, or has an address, gets IPv6 alone" {
	start_server --name v6only --v6only "tcp:[::]:8080"
	isomctl register-pid "$SERVER_PID" foo tcp :: 8080
	assert_answer v6only tcp 2001:db8::9 80
	assert_refused tcp 127.0.0.9 80

	start_server --name bound "tcp:[::1]:8081"
	isomctl register-pid "$SERVER_PID" foo tcp ::1 8081
	assert_answer bound tcp 2001:db8::9 80
	assert_refused tcp 127.0.0.9 80
}

@test "an IPv6 socket at an IPv4-mapped address gets IPv4 alone" {
	start_server --name mapped "tcp:[::ffff:127.0.0.1]:8080"
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	assert_answer mapped tcp 127.0.0.9 80
	assert_refused tcp 2001:db8::9 80
}

@test "UDP is answered from the address and port that were dialled" {
	start_server --name foo udp:127.0.0.1:5353 "udp:[::1]:5353"
	isomctl register-pid "$SERVER_PID" foo udp 127.0.0.1 5353
	isomctl register-pid "$SERVER_PID" foo udp ::1 5353
	# The probe's socket is connected: it takes no answer from elsewhere.
	assert_answer foo udp 127.0.0.9 80
	assert_answer foo udp 2001:db8::9 80
	assert_refused tcp 127.0.0.9 80
}

@test "a second registration takes over at once, and the first server's end changes nothing" {
	local first
	start_server --name first tcp:127.0.0.1:8080
	first=$SERVER_PID
	start_server --name second tcp:127.0.0.1:8081
	isomctl register-pid "$first" foo tcp 127.0.0.1 8080
	assert_answer first tcp 127.0.0.9 80
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8081
	assert_answer second tcp 127.0.0.9 80
	stop_server "$first"
	assert_answer second tcp 127.0.0.9 80
}

@test "a server that dies leaves its label refused, and a wildcard server on the same port gets nothing" {
	start_server --name wildcard tcp:0.0.0.0:80 udp:0.0.0.0:80
	start_server --name foo tcp:127.0.0.1:8080 udp:127.0.0.1:8080
	for protocol in tcp udp; do
		isomctl register-pid "$SERVER_PID" foo $protocol 127.0.0.1 8080
		assert_answer foo $protocol 127.0.0.9 80
	done
	stop_server "$SERVER_PID"
	for protocol in tcp udp; do
		assert_refused $protocol 127.0.0.9 80
		assert_answer wildcard $protocol 127.0.0.10 80
	done

	# Its successor is nobody to Isomer before it is registered.
	start_server --name again tcp:127.0.0.1:8080
	assert_refused tcp 127.0.0.9 80
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	assert_answer again tcp 127.0.0.9 80
}

@test "unregister takes out one family's socket, which goes on listening" {
	start_server --name dual "tcp:[::]:8080"
	isomctl register-pid "$SERVER_PID" foo tcp :: 8080
	isomctl unregister foo ipv4 tcp
	assert_refused tcp 127.0.0.9 80
	assert_answer dual tcp 2001:db8::9 80
	assert_answer dual tcp 127.0.0.1 8080
	refuses 1 'label "foo" has no ipv4 tcp socket' isomctl unregister foo ipv4 tcp
	refuses 1 'label "bar" has no ipv6 udp socket' isomctl unregister bar ipv6 udp
}

@test "of a SO_REUSEPORT group one member stands for all: the kernel spreads the load" {
	local first answers
	start_server --name first --reuseport tcp:127.0.0.1:8080 tcp:127.0.0.1:8080
	first=$SERVER_PID
	start_server --name second --reuseport tcp:127.0.0.1:8080
	isomctl register-pid "$first" foo tcp 127.0.0.1 8080
	answers=$(probe --count 100 tcp 127.0.0.9 80 | sort -u)
	[[ $answers == "first 127.0.0.9 80"$'\n'"second 127.0.0.9 80" ]] || fail "$answers"
}

@test "registering never changes a socket's flags" {
	start_server --name blocking --dump-flags tcp:127.0.0.1:8080
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	[[ $(probe tcp 127.0.0.9 80) == "blocking 127.0.0.9 80 02" ]]

	start_server --name nonblocking --dump-flags --nonblock tcp:127.0.0.1:8081
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8081
	[[ $(probe tcp 127.0.0.9 80) == "nonblocking 127.0.0.9 80 04002" ]]
	isomctl unregister foo ipv4 tcp
	[[ $(probe tcp 127.0.0.1 8081) == "nonblocking 127.0.0.1 8081 04002" ]]
}

@test "where a process has no such socket, the error lists what it has" {
	start_server --name foo tcp:127.0.0.1:8080 "udp:[::1]:5353"
	for wrong in "tcp 127.0.0.1 8081" "tcp 127.0.0.2 8080" "udp 127.0.0.1 8080" "tcp ::1 8080" "tcp 0.0.0.0 8080"; do
		# shellcheck disable=SC2086 # three words
		refuses 1 "tcp 127.0.0.1 8080" isomctl register-pid "$SERVER_PID" foo $wrong
		[[ $REFUSAL == *"udp ::1 5353"* ]]
	done
	assert_refused tcp 127.0.0.9 80

	stop_server "$SERVER_PID"
	refuses 1 "process $SERVER_PID: there is no such process" isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
}

@test "of sockets that can't be dispatched to, the error tells how many and why" {
	local other
	start_and_read other setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net "$BATS_TEST_DIRNAME/pass-sockets" idle-tcp:127.0.0.1:8081 \
		idle-tcp:127.0.0.1:8082 connected-udp:127.0.0.1:53 -- sh -c 'echo $$; exec sleep infinity'
	SERVERS+=("$other")
	refuses 1 "that could be: it has 2 TCP sockets that don't listen, 1 connected UDP socket" \
		isomctl register-pid "$other" foo udp 127.0.0.1 53
}

@test "sockets of another network namespace are refused" {
	local other
	start_and_read other setpriv --pdeathsig KILL unshare --net sh -ec \
		"ip link set lo up; exec '$BUILD/tests/echo-server' tcp:127.0.0.1:8080"
	SERVERS+=("$other")
	refuses 1 "that could be: it has 1 socket of another network namespace: use --netns /proc/$other/ns/net" \
		isomctl register-pid "$other" foo tcp 127.0.0.1 8080

	refuses 1 "is a socket of another network namespace" unshare --net sh -ec \
		"ip link set lo up; exec '$BATS_TEST_DIRNAME/pass-sockets' tcp:127.0.0.1:8080 -- \
			nsenter --target $NETNS_PID --net --mount '$BUILD/isomctl' register foo"
	assert_refused tcp 127.0.0.9 80
}

pass_sockets() { in_ns "$BATS_TEST_DIRNAME/pass-sockets" "$@"; }

@test "register takes the sockets that systemd passes" {
	local pid
	# shellcheck disable=SC2016 # for the inner shell
	start_and_read pid setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount \
		"$BATS_TEST_DIRNAME/pass-sockets" tcp:127.0.0.1:8080 udp:127.0.0.1:8080 "tcp:[::1]:8080" -- bash -ec '
			(LISTEN_PID=$BASHPID exec "$BUILD/isomctl" register foo) >&2
			LISTEN_PID=$$ exec "$BUILD/tests/echo-server" --name passed --listen-fds'
	SERVERS+=("$pid")
	assert_answer passed tcp 127.0.0.9 80
	assert_answer passed udp 127.0.0.9 80
	assert_answer passed tcp 2001:db8::9 80
	assert_refused udp 2001:db8::9 80
}

@test "register refuses what can't be dispatched to" {
	refuses 1 "no sockets were passed (LISTEN_FDS is not set)" isomctl register foo
	refuses 1 "no sockets were passed (LISTEN_PID is 1, and this is process" \
		in_ns env LISTEN_PID=1 LISTEN_FDS=1 "$BUILD/isomctl" register foo
	# shellcheck disable=SC2016 # for the inner shell
	refuses 1 "LISTEN_FDS=x or LISTEN_PID=" in_ns bash -c 'LISTEN_PID=$$ LISTEN_FDS=x exec "$BUILD/isomctl" register foo'
	refuses 1 "fd 4: it is a connected UDP socket" \
		pass_sockets tcp:127.0.0.1:8080 connected-udp:127.0.0.1:53 -- "$BUILD/isomctl" register foo
	refuses 1 "fd 4: it is a socket that doesn't listen" \
		pass_sockets tcp:127.0.0.1:8080 idle-tcp:127.0.0.1:8081 -- "$BUILD/isomctl" register foo
	refuses 1 "fd 3: it is not a TCP or UDP socket" \
		pass_sockets file:/etc/passwd tcp:127.0.0.1:8080 -- "$BUILD/isomctl" register foo
}

@test "two sockets for one destination: the error names both" {
	refuses 1 "cannot register both tcp 127.0.0.1 8080 (fd 3) and tcp 127.0.0.1 8081 (fd 4)" \
		pass_sockets tcp:127.0.0.1:8080 tcp:127.0.0.1:8081 -- "$BUILD/isomctl" register foo
	[[ $REFUSAL == *"tcp 127.0.0.1 8080"*"tcp 127.0.0.1 8081"* ]]
	# The dual-stack one takes IPv4, too.
	refuses 1 "cannot register both udp 127.0.0.1 8080 (fd 3) and udp :: 8081 (fd 4)" \
		pass_sockets udp:127.0.0.1:8080 "udp:[::]:8081" -- "$BUILD/isomctl" register foo
}
