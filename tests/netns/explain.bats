# shellcheck shell=bash
#
# isomctl explain: what happens to a packet, and why. That it is right about thousands of packets, the random test of
# random.bats sees; here is what it says, and what it tells beyond the dispatcher.
load ../lib/netns
load ../lib/refusing
load ../lib/json

setup() {
	netns_setup
	isomctl load
}

# register LABEL PROTOCOL ADDRESS PORT: the last server's socket there.
register() { isomctl register-pid "$SERVER_PID" "$@"; }

# explain PROTOCOL ADDRESS PORT: its JSON goes to EXPLAINED.
explain() { EXPLAINED=$(isomctl explain --json "$@"); }

# explain_by_tables PROTOCOL ADDRESS PORT: the same, for those who may not run the program.
explain_by_tables() {
	EXPLAINED=$(in_ns setpriv --bounding-set=-sys_admin "$BUILD/isomctl" explain --json "$@")
}

# start_python PROGRAM: runs it in the namespace, returns once it has printed a line, and sets SERVER_PID.
start_python() {
	start_and_read SERVER_PID setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount python3 -uc "$1"
	SERVERS+=("$SERVER_PID")
}

# is EXPRESSION TEXT: of the last explanation.
is() {
	local value
	value=$(json "($1)" <<<"$EXPLAINED")
	[[ $value == "$2" ]] || fail "$1: expected \"$2\", got \"$value\" in:" "$EXPLAINED"
}

# Does this kernel run sk_lookup programs on request? All from Linux 5.13 on do, and some releases of 5.10, as EXPLAINED shows.
runs_trials() {
	[[ $(printf '%s\n' 5.13 "$(uname -r)" | sort -V | head -n 1) == 5.13 || $EXPLAINED == *'"asked": "program"'* ]]
}

@test "of the bindings that match, it tells which wins and by which rule" {
	start_server --name web tcp:127.0.0.1:9999
	register web tcp 127.0.0.1 9999
	isomctl bind web tcp 127.0.0.0/24 80
	isomctl bind web tcp 127.0.0.0/24 70-90
	isomctl bind other tcp 127.0.0.0/24 0
	isomctl bind other tcp 127.0.0.0/8 80
	isomctl bind other udp 127.0.0.0/24 80
	isomctl bind other tcp 127.0.1.0/24 80
	explain tcp 127.0.0.7 80
	is 'root["verdict"]' dispatched
	is 'root["label"]' web
	is '[(b["prefix"], b["port"], b["wins"], b["rule"]) for b in root["bindings"]]' \
		"[('127.0.0.0/24', 80, True, 'narrowest_ports'), ('127.0.0.0/24', '70-90', False, 'wider_ports'), \
('127.0.0.0/24', 0, False, 'wider_ports'), ('127.0.0.0/8', 80, False, 'shorter_prefix')]"
	explain tcp 127.0.0.7 91
	is 'root["verdict"]' refused
	is '[(b["label"], b["rule"]) for b in root["bindings"]]' "[('other', 'only')]"
	isomctl bind web tcp 127.0.0.7 0
	explain tcp 127.0.0.7 91
	is 'root["verdict"], root["bindings"][0]["rule"]' "('dispatched', 'longest_prefix')"

	text=$(isomctl explain tcp 127.0.0.7 80)
	[[ $text == 'tcp 127.0.0.7 80: dispatched to label web'$'\n'* ]]
	[[ $text == *'wins: the longest prefix'*'its prefix is shorter'*"Socket: 127.0.0.1:9999"* ]]
	[[ $text == *"of echo-server (process $SERVER_PID)"* ]]
}

