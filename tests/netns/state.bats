# shellcheck shell=bats
#
# What is loaded, where it is kept, and what it takes: loading and unloading, network namespaces, BPF file systems, other
# versions, memory, and the number of destinations.
load ../lib/netns
load ../lib/refusing

# The state directory of the test's namespace; only one is loaded below its bpffs.
state_directory() { in_ns find /sys/fs/bpf/isomer -mindepth 1 -maxdepth 1; }

# Some kernels put files of their own there.
nothing_left() { in_ns test -d "$1" -a ! -e "$1/isomer"; }

# json_bindings LABEL COUNT: a file for load-bindings, of as many labels with a binding for TCP and one for UDP each.
json_bindings() {
	local i separator=''
	printf '{"bindings": ['
	for ((i = 0; i < $2; i++)); do
		printf '%s\n{"label": "%s%d", "prefix": "127.1.%d.%d", "port": 80}' \
			"$separator" "$1" $i $((i / 256)) $((i % 256))
		separator=,
	done
	printf ']}\n'
}

@test "loading twice and unloading twice say so and succeed" {
	[[ $(isomctl unload) == "no dispatcher is loaded" ]]
	[[ $(isomctl load) == "loaded the dispatcher" ]]
	isomctl bind foo tcp 127.0.0.1 80
	[[ $(isomctl load) == "the dispatcher is loaded already" ]]
	[[ $(isomctl bindings) == *foo* ]]
	[[ $(isomctl unload) == "unloaded the dispatcher" ]]
	[[ $(isomctl unload) == "no dispatcher is loaded" ]]
}

@test "unloading leaves nothing behind, and loading again begins with nothing" {
	isomctl load
	start_server --name foo tcp:127.0.0.1:8080
	isomctl bind foo tcp 127.0.0.1 80
	isomctl register-pid "$SERVER_PID" foo tcp 127.0.0.1 8080
	isomctl unload
	nothing_left /sys/fs/bpf
	isomctl load
	[[ $(isomctl bindings | wc -l) == 1 ]]
	[[ $(isomctl status) != *foo* ]]
	isomctl bind foo tcp 127.0.0.1 80
	assert_refused tcp 127.0.0.1 80
}

@test "without a dispatcher all commands fail and name 'isomctl load'" {
	start_server tcp:127.0.0.1:8080
	echo '{"bindings": []}' > "$BATS_TEST_TMPDIR/none.json"
	while read -r words; do
		# shellcheck disable=SC2086 # words
		refuses 1 "isomctl load" isomctl $words
	done <<-END
		bind foo tcp 127.0.0.1 80
		unbind foo tcp 127.0.0.1 80
		bindings
		--json bindings
		load-bindings $BATS_TEST_TMPDIR/none.json
		register-pid $SERVER_PID foo tcp 127.0.0.1 8080
		unregister foo ipv4 tcp
		status
		status foo
		upgrade
	END
	refuses 1 "isomctl load" in_ns "$BATS_TEST_DIRNAME/pass-sockets" tcp:127.0.0.1:8081 -- "$BUILD/isomctl" register foo
	[[ $(isomctl version) == *"no dispatcher is loaded"* ]]
	[[ $(isomctl --json version) == *'"program": null'* ]]
	isomctl load
	[[ $(isomctl version) == *"the dispatcher is loaded"* ]]
}

@test "two network namespaces don't disturb each other" {
	local other
	start_and_read other setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --mount unshare --net \
		sh -ec 'ip link set lo up; echo ready; exec sleep infinity'
	SERVERS+=("$other")
	isomctl load
	isomctl bind blue tcp 127.0.0.1 80
	isomctl --netns "/proc/$other/ns/net" load
	isomctl --netns "/proc/$other/ns/net" bind green tcp 127.0.0.1 81
	[[ $(isomctl bindings) == *blue* && $(isomctl bindings) != *green* ]]
	[[ $(isomctl --netns "/proc/$other/ns/net" bindings) != *blue* ]]

	isomctl unload
	[[ $(isomctl --netns "/proc/$other/ns/net" bindings) == *green* ]]
	start_server --name wildcard tcp:127.0.0.1:81
	assert_answer wildcard tcp 127.0.0.1 81
	refuses 1 "cannot enter the network namespace" isomctl --netns /proc/none/ns/net status
	refuses 1 "write a name, or a path like /proc/PID/ns/net" isomctl --netns /dev/null status
}

