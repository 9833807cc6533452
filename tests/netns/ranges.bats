# shellcheck shell=bash
#
# Ranges of ports: LO-HI wherever a port stands, the narrower range before the wider one, and ranges that cut each other.
load ../lib/netns
load ../lib/refusing

setup() {
	netns_setup
	isomctl load
	for name in one two three; do
		start_server --name $name tcp:127.0.0.1:$((PORT += 1)) udp:127.0.0.1:$PORT
		isomctl register-pid "$SERVER_PID" $name tcp 127.0.0.1 $PORT
		isomctl register-pid "$SERVER_PID" $name udp 127.0.0.1 $PORT
	done
}
PORT=1000

# expect_ports NAME PORT...: that server answers at these ports of 127.0.0.9; "refused" stands for none.
expect_ports() {
	local name=$1 port
	shift
	for port; do
		if [[ $name == refused ]]; then
			assert_refused tcp 127.0.0.9 "$port"
		else
			assert_answer "$name" tcp 127.0.0.9 "$port"
		fi
	done
}

@test "a range has its ports, from the first to the last, and no other" {
	isomctl bind one tcp 127.0.0.0/24 8000-8999
	expect_ports one 8000 8001 8500 8999
	expect_ports refused 7999 9000
	assert_refused udp 127.0.0.9 8000
	isomctl unbind one tcp 127.0.0.0/24 8000-8999
	expect_ports refused 8000 8500 8999
}

@test "the ends of all ports: 1 and 65535" {
	isomctl bind one tcp 127.0.0.0/24 1-65535
	expect_ports one 1 2 65534 65535
	isomctl bind two tcp 127.0.0.0/24 65535
	isomctl bind three tcp 127.0.0.0/24 1
	expect_ports two 65535
	expect_ports three 1
	expect_ports one 2 65534
}

@test "one port wins over a range, a narrow range over a wide one, that over all ports; a longer prefix over all" {
	isomctl bind one tcp 127.0.0.0/24 '*'
	isomctl bind two tcp 127.0.0.0/24 100-199
	isomctl bind three tcp 127.0.0.0/24 150-159
	isomctl bind one tcp 127.0.0.0/24 155
	expect_ports one 99 200 155
	expect_ports two 100 149 160 199
	expect_ports three 150 154 156 159
	isomctl bind one tcp 127.0.0.0/25 140-165
	expect_ports one 140 150 155 159 165
	expect_ports two 139 166
	isomctl unbind one tcp 127.0.0.0/25 140-165
	isomctl unbind three tcp 127.0.0.0/24 150-159
	expect_ports two 100 150 154 199
	expect_ports one 155
}

@test "ranges of other prefixes may cut each other" {
	isomctl bind one tcp 127.0.0.0/24 100-199
	isomctl bind two tcp 127.0.0.0/25 150-249
	isomctl bind three tcp 127.0.0.9 120-170
	expect_ports one 100 119
	expect_ports three 120 149 150 170
	expect_ports two 171 199 200 249
	expect_ports refused 99 250
	isomctl unbind three tcp 127.0.0.9 120-170
	expect_ports one 100 120 149
	expect_ports two 150 170 249
	isomctl unbind one tcp 127.0.0.0/24 100-199
	expect_ports refused 100 149
	expect_ports two 150 249
}

@test "on one prefix, a range that cuts another is refused, and the other is named" {
	isomctl bind one tcp 127.0.0.0/24 100-199
	for ports in 50-100 50-150 199-250 150-250; do
		refuses 1 "tcp 127.0.0.0/24 100-199, bound under label \"one\", overlaps it" \
			isomctl bind two tcp 127.0.0.0/24 $ports
	done
	expect_ports one 100 199
	expect_ports refused 50 99 200 250
	# Beside it, around it, within it, and with other protocols and prefixes they may be.
	isomctl bind two tcp 127.0.0.0/24 50-99
	isomctl bind two tcp 127.0.0.0/24 200-250
	isomctl bind two tcp 127.0.0.0/24 40-260
	isomctl bind two tcp 127.0.0.0/24 100-110
	isomctl bind two udp 127.0.0.0/24 150-250
	isomctl bind two tcp 127.0.0.0/25 150-250
	refuses 1 "-:2:" isomctl load-bindings - <<-'END'
		{"bindings": [{"label": "one", "prefix": "127.0.0.0/8", "port": "10-20"},
			{"label": "one", "prefix": "127.0.0.0/8", "port": "15-25", "protocol": "tcp"}]}
	END
	[[ $REFUSAL == *"binding 2: cannot bind tcp 127.0.0.0/8 15-25 "*"10-20"*"overlaps it"*"(the other is binding 1, at line 1)"* ]] || fail "$REFUSAL"
}

