# shellcheck shell=bash
#
# load-bindings: a file replaces all bindings made by hand, in one step, or changes nothing and says where it is wrong.
load ../lib/netns
load ../lib/refusing

setup() {
	netns_setup
	isomctl load
	start_server --name foo "tcp:[::]:8080" "udp:[::]:8080"
	isomctl register-pid "$SERVER_PID" foo tcp :: 8080
	isomctl register-pid "$SERVER_PID" foo udp :: 8080
}

# load_list ENTRIES: load-bindings of {"bindings": [ENTRIES]}
load_list() { isomctl load-bindings - <<< "{\"bindings\": [$1]}"; }

# many COUNT [PORT]: a document of so many bindings of label foo, from 127.1.0.0 on.
many() {
	python3 -c '
import ipaddress, json, sys
first = ipaddress.ip_address("127.1.0.0")
print(json.dumps({"bindings": [{"label": "foo", "prefix": str(first + i), "port": int(sys.argv[2]), "protocol": "tcp"}
                               for i in range(int(sys.argv[1]))]}))' "$1" "${2:-80}"
}

@test "a file replaces what was bound" {
	isomctl bind foo tcp 127.0.0.1 80
	isomctl bind foo tcp 127.0.0.2 80
	cat > "$BATS_TEST_TMPDIR/bindings.json" <<-END
		{"bindings": [
		  {"label": "foo", "prefix": "127.0.0.2", "port": 80, "protocol": "tcp"},
		  {"label": "foo", "prefix": "127.0.0.3", "port": 81, "protocol": "tcp"}
		]}
	END
	diff <(isomctl load-bindings "$BATS_TEST_TMPDIR/bindings.json") - <<-'END'
		- foo tcp 127.0.0.1/32 80
		+ foo tcp 127.0.0.3/32 81
		loaded 2 bindings: 1 added, 1 removed, 0 moved, 1 unchanged
	END
	assert_refused tcp 127.0.0.1 80
	assert_answer foo tcp 127.0.0.2 80
	assert_answer foo tcp 127.0.0.3 81

	isomctl load-bindings "$BATS_TEST_TMPDIR/bindings.json"
	(($(isomctl bindings | wc -l) == 3))
}

@test "an entry without a protocol is for TCP and UDP" {
	load_list '{"label": "foo", "prefix": "127.0.0.2", "port": 80}'
	assert_answer foo tcp 127.0.0.2 80
	assert_answer foo udp 127.0.0.2 80
	load_list '{"label": "foo", "prefix": "127.0.0.2", "port": 80, "protocol": "udp"}'
	assert_refused tcp 127.0.0.2 80
	assert_answer foo udp 127.0.0.2 80
}

@test "a port may be a number or a text, 0 or *" {
	load_list '{"label": "foo", "prefix": "127.0.0.2", "port": "80"}, {"label": "foo", "prefix": "127.0.0.3", "port": 0},
		{"label": "foo", "prefix": "127.0.0.4", "port": "*"}, {"label": "foo", "prefix": "::1", "port": 65535}'
	assert_answer foo tcp 127.0.0.2 80
	assert_answer foo tcp 127.0.0.3 1
	assert_answer foo tcp 127.0.0.4 65535
	assert_answer foo udp ::1 65535
}

@test "the same binding twice is one, under two labels it is an error" {
	load_list '{"label": "foo", "prefix": "127.0.0.2/8", "port": 80}, {"label": "foo", "prefix": "127.0.0.3/8", "port": 80}'
	(($(isomctl bindings | wc -l) == 3))
	refuses 1 'cannot bind tcp 127.0.0.0/8 80 under label' isomctl load-bindings - <<-'END'
		{"bindings": [{"label": "foo", "prefix": "127.0.0.2/8", "port": 80},
		 {"label": "bar", "prefix": "127.0.0.3/8", "port": 80}]}
	END
	# Which of the two is named first is nobody's concern.
	[[ $REFUSAL == *-:1:15:' binding 1: '*'"foo": label "bar" is to have it, too: take one'*'(the other is binding 2, at line 2): nothing was changed' ||
		$REFUSAL == *-:2:2:' binding 2: '*'"bar": label "foo" is to have it, too: take one'*'(the other is binding 1, at line 1): nothing was changed' ]] ||
		fail "neither place in:" "$REFUSAL"
	assert_answer foo tcp 127.0.0.2 80
}

@test "an empty list clears" {
	isomctl bind foo tcp 127.0.0.1 80
	load_list ''
	(($(isomctl bindings | wc -l) == 1))
	assert_refused tcp 127.0.0.1 80
	# The socket stays registered.
	isomctl bind foo tcp 127.0.0.1 80
	assert_answer foo tcp 127.0.0.1 80
}

