# shellcheck shell=bats
#
# State that is not as Isomer left it: each kind of damage is a clear error, never a crash, and 'isomctl unload' and
# 'isomctl load' mend it.
load ../lib/netns
load ../lib/refusing

state_directory() { in_ns find /sys/fs/bpf/isomer -mindepth 1 -maxdepth 1; }
pin_of() { in_ns find /sys/fs/bpf/isomer -name "$1"; }

# users_refuse TEXT: whatever is asked, the answer is an error with that text. all_refuse TEXT: so it is to who would load.
users_refuse() {
	for words in status "bind foo tcp 127.0.0.1 80"; do
		# shellcheck disable=SC2086 # words
		refuses 1 "$1" in_ns timeout 10 "$BUILD/isomctl" $words || return
	done
}
all_refuse() { users_refuse "$1" && refuses 1 "$1" isomctl load; }

mended_by_loading_anew() {
	isomctl unload
	[[ $(isomctl load) == "loaded the dispatcher" ]]
}

maps=(slots claims gate ledger port_uses sockets counters destinations owners)

@test "a map that is missing" {
	isomctl load
	for map in "${maps[@]}"; do
		in_ns rm "$(pin_of "$map")"
		all_refuse "$map: No such file or directory: the dispatcher's state is damaged: run 'isomctl unload'"
		mended_by_loading_anew
	done
}

# A small one, of which nobody may take the memory for that of a large one.
@test "another kind of map in its place, a program, or a directory" {
	local pin
	isomctl load
	for map in "${maps[@]}"; do
		for kind in "type array key 4 value 8 entries 1" "type hash key 4 value 4 entries 4"; do
			# An array whose value begins with another number is a ledger, of another ABI.
			[[ $map != ledger || $kind != "type array key 4 value 8"* ]] || continue
			pin=$(pin_of "$map")
			in_ns rm "$pin"
			# shellcheck disable=SC2086 # words
			in_ns bpftool map create "$pin" $kind name stranger
			all_refuse "$pin is not a map of ours: the dispatcher's state is damaged: run 'isomctl unload'"
			mended_by_loading_anew
		done
	done
	pin=$(pin_of counters)
	in_ns rm "$pin"
	in_ns mv "$(pin_of program)" "$pin"
	all_refuse "the dispatcher's state is damaged"
	mended_by_loading_anew
	pin=$(pin_of owners)
	in_ns rm "$pin"
	in_ns mkdir "$pin"
	all_refuse "the dispatcher's state is damaged"
	refuses 1 "Directory not empty" isomctl unload
}

@test "a generation that is missing" {
	isomctl load
	in_ns rm -r "$(dirname "$(pin_of ledger)")"
	all_refuse "the dispatcher's state is damaged"
	mended_by_loading_anew
}

@test "a link that is missing, or something else, is no dispatcher" {
	local link
	isomctl load
	link=$(pin_of link)
	in_ns rm "$link"
	users_refuse "isomctl load"
	isomctl load
	link=$(pin_of link)
	in_ns rm "$link"
	in_ns bpftool map create "$link" type array key 4 value 8 entries 1 name stranger
	users_refuse "isomctl load"
	[[ $(isomctl load) == "loaded the dispatcher" ]]
	isomctl bind foo tcp 127.0.0.1 80
}

@test "a file where the state directory belongs" {
	local state
	isomctl load
	state=$(state_directory)
	isomctl unload
	in_ns mkdir -m 755 /sys/fs/bpf/isomer
	in_ns bpftool map create "$state" type array key 4 value 8 entries 1 name stranger
	all_refuse "$state is a file, where the dispatcher's directory belongs: remove it"
	refuses 1 "$state is a file" isomctl unload
	in_ns rm "$state"
	isomctl load
}

@test "strangers beside the state disturb nobody" {
	local state
	isomctl load
	state=$(state_directory)
	in_ns mkdir -m 755 /sys/fs/bpf/isomer/stranger
	in_ns bpftool map create /sys/fs/bpf/isomer/file type array key 4 value 8 entries 1 name stranger
	in_ns ln -s / /sys/fs/bpf/isomer/link
	in_ns mkdir "$state/directory"
	isomctl bind foo tcp 127.0.0.1 80
	isomctl upgrade
	assert_refused tcp 127.0.0.1 80
	in_ns test -d "$state/directory"
	refuses 1 "cannot remove $state: Directory not empty" isomctl unload
	in_ns rmdir "$state/directory"
	isomctl unload
	[[ $(isomctl load 2>&1) == *"loaded the dispatcher" ]]
}