@test "the state of a namespace that is gone is taken away, and never trusted" {
	local other dead own
	start_and_read other setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --mount unshare --net \
		sh -ec 'echo ready; exec sleep infinity'
	isomctl --netns "/proc/$other/ns/net" load
	isomctl --netns "/proc/$other/ns/net" bind ghost tcp 127.0.0.1 80
	dead=$(state_directory)
	stop_server "$other"
	only_own_state_is_left_by_load() {
		isomctl unload
		isomctl load
		own=$(state_directory)
		[[ $own != *"$dead"* ]]
	}
	wait_until only_own_state_is_left_by_load

	# Inode numbers come back: then a dead namespace's state stands where this one's belongs.
	start_and_read other setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --mount unshare --net \
		sh -ec 'echo ready; exec sleep infinity'
	isomctl unload
	isomctl --netns "/proc/$other/ns/net" load
	isomctl --netns "/proc/$other/ns/net" bind ghost tcp 127.0.0.1 80
	in_ns mv "$(state_directory)" "$own"
	stop_server "$other"
	refuses 1 "isomctl load" isomctl bindings
	refuses 1 "isomctl load" isomctl bind foo tcp 127.0.0.1 80
	[[ $(isomctl load) == "loaded the dispatcher" ]]
	[[ $(isomctl bindings) != *ghost* ]]
	[[ $(state_directory) == "$own" ]]
}

@test "--bpffs: another BPF file system serves as well; what is none is refused" {
	mkdir "$BATS_TEST_TMPDIR/bpf"
	refuses 1 "mount -t bpf" isomctl --bpffs "$BATS_TEST_TMPDIR/bpf" load
	refuses 1 "mount -t bpf" isomctl --bpffs "$BATS_TEST_TMPDIR/bpf" status
	refuses 1 "mount -t bpf" isomctl --bpffs "$BATS_TEST_TMPDIR/none" load

	in_ns mount -t bpf bpf "$BATS_TEST_TMPDIR/bpf"
	isomctl --bpffs "$BATS_TEST_TMPDIR/bpf" load
	isomctl --bpffs "$BATS_TEST_TMPDIR/bpf" bind foo tcp 127.0.0.1 80
	[[ $(isomctl --bpffs "$BATS_TEST_TMPDIR/bpf" bindings) == *foo* ]]
	# Two would both have their say.
	for words in load bindings status unload "bind foo tcp 127.0.0.1 81"; do
		# shellcheck disable=SC2086 # words
		refuses 1 "this network namespace has a dispatcher" isomctl $words
	done
	in_ns mount -t tmpfs none /sys/fs/bpf
	refuses 1 "whose state isn't in /sys/fs/bpf" isomctl status
	in_ns umount /sys/fs/bpf
	nothing_left /sys/fs/bpf
	isomctl --bpffs "$BATS_TEST_TMPDIR/bpf" unload
	nothing_left "$BATS_TEST_TMPDIR/bpf"
}

@test "load mounts the usual BPF file system where none is; nothing else does" {
	in_ns mount -t tmpfs none /sys/fs/bpf
	refuses 1 "isomctl load" isomctl status
	[[ $(isomctl unload) == "no dispatcher is loaded" ]]
	[[ $(in_ns stat -f -c %T /sys/fs/bpf) == tmpfs ]]
	isomctl load
	[[ $(in_ns stat -f -c %T /sys/fs/bpf) == bpf_fs ]]
	isomctl bind foo tcp 127.0.0.1 80
}

