# shellcheck shell=bash disable=SC2317 # much is called by its name alone
#
# Many at once, at random, for RACE_SECONDS in all (10): nothing is lost, nothing is left over. SEED repeats the choices, though
# not who is first; a test that fails has printed it.
load ../lib/netns

RACE_SECONDS=${RACE_SECONDS:-10}

setup() {
	netns_setup
	RANDOM=${SEED:=$RANDOM}
	echo "SEED=$SEED"
	isomctl load
}

# race SHARE COMMAND...: again and again, for that share of the time, and at least three times.
race() {
	local deadline=$((SECONDS + RACE_SECONDS / $1)) round
	for ((round = 0; round < 3 || SECONDS < deadline; round++)); do
		"${@:2}" || return
	done
}

@test "eight that bind and unbind at once lose nothing" {
	local binders=() binder
	# All bind in the same subnet, and each has its own labels; what it has in the end is in its file.
	binds() {
		local -A bound=()
		local me=$1 selector words
		RANDOM=$((SEED + me))
		step() {
			words=(tcp "127.0.$me.$((RANDOM % 4))" $((RANDOM % 3 ? 1 + RANDOM % 4 : 0)))
			selector=${words[*]}
			if [[ ${bound[$selector]:-} ]]; then
				isomctl unbind "${bound[$selector]}" "${words[@]}"
				unset "bound[$selector]"
			else
				bound[$selector]=$me-$((RANDOM % 3))
				isomctl bind "${bound[$selector]}" "${words[@]}"
			fi
		}
		race 2 step || return
		for selector in "${!bound[@]}"; do
			read -r _ address port <<< "$selector"
			echo "${bound[$selector]} tcp $address/32 ${port/#0/*}"
		done > "$BATS_TEST_TMPDIR/expected.$me"
	}
	for binder in {1..8}; do
		binds "$binder" >/dev/null 3>&- &
		binders+=($!)
	done
	for binder in "${binders[@]}"; do
		wait "$binder"
	done
	diff <(isomctl bindings | awk 'NR > 1 { print $1, $2, $3, $4 }' | sort) <(sort "$BATS_TEST_TMPDIR"/expected.*)

	# What is listed is what is dispatched, by no more destinations than there are labels.
	start_server --name foo tcp:127.0.0.1:8080
	isomctl bind 9-0 tcp 127.0.9.1 80
	isomctl register-pid "$SERVER_PID" 9-0 tcp 127.0.0.1 8080
	assert_answer foo tcp 127.0.9.1 80
	(($(isomctl --json status | grep -c '"label"') == $(isomctl bindings | awk 'NR > 1 { print $1 }' | sort -u | wc -l)))
}

@test "a server that closes its socket and opens it again, all the while it is registered" {
	local status restless registered=0
	start_server --name calm tcp:127.0.0.1:8080
	isomctl bind calm tcp 127.0.0.9 80
	isomctl register-pid "$SERVER_PID" calm tcp 127.0.0.1 8080
	isomctl bind restless tcp 127.0.0.9 81
	setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount python3 -c '
import os, socket, time
def listen():
    while True:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", 8081))
            s.listen()
            return s
        except OSError:  # it is in use for as long as isomctl looks at it
            s.close()
            time.sleep(0.001)
open("'"$BATS_TEST_TMPDIR"'/is-up", "w").close()
while not os.path.exists("'"$BATS_TEST_TMPDIR"'/calm-down"):
    s = listen()
    time.sleep(0.002)
    s.close()
s = listen()
open("'"$BATS_TEST_TMPDIR"'/is-calm", "w").close()
while True:
    connection, _ = s.accept()
    connection.sendall(b"restless 127.0.0.9 81\n")
    connection.close()
' 3>&- &
	restless=$!
	SERVERS+=("$restless")
	wait_until test -e "$BATS_TEST_TMPDIR/is-up"
	register() {
		status=0
		isomctl register-pid "$restless" restless tcp 127.0.0.1 8081 2> "$BATS_TEST_TMPDIR/said" || status=$?
		if ((status == 0)); then
			((++registered))
		else
			((status == 1)) && grep -q '^isomctl: ' "$BATS_TEST_TMPDIR/said" || fail "exit code $status" || return
		fi
		assert_answer calm tcp 127.0.0.9 80
	}
	race 4 register
	# Where all is slow, it may have been closed each time.
	until ((registered > 0)); do
		register
	done
	touch "$BATS_TEST_TMPDIR/calm-down"
	wait_until test -e "$BATS_TEST_TMPDIR/is-calm"
	isomctl register-pid "$restless" restless tcp 127.0.0.1 8081
	[[ $(probe tcp 127.0.0.9 81) == restless* ]]
}

@test "all destinations used up and given back, up to a hundred times" {
	local rounds=0
	for name in a b; do
		python3 -c '
import json, sys
print(json.dumps({"bindings": [{"label": f"{sys.argv[1]}{i}", "protocol": "tcp", "prefix": "127.0.0.9", "port": 1 + i}
                               for i in range(1023)]}))
' $name > "$BATS_TEST_TMPDIR/$name.json"
	done
	echo '{"bindings": []}' > "$BATS_TEST_TMPDIR/none.json"
	start_server --name foo tcp:127.0.0.1:8080
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	use_up() {
		((rounds++ < 100)) || return 0
		for name in a none b none; do
			isomctl load-bindings "$BATS_TEST_TMPDIR/$name.json" >/dev/null || return
		done
	}
	race 4 use_up
	isomctl load-bindings "$BATS_TEST_TMPDIR/a.json" >/dev/null
	assert_refused tcp 127.0.0.9 80
	# The one that is left is foo's.
	! isomctl bind bar tcp 127.0.0.9 2000 || fail "there was room for one too many"
	isomctl bind foo tcp 127.0.0.9 80
	assert_answer foo tcp 127.0.0.9 80
}
