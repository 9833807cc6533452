# shellcheck shell=bash disable=SC2317,SC2034 # much is called by its name alone, or is for the tests
#
# For tests that disturb a command again and again: is what is left the old state or the new one, and whole? `load
# ../lib/states`, beside netns.bash.

# shellcheck source=tests/lib/walking.bash
source "${BASH_SOURCE[0]%/*}/walking.bash"

# Two servers to dispatch to, and a third one that lies in wait for packets that go astray.
states_setup() {
	netns_setup
	set_seed
	isomctl load
	start_server --name wildcard tcp:0.0.0.0:80
	start_server --name old tcp:127.0.0.1:8080
	OLD=$SERVER_PID
	start_server --name new tcp:127.0.0.1:8081
	NEW=$SERVER_PID
}

register_both() {
	isomctl register-pid "$OLD" old tcp 127.0.0.1 8080
	isomctl register-pid "$NEW" new tcp 127.0.0.1 8081
}

# 300 bindings to a label: more than fit the tables that an empty dispatcher has.
write_bindings() {
	local label
	for label; do
		python3 -c '
import json, sys
print(json.dumps({"bindings": [{"label": sys.argv[1], "prefix": "127.0.0.0/8", "port": 1 + i} for i in range(300)]}))
' "$label" > "$BATS_TEST_TMPDIR/$label.json"
	done
}

# What leads from one state to another: each of these binds and registers what both have, defines `prepare`, which puts the old
# state back, and sets COMMAND to the words of isomctl's that make the new one.

bind_that_moves() {
	register_both
	prepare() { isomctl bind old tcp 127.0.0.9 80; }
	COMMAND=(bind new tcp 127.0.0.9 80)
}

bind_of_a_range_that_cuts() {
	register_both
	isomctl bind old tcp 127.0.0.0/8 1-1000
	prepare() { isomctl unbind new tcp 127.0.0.0/8 50-100 2>/dev/null || true; }
	COMMAND=(bind new tcp 127.0.0.0/8 50-100)
}

unbind_of_a_range() {
	register_both
	isomctl bind new tcp 127.0.0.0/8 1-1000
	prepare() { isomctl bind old tcp 127.0.0.0/8 50-100; }
	COMMAND=(unbind old tcp 127.0.0.0/8 50-100)
}

# With it, its ports lose their class.
unbind_of_the_only_range() {
	register_both
	isomctl bind new tcp 127.0.0.0/8 '*'
	prepare() { isomctl bind old tcp 127.0.0.0/8 50-100; }
	COMMAND=(unbind old tcp 127.0.0.0/8 50-100)
}