# In place of the ledger comes one that begins with another ABI's number, and is otherwise unlike ours.
@test "the state of another ABI is refused, naming the remedy; unload takes it away all the same" {
	local ledger
	isomctl load
	ledger=$(in_ns find /sys/fs/bpf -name ledger)
	in_ns rm "$ledger"
	in_ns bpftool map create "$ledger" type array key 4 value 8 entries 1 name ledger
	in_ns bpftool map update pinned "$ledger" key 0 0 0 0 value 99 0 0 0 0 0 0 0
	for words in "bind foo tcp 127.0.0.1 80" "unbind foo tcp 127.0.0.1 80" bindings status load "unregister foo ipv4 tcp"; do
		# shellcheck disable=SC2086 # words
		refuses 1 "isomctl unload" isomctl $words
		[[ $REFUSAL == *"ABI 99"* ]]
	done
	[[ $(isomctl unload) == "unloaded the dispatcher" ]]
	nothing_left /sys/fs/bpf
}

# The kernel's memory, in bytes, for all that Isomer has pinned.
kernel_memory() {
	local path total=0 kind
	for path in $(in_ns find /sys/fs/bpf/isomer -type f ! -name link); do
		[[ $path == */program ]] && kind=prog || kind=map
		((total += $(in_ns bpftool $kind show pinned "$path" | grep -oP 'memlock \K\d+')))
	done
	echo $total
}

@test "an empty dispatcher takes less than 8 MiB of the kernel's memory, also after it was large" {
	isomctl load
	echo "empty: $(kernel_memory)"
	(($(kernel_memory) > 0 && $(kernel_memory) < 8 << 20))

	python3 -c '
import json
print(json.dumps({"bindings": [{"label": "foo", "prefix": f"10.0.{i >> 8}.{i & 255}", "port": 80} for i in range(50000)]}))
' | isomctl load-bindings -
	echo "large: $(kernel_memory)"
	(($(kernel_memory) > 8 << 20))
	echo '{"bindings": []}' | isomctl load-bindings -
	echo "empty again: $(kernel_memory)"
	(($(kernel_memory) < 8 << 20))
}

@test "1,024 destinations can be used up and given back, again and again" {
	isomctl load
	start_server --name foo tcp:127.0.0.1:8080
	for round in a b c; do
		json_bindings $round 512 | isomctl load-bindings -
		refuses 1 "all 1024 destinations are in use" isomctl bind one-more tcp 127.0.0.1 80
		refuses 1 "all 1024 destinations are in use" isomctl register-pid "$SERVER_PID" one-more tcp 127.0.0.1 8080

		# The labels that are there can be used all the same.
		isomctl bind ${round}511 tcp 127.0.0.9 80
		isomctl register-pid "$SERVER_PID" ${round}511 tcp 127.0.0.1 8080
		assert_answer foo tcp 127.0.0.9 80
		assert_answer foo tcp 127.1.1.255 80

		# One is enough for one.
		isomctl unbind ${round}0 udp 127.1.0.0 80
		isomctl bind one-more tcp 127.0.0.1 80
		isomctl register-pid "$SERVER_PID" one-more tcp 127.0.0.1 8080
		assert_answer foo tcp 127.0.0.1 80
		refuses 1 "all 1024 destinations are in use" isomctl bind ${round}0 udp 127.1.0.0 80

		echo '{"bindings": []}' | isomctl load-bindings -
		isomctl unregister ${round}511 ipv4 tcp
		isomctl unregister one-more ipv4 tcp
	done
	[[ $(isomctl --json status) == *'"destinations": []'* ]]
}

@test "a label that was given up leaves no counts to the next one" {
	isomctl load
	isomctl bind foo tcp 127.0.0.1 80
	assert_refused tcp 127.0.0.1 80
	isomctl unbind foo tcp 127.0.0.1 80
	isomctl bind bar tcp 127.0.0.1 80
	[[ $(isomctl --json status bar | tr -d ' \n') == *'"lookups":0,"misses":0'* ]]
}