# Each line: what the error has, a tab, the document.
@test "a wrong document is refused with its place, and nothing is changed" {
	local expected document
	isomctl bind foo tcp 127.0.0.1 80
	isomctl --json bindings > "$BATS_TEST_TMPDIR/before"
	while IFS=$'\t' read -r expected document; do
		refuses 1 "nothing was changed" isomctl load-bindings - <<< "$document"
		[[ $REFUSAL == *"$expected"* ]] || fail "$document: expected \"$expected\" in:" "$REFUSAL"
		diff <(isomctl --json bindings) "$BATS_TEST_TMPDIR/before"
	done <<-'END'
		the file ends too early	
		the file ends too early	{
		-:1:	not JSON
		-:1:	{"bindings": []} {}
		-:1:	{"bindings": [], "bindings": []}
		-:1:	{"bindings": [{"label": "a", "label": "b", "prefix": "127.0.0.2", "port": 80}]}
		expected an object	[]
		-:1:	null
		expected an object	{}
		expected an object	{"bindings": {}}
		expected an object	{"bindings": [], "more": 1}
		binding 1: it is not an object	{"bindings": [1]}
		binding 1: it is not an object	{"bindings": [["foo", "tcp", "127.0.0.2", 80]]}
		binding 1: it has no "label"	{"bindings": [{"prefix": "127.0.0.2", "port": 80}]}
		binding 1: it has no "prefix"	{"bindings": [{"label": "foo", "port": 80}]}
		binding 1: it has no "port"	{"bindings": [{"label": "foo", "prefix": "127.0.0.2"}]}
		binding 1: "ports" is not a key	{"bindings": [{"label": "foo", "prefix": "127.0.0.2", "ports": 80}]}
		binding 1: "label" is not a text	{"bindings": [{"label": 1, "prefix": "127.0.0.2", "port": 80}]}
		binding 1: the label is empty	{"bindings": [{"label": "", "prefix": "127.0.0.2", "port": 80}]}
		binding 1: "tpc" is not a protocol	{"bindings": [{"label": "foo", "prefix": "127.0.0.2", "port": 80, "protocol": "tpc"}]}
		binding 1: "127.0.0" is not an IP prefix	{"bindings": [{"label": "foo", "prefix": "127.0.0", "port": 80}]}
		binding 1: "127.0.0.2/33" has a wrong length	{"bindings": [{"label": "foo", "prefix": "127.0.0.2/33", "port": 80}]}
		binding 1: "-1" is not a port	{"bindings": [{"label": "foo", "prefix": "127.0.0.2", "port": -1}]}
		binding 1: "65536" is not a port	{"bindings": [{"label": "foo", "prefix": "127.0.0.2", "port": 65536}]}
		binding 1: "4294967376" is not a port	{"bindings": [{"label": "foo", "prefix": "127.0.0.2", "port": 4294967376}]}
		binding 1: "port" is neither	{"bindings": [{"label": "foo", "prefix": "127.0.0.2", "port": 80.0}]}
		binding 1: "port" is neither	{"bindings": [{"label": "foo", "prefix": "127.0.0.2", "port": null}]}
		binding 2: it has no	{"bindings": [{"label": "foo", "prefix": "127.0.0.2", "port": 80}, {}]}
		binding 1: "::ffff:127.0.0.2" is an IPv4-mapped	{"bindings": [{"label": "foo", "prefix": "::ffff:127.0.0.2", "port": 80}]}
		-:1:	{"bindings": [{"label": "f\u0000", "prefix": "127.0.0.2", "port": 80}]}
	END
}

@test "an error in JSON is shown with file, line and column" {
	printf '{"bindings": [\n  {"label": "foo", "prefix": "127.0.0.2", "port": 80},\n]}\n' > "$BATS_TEST_TMPDIR/wrong.json"
	refuses 1 "$BATS_TEST_TMPDIR/wrong.json:3:1: " isomctl load-bindings "$BATS_TEST_TMPDIR/wrong.json"
}

@test "a file that isn't there, or isn't one" {
	refuses 1 "/none.json" isomctl load-bindings /none.json
	refuses 1 "$BATS_TEST_TMPDIR" isomctl load-bindings "$BATS_TEST_TMPDIR"
	head -c 100000 /dev/urandom > "$BATS_TEST_TMPDIR/noise"
	refuses 1 "noise" isomctl load-bindings "$BATS_TEST_TMPDIR/noise"
	python3 -c 'print("[" * 1000000)' > "$BATS_TEST_TMPDIR/deep"
	refuses 1 "deep" isomctl load-bindings "$BATS_TEST_TMPDIR/deep"
}

@test "20,000 bindings, then 20,000 others, then none" {
	many 20000 | isomctl load-bindings -
	assert_answer foo tcp 127.1.0.0 80
	assert_answer foo tcp 127.1.78.31 80
	assert_refused tcp 127.1.78.32 80
	(($(isomctl bindings | wc -l) == 20001))

	many 20000 81 | isomctl load-bindings -
	assert_refused tcp 127.1.78.31 80
	assert_answer foo tcp 127.1.78.31 81
	isomctl bind foo tcp 127.1.78.32 81
	assert_answer foo tcp 127.1.78.32 81

	load_list ''
	assert_refused tcp 127.1.78.31 81
}

@test "more labels than there can be are refused, and nothing is changed" {
	local label
	isomctl bind foo tcp 127.0.0.1 80
	python3 -c '
import json
print(json.dumps({"bindings": [{"label": f"label {i}", "prefix": "127.0.0.1", "port": 1 + i, "protocol": "tcp"} for i in range(1025)]}))' \
		> "$BATS_TEST_TMPDIR/labels.json"
	refuses 1 "all 1024 destinations are in use" isomctl load-bindings "$BATS_TEST_TMPDIR/labels.json"
	assert_answer foo tcp 127.0.0.1 80
	(($(isomctl bindings | wc -l) == 2))
	# None of them lingers.
	for label in {1..10}; do
		isomctl bind "other $label" tcp 127.0.0.2 "$label"
	done
}

@test "--dry-run tells what would be different, and changes nothing" {
	isomctl bind foo tcp 127.0.0.1 80
	isomctl bind foo tcp 127.0.0.2 80
	isomctl --json bindings > "$BATS_TEST_TMPDIR/before"
	diff <(isomctl load-bindings --dry-run - <<-'END'
		{"bindings": [{"label": "bar", "protocol": "tcp", "prefix": "127.0.0.2", "port": 80},
			{"label": "foo", "protocol": "tcp", "prefix": "127.0.0.3", "port": "81-82"}]}
	END
	) - <<-'END'
		- foo tcp 127.0.0.1/32 80
		- foo tcp 127.0.0.2/32 80
		+ bar tcp 127.0.0.2/32 80
		+ foo tcp 127.0.0.3/32 81-82
		would load 2 bindings: 1 added, 1 removed, 1 moved, 0 unchanged
	END
	diff <(isomctl --json bindings) "$BATS_TEST_TMPDIR/before"
	assert_answer foo tcp 127.0.0.1 80
	refuses 1 "nothing was changed" isomctl load-bindings --dry-run - <<< '{'
}

@test "a long document: an error far behind, and texts that look like what is between entries" {
	many 30000 > "$BATS_TEST_TMPDIR/long.json"
	isomctl load-bindings "$BATS_TEST_TMPDIR/long.json" | tail -n 1 | grep -q "^loaded 30000 bindings: 30000 added"
	sed 's/127.1.117.47/127.1.117.x/' "$BATS_TEST_TMPDIR/long.json" > "$BATS_TEST_TMPDIR/wrong.json"
	refuses 1 'binding 30000: "127.1.117.x" is not an IP prefix' isomctl load-bindings "$BATS_TEST_TMPDIR/wrong.json"
	# Each label holds the end of an entry and the beginning of another, which no entry ends at.
	sed 's/"foo"/"} , {"/g' "$BATS_TEST_TMPDIR/long.json" > "$BATS_TEST_TMPDIR/labels.json"
	isomctl load-bindings "$BATS_TEST_TMPDIR/labels.json" | tail -n 1 | grep -q "^loaded 30000 bindings: 0 added, 0 removed, 30000 moved"
	isomctl load-bindings "$BATS_TEST_TMPDIR/long.json" | tail -n 1 | grep -q "30000 moved, 0 unchanged"
	assert_answer foo tcp 127.1.117.47 80
}

@test "a progress bar shows on a terminal when it takes long, and nowhere else" {
	many 30000 > "$BATS_TEST_TMPDIR/long.json"
	# shellcheck disable=SC2016 # expanded by the shell in there
	slowly() { in_ns sh -c 'sleep 1.1; cat "$1"' sh "$BATS_TEST_TMPDIR/long.json" | "$@"; }
	slowly isomctl load-bindings - 2>&1 | grep -q '%' && fail "a bar in a pipe"
	slowly isomctl load-bindings - >/dev/null 2>"$BATS_TEST_TMPDIR/errors"
	[[ ! -s $BATS_TEST_TMPDIR/errors ]]
	mkfifo "$BATS_TEST_TMPDIR/slow"
	slowly cat > "$BATS_TEST_TMPDIR/slow" 3>&- &
	in_ns script --quiet --return --command "$BUILD/isomctl load-bindings $BATS_TEST_TMPDIR/slow" /dev/null </dev/null |
		grep -aq 'reading \[#* *\].*%'
}
