# shellcheck shell=bash disable=SC2119,SC2120 # whether write_more is given lines is its callers' affair
#
# For tests that run isomer-helper's commands by hand and disturb them, for a unit that is active, beside another one that
# is to notice nothing: `load ../lib/by-hand`, beside container.bash and units.bash.

# shellcheck source=tests/lib/walking.bash
source "${BASH_SOURCE[0]%/*}/walking.bash"

HELPER=/usr/lib/isomer/isomer-helper

setup_file() {
	container_setup
	listening_service steady 8001 <<<'Bind=tcp 127.5.1.0/24 80'
	listening_service victim 8002 <<<'Bind=tcp 127.5.2.0/24 80'
	systemctl start steady victim
	write_more
	systemctl daemon-reload
}

# write_more [LINE...]: what the victim's section has besides.
write_more() { printf '%s\n' '[Isomer]' "$@" | unit victim.service.d/more.conf; }

helper() { in_container $HELPER "$@"; }

# expect_answer ADDRESS NAME...: who answers at its port 80 is one of these.
expect_answer() { expect_one_of "$(probe --timeout-ms 1000 tcp "$1" 80 | cut -d' ' -f1)" "${@:2}"; }

# Every binding that is listed has a unit, and a socket if that unit is active; there is one generation of pins.
expect_whole() {
	expect_answer 127.5.1.1 steady
	expect_answer 127.5.2.1 victim
	[[ $(isomctl bindings | awk 'NR > 1 { print $1, $3, $5 }') == "steady 127.5.1.0/24 steady.service
victim 127.5.2.0/24 victim.service" ]] || fail "$WHEN:" "$(isomctl bindings)"
	(($(in_container find /sys/fs/bpf/isomer -mindepth 2 | wc -l) == 13)) ||
		fail "$WHEN: pins:" "$(in_container find /sys/fs/bpf/isomer)"
}

setup() { set_seed; }
