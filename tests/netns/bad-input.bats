# shellcheck shell=bash
#
# Malformed arguments, for every command: isomctl neither crashes nor hangs, says what is wrong on stderr, with the usage
# where that helps, and leaves everything as it was.
load ../lib/netns
load ../lib/refusing

setup() {
	netns_setup
	isomctl load
	start_server --name foo tcp:127.0.0.1:8080
	isomctl bind foo tcp 127.0.0.9 80
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	before=$(everything)
}

# What no wrong command may change.
everything() {
	isomctl --json bindings
	isomctl --json status
	in_ns find /sys/fs/bpf
}

# refuses_all STATUS: each line on stdin is the words of a wrong command, as a shell reads them, maybe with a tab and a
# text that the error has to have.
refuses_all() {
	local words text
	while IFS=$'\t' read -r words text; do
		eval "set -- $1 $words"
		refuses "$1" "$text" in_ns timeout --kill-after=1 10 "$BUILD/isomctl" "${@:2}"
		[[ $REFUSAL ]] || fail "$words: it says nothing"
	done
	# shellcheck disable=SC2154 # from setup
	diff <(everything) - <<< "$before"
	assert_answer foo tcp 127.0.0.9 80
}

@test "no command, wrong commands, wrong options" {
	refuses_all 2 <<-'END'
		 	Usage:
		none	no command "none"
		''
		Bind foo tcp 127.0.0.1 80
		help none	no command "none": see
		--help none	no command "none"
		staus	no command "staus": did you mean status?
		bnd foo tcp 127.0.0.1 80	did you mean bind?
		--none
		--netns
		--bpffs
		--json
		--json=yes bindings
		-x status
		-- none
		load --force	no such option
		status -x	no such option
		bindings --none
		bindings --label
	END
}

@test "too few arguments and too many" {
	refuses_all 2 <<-'END'
		load now	"now"
		unload now
		upgrade now
		version 1
		bind
		bind foo
		bind foo tcp
		bind foo tcp 127.0.0.1	it needs PORT as well
		bind tcp 127.0.0.1 80	it needs LABEL PROTOCOL PREFIX PORT, and "127.0.0.1" is not a protocol: write tcp or udp
		explain 192.0.2.7 80	it needs PROTOCOL ADDRESS PORT, and "192.0.2.7" is not a protocol
		explain tcp 127.0.0.1:80	"127.0.0.1:80" is not an IP address: write the port after a blank
		bind foo tcp 127.0.0.1 80 81	"81"
		unbind foo tcp 127.0.0.1
		unbind foo tcp 127.0.0.9 80 foo
		bindings foo	"foo"
		load-bindings
		load-bindings a b
		register
		register foo bar
		register-pid 1 foo tcp 127.0.0.1
		register-pid 1 foo tcp 127.0.0.1 80 81
		unregister foo ipv4
		unregister foo ipv4 tcp 80
		status foo bar
	END
}

@test "wrong labels, protocols and families" {
	refuses_all 2 <<-'END'
		bind '' tcp 127.0.0.1 80	empty
		bind "$(printf %0256d 0)" tcp 127.0.0.1 80	256 bytes
		register ''
		register-pid 1 '' tcp 127.0.0.1 80
		bind foo tcp 127.0.0.1 -80	"-80": no such option, and numbers here are not negative
		bind foo tpc 127.0.0.1 80	"tpc" is not a protocol: write tcp or udp
		bind foo '' 127.0.0.1 80
		bind foo 6 127.0.0.1 80
		bind foo "$(printf %100000d 0)" 127.0.0.1 80
		unbind foo sctp 127.0.0.9 80
		bindings --protocol tcpp
		bindings --protocol ''
		register-pid 1 foo tcp/udp 127.0.0.1 80
		unregister foo ip tcp	"ip" is not an address family: write ipv4 or ipv6
		unregister foo '' tcp
		unregister foo ipv4 icmp
	END
}

@test "wrong addresses and prefixes" {
	refuses_all 2 <<-'END'
		bind foo tcp '' 80
		bind foo tcp localhost 80	"localhost" is not an IP prefix
		bind foo tcp 127.0.0 80
		bind foo tcp 127.0.0.256 80
		bind foo tcp 127.0.0.1.1 80
		bind foo tcp 0x7f000001 80
		bind foo tcp ' 127.0.0.1' 80
		bind foo tcp '127.0.0.1 ' 80
		bind foo tcp 127.0.0.1/ 80	wrong length: write /0 to /32
		bind foo tcp 127.0.0.1/33 80	/0 to /32
		bind foo tcp 127.0.0.1/-1 80
		bind foo tcp 127.0.0.1/+8 80
		bind foo tcp '127.0.0.1/ 8' 80
		bind foo tcp 127.0.0.1/8/8 80
		bind foo tcp 127.0.0.1/255.0.0.0 80
		bind foo tcp 127.0.0.1/4294967304 80
		bind foo tcp /8 80
		bind foo tcp ::1/129 80	/0 to /128
		bind foo tcp ::1::2 80
		bind foo tcp :::: 80
		bind foo tcp fe80::1%lo 80
		bind foo tcp '[::1]' 80
		bind foo tcp 12345::1 80
		bind foo tcp ::ffff:192.0.2.1 80	IPv4-mapped IPv6 prefix: write 192.0.2.1/32
		bind foo tcp ::ffff:192.0.2.0/120 80	write 192.0.2.0/24
		bind foo tcp ::ffff:0:0/96 80	write 0.0.0.0/0
		bind foo tcp "$(printf %0100000d 0)" 80
		unbind foo tcp 127.0.0.9/33 80
		bindings --ip 127.0.0.9/33
		bindings --ip ''
		register-pid --wait while 1 foo tcp 127.0.0.1 80	--wait: "while" is not a time span
		register-pid 1 foo tcp 127.0.0.1/32 80	not an IP address
		register-pid 1 foo tcp localhost 80	"localhost" is not an IP address: write one like 192.0.2.1
		bind foo tcp [::1]:80 80	"[::1]:80" is not an IP prefix: write the port after a blank
		register-pid 1 foo tcp ::ffff:127.0.0.1 80	write 127.0.0.1
	END
}

