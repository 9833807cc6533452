# shellcheck shell=bash
#
# The one way for tests/systemd/*.bats to get a real systemd, PID 1 of a container that runs on this machine's kernel, with
# Isomer installed in it. `load ../lib/container` is all that a file needs: its tests share one container, each cleaning up
# its own units or naming them apart. boot-container tells what the container is made of.
#
# All its processes live in a PID namespace that dies with the shell that runs the file (PR_SET_PDEATHSIG), however that one
# ends, and all its files in a mount namespace of theirs, so that nothing of it is left.
#
# A file with a setup_file or teardown_file of its own calls container_setup and container_teardown in it.

# shellcheck source=tests/lib/probing.bash
source "${BASH_SOURCE[0]%/*}/probing.bash"

setup_file() { container_setup; }
teardown_file() { container_teardown; }

# Boots; returns once systemd has started all it starts at boot.
container_setup() {
	need_root
	container_remove_leftovers
	CONTAINER_NAME=isomer-test-$BASHPID
	CONTAINER_LOG=$BUILD/tests/$CONTAINER_NAME.log
	setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --mount-proc --propagation private \
		"$TESTS/lib/boot-container" "$CONTAINER_NAME" "$BUILD" </dev/null &>"$CONTAINER_LOG" 3>&- 4>&- &
	CONTAINER_HOLDER=$!
	# The tests run in other processes than this.
	export CONTAINER_NAME CONTAINER_LOG CONTAINER_HOLDER CONTAINER_INIT
	if ! { wait_until container_find_init && [[ $CONTAINER_INIT ]] && wait_until container_has_booted; }; then
		cat "$CONTAINER_LOG" >&2
		container_teardown
		return 1
	fi
	# Refusals over UDP are ICMP errors; without this the kernel lets no more than some of them through.
	in_container sh -c 'echo 0 > /proc/sys/net/ipv4/icmp_ratemask; echo 0 > /proc/sys/net/ipv6/icmp/ratelimit'
}

container_teardown() {
	[[ ${CONTAINER_HOLDER:-} ]] || return 0
	{ kill -KILL "$CONTAINER_HOLDER" && wait "$CONTAINER_HOLDER"; } 2>/dev/null || true
	rm -f "$CONTAINER_LOG"
	# The kernel takes a moment to end the last processes; while there are any, their cgroups stay.
	wait_until container_remove_cgroups "$CONTAINER_NAME"
	unset CONTAINER_HOLDER
}

# container_remove_cgroups NAME: those that boot-container made for the container of that name.
container_remove_cgroups() {
	local cgroup
	for cgroup in /sys/fs/cgroup{,/systemd,/unified}/"$1"; do
		[[ ! -d $cgroup ]] || find "$cgroup" -depth -type d -exec rmdir {} + || return
	done
}

# A test run that was killed leaves empty cgroups and a log: they are named after a process that is no more.
container_remove_leftovers() {
	local left name
	for left in /sys/fs/cgroup{,/systemd,/unified}/isomer-test-* "$BUILD"/tests/isomer-test-*.log; do
		name=$(basename "$left" .log)
		[[ -e $left && ! -d /proc/${name##*-} ]] || continue
		container_remove_cgroups "$name" 2>/dev/null || true
		rm -f "$BUILD/tests/$name.log"
	done
}

# children_of PID: sets CHILDREN to them. It, and what calls it, does without processes, for they would slow down the boot
# that they wait for. (There is no newline at the end of that file, so read is never content.)
children_of() {
	CHILDREN=()
	read -ra CHILDREN <"/proc/$1/task/$1/children" || true
}

# Sets CONTAINER_INIT to the container's PID 1, as seen from here: the child named systemd of systemd-nspawn, which is the
# child of the holder. It is empty if the holder has ended.
container_find_init() {
	local CHILDREN nspawn name
	children_of "$CONTAINER_HOLDER"
	for nspawn in "${CHILDREN[@]}"; do
		children_of "$nspawn"
		for CONTAINER_INIT in "${CHILDREN[@]}"; do
			read -r name <"/proc/$CONTAINER_INIT/comm" && [[ $name == systemd ]] && return
		done
	done
	CONTAINER_INIT=
	[[ ! -e /proc/$CONTAINER_HOLDER/exe ]]
}

# A unit that failed at boot is for tests to find.
container_has_booted() { [[ $(in_container systemctl is-system-running) =~ ^(running|degraded)$ ]]; }

# in_container COMMAND...: runs it there, as root. The test tools are in the path.
in_container() {
	nsenter --target "$CONTAINER_INIT" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/isomer-tests \
		LANG=C.UTF-8 TERM=dumb SYSTEMD_PAGER= SYSTEMD_COLORS=0 "$@"
}

# unit NAME: writes stdin to a file of that name for units, such as foo.service or foo.service.d/isomer.conf. systemd sees
# it after a daemon-reload.
unit() {
	# shellcheck disable=SC2016 # expanded by the shell in there
	in_container sh -c 'mkdir -p "$(dirname "$1")" && cat >"$1"' sh "/etc/systemd/system/$1"
}

systemctl() { in_container systemctl "$@"; }
isomctl() { in_container isomctl "$@"; }

# journal UNIT [OPTION...]: what the unit said, and systemd about it, since boot: the messages alone.
journal() {
	in_container journalctl --sync
	in_container journalctl --no-pager --quiet --output=cat --unit "$@"
}

# container_probe asks from within the container who answers; `probe` is the same, for the assertions in probing.bash.
container_probe() { in_container probe "$@"; }
probe() { container_probe "$@"; }
