# shellcheck shell=bash
#
# The one way for tests/netns/*.bats to get a network namespace. `load ../lib/netns` is all that a file needs: each test
# then has a network namespace and a bpffs of its own, with lo up, and nothing that it leaves can outlive it.
#
# The namespaces live in a process that does nothing, and so do the servers started in them: all are told to die with the
# shell that runs the test (PR_SET_PDEATHSIG), however that one ends. The bpffs is mounted in a mount namespace that goes
# with its last process, so there is nothing to unmount.
#
# A file with a setup or teardown of its own calls netns_setup and netns_teardown in it.

# shellcheck source=tests/lib/probing.bash
source "${BASH_SOURCE[0]%/*}/probing.bash"

setup() { netns_setup; }
teardown() { netns_teardown; }

netns_setup() {
	need_root
	# Refusals over UDP are ICMP errors; without a mask of none the kernel lets no more than some of them through.
	start_and_read NETNS_PID setpriv --pdeathsig KILL unshare --net --mount --propagation private sh -ec '
		mount -t bpf bpf /sys/fs/bpf
		ip link set lo up
		echo 0 > /proc/sys/net/ipv4/icmp_ratemask
		echo 0 > /proc/sys/net/ipv6/icmp/ratelimit
		echo ready
		exec sleep infinity'
}

netns_teardown() {
	stop_server "${SERVERS[@]}"
	stop_server "${NETNS_PID:-}"
}

# in_ns COMMAND...: runs it in the test's namespaces. It becomes the command: $! after `in_ns … &` is the command's own.
in_ns() { nsenter --target "$NETNS_PID" --net --mount "$@"; }

isomctl() { in_ns "$BUILD/isomctl" "$@"; }
probe() { in_ns "$BUILD/tests/probe" "$@"; }

# start_server ARGUMENTS...: runs an echo-server in the namespace, returns once it listens, and sets SERVER_PID.
start_server() {
	start_and_read SERVER_PID setpriv --pdeathsig KILL nsenter --target "$NETNS_PID" --net --mount \
		"$BUILD/tests/echo-server" "$@"
	SERVERS+=("$SERVER_PID")
}

# stop_server PID...: kills it, as a crash would, and returns once it and its sockets are gone.
stop_server() {
	local pid
	for pid; do
		kill -KILL "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
}

# start_and_read VARIABLE COMMAND...: runs the command in the background, sets VARIABLE to its process and returns once it
# has written a line.
start_and_read() {
	local -n started=$1
	local output
	shift
	# bats waits for all that hold its descriptors 3 and up, so a background process must not.
	exec {output}< <(exec "$@" 3>&- 4>&-)
	# shellcheck disable=SC2034 # a reference to the caller's variable
	started=$!
	read -r -t 10 -u "$output" _ || fail "did not start: $*" || return
	exec {output}<&-
}

SERVERS=()