@test "wrong ports" {
	refuses_all 2 <<-'END'
		bind foo tcp 127.0.0.1 ''
		bind foo tcp 127.0.0.1 -1
		bind foo tcp 127.0.0.1 65536	a number from 1 to 65535, a range LO-HI, or 0 or * for all
		bind foo tcp 127.0.0.1 4294967376
		bind foo tcp 127.0.0.1 18446744073709551696
		bind foo tcp 127.0.0.1 http
		bind foo tcp 127.0.0.1 80x
		bind foo tcp 127.0.0.1 ' 80'
		bind foo tcp 127.0.0.1 +80
		bind foo tcp 127.0.0.1 0x50
		bind foo tcp 127.0.0.1 80.0
		bind foo tcp 127.0.0.1 '**'
		bind foo tcp 127.0.0.1 80,81
		unbind foo tcp 127.0.0.9 65616
		bind foo tcp 127.0.0.1 80-	not a range of ports
		bind foo tcp 127.0.0.1 90-80	write 80-90
		bind foo tcp 127.0.0.1 0-80	numbers from 1 to 65535
		bind foo tcp 127.0.0.1 80-65536
		bindings --port 65536
		register-pid 1 foo tcp 127.0.0.1 0
		register-pid 1 foo tcp 127.0.0.1 65536
	END
}

@test "processes, files and namespaces that aren't there or aren't what they should be" {
	printf '1\n2\n' > "$BATS_TEST_TMPDIR/two"
	printf '%01000d\n' 1 > "$BATS_TEST_TMPDIR/long"
	: > "$BATS_TEST_TMPDIR/empty"
	refuses_all 1 <<-END
		register-pid 0 foo tcp 127.0.0.1 80	write a number from 1, or the path of a PID file
		register-pid -- -1 foo tcp 127.0.0.1 80
		register-pid 4194305 foo tcp 127.0.0.1 80
		register-pid 4294967297 foo tcp 127.0.0.1 80
		register-pid 99999999999999999999 foo tcp 127.0.0.1 80
		register-pid 0x1 foo tcp 127.0.0.1 80
		register-pid '' foo tcp 127.0.0.1 80
		register-pid / foo tcp 127.0.0.1 80
		register-pid /dev/null foo tcp 127.0.0.1 80
		register-pid /dev/zero foo tcp 127.0.0.1 80
		register-pid $BATS_TEST_TMPDIR/empty foo tcp 127.0.0.1 80
		register-pid $BATS_TEST_TMPDIR/long foo tcp 127.0.0.1 80
		register-pid 2 foo tcp 127.0.0.1 80
		load-bindings /dev/null
		load-bindings ''
		load-bindings $BATS_TEST_TMPDIR/two
		--netns '' status
		--netns / status
		--netns /dev/null status
		--netns /proc/self/ns/mnt status
		--bpffs '' status
		--bpffs / status
		--bpffs /dev/null load
		--bpffs /none unload
		status none
		unregister none ipv4 tcp
		unregister foo ipv6 tcp
		unbind none tcp 127.0.0.9 80
	END
}

@test "environment variables that lie about passed sockets" {
	local setting
	for setting in "LISTEN_FDS=1" "LISTEN_FDS=-1" "LISTEN_FDS=99999999999" "LISTEN_FDS=x" "LISTEN_FDS=0"; do
		# shellcheck disable=SC2016 # for the inner shell
		refuses 1 "" in_ns bash -c 'export LISTEN_PID=$$ "$1"; shift; exec "$@" 3<&-' - "$setting" \
			"$BUILD/isomctl" register foo
		[[ $REFUSAL ]]
	done
	diff <(everything) - <<< "$before"
}

@test "without standard input, output and errors" {
	in_ns bash -c 'exec "$@" 0<&- 1<&- 2<&-' - "$BUILD/isomctl" bind foo tcp 127.0.0.9 80 || (($? == 1))
	in_ns bash -c 'exec "$@" 0<&- 1<&- 2<&-' - "$BUILD/isomctl" bind foo tpc 127.0.0.9 80 || (($? == 2))
	diff <(everything) - <<< "$before"
	assert_answer foo tcp 127.0.0.9 80
}
