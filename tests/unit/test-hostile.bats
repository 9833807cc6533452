#!/usr/bin/env bats
#
# isomer-generator and what must not stop the boot: whatever it meets on disk, and whatever it lacks, it ends soon, with
# success, and the units beside what is wrong get their drop-ins.
#
# shellcheck disable=SC2102,SC2154 # [Service] is what a line of a unit file looks like; run sets $stderr
bats_require_minimum_version 1.5.0

setup() {
	: "${BUILD:=$BATS_TEST_DIRNAME/../../build}"
	GENERATOR=$BUILD/isomer-generator
	MANY=100000 LONGEST=20 # lines, seconds
	! is_sanitized || MANY=5000 LONGEST=120 # with the address sanitizer, whatever grows is copied each time
	cd "$BATS_TEST_TMPDIR" || return
	mkdir etc out
	export SYSTEMD_UNIT_PATH=$PWD/etc
	put etc/good.service [Service] ExecStart=/bin/true [Isomer]
}

is_sanitized() { grep -q __asan_init "$GENERATOR"; }

put() { printf '%s\n' "${@:2}" >"$1"; }

# generate [COMMAND...]: runs it, by that command, and sees to it that it succeeds and says nothing on stdout.
generate() {
	rm -rf out
	mkdir out
	run --separate-stderr timeout --kill-after=1 "$LONGEST" "$@" "$GENERATOR" "$PWD/out" "$PWD/early" "$PWD/late"
	[[ $status == 0 && -z $output ]] || {
		echo "exit $status: $output" "$stderr"
		return 1
	}
}

is_written() { [[ $(tail -n 1 "out/$1.d/50-isomer.conf") == Exec*" unregister %n" ]]; }

@test "a megabyte on one line" {
	{ printf '[Isomer]\nBind=' && head -c 1000000 /dev/zero | tr '\0' x; } >etc/long.service
	{ printf '[Socket]\nService=' && head -c 1000000 /dev/zero | tr '\0' %; } >etc/percent.socket
	{ printf '[Isomer]\n[Service]\nSockets=' && head -c 1000000 /dev/zero | tr '\0' x; } >etc/words.service
	{ printf '[' && head -c 1000000 /dev/zero | tr '\0' x; } >etc/section.service
	generate
	is_written good.service
	is_written long.service
	is_written words.service
	((${#stderr} < 2000)) || { echo "it says all of it: ${#stderr} bytes"; return 1; }
}

@test "a hundred thousand lines of what adds up" {
	{ echo [Isomer] && yes "Bind=tcp 127.0.0.0/8 80" | head -"$MANY"; } >etc/binds.service
	{ printf '[Isomer]\n[Service]\n' && yes "Sockets=a.socket" | head -"$MANY"; } >etc/sockets.service
	# shellcheck disable=SC1003 # a backslash
	{ echo [Isomer] && yes '\' | head -"$MANY"; } >etc/continued.service
	put etc/a.socket [Socket] ListenStream=80
	generate
	is_written good.service
	is_written binds.service
	is_written sockets.service
	is_written continued.service
	is_written a.socket
}

@test "links in circles, masks, special files and directories where files belong" {
	mkdir etc/good.service.d etc/directory.service
	ln -s /dev/null etc/good.service.d/masked.conf
	ln -s b.service etc/a.service
	ln -s a.service etc/b.service
	ln -s . etc/self.service.d
	ln -s ../etc etc/good.service.d/up.conf
	mkfifo etc/fifo.service etc/good.service.d/fifo.conf
	ln -s /dev/zero etc/zero.service
	ln -s /dev/full etc/good.service.d/full.conf
	ln -s /proc/self/mem etc/mem.service
	ln -s /dev/stdin etc/good.service.d/stdin.conf
	generate
	is_written good.service
	[[ $(ls out) == good.service.d ]]
	for name in directory fifo zero; do
		[[ $stderr == *"$PWD/etc/$name.service: skipped: "* ]]
	done
}

@test "files that can't be read" {
	((EUID == 0)) || skip "needs root"
	put etc/secret.service [Isomer]
	chmod 0 etc/secret.service
	mkdir etc/secret.service.d
	chmod 0 etc/secret.service.d
	chown 65534 etc/secret.service etc/secret.service.d
	generate setpriv --bounding-set=-all --inh-caps=-all env --
	is_written good.service
	[[ $stderr == *"$PWD/etc/secret.service: skipped: Permission denied"* ]]
}

@test "closed standard streams, which no file takes the place of" {
	put etc/wrong.service [Isomer]
	put etc/root.service [Service] RootDirectory=/srv [Isomer]
	for closed in '>&-' '2>&-' '<&- >&- 2>&-'; do
		generate sh -c "exec \"\$@\" $closed" sh
		is_written good.service
		! grep -r "isomer-generator:" out || return 1
	done
}

# A program that can't even be loaded has not begun; the loader says so, or crashes.
@test "hardly any memory, hardly any files" {
	! is_sanitized || skip "the address sanitizer takes a lot of memory"
	local size files said code
	for size in $(seq 1000 200 8000); do
		rm -rf out && mkdir out
		code=0
		said=$(bash -c "ulimit -v $size; exec '$GENERATOR' '$PWD/out'" 2>&1) || code=$?
		[[ $code == 0 || $said == *"error while loading"* || ($code == 139 && -z $(ls out)) ]] || {
			echo "with $size KiB: exit $code: $said"
			return 1
		}
		[[ ! -d out/good.service.d || -z $(ls out/good.service.d) ]] || is_written good.service
	done
	[[ $code == 0 ]]
	is_written good.service
	for files in 10 12 16; do # bats has some open itself
		generate bash -c "ulimit -n $files; exec \"\$@\"" bash
	done
	is_written good.service
}

@test "an output directory that is full or can't be written leaves no half of a drop-in" {
	((EUID == 0)) || skip "needs root"
	for size in 0 1 2 3; do
		run unshare --mount sh -ec "
			mount -t tmpfs -o size=16k none '$PWD/out'
			dd if=/dev/zero of='$PWD/out/filler' bs=4k count=$((4 - size)) 2>/dev/null
			timeout 20 '$GENERATOR' '$PWD/out'
			find '$PWD/out' -name '*.conf' -size 0 >'$PWD/empty'
			[ $size = 0 ] || test -s '$PWD/out/good.service.d/50-isomer.conf'"
		[[ $status == 0 && ! -s empty ]] || { echo "$size pages: exit $status: $output" && cat empty; return 1; }
		((size)) || [[ $output == *"No space left"* ]]
	done
	run unshare --mount sh -ec "mount -t tmpfs -o ro none '$PWD/out'; timeout 20 '$GENERATOR' '$PWD/out'"
	[[ $status == 0 && $output == *"Read-only file system"* ]]
	run "$GENERATOR" "$PWD/etc/good.service"
	[[ $status == 0 && $output == *"Not a directory"* ]]
}
