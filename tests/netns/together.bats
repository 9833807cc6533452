# shellcheck shell=bats
#
# Several at once: isomctl beside isomctl, and changes beside traffic.
load ../lib/netns

setup() {
	netns_setup
	isomctl load
}

state_directory() { in_ns find /sys/fs/bpf/isomer -mindepth 1 -maxdepth 1; }

# waits_for_lock DIRECTORY: someone waits for it now (proc_locks(5)).
waits_for_lock() { grep -q -e "-> FLOCK .*:$(in_ns stat -c %i "$1/lock") " /proc/locks; }

# hold_lock OPTION...: holds the lock of the state directory until release_lock.
hold_lock() {
	# shellcheck disable=SC2016 # for the inner shell
	coproc holder { in_ns flock "$@" "$(state_directory)/lock" sh -c 'echo held; read -r _' 3>&-; }
	read -r -t 10 _ <&"${holder[0]}"
}
release_lock() {
	# shellcheck disable=SC2154 # the coprocess
	echo >&"${holder[1]}"
}

@test "a change waits for another change, then succeeds" {
	local binder
	hold_lock --exclusive
	isomctl bind foo tcp 127.0.0.1 80 3>&- &
	binder=$!
	wait_until waits_for_lock "$(state_directory)"
	assert_refused tcp 127.0.0.1 80
	release_lock
	wait $binder
	[[ $(isomctl bindings) == *foo* ]]
}

@test "listings don't wait for one another, changes wait for listings" {
	local binder
	hold_lock --shared
	[[ $(isomctl bindings | wc -l) == 1 ]]
	isomctl status
	isomctl bind foo tcp 127.0.0.1 80 3>&- &
	binder=$!
	wait_until waits_for_lock "$(state_directory)"
	release_lock
	wait $binder
	[[ $(isomctl bindings) == *foo* ]]
}

@test "a command that waits while the dispatcher is unloaded or loaded anew goes on with what there is then" {
	local binder path
	path=$(state_directory)
	hold_lock --exclusive
	isomctl bind foo tcp 127.0.0.1 80 3>&- &
	binder=$!
	wait_until waits_for_lock "$path"
	# What unload does, without waiting for the lock that we hold.
	in_ns find "$path" -delete
	release_lock
	! wait $binder || fail "it changed what isn't there"
	isomctl load
	isomctl bind foo tcp 127.0.0.1 80
}

@test "a listing that nobody reads on keeps nobody waiting" {
	local lister
	python3 -c '
import json
print(json.dumps({"bindings": [{"label": "foo", "prefix": f"10.0.{i >> 8}.{i & 255}", "port": 80} for i in range(10000)]}))
' | isomctl load-bindings -
	mkfifo "$BATS_TEST_TMPDIR/pager"
	exec 7<>"$BATS_TEST_TMPDIR/pager"
	for words in bindings "--json bindings"; do
		# shellcheck disable=SC2086 # words
		setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount "$BUILD/isomctl" $words >&7 3>&- &
		lister=$!
		read -r -t 10 _ <&7
		in_ns timeout 10 "$BUILD/isomctl" bind foo tcp 127.0.0.1 80
		stop_server $lister
	done
}

@test "two that load, and two that unload, at once" {
	local pids=() pid
	for command in load load unload unload load {load,unload}{,,,,}; do
		isomctl "$command" 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	isomctl load
	isomctl bind foo tcp 127.0.0.1 80
	assert_refused tcp 127.0.0.1 80
}

# under_traffic COMMAND...: runs the command again and again while clients connect to port 80 of 127.0.0.9, and prints the
# different answers that they got. A wildcard server lies in wait for packets that go astray.
under_traffic() {
	local questions clients
	start_server --name wildcard tcp:0.0.0.0:80 udp:0.0.0.0:80
	mkfifo "$BATS_TEST_TMPDIR/questions"
	in_ns "$BUILD/tests/probe" < "$BATS_TEST_TMPDIR/questions" > "$BATS_TEST_TMPDIR/answers" 3>&- &
	clients=$!
	yes $'tcp 127.0.0.9 80\nudp 127.0.0.9 80' > "$BATS_TEST_TMPDIR/questions" 3>&- &
	questions=$!
	wait_until test -s "$BATS_TEST_TMPDIR/answers"
	for _ in {1..10}; do
		"$@" >&2
	done
	kill $questions
	wait $clients
	sort -u "$BATS_TEST_TMPDIR/answers"
}

# serve NAME PORT: starts a server, to be registered under foo.
serve() {
	start_server --name "$1" "tcp:127.0.0.1:$2" "udp:127.0.0.1:$2"
	for protocol in tcp udp; do
		isomctl bind foo $protocol 127.0.0.9 80
		isomctl register-pid "$SERVER_PID" foo $protocol 127.0.0.1 "$2"
	done
}

