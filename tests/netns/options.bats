# shellcheck shell=bash
#
# The options of isomctl: the global ones, before and after the command; what is said of those that don't exist and of
# arguments that are missing; and what `isomctl version` tells those who may not look.
load ../lib/netns
load ../lib/refusing

setup() {
	netns_setup
	isomctl load
	isomctl bind web tcp 127.0.0.1 80
	isomctl bind dns udp 127.0.0.1 53
}

@test "global options stand before or after the command, after one dash or two" {
	local words
	before=$(isomctl --json bindings --label web)
	[[ $before == *'"web"'* && $before != *dns* ]]
	for words in 'bindings --json --label web' 'bindings --label web --json' 'bindings -json -label=web' \
		'bindings --js --lab web' '-json bindings -label web' 'bindings --label=web --bpffs /sys/fs/bpf --json' \
		'bindings --bpffs=/sys/fs/bpf --json --label web' '--netns /proc/self/ns/net bindings --json --label web' \
		'bindings -netns /proc/self/ns/net --json --label web'; do
		# shellcheck disable=SC2086 # words
		diff <(isomctl $words) - <<<"$before"
	done
	[[ $(isomctl status --json) == *'"program"'* ]]
	[[ $(isomctl status web --json) == *'"web"'* ]]
	[[ $(isomctl version --json) == *'"abi"'* ]]
	refuses 1 'cannot enter the network namespace /run/netns/nowhere: No such file or directory: '\''ip netns list'\''' isomctl status --netns nowhere
	refuses 1 /nowhere isomctl status --bpffs /nowhere
}

@test "what is the value of an option, or stands after --, is no option" {
	isomctl bind -- --json tcp 127.0.0.2 80
	[[ $(isomctl bindings --label --json) == *'--json '*127.0.0.2* ]]
	[[ $(isomctl bindings --json --label --json) == *'"label": "--json"'* ]]
	[[ $(isomctl status -- --json) == *'--json '* ]]
	isomctl unbind -- --json tcp 127.0.0.2 80
}

# says LINE COMMAND...: the command is misused and that is all it says, besides its usage.
says() {
	local line=$1
	refuses 2 "$line" "${@:2}"
	[[ ${REFUSAL%%$'\n'*} == "isomctl: $line" ]] || fail "${*:2}:" "$REFUSAL" || return
	[[ $(grep -cv -e ^Usage: -e ^More: <<<"$REFUSAL") == 1 ]] || fail "${*:2}: more than one line:" "$REFUSAL" || return
	run ! grep ' $' <<<"$REFUSAL"
}

@test "options that don't exist, and values too many or too few, take one line to say" {
	says '"--none": no such option: see isomctl --help' isomctl --none status
	says '"-x": no such option: see isomctl --help' isomctl -x
	says '"--json=yes": it takes no value: see isomctl --help' isomctl --json=yes status
	says '"--netns": it needs a value: see isomctl --help' isomctl --netns
	says 'load: "--force": no such option' isomctl load --force
	says 'load: "--label": no such option' isomctl load --label web
	says 'status: "-x": no such option' isomctl status -x
	says 'bindings: "--none": no such option' isomctl bindings --none
	says 'bindings: "--p": no such option' isomctl bindings --p tcp # --protocol or --port
	says 'bindings: "--label": it needs a value' isomctl bindings --label
	says 'bindings: "--netns": it needs a value' isomctl bindings --label web --netns
	says 'status: "--json=yes": it takes no value' isomctl status --json=yes
	says 'status: "--version": no such option' isomctl status --version
}

@test "arguments that are missing are named" {
	says 'bind: it needs LABEL, PROTOCOL, PREFIX and PORT' isomctl bind
	says 'bind: it needs PREFIX and PORT as well' isomctl bind web tcp
	says 'bind: it needs PORT as well' isomctl bind web tcp 127.0.0.1
	says 'unbind: it needs PROTOCOL, PREFIX and PORT as well' isomctl unbind --json web
	says 'register: it needs LABEL' isomctl register
	says 'register-pid: it needs PORT as well' isomctl register-pid 1 web tcp 127.0.0.1
	says 'unregister: it needs ipv4|ipv6 and tcp|udp as well' isomctl unregister web
	says 'load-bindings: it needs FILE' isomctl load-bindings
}

@test "no line of any help ends in a space, and all that have --json are named" {
	local command help
	help=$(isomctl --help)
	grep -q -e '--json .*bindings, explain, load-bindings, status, verify and version' <<<"$(tr -s ' \n' ' ' <<<"$help")"
	while read -r command; do
		help+=$'\n'$(isomctl "$command" --help)
	done < <(sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p' <<<"$help")
	[[ $help == *'Usage: isomctl [OPTION …] load'$'\n'* ]]
	run ! grep ' $' <<<"$help"
}

# as_user COMMAND...: as somebody who isn't root.
as_user() { in_ns setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }

# a_copy: of isomctl, where everybody may run it.
a_copy() {
	chmod a+rx "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" "${BATS_TEST_TMPDIR%/*}"
	cp "$BUILD/isomctl" "$BATS_TEST_TMPDIR/"
	echo "$BATS_TEST_TMPDIR/isomctl"
}

@test "isomctl version for those who may not see what is loaded" {
	local isomctl
	isomctl=$(a_copy)
	run --separate-stderr as_user "$isomctl" version
	# shellcheck disable=SC2154 # run sets it
	[[ $status == 0 && $output == 'isomctl '*', ABI '* && $output != *loaded* ]]
	# shellcheck disable=SC2154 # and this
	[[ $stderr == *'Permission denied'*"can't be told"* ]]
	run --separate-stderr as_user "$isomctl" version --json
	[[ $status == 0 && $output == *'"program": null'* ]]

	run --separate-stderr isomctl version
	[[ $status == 0 && $output == *'the dispatcher is loaded, program '* && -z $stderr ]]
	isomctl unload
	run --separate-stderr isomctl version
	[[ $status == 0 && $output == *'no dispatcher is loaded'* && -z $stderr ]]
}

@test "isomctl version for those who aren't root and may see it" {
	local isomctl
	isomctl=$(a_copy)
	run --separate-stderr as_user --inh-caps +sys_admin,+dac_override --ambient-caps +sys_admin,+dac_override \
		"$isomctl" version
	[[ $status == 0 && $output == *'the dispatcher is loaded, program '* ]]
}

@test "isomer-helper's misuse is said, and is exit status 2" {
	refuses 2 'isomer-helper: there is no command "bogus"' "$BUILD/isomer-helper" bogus
	refuses 2 'isomer-helper: bind takes one UNIT' "$BUILD/isomer-helper" bind
	refuses 2 'isomer-helper: start takes no argument' "$BUILD/isomer-helper" start web.service
	refuses 2 'Usage: ' "$BUILD/isomer-helper"
}
