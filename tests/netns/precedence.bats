# shellcheck shell=bats
#
# Which of several bindings a packet follows. All labels have servers that take TCP and UDP over IPv4 and IPv6, so that
# who answers tells which binding was chosen, and nothing else.
load ../lib/netns

setup() {
	netns_setup
	isomctl load
	in_ns ip route add local 192.0.2.0/24 dev lo
	in_ns ip route add local 2001:db8::/32 dev lo
	label wide 1001
	label narrow 1002
}

# label NAME PORT: starts a server and registers it under its name.
label() {
	start_server --name "$1" "tcp:[::]:$2" "udp:[::]:$2"
	isomctl register-pid "$SERVER_PID" "$1" tcp :: "$2"
	isomctl register-pid "$SERVER_PID" "$1" udp :: "$2"
}

@test "the longest prefix wins, whichever was bound first" {
	isomctl bind wide tcp 192.0.2.0/24 80
	isomctl bind narrow tcp 192.0.2.128/25 80
	isomctl bind narrow udp 192.0.2.128/25 80
	isomctl bind wide udp 192.0.2.0/24 80
	for protocol in tcp udp; do
		assert_answer wide $protocol 192.0.2.127 80
		assert_answer narrow $protocol 192.0.2.128 80
		assert_answer narrow $protocol 192.0.2.255 80
	done

	isomctl bind wide tcp 2001:db8::/32 80
	isomctl bind narrow tcp 2001:db8:0:8000::/49 80
	assert_answer wide tcp 2001:db8:0:7fff::1 80
	assert_answer narrow tcp 2001:db8:0:8000:: 80
	isomctl bind wide tcp 2001:db8:0:8000::1 80
	assert_answer wide tcp 2001:db8:0:8000::1 80
	assert_answer narrow tcp 2001:db8:0:8000::2 80
}

@test "among equal prefixes, one port comes before all ports" {
	for prefix in 192.0.2.0/24 2001:db8::/64; do
		isomctl bind narrow tcp $prefix 80
		isomctl bind wide tcp $prefix 0
	done
	for address in 192.0.2.1 2001:db8::1; do
		assert_answer narrow tcp $address 80
		assert_answer wide tcp $address 81
	done
}

@test "a longer prefix with all ports comes before a shorter one with the very port" {
	isomctl bind wide tcp 192.0.2.0/24 80
	isomctl bind narrow tcp 192.0.2.7 0
	assert_answer narrow tcp 192.0.2.7 80
	assert_answer wide tcp 192.0.2.8 80
}

@test "0 and * are all ports, from the first to the last" {
	isomctl bind wide tcp 192.0.2.1 0
	isomctl bind narrow tcp 192.0.2.2 '*'
	for port in 1 1001 1002 32768 65535; do
		assert_answer wide tcp 192.0.2.1 $port
		assert_answer narrow tcp 192.0.2.2 $port
	done
	isomctl bind narrow tcp 192.0.2.3 65535
	assert_answer narrow tcp 192.0.2.3 65535
	assert_refused tcp 192.0.2.3 65534
}

@test "TCP and UDP are bound apart" {
	isomctl bind wide tcp 192.0.2.0/24 53
	assert_refused udp 192.0.2.1 53
	isomctl bind narrow udp 192.0.2.0/24 53
	assert_answer wide tcp 192.0.2.1 53
	assert_answer narrow udp 192.0.2.1 53
}

@test "IPv4 and IPv6 are bound apart: ::/0 is not for IPv4, 0.0.0.0/0 is not for IPv6" {
	isomctl bind wide tcp ::/0 80
	assert_answer wide tcp 2001:db8::1 80
	assert_refused tcp 192.0.2.1 80
	isomctl bind narrow tcp 0.0.0.0/0 80
	assert_answer narrow tcp 192.0.2.1 80
	assert_answer wide tcp 2001:db8::1 80
	isomctl unbind wide tcp ::/0 80
	assert_refused tcp 2001:db8::1 80
	assert_answer narrow tcp 192.0.2.1 80
}

@test "a /0 takes every address that no longer prefix holds, and both halves of a /1 come before it" {
	isomctl bind wide tcp 0.0.0.0/0 0
	isomctl bind narrow tcp 128.0.0.0/1 80
	assert_answer wide tcp 127.255.255.254 80
	assert_answer narrow tcp 192.0.2.1 80
	assert_answer wide tcp 192.0.2.1 81

	isomctl bind wide tcp ::/0 0
	isomctl bind narrow tcp ::/1 80
	assert_answer narrow tcp 2001:db8::1 80
	assert_answer wide tcp 2001:db8::1 81
}

@test "bits past the prefix's length don't count" {
	isomctl bind wide tcp 192.0.2.77/24 80
	assert_answer wide tcp 192.0.2.200 80
	isomctl bind narrow tcp 192.0.2.0/24 80
	assert_answer narrow tcp 192.0.2.200 80
	isomctl unbind narrow tcp 192.0.2.255/24 80
	assert_refused tcp 192.0.2.200 80

	isomctl bind wide tcp 2001:db8:0:1:2:3:4:5/48 80
	assert_answer wide tcp 2001:db8:0:9:: 80
	assert_refused tcp 2001:db8:1:: 80
}

@test "unbinding uncovers the next, binding again moves" {
	isomctl bind wide tcp 192.0.2.0/24 80
	isomctl bind narrow tcp 192.0.2.0/25 80
	isomctl bind wide tcp 192.0.2.0/26 80
	assert_answer wide tcp 192.0.2.1 80
	isomctl unbind wide tcp 192.0.2.0/26 80
	assert_answer narrow tcp 192.0.2.1 80
	isomctl unbind narrow tcp 192.0.2.0/25 80
	assert_answer wide tcp 192.0.2.1 80
	isomctl bind narrow tcp 192.0.2.0/24 80
	assert_answer narrow tcp 192.0.2.1 80
	isomctl unbind narrow tcp 192.0.2.0/24 80
	assert_refused tcp 192.0.2.1 80
}

@test "a binding whose label has no socket refuses: neither a shorter prefix nor a wildcard server gets its packets" {
	start_server --name wildcard tcp:0.0.0.0:80 udp:0.0.0.0:80
	for protocol in tcp udp; do
		isomctl bind wide $protocol 192.0.2.0/24 80
		isomctl bind nobody $protocol 192.0.2.7 80
		assert_refused $protocol 192.0.2.7 80
		assert_answer wide $protocol 192.0.2.8 80
		assert_answer wildcard $protocol 127.0.0.1 80
	done
}