@test "upgrades lose no packet" {
	serve foo 8080
	[[ $(under_traffic isomctl upgrade) == "foo 127.0.0.9 80" ]]
}

@test "changes of other bindings lose no packet, also where tables grow and shrink" {
	local port
	serve foo 8080
	isomctl --json bindings > "$BATS_TEST_TMPDIR/few.json"
	python3 -c '
import json, sys
few = json.load(sys.stdin)["bindings"]
print(json.dumps({"bindings": few + [{"label": "bar", "prefix": "127.0.0.0/24", "port": i + 1} for i in range(1000)]}))
' < "$BATS_TEST_TMPDIR/few.json" > "$BATS_TEST_TMPDIR/many.json"
	churn() {
		for port in {1..5}; do
			isomctl bind bar tcp 127.0.0.0/8 "$port"
			isomctl bind bar udp 127.0.0.9/31 "$port"
		done
		for port in {1..5}; do
			isomctl unbind bar udp 127.0.0.9/31 "$port"
		done
		isomctl load-bindings "$BATS_TEST_TMPDIR/many.json"
		isomctl load-bindings "$BATS_TEST_TMPDIR/few.json"
	}
	[[ $(under_traffic churn) == "foo 127.0.0.9 80" ]]
}

@test "while another server takes over, each packet gets to the one or the other" {
	local first
	serve first 8080
	first=$SERVER_PID
	serve second 8081
	take_over() {
		for protocol in tcp udp; do
			isomctl register-pid "$first" foo $protocol 127.0.0.1 8080
			isomctl register-pid "$SECOND" foo $protocol 127.0.0.1 8081
		done
	}
	SECOND=$SERVER_PID
	[[ $(under_traffic take_over) == "first 127.0.0.9 80"$'\n'"second 127.0.0.9 80" ]]
}

@test "while bindings are replaced, each packet follows the old ones or the new ones" {
	local label
	serve one 8080
	isomctl bind bar tcp 127.0.0.8 80
	start_server --name two tcp:127.0.0.1:8081 udp:127.0.0.1:8081
	for protocol in tcp udp; do
		isomctl register-pid "$SERVER_PID" bar $protocol 127.0.0.1 8081
	done
	# By another prefix each: there is a moment for the packet to find neither.
	printf '{"bindings": [{"label": "foo", "prefix": "127.0.0.0/24", "port": 80}]}' > "$BATS_TEST_TMPDIR/foo.json"
	printf '{"bindings": [{"label": "bar", "prefix": "127.0.0.9", "port": 0}]}' > "$BATS_TEST_TMPDIR/bar.json"
	replace() {
		for label in foo bar; do
			isomctl load-bindings "$BATS_TEST_TMPDIR/$label.json"
		done
	}
	[[ $(under_traffic replace) == "one 127.0.0.9 80"$'\n'"two 127.0.0.9 80" ]]
}

@test "while thousands of bindings are replaced, answers change once, from the old ones to the new ones" {
	local questions clients
	start_server --name wildcard tcp:0.0.0.0:80
	start_server --name old tcp:127.0.0.1:8080
	isomctl register-pid "$SERVER_PID" old tcp 127.0.0.1 8080
	start_server --name new tcp:127.0.0.1:8081
	isomctl register-pid "$SERVER_PID" new tcp 127.0.0.1 8081
	# The old ones hold the address by its own prefix, the new ones by a wider one and a range.
	python3 -c '
import json, sys
filling = [{"label": "old", "protocol": "tcp", "prefix": f"10.{i >> 8}.{i & 255}.0/24", "port": 80} for i in range(20000)]
for name, prefix, port in ("old", "127.0.0.9", 80), ("new", "127.0.0.0/8", "70-90"):
    with open(f"{sys.argv[1]}/{name}.json", "w") as file:
        json.dump({"bindings": filling + [{"label": name, "protocol": "tcp", "prefix": prefix, "port": port}]}, file)
' "$BATS_TEST_TMPDIR"
	isomctl load-bindings "$BATS_TEST_TMPDIR/old.json" >/dev/null
	mkfifo "$BATS_TEST_TMPDIR/questions"
	in_ns "$BUILD/tests/probe" < "$BATS_TEST_TMPDIR/questions" > "$BATS_TEST_TMPDIR/answers" 3>&- &
	clients=$!
	yes 'tcp 127.0.0.9 80' > "$BATS_TEST_TMPDIR/questions" 3>&- &
	questions=$!
	wait_until grep -q old "$BATS_TEST_TMPDIR/answers"
	isomctl load-bindings "$BATS_TEST_TMPDIR/new.json" >/dev/null
	wait_until grep -q new "$BATS_TEST_TMPDIR/answers"
	kill $questions
	wait $clients
	[[ $(uniq "$BATS_TEST_TMPDIR/answers") == "old 127.0.0.9 80"$'\n'"new 127.0.0.9 80" ]]
}
