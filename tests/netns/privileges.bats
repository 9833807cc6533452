# shellcheck shell=bats
#
# What each piece needs and no more: it works with just these capabilities, and without one of them says which. Who may read
# without being root, and what others who can write to the BPF file system can't do.
#
# shellcheck disable=SC2030,SC2031 # each test has its own servers
load ../lib/netns
load ../lib/refusing

# setpriv before util-linux 2.37 knows the newer ones by their numbers alone.
BPF=cap_39 PERFMON=cap_38

# with CAPABILITIES COMMAND...: as root with these alone, such as +bpf,+net_admin; "" for none. Before Linux 5.11, BPF's memory
# counts as locked, and to raise that limit would take one more. Not every machine lets root do it; there it isn't needed.
with() {
	local capabilities=$1
	shift
	capabilities=${capabilities//perfmon/$PERFMON}
	capabilities=${capabilities//bpf/$BPF}
	in_ns sh -c 'ulimit -l unlimited 2>/dev/null; exec "$@"' sh setpriv --no-new-privs --inh-caps=-all --bounding-set="-all${capabilities:+,$capabilities}" "$@"
}

loading=+bpf,+perfmon,+net_admin

# takes_each_of CAPABILITIES COMMAND...: without each of them the command says that it lacks just that, in one line.
takes_each_of() {
	local capabilities=$1 capability without
	shift
	for capability in ${capabilities//,/ }; do
		without=${capabilities//$capability/}
		without=$(tr -s , <<<"$without")
		without=${without#,}
		capability=CAP_$(tr -d + <<<"${capability^^}")
		refuses 1 "$capability" with "${without%,}" "$@"
		# Up to Linux 5.18, bpf(2) as a whole may be for who has CAP_BPF.
		[[ $REFUSAL =~ ("this process lacks"|"this kernel's bpf(2) takes root, or")" $capability"( |$) ]] ||
			fail "expected that it lacks $capability in:" "$REFUSAL" || return
		[[ $(wc -l <<<"$REFUSAL") == 1 ]] || fail "more than a line:" "$REFUSAL" || return
	done
}

@test "load, upgrade and load-bindings take CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN" {
	echo '{"bindings": [{"label": "foo", "prefix": "127.0.0.1", "port": 80}]}' >"$BATS_TEST_TMPDIR/list.json"
	takes_each_of $loading "$BUILD/isomctl" load
	with $loading "$BUILD/isomctl" load
	for words in upgrade "load-bindings $BATS_TEST_TMPDIR/list.json"; do
		# shellcheck disable=SC2086 # words
		takes_each_of +bpf,+perfmon "$BUILD/isomctl" $words
		# shellcheck disable=SC2086 # words
		with $loading "$BUILD/isomctl" $words
	done
	[[ $(isomctl bindings) == *foo* ]]
}

@test "all that leaves the tables' sizes as they are takes CAP_BPF" {
	isomctl load
	for words in status bindings version "bind foo tcp 127.0.0.1 80" "bind foo udp 127.0.0.0/8 1-9" \
		"unbind foo tcp 127.0.0.1 80"; do
		# shellcheck disable=SC2086 # words
		with +bpf "$BUILD/isomctl" $words
	done
	[[ $(with +bpf "$BUILD/isomctl" bindings) == *"foo"*"1-9"* ]]
	[[ $(with +bpf "$BUILD/isomctl" unload) == "unloaded the dispatcher" ]]
}

@test "register-pid takes CAP_SYS_PTRACE and CAP_NET_ADMIN, also for other users' processes" {
	local other
	isomctl load
	start_server --name foo tcp:127.0.0.1:8080
	start_and_read other setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$BUILD/tests/echo-server" --name bar tcp:127.0.0.1:8081
	SERVERS+=("$other")
	isomctl bind foo tcp 127.0.0.9 80
	isomctl bind bar tcp 127.0.0.10 80
	takes_each_of +sys_ptrace,+net_admin "$BUILD/isomctl" register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	takes_each_of +sys_ptrace,+net_admin "$BUILD/isomctl" register-pid "$other" bar tcp 127.0.0.1 8081
	with +bpf,+sys_ptrace,+net_admin "$BUILD/isomctl" register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	with +bpf,+sys_ptrace,+net_admin "$BUILD/isomctl" register-pid "$other" bar tcp 127.0.0.1 8081
	assert_answer foo tcp 127.0.0.9 80
	assert_answer bar tcp 127.0.0.10 80
	with +bpf "$BUILD/isomctl" unregister bar ipv4 tcp
	assert_refused tcp 127.0.0.10 80
}

@test "register takes CAP_NET_ADMIN" {
	isomctl load
	refuses 1 "CAP_NET_ADMIN" with +bpf "$BATS_TEST_DIRNAME/pass-sockets" tcp:127.0.0.1:8081 -- "$BUILD/isomctl" register foo
	with +bpf,+net_admin "$BATS_TEST_DIRNAME/pass-sockets" tcp:127.0.0.1:8081 -- "$BUILD/isomctl" register foo
}

@test "the generator takes no capability" {
	mkdir "$BATS_TEST_TMPDIR"/{units,out}
	printf '[Service]\nExecStart=/bin/true\n[Isomer]\n' >"$BATS_TEST_TMPDIR/units/foo.service"
	with "" env SYSTEMD_UNIT_PATH="$BATS_TEST_TMPDIR/units" "$BUILD/isomer-generator" "$BATS_TEST_TMPDIR/out"
	[[ -s $BATS_TEST_TMPDIR/out/foo.service.d/50-isomer.conf ]]
}

# A group that no system has: that of the readers is looked up in /etc/group.
READERS=54321

make_readers() {
	{ cat /etc/group && echo "isomer:x:$READERS:"; } >"$BATS_TEST_TMPDIR/group"
	in_ns mount --bind "$BATS_TEST_TMPDIR/group" /etc/group
}

# as_user OPTION... COMMAND...: as nobody, without a capability. The build may be where nobody can't look.
as_user() { in_ns setpriv --no-new-privs --reuid 65534 --regid 65534 --bounding-set=-all --inh-caps=-all "$@"; }

# as_reader COMMAND...: a member of the group with what bpf(2) takes, which is CAP_BPF up to Linux 5.18.
as_reader() {
	in_ns setpriv --reuid 65534 --regid 65534 --groups $READERS --inh-caps=-all,+$BPF --ambient-caps=-all,+$BPF \
		--bounding-set=-all,+$BPF "$@"
}

make_visible_isomctl() {
	VISIBLE=$(in_ns mktemp -d /dev/shm/isomer.XXXX)
	cp "$BUILD/isomctl" "$VISIBLE/"
	chmod 755 "$VISIBLE"
}

teardown() {
	[[ ! ${VISIBLE:-} ]] || rm -r "$VISIBLE"
	netns_teardown
}

@test "members of the group isomer read, and do nothing else" {
	make_readers
	make_visible_isomctl
	isomctl load
	isomctl bind foo tcp 127.0.0.1 80
	[[ $(as_reader "$VISIBLE/isomctl" bindings) == *foo* ]]
	[[ $(as_reader "$VISIBLE/isomctl" status) == *foo*ipv4*tcp* ]]
	[[ $(as_reader "$VISIBLE/isomctl" version) == "$(isomctl version)" ]]
	for words in "bind bar tcp 127.0.0.1 80" "unbind foo tcp 127.0.0.1 80" unload upgrade load; do
		# shellcheck disable=SC2086 # words
		refuses 1 "it takes root: the group \"isomer\" may only read" as_reader "$VISIBLE/isomctl" $words
	done
	# From Linux 5.19 on they need no capability.
	run as_user --groups $READERS "$VISIBLE/isomctl" bindings
	[[ $output == *foo* || $output == *CAP_BPF* ]] || fail "neither bindings nor what they take:" "$output"

	# Also after a change that makes all tables anew.
	isomctl upgrade
	[[ $(as_reader "$VISIBLE/isomctl" bindings) == *foo* ]]
}

@test "who is not in the group is told what it takes" {
	make_visible_isomctl
	isomctl load
	for words in status bindings "bind foo tcp 127.0.0.1 80" unload; do
		# shellcheck disable=SC2086 # words
		refuses 1 'group "isomer"' as_user --clear-groups "$VISIBLE/isomctl" $words
	done
	run -0 --separate-stderr as_user --clear-groups "$VISIBLE/isomctl" version
	# shellcheck disable=SC2154 # run sets it
	[[ $output == isomctl* && $stderr == *'takes root'* ]]

	# systemd mounts it for root alone.
	make_readers
	isomctl upgrade
	in_ns chmod 700 /sys/fs/bpf
	refuses 1 "chmod o+x" as_reader "$VISIBLE/isomctl" status
	in_ns chmod 711 /sys/fs/bpf
	as_reader "$VISIBLE/isomctl" status
}

@test "where bpf(2) itself is for root alone, an error says so" {
	isomctl load
	refuses 1 "CAP_BPF" in_ns strace -o /dev/null -e trace=bpf -e inject=bpf:error=EPERM "$BUILD/isomctl" status
}

@test "a member of the group can't keep root waiting" {
	local directory holder
	make_readers
	isomctl load
	for directory in $(in_ns find /sys/fs/bpf -type d); do
		# The lock itself can't be opened: that one says so. Another user's process is told anew whom to die with.
		# shellcheck disable=SC2016 # for the inner shell
		start_and_read holder setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount \
			setpriv --reuid 65534 --regid 65534 --groups $READERS --pdeathsig KILL \
			bash -c 'exec 9<"$1" && flock --exclusive 9 && echo held || echo refused; exec sleep infinity' bash "$directory"
		SERVERS+=("$holder")
	done
	in_ns timeout 10 "$BUILD/isomctl" bind foo tcp 127.0.0.1 80
	in_ns timeout 10 "$BUILD/isomctl" bindings
	in_ns timeout 10 "$BUILD/isomctl" upgrade
}

@test "what another user put where the state belongs is refused" {
	in_ns mkdir /sys/fs/bpf/isomer
	in_ns chown 65534 /sys/fs/bpf/isomer
	for words in load unload status "bind foo tcp 127.0.0.1 80"; do
		# shellcheck disable=SC2086 # words
		refuses 1 "/sys/fs/bpf/isomer belongs to user 65534" isomctl $words
	done
	in_ns chown 0 /sys/fs/bpf/isomer
	in_ns chmod 775 /sys/fs/bpf/isomer
	refuses 1 "others than its owner may write to /sys/fs/bpf/isomer" isomctl load
	in_ns rmdir /sys/fs/bpf/isomer

	in_ns mkdir /sys/fs/bpf/elsewhere
	in_ns ln -s elsewhere /sys/fs/bpf/isomer
	refuses 1 "/sys/fs/bpf/isomer is a symbolic link" isomctl load
	in_ns rm /sys/fs/bpf/isomer
	[[ -z $(in_ns ls /sys/fs/bpf/elsewhere) ]]

	in_ns bpftool map create /sys/fs/bpf/isomer type array key 4 value 8 entries 1 name stranger
	refuses 1 "/sys/fs/bpf/isomer is a file" isomctl load
	in_ns rm /sys/fs/bpf/isomer
	isomctl load
}

@test "a state directory that is a link is refused" {
	local state
	isomctl load
	state=$(in_ns find /sys/fs/bpf/isomer -mindepth 1 -maxdepth 1)
	in_ns mv "$state" /sys/fs/bpf/isomer/moved
	in_ns ln -s moved "$state"
	for words in load unload status "bind foo tcp 127.0.0.1 80"; do
		# shellcheck disable=SC2086 # words
		refuses 1 "$state is a symbolic link" isomctl $words
	done
}

@test "a BPF file system that others may rearrange is refused" {
	in_ns chmod 777 /sys/fs/bpf
	refuses 1 "/sys/fs/bpf can't be trusted" isomctl load
	in_ns chmod 1777 /sys/fs/bpf
	in_ns chown 65534 /sys/fs/bpf
	refuses 1 "/sys/fs/bpf can't be trusted" isomctl load
	in_ns chown 0 /sys/fs/bpf
	isomctl load
}