@test "a range moves to another label, in all of its ports at once" {
	isomctl bind one tcp 127.0.0.0/24 100-199
	isomctl bind one tcp 127.0.0.0/25 150-160
	[[ $(isomctl bind two tcp 127.0.0.0/24 100-199) == "moved tcp 127.0.0.0/24 100-199 from one to two" ]]
	[[ $(isomctl bind two tcp 127.0.0.0/24 100-199) == "bound tcp 127.0.0.0/24 100-199 to two" ]]
	expect_ports two 100 149 161 199
	expect_ports one 150 160
	isomctl unbind one tcp 127.0.0.0/25 150-160
	expect_ports two 150 160
	refuses 1 'it is bound to "two": isomctl unbind two tcp 127.0.0.0/24 100-199' isomctl unbind one tcp 127.0.0.0/24 100-199
	refuses 1 "it isn't bound" isomctl unbind two tcp 127.0.0.0/24 100-198
}

@test "IPv6 and UDP" {
	start_server --name six "tcp:[::1]:1010" "udp:[::1]:1010"
	isomctl register-pid "$SERVER_PID" six udp ::1 1010
	isomctl bind six udp ::/0 5000-5999
	isomctl bind none udp ::1 5500-5509
	assert_answer six udp ::1 5000
	assert_answer six udp ::1 5999
	assert_answer six udp ::1 5510
	assert_refused udp ::1 5500
	isomctl bind two udp 127.0.0.0/8 5000-5999
	assert_answer two udp 127.0.0.9 5000
}

@test "listings, filters and JSON have ranges" {
	isomctl bind one tcp 127.0.0.0/24 8000-8999
	isomctl bind two tcp 127.0.0.0/24 80
	isomctl bind three tcp 127.0.0.0/24 '*'
	diff <(isomctl bindings | awk '{ print $1, $4 }') - <<-'END'
		LABEL PORT
		two 80
		one 8000-8999
		three *
	END
	[[ $(isomctl bindings --port 8500 | awk 'NR > 1 { print $1 }' | paste -sd,) == one,three ]]
	[[ $(isomctl bindings --port 70-90 | awk 'NR > 1 { print $1 }' | paste -sd,) == two,three ]]
	isomctl --json bindings > "$BATS_TEST_TMPDIR/saved.json"
	grep -q '"port": "8000-8999"' "$BATS_TEST_TMPDIR/saved.json"
	isomctl load-bindings - <<< '{"bindings": []}'
	expect_ports refused 8000
	isomctl load-bindings "$BATS_TEST_TMPDIR/saved.json"
	expect_ports one 8000 8999
	expect_ports two 80
	diff <(isomctl --json bindings) "$BATS_TEST_TMPDIR/saved.json"
}

@test "a range beside 5,000 single ports costs what ranges cut it, not what it holds" {
	python3 -c '
import json
print(json.dumps({"bindings": [{"label": "two", "protocol": "tcp", "prefix": "0.0.0.0/0", "port": port} for port in range(10000, 15000)]
	+ [{"label": "one", "protocol": "tcp", "prefix": "0.0.0.0/0", "port": "1024-65535"}]}))' > "$BATS_TEST_TMPDIR/many.json"
	isomctl load-bindings "$BATS_TEST_TMPDIR/many.json" >/dev/null
	expect_ports one 1024 9999 15000 65535
	expect_ports two 10000 14999
	expect_ports refused 1023
	# 10,002 slots for 5,001 entries; had each port one, it would take over 100,000.
	table=$(in_ns find /sys/fs/bpf/isomer -name slots)
	in_ns bpftool map show pinned "$table" | grep -q 'max_entries 16384 '
}