# The range takes two entries, and all the places for the second one are taken: see slot_hash() in bpf/dispatcher.h. So the
# first one is taken back, and the table grows.
bind_of_a_range_into_a_full_table() {
	python3 -c '
import json

SLOTS, MOST_PROBES, TCP, ONE_PORT, PORT_RANGE = 512, 32, 0, 0, 1

def slot(address, kind, length, port):
    key = (TCP * 3 + kind + 1) << 24 | 96 + length << 16 | port
    value = (0xffff << 32 | address) ^ (key * 0xff51afd7ed558ccd & (1 << 64) - 1)
    value = (value ^ value >> 32) * 0xc4ceb9fe1a85ec53
    return (value >> 32) % SLOTS

# One binding for each slot of the probes for class 101 of 127.0.0.0/8, ports 101 to 1000.
first = slot(127 << 24, PORT_RANGE, 8, 101)
free = {(first + i * (i + 1) // 2) % SLOTS for i in range(MOST_PROBES)}
bindings = [{"label": "old", "prefix": "127.0.0.0/8", "protocol": "tcp", "port": "1-1000"}]
for host in range(1 << 16):
    index = slot(127 << 24 | 1 << 16 | host, ONE_PORT, 32, 99)
    if index in free:
        free.remove(index)
        bindings.append({"label": "full", "prefix": f"127.1.{host >> 8}.{host & 255}", "protocol": "tcp",
            "port": 99})
print(json.dumps({"bindings": bindings}))
' > "$BATS_TEST_TMPDIR/full.json"
	prepare() {
		isomctl unload
		isomctl load
		register_both
		isomctl load-bindings "$BATS_TEST_TMPDIR/full.json"
	}
	COMMAND=(bind new tcp 127.0.0.0/8 50-100)
}

load_of_other_bindings() {
	register_both
	write_bindings old new
	prepare() { isomctl load-bindings "$BATS_TEST_TMPDIR/old.json"; }
	COMMAND=(load-bindings "$BATS_TEST_TMPDIR/new.json")
}

# Whoever the socket is passed to ends, or is killed, and so it is closed: the new state is a refusal.
register_of_a_passed_socket() {
	isomctl bind any tcp 127.0.0.9 80
	prepare() { isomctl register-pid "$OLD" any tcp 127.0.0.1 8080; }
	RUNNER=("$BATS_TEST_DIRNAME/pass-sockets" tcp:127.0.0.1:8082 --)
	COMMAND=(register any)
}

unregister_of_a_label() {
	isomctl bind any tcp 127.0.0.9 80
	prepare() { isomctl register-pid "$OLD" any tcp 127.0.0.1 8080; }
	COMMAND=(unregister any ipv4 tcp)
}

unload_of_all() {
	prepare() {
		isomctl load
		isomctl bind old tcp 127.0.0.9 80
		isomctl register-pid "$OLD" old tcp 127.0.0.1 8080
	}
	COMMAND=(unload)
}

# Clients that connect to port 80 of 127.0.0.9 all the while, some hundred times a second.
start_traffic() {
	mkfifo "$BATS_TEST_TMPDIR/questions"
	in_ns "$BUILD/tests/probe" < "$BATS_TEST_TMPDIR/questions" > "$BATS_TEST_TMPDIR/answers" 3>&- &
	SERVERS+=($!)
	{
		while echo tcp 127.0.0.9 80; do
			pause 0.005
		done
	} > "$BATS_TEST_TMPDIR/questions" 2>/dev/null 3>&- &
	SERVERS+=($!)
	wait_until test -s "$BATS_TEST_TMPDIR/answers"
	exec {TRAFFIC}< "$BATS_TEST_TMPDIR/answers"
	drop_traffic
}

# Sets TAKEN to the clients' answers since the last time, a line each; what isn't a whole line yet is for the next time.
take_traffic() {
	mapfile -u "$TRAFFIC" TAKEN
	TAKEN[0]=${HALF:-}${TAKEN[0]:-}
	HALF=
	[[ ${TAKEN[-1]} == *$'\n' ]] || { HALF=${TAKEN[-1]} && unset 'TAKEN[-1]'; }
}

drop_traffic() {
	[[ ${TRAFFIC:-} ]] || return 0 # a test without clients
	take_traffic
	while [[ $HALF ]]; do
		take_traffic
	done
}

# expect_traffic NAME...: the clients' answers since the last time were of these alone.
expect_traffic() {
	local answer
	take_traffic
	while read -r answer; do
		expect_one_of "$answer" "$@" || return
	done < <(printf '%s' "${TAKEN[@]}" | cut -d' ' -f1 | sort -u)
}

# The names of who answers at some ports of 127.0.0.9, each one once.
answers() {
	local port probes=()
	for port; do
		probes+=(tcp 127.0.0.9 "$port")
	done
	probe "${probes[@]}" | cut -d' ' -f1 | sort -u | paste -sd' '
}

# What is listed for port 80 of 127.0.0.9 is what is dispatched.
expect_listed() {
	expect_one_of "$(answers 80)" \
		"$(isomctl bindings --protocol tcp --ip 127.0.0.9 --port 80 | awk 'NR == 2 { print $1 }')"
}

# In bpffs there are the lock, the link, and the program and the nine maps of one generation, with the modes that they are to
# have.
expect_tidy() {
	local pins
	pins=$(in_ns find /sys/fs/bpf/isomer -mindepth 2 -printf '%y %m %f\n' | sed -E 's/ [0-9]+$/ ID/' | sort | awk '
		$3 == "lock" || $3 == "link" || $3 == "program" || $3 == "ID" { print; next } { maps[$1 " " $2]++ }
		END { for (kind in maps) print kind, maps[kind] }' | paste -sd,)
	[[ $pins == "d 700 lock,d 750 ID,f 600 link,f 600 program,f 640 9" ]] || fail "$WHEN: pins:" "$(in_ns find /sys/fs/bpf/isomer -ls)"
}

# The next command works, and makes whole what it found. NAME... are the states that may be.
expect_mended() {
	isomctl bind unrelated tcp 127.0.0.99 99 >/dev/null
	isomctl unbind unrelated tcp 127.0.0.99 99 >/dev/null
	expect_one_of "$(answers 80)" "$@"
	expect_listed
	expect_tidy
	isomctl --json status > "$BATS_TEST_TMPDIR/status"
}