@test "the answer is the loaded program's own, which counts the question; the tables give the same" {
	start_server --name web tcp:127.0.0.1:9999
	register web tcp 127.0.0.1 9999
	isomctl bind web tcp 127.0.0.0/24 80
	explain tcp 127.0.0.1 80
	is 'root["socket"]["address"], root["socket"]["port"], root["socket"]["process"]["pid"]' \
		"('127.0.0.1', 9999, $SERVER_PID)"
	is 'root["counters"]' "{'lookups': 0, 'misses': 0, 'errors': 0}"
	if runs_trials; then
		is 'root["asked"], root["counted"]' "('program', True)"
		[[ $(isomctl status --json | json 'root["destinations"][0]["lookups"]') == 1 ]]
	else
		is 'root["asked"], root["counted"]' "('tables', False)"
		[[ $(isomctl status --json | json 'root["destinations"][0]["lookups"]') == 0 ]]
	fi
	before=$EXPLAINED
	explain_by_tables tcp 127.0.0.1 80
	is 'root["asked"], root["counted"]' "('tables', False)"
	is 'root["verdict"], root["socket"], root["bindings"]' \
		"$(json '(root["verdict"], root["socket"], root["bindings"])' <<<"$before")"
}

@test "why a packet is refused: no socket, a socket that was closed, one of the other family" {
	isomctl bind web tcp 127.0.0.0/24 80
	explain tcp 127.0.0.1 80
	is 'root["verdict"], root["reason"], root["socket"]' "('refused', 'the label has no ipv4 tcp socket', None)"
	start_server --name web tcp:127.0.0.1:9999
	register web tcp 127.0.0.1 9999
	isomctl bind web tcp ::1 80
	explain tcp ::1 80
	is 'root["verdict"], root["reason"]' "('refused', 'the label has no ipv6 tcp socket')"
	is '[root["notes"][0][key] for key in ("kind", "remedy")]' "['no_socket', 'isomctl register-pid PID web tcp ADDRESS PORT']"
	stop_server "$SERVER_PID"
	explain tcp 127.0.0.1 80
	is 'root["verdict"]' refused
	is 'root["reason"]' 'the label has no ipv4 tcp socket any more: the one that the administrator registered is closed'
}

@test "what no binding holds is the kernel's affair: who listens there, or nobody" {
	start_server --name wild --reuseport 'tcp:[::]:80' 'udp:[::]:80'
	wild=$SERVER_PID
	explain tcp 127.0.0.1 80
	is 'root["verdict"], root["label"], root["bindings"], root["counters"]' "('not_bound', None, [], None)"
	is 'root["socket"]["process"]["pid"], root["socket"]["address"]' "($wild, '::')"
	start_server --name exact --reuseport tcp:127.0.0.1:80
	explain tcp 127.0.0.1 80
	is 'root["socket"]["process"]["pid"]' "$SERVER_PID"
	explain tcp 127.0.0.1 81
	is 'root["verdict"], root["socket"]' "('not_bound', None)"
	# Once it is bound, those get nothing, and are told of.
	isomctl bind web udp 127.0.0.0/8 80
	explain udp 127.0.0.1 80
	is 'root["verdict"], root["socket"], [n["kind"] for n in root["notes"]]' "('refused', None, ['passed_over', 'no_socket'])"
}

