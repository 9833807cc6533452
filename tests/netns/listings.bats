# shellcheck shell=bash
#
# What isomctl prints: the tables, their JSON, help, versions, and which exit code goes with it.
load ../lib/netns
load ../lib/refusing
load ../lib/json

setup() {
	netns_setup
	isomctl load
}

# columns N,N...: these columns of a table, without its titles, separated by one space.
columns() { awk -v columns="$1" 'NR > 1 { n = split(columns, c, ","); for (i = 1; i <= n; i++) printf "%s%s", $c[i], i < n ? " " : "\n" }'; }

bind_some() {
	isomctl bind wide tcp 0.0.0.0/0 0
	isomctl bind web tcp 192.0.2.0/24 80
	isomctl bind web tcp 192.0.2.0/24 '*'
	isomctl bind dns udp 192.0.2.7 53
	isomctl bind web tcp 2001:db8::/64 80
	isomctl bind host tcp 2001:db8::1 0
	isomctl bind dns udp 192.0.2.0/25 53
}

@test "bindings are listed in the order of precedence, the most specific first" {
	bind_some
	diff <(isomctl bindings | columns 1,2,3,4) - <<-'END'
		dns udp 192.0.2.7/32 53
		dns udp 192.0.2.0/25 53
		web tcp 192.0.2.0/24 80
		web tcp 192.0.2.0/24 *
		wide tcp 0.0.0.0/0 *
		host tcp 2001:db8::1/128 *
		web tcp 2001:db8::/64 80
	END
}

@test "bindings: filters by label, protocol, address and port, and all of them together" {
	local filter expected
	bind_some
	while IFS='|' read -r filter expected; do
		# shellcheck disable=SC2086 # words
		is=$(isomctl bindings $filter | columns 1,3,4 | paste -sd, )
		[[ $is == "$expected" ]] || fail "bindings $filter: expected \"$expected\", got \"$is\""
	done <<-'END'
		--label dns|dns 192.0.2.7/32 53,dns 192.0.2.0/25 53
		--label nobody|
		--protocol UDP|dns 192.0.2.7/32 53,dns 192.0.2.0/25 53
		--ip 192.0.2.7|dns 192.0.2.7/32 53,dns 192.0.2.0/25 53,web 192.0.2.0/24 80,web 192.0.2.0/24 *,wide 0.0.0.0/0 *
		--ip 192.0.2.128/25|web 192.0.2.0/24 80,web 192.0.2.0/24 *,wide 0.0.0.0/0 *
		--ip 2001:db8::/32|host 2001:db8::1/128 *,web 2001:db8::/64 80
		--ip ::/0|host 2001:db8::1/128 *,web 2001:db8::/64 80
		--port 53 --protocol udp|dns 192.0.2.7/32 53,dns 192.0.2.0/25 53
		--port 81|web 192.0.2.0/24 *,wide 0.0.0.0/0 *,host 2001:db8::1/128 *
		--protocol tcp --ip 192.0.2.7 --port 80|web 192.0.2.0/24 80,web 192.0.2.0/24 *,wide 0.0.0.0/0 *
		--label web --ip 2001:db8::1|web 2001:db8::/64 80
	END
	[[ $(isomctl --json bindings --label host | json 'len(root["bindings"])') == 1 ]]
}

@test "the JSON of bindings goes through load-bindings unchanged" {
	bind_some
	isomctl --json bindings > "$BATS_TEST_TMPDIR/bindings.json"
	[[ $(json 'root["bindings"][0]' < "$BATS_TEST_TMPDIR/bindings.json") == \
		"{'label': 'dns', 'protocol': 'udp', 'prefix': '192.0.2.7/32', 'port': 53, 'by_hand': True, 'units': []}" ]]
	isomctl unload
	isomctl load
	[[ $(isomctl --json bindings | json root) == "{'bindings': []}" ]]
	isomctl load-bindings "$BATS_TEST_TMPDIR/bindings.json"
	diff <(isomctl --json bindings) "$BATS_TEST_TMPDIR/bindings.json"
	isomctl --json bindings | isomctl load-bindings -
	diff <(isomctl --json bindings) "$BATS_TEST_TMPDIR/bindings.json"
}

