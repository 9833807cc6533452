# shellcheck shell=bash
#
# What Isomer's own units may: as little as systemd can see to, and hooks give up the rest by themselves. That all of it
# works within is what the other files test.
load ../lib/container
load ../lib/units

@test "systemd-analyze security finds no unit more exposed than 2.0" {
	local unit exposure
	in_container systemd-analyze --help | grep -q -e --offline || skip "systemd is older than 250"
	for unit in isomer.service isomer@.service isomer-bind@.service isomer-metrics.service; do
		in_container cp "/usr/lib/systemd/system/$unit" "/run/${unit/@./@x.service.}"
		exposure=$(in_container systemd-analyze security --offline=yes "/run/${unit/@./@x.service.}" |
			grep -oP 'exposure level .*: \K[0-9.]+')
		echo "$unit: $exposure"
		[[ $exposure && $(printf '%s\n' "$exposure" 2.0 | sort -n | tail -n 1) == 2.0 ]]
	done
}

@test "isomer.service writes to its own directory of the BPF file system" {
	systemctl start isomer
	[[ $(in_container stat -c %a /sys/fs/bpf/isomer) == 750 ]]
	systemctl stop isomer
	[[ -z $(in_container ls /sys/fs/bpf/isomer) ]]
}

@test "a hook keeps no privilege that it doesn't need" {
	local status kept permitted hook='^/usr/lib/isomer/isomer-helper register waits.service'
	unit waits.service <<-END
		[Service]
		ExecStart=/bin/sleep infinity
		[Isomer]
		Bind=tcp 127.9.0.0/24 80
		SocketTimeoutSec=60s
	END
	systemctl daemon-reload
	systemctl start --no-block waits
	wait_until in_container pgrep -f "$hook" # that of isomer.service comes before it
	status=$(in_container cat "/proc/$(in_container pgrep -f "$hook")/status")
	systemctl stop waits
	[[ $status == *NoNewPrivs:$'\t'1* ]]
	# CHOWN 0, DAC_READ_SEARCH 2, NET_ADMIN 12, SYS_PTRACE 19, SYS_RESOURCE 24, PERFMON 38, BPF 39
	kept=$((1 << 0 | 1 << 2 | 1 << 12 | 1 << 19 | 1 << 24 | 1 << 38 | 1 << 39))
	permitted=$(sed -n 's/^CapPrm:\t/0x/p' <<<"$status")
	((permitted && !(permitted & ~kept))) || fail "it has $permitted"
}