@test "an address that isn't local: packets don't arrive, and which route would have them do so" {
	isomctl bind web tcp 192.0.2.0/24 80
	isomctl bind web tcp 2001:db8::/64 80
	explain tcp 192.0.2.7 80
	is 'root["arrives"], root["notes"][0]["kind"]' "(False, 'not_local')"
	is 'root["notes"][0]["remedy"]' 'ip route add local 192.0.2.0/24 dev lo'
	[[ $(isomctl explain tcp 192.0.2.7 80) == *"192.0.2.7 80: doesn't arrive;"*'Do: ip route add local '* ]]
	in_ns sh -c "$(json 'root["notes"][0]["remedy"]' <<<"$EXPLAINED")"
	explain tcp 192.0.2.7 80
	is 'root["arrives"], [n["kind"] for n in root["notes"] if n["kind"] != "no_socket"]' '(True, [])'
	explain tcp 2001:db8::7 80
	in_ns sh -c "$(json 'root["notes"][0]["remedy"]' <<<"$EXPLAINED")"
	explain tcp 2001:db8::7 80
	is 'root["arrives"], [n["kind"] for n in root["notes"] if n["kind"] != "no_socket"]' '(True, [])'
	explain tcp 198.51.100.1 99
	is 'root["verdict"], root["notes"][0]["remedy"]' "('not_bound', 'ip route add local 198.51.100.1/32 dev lo')"
	# What other machines have stays theirs: of a binding that holds this one's subnet, or everything, the address alone.
	isomctl bind all tcp 0.0.0.0/0 8080
	in_ns ip link add veth0 type veth peer veth1
	in_ns ip address add 192.168.7.1/24 dev veth0
	in_ns ip link set veth0 up
	in_ns ip route add default via 192.168.7.254
	isomctl bind lan tcp 192.168.7.0/24 80
	explain tcp 203.0.113.9 8080
	is 'root["notes"][0]["remedy"]' 'ip route add local 203.0.113.9/32 dev lo'
	explain tcp 192.168.7.9 80
	is 'root["notes"][0]["remedy"]' 'ip route add local 192.168.7.9/32 dev lo'
	[[ $(isomctl explain tcp 192.168.7.9 80) == *'what the machine sends there goes elsewhere, and wouldn'* ]]
	explain tcp 127.255.255.255 80
	is 'root["arrives"], root["notes"][0]["remedy"]' '(False, None)'
	explain udp 224.0.0.1 5353
	is 'root["arrives"], root["notes"][0]["remedy"]' '(False, None)'
	[[ $(isomctl explain udp 255.255.255.255 67) == *'broadcast address: what is sent there is not dispatched'* ]]
	[[ $(isomctl explain udp 255.255.255.255 67) != *'Do:'* ]]
	[[ $(isomctl explain tcp fe80::1 80) == *'link-local address, and no interface here has it'*'Do: ip address add fe80::1/64 dev INTERFACE'* ]]
	[[ $(isomctl explain udp ff02::fb 5353) == *'multicast address: what is sent there is not dispatched'* ]]
}