@test "status: a destination each, with its bindings, its socket, and what was counted" {
	start_server --name foo "tcp:[::]:8080" udp:127.0.0.1:5353
	isomctl bind foo tcp 127.0.0.0/24 80
	isomctl bind foo tcp 127.0.0.0/24 81
	isomctl bind foo udp 127.0.0.0/24 53
	isomctl bind bar tcp 127.0.1.0/24 80
	isomctl register-pid "$SERVER_PID" foo tcp :: 8080
	isomctl register-pid "$SERVER_PID" foo udp 127.0.0.1 5353

	probe --count 3 tcp 127.0.0.9 80
	probe --count 2 udp 127.0.0.9 53
	probe --count 4 tcp 127.0.1.9 80
	# Neither what isn't bound nor a packet of an open connection is looked up.
	probe tcp 127.0.0.9 82 tcp 127.0.0.1 8080

	# Label, family, protocol, bindings, address, unit, lookups, misses, errors.
	diff <(isomctl status | sed '1,/^$/d' | columns 1,2,3,4,6,7,8,9,10) - <<-'END'
		bar ipv4 tcp 1 - - 4 4 0
		foo ipv4 tcp 2 [::]:8080 - 3 0 0
		foo ipv4 udp 1 127.0.0.1:5353 - 2 0 0
		foo ipv6 tcp 0 [::]:8080 - 0 0 0
	END
	diff <(isomctl status bar | sed '1,/^$/d' | columns 1,5) - <<< "bar -"
	refuses 1 "nobody" isomctl status nobody

	isomctl --json status > "$BATS_TEST_TMPDIR/status.json"
	[[ $(json 'root["dispatcher"]["bindings_by_hand"], root["dispatcher"]["bindings_by_units"]' \
		< "$BATS_TEST_TMPDIR/status.json") == "4 0" ]]
	[[ $(json '*root["destinations"][0]' < "$BATS_TEST_TMPDIR/status.json") == \
		"label family protocol bindings socket unit lookups misses errors process units lookups_per_second misses_per_second" ]]
	[[ $(json '*root["destinations"][0].values()' < "$BATS_TEST_TMPDIR/status.json") == \
		"bar ipv4 tcp 1 None None 4 4 0 None [] None None" ]]
	[[ $(json '[(d["family"], d["socket"]["address"], d["socket"]["port"], d["lookups"]) for d in root["destinations"][1:]]' \
		< "$BATS_TEST_TMPDIR/status.json") == \
		"[('ipv4', '::', 8080, 3), ('ipv4', '127.0.0.1', 5353, 2), ('ipv6', '::', 8080, 0)]" ]]
	# One socket, one cookie.
	[[ $(json 'len({d["socket"]["cookie"] for d in root["destinations"][1:]})' < "$BATS_TEST_TMPDIR/status.json") == 2 ]]
}

@test "status: a socket that is gone is no longer shown, its label's misses go on" {
	start_server --name foo tcp:127.0.0.1:8080
	isomctl bind foo tcp 127.0.0.9 80
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	probe tcp 127.0.0.9 80
	stop_server "$SERVER_PID"
	probe --count 2 tcp 127.0.0.9 80
	diff <(isomctl status foo | sed '1,/^$/d' | columns 5,6,8,9) - <<< "- - 3 2"
}

@test "counts stay over upgrades and replaced bindings" {
	isomctl bind foo tcp 127.0.0.9 80
	probe tcp 127.0.0.9 80
	isomctl upgrade
	isomctl --json bindings | isomctl load-bindings -
	probe tcp 127.0.0.9 80
	diff <(isomctl status foo | sed '1,/^$/d' | columns 8,9) - <<< "2 2"
}

@test "labels may be anything: spaces, UTF-8, quotes, control characters, a dash first, 255 bytes" {
	local label long
	printf -v long 'ä%.0s' {1..127}
	for label in "two words" "grün — ☃" 'a "quoted" \ one' "'single'" $'line\nfeed' $'tab\tbell\a' $'\e[31mred' "%s%n" x "${long}x"; do
		isomctl bind "$label" tcp 127.0.0.9 80
		[[ $(isomctl --json bindings | json 'root["bindings"][0]["label"] + "."') == "$label." ]] || fail "JSON of $label"
		# In tables, nothing that would move the cursor, or break the line.
		[[ $(isomctl bindings | wc -l) == 2 ]] || fail "lines of $label"
		[[ $(isomctl bindings) != *[$'\a\t\e']* ]] || fail "table of $label"
		[[ $(isomctl bindings --label "$label" | wc -l) == 2 ]] || fail "filter by $label"
		isomctl --json status "$label" | json root
		isomctl --json bindings | isomctl load-bindings -
		isomctl unbind "$label" tcp 127.0.0.9 80
	done

	isomctl bind -- -dash tcp 127.0.0.9 80
	[[ $(isomctl bindings) == *-dash* ]]
	isomctl unbind -- -dash tcp 127.0.0.9 80

	# Not UTF-8: the dispatcher doesn't mind, and JSON remains JSON.
	isomctl bind $'b\xe4r' tcp 127.0.0.9 80
	[[ $(isomctl --json bindings | json 'root["bindings"][0]["label"]') == "b�r" ]]
	isomctl --json status | json root
	isomctl unbind $'b\xe4r' tcp 127.0.0.9 80

	refuses 2 "255" isomctl bind "${long}xy" tcp 127.0.0.9 80
	refuses 2 "empty" isomctl bind "" tcp 127.0.0.9 80
}