@test "a label in a command that is proposed is a word of it, whatever is in it" {
	local label
	for label in 'two words' "it's" -dash '--' 'a;b' \$HOME $'esc\e[31m' 'web'; do
		isomctl bind -- "$label" tcp 127.9.0.1 80
		explain tcp 127.9.0.1 80
		word=$(json 'root["notes"][0]["remedy"]' <<<"$EXPLAINED")
		[[ $word != *$'\e'* ]]
		word=${word#isomctl register-pid PID } word=${word% tcp ADDRESS PORT} word=${word#-- }
		[[ $(eval "printf %s $word") == "$label" ]] || fail "$label: $word"
		isomctl unbind -- "$label" tcp 127.9.0.1 80
	done
	[[ $(isomctl explain tcp 127.9.0.1 80) != *$'\e'* ]]
}

@test "commands that are proposed are about the network namespace and the BPF file system that were asked about" {
	local netns="$BATS_TEST_TMPDIR/the netns" bpffs=$BATS_TEST_TMPDIR/bpf
	touch "$netns"
	mkdir "$bpffs"
	in_ns mount --bind "/proc/$NETNS_PID/ns/net" "$netns"
	in_ns mount -t bpf bpf "$bpffs"
	isomctl unload
	isomctl() { nsenter --target "$NETNS_PID" --mount "$BUILD/isomctl" --netns "$netns" --bpffs "$bpffs" "$@"; }
	isomctl load
	isomctl bind web tcp 127.0.0.1 80
	isomctl bind web tcp 192.0.2.7 80
	explain tcp 127.0.0.1 80
	is 'root["notes"][0]["remedy"]' \
		"isomctl --netns '$netns' --bpffs $bpffs register-pid PID web tcp ADDRESS PORT"
	explain tcp 192.0.2.7 80
	is 'root["notes"][0]["remedy"]' "nsenter --net='$netns' ip route add local 192.0.2.7/32 dev lo"
	in_ns umount "$netns" "$bpffs"
}

@test "the route that would have packets arrive: where lo is down, and in the network namespace that was asked about" {
	local netns=/proc/$NETNS_PID/ns/net
	isomctl bind web tcp 192.0.2.0/24 80
	in_ns ip link set lo down
	for address in 192.0.2.7 127.0.0.1; do
		explain tcp $address 80
		is 'root["arrives"]' False
		in_ns sh -c "$(json 'root["notes"][0]["remedy"]' <<<"$EXPLAINED")"
		explain tcp $address 80
		is 'root["arrives"], [n["kind"] for n in root["notes"] if n["kind"] != "no_socket"]' '(True, [])'
		in_ns ip link set lo down
	done
	isomctl() { nsenter --target "$NETNS_PID" --mount "$BUILD/isomctl" --netns "$netns" "$@"; }
	explain tcp 192.0.2.7 80
	is 'root["notes"][0]["remedy"]' "nsenter --net=$netns ip link set lo up"
	explain tcp 198.51.100.1 80
	is 'root["notes"][0]["remedy"]' \
		"nsenter --net=$netns ip link set lo up && nsenter --net=$netns ip route add local 198.51.100.1/32 dev lo"
}

@test "a queue of connections that is full is told of" {
	isomctl bind slow tcp 127.0.0.0/24 80
	# A server that never accepts, with room for two; the clients stay, too.
	start_python '
import socket, sys, time
server = socket.create_server(("127.0.0.1", 9999), backlog=1)
clients = [socket.create_connection(("127.0.0.1", 9999)) for i in range(2)]
print("listening")
time.sleep(1000)'
	register slow tcp 127.0.0.1 9999
	explain tcp 127.0.0.1 80
	is 'root["socket"]["queue"]' "{'waiting': 2, 'limit': 2, 'full': True}"
	is 'root["notes"][0]["kind"]' queue_full
}

@test "a connected UDP socket gets its peer's datagrams first" {
	start_server --name dns udp:127.0.0.1:5353
	register dns udp 127.0.0.1 5353
	isomctl bind dns udp 127.0.0.0/24 53
	explain udp 127.0.0.1 53
	is 'root["socket"]["port"], root["socket"]["queue"], root["notes"]' '(5353, None, [])'
	start_python '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
s.connect(("127.0.0.9", 4242))
print("connected")
time.sleep(1000)'
	explain udp 127.0.0.1 53
	is 'root["verdict"], root["socket"]["port"], root["notes"][0]["kind"]' "('dispatched', 5353, 'connected_udp')"
	[[ $EXPLAINED == *'datagrams from 127.0.0.9:4242 go to a UDP socket'*"process $SERVER_PID"* ]]
	explain udp 127.0.0.2 53
	is 'root["notes"]' '[]'
}

@test "of a SO_REUSEPORT group, which member it is a packet alone decides" {
	start_server --name group --reuseport tcp:127.0.0.1:9999 tcp:127.0.0.1:9999
	register group tcp 127.0.0.1 9999
	isomctl bind group tcp 127.0.0.0/24 80
	explain tcp 127.0.0.1 80
	is 'root["verdict"], root["socket"]["port"]' "('dispatched', 9999)"
	if runs_trials; then
		is 'root["socket"]["group"]' True
		[[ $(isomctl explain tcp 127.0.0.1 80) == *'or another of its SO_REUSEPORT group'* ]]
	fi
}

@test "explain refuses what it can't understand" {
	refuses 2 'it needs PROTOCOL, ADDRESS and PORT' isomctl explain
	refuses 2 '"icmp" is not a protocol' isomctl explain icmp 127.0.0.1 80
	refuses 2 'is not an IP address' isomctl explain tcp 127.0.0.0/8 80
	refuses 2 '"0" is not a port' isomctl explain tcp 127.0.0.1 0
	isomctl unload
	refuses 1 'no dispatcher is loaded' isomctl explain tcp 127.0.0.1 80
}