@test "columns are aligned, by characters and not by bytes" {
	local columns
	isomctl bind ä tcp 127.0.0.9 80
	isomctl bind longer udp 2001:db8::/64 '*'
	columns=$(LC_ALL=C.UTF-8 python3 -c '
import sys
print(*{tuple(i for i, c in enumerate(l) if c != " " and l[max(i - 2, 0):i].strip() == "" and i) for l in sys.stdin})
' < <(isomctl bindings))
	[[ $columns == "(8, 18, 33, 39)" ]] || fail "columns begin at: $columns"
}

@test "one dash before a long option does as well" {
	isomctl bind foo tcp 127.0.0.9 80
	isomctl -json bindings -label foo -protocol tcp | json root
	diff <(isomctl -netns /proc/self/ns/net -bpffs /sys/fs/bpf -json status) <(isomctl --json status)
	diff <(isomctl bindings -ip=127.0.0.9 -port=80) <(isomctl bindings --ip 127.0.0.9 --port 80)
	diff <(isomctl bind -help) <(isomctl bind --help)
	[[ $(isomctl -version) == "$(isomctl --version)" ]]
}

@test "each command has help with an example, and the list of commands has them all" {
	local commands command
	commands=$(isomctl --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
	[[ $(sort <<< "$commands" | paste -sd' ') == \
		"bind bindings explain load load-bindings metrics register register-pid status unbind unload unregister upgrade verify version" ]]
	for command in $commands; do
		[[ $(isomctl "$command" --help) == "Usage: isomctl "*" $command"[$' \n']*Example*"isomctl "*"$command"* ]] || fail "$command"
		diff <(isomctl help "$command") <(isomctl "$command" -h)
	done
	diff <(isomctl help) <(isomctl --help)
	diff <(isomctl -h) <(isomctl --help)
}

@test "help and versions need no dispatcher" {
	isomctl unload
	isomctl --help
	isomctl bind --help
	[[ $(isomctl version) == "isomctl "[0-9]*"ABI "[0-9]* ]]
	[[ $(isomctl --json version | json 'sorted(root)') == "['abi', 'program', 'version']" ]]
}

@test "unbinding what isn't bound, or under another label, fails, naming the right one" {
	isomctl bind foo tcp 127.0.0.0/8 80
	refuses 1 'bound to "foo"' isomctl unbind bar tcp 127.0.0.0/8 80
	refuses 1 "isn't bound" isomctl unbind foo udp 127.0.0.0/8 80
	refuses 1 "isn't bound" isomctl unbind foo tcp 127.0.0.0/9 80
	refuses 1 "isn't bound" isomctl unbind foo tcp 127.0.0.0/8 0
	[[ $(isomctl bindings | columns 1,3) == "foo 127.0.0.0/8" ]]
}

@test "results go to stdout alone" {
	start_server tcp:127.0.0.1:8080
	while read -r words; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr isomctl $words
		# shellcheck disable=SC2154 # run sets them
		[[ $status == 0 && -n $output && -z $stderr ]] || fail "$words: exit code $status" "$output" "$stderr"
	done <<-END
		load
		bind foo tcp 127.0.0.9 80
		register-pid $SERVER_PID foo tcp 127.0.0.1 8080
		bindings
		--json bindings
		status
		--json status
		version
		upgrade
		unregister foo ipv4 tcp
		unbind foo tcp 127.0.0.9 80
		unload
		unload
		--help
		bind --help
		help
	END
}

@test "output that can't be written is an error" {
	isomctl bind foo tcp 127.0.0.9 80
	for words in bindings "--json bindings" status version --help; do
		# shellcheck disable=SC2086 # words
		run -1 in_ns sh -c '"$@" > /dev/full' - "$BUILD/isomctl" $words
		[[ $output == *"No space left"* ]]
	done
}

# all_keys: those of all objects in the JSON on stdin.
all_keys() {
	python3 -c '
import json, sys
def walk(value):
    if isinstance(value, dict):
        print(*value)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        walk(part)
walk(json.load(sys.stdin))'
}

@test "docs/json.md tells of each key that --json prints" {
	local key command keys docs=$BUILD/stage/usr/share/doc/isomer/json.md
	bind_some
	start_server --name web tcp:127.0.0.1:8080
	isomctl register-pid "$SERVER_PID" web tcp 127.0.0.1 8080
	isomctl bind web tcp 127.0.0.1 80
	printf '[Isomer]\nBind=x\n' >"$BATS_TEST_TMPDIR/web.service"
	echo '{"bindings": [{"label": "web", "prefix": "127.0.0.2", "port": "80-89"}]}' >"$BATS_TEST_TMPDIR/other.json"
	for command in bindings version status 'explain tcp 127.0.0.1 80' 'explain tcp 192.0.2.1 80' "verify $BATS_TEST_TMPDIR/web.service" \
		"load-bindings --dry-run $BATS_TEST_TMPDIR/other.json"; do
		# shellcheck disable=SC2086 # words
		keys=$(isomctl --json $command | all_keys)
		[[ $keys ]] || fail "$command" || return
		for key in $keys; do
			sed -n "/^## ${command%% *}$/,/^## /p" "$docs" | grep -q "\`$key\`" ||
				grep -q "^| .*\`$key\`" "$docs" || fail "$command: $key" || return
		done
	done
}
