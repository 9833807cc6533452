# shellcheck shell=bash
#
# `make soak`: Isomer under traffic while everything is done to it that can be, for SOAK seconds (300). Every answer is
# checked, and what the kernel and systemd hold at the end is compared with what they held when all had been done once.
load ../lib/container
load ../lib/units

server=/usr/lib/isomer-tests/echo-server
: "${SOAK:=300}"

setup_file() {
	container_setup
	in_container cp /dev/stdin /usr/lib/isomer-tests/crowd <"$BUILD/tests/crowd"
	in_container chmod +x /usr/lib/isomer-tests/crowd
}

# service NAME PORT SUBNET [LINE...]: answers for port 80 of the subnet.
service() {
	local name=$1 port=$2 subnet=$3
	shift 3
	printf '%s\n' '[Unit]' StartLimitIntervalSec=0 '[Service]' Type=notify "ExecStart=$server --name $name --notify tcp:127.0.0.1:$port" \
		'[Isomer]' "Bind=tcp $subnet 80" "$@" | unit "$name.service"
}

# crowd NAME ARGUMENT...: begins to ask, as a service of that name.
crowd() {
	local name=$1
	shift
	in_container systemd-run --quiet --unit="$name" --property=Type=exec --property=StandardOutput="file:/run/$name" \
		--property=StandardError="file:/run/$name.wrong" /usr/lib/isomer-tests/crowd "$@"
}

# Ends it; prints what it has seen, and is false if any of it was wrong.
end_crowd() {
	systemctl kill --signal=TERM "$1"
	wait_until in_container test -s "/run/$1"
	echo "$1: $(in_container cat "/run/$1")"
	in_container cat "/run/$1.wrong"
	[[ $(in_container cat "/run/$1") == *" 0 wrong" ]]
}

# Everything that is done to it, once.
churn() {
	local round=$1 octet
	octet=$((round % 200))
	isomctl bind hand tcp "127.12.$octet.0/24" "$((1000 + octet))-$((2000 + octet))"
	isomctl bind hand udp "127.12.$octet.0/24" 0
	isomctl bind hand tcp "127.8.0.0/15" 80 # shorter than the steady one's: changes nothing
	isomctl unbind hand tcp "127.12.$octet.0/24" "$((1000 + octet))-$((2000 + octet))"
	isomctl unbind hand udp "127.12.$octet.0/24" 0
	# shellcheck disable=SC2016 # expanded by the shell in there
	in_container sh -c '
		{
			printf "{\"bindings\":["
			for i in $(seq 200); do printf "{\"label\":\"l%d\",\"prefix\":\"127.13.%d.0/24\",\"port\":%d}," $(($1 % 7)) $i $i; done
			printf "{\"label\":\"hand\",\"prefix\":\"127.13.0.0/16\",\"port\":\"8000-9000\"}]}"
		} | isomctl load-bindings /dev/stdin' sh "$round"
	# shellcheck disable=SC2016 # expanded by the shell in there
	in_container sh -c 'isomctl register-pid $(systemctl show --property=MainPID --value steady) other tcp 127.0.0.1 8001'
	isomctl unregister other ipv4 tcp
	isomctl upgrade
	systemctl restart changing
	systemctl reload isomer
	((round % 5)) || systemctl restart isomer
	((round % 7)) || systemctl daemon-reload
	systemctl stop coming
	systemctl start coming
} >/dev/null

# What is held: BPF maps and programs of the machine, KiB of the kernel's and of systemd's memory.
holdings() {
	# shellcheck disable=SC2016 # expanded by awk
	in_container sh -c '
		echo "maps $(bpftool map list | grep -c ^[0-9])" "programs $(bpftool prog list | grep -c ^[0-9])"
		awk "/^(SUnreclaim|VmallocUsed|Percpu):/ { sum += \$2 } END { print \"kernel\", sum }" /proc/meminfo
		awk "/^VmRSS:/ { print \"systemd\", \$2 }" /proc/1/status' | paste -sd' '
}

holding() { sed -E "s/.*$1 ([0-9]+).*/\1/" <<<"$2"; }

@test "traffic and changes, at once" {
	local round=0 before after deadline failures=0
	service steady 8001 127.8.0.0/16
	service changing 8002 127.9.0.0/16
	service coming 8003 127.10.0.0/16
	unit stranger.service <<<$'[Service]\nType=notify\nExecStart='"$server --name stranger --notify tcp:0.0.0.0:80"
	systemctl daemon-reload
	systemctl start stranger steady changing coming

	# All has been done often enough for what is kept once to be there.
	for round in 1 2 3 5 7 35; do
		churn "$round"
	done
	before=$(holdings)

	# The first one's bindings and socket are always there, so all else is wrong; the others' servers come and go.
	crowd ask-steady --rate 10000 127.8.0.0 16 80 steady
	crowd ask-changing --rate 5000 --refusals 127.9.0.0 16 80 changing
	crowd ask-coming --rate 5000 --refusals 127.10.0.0 16 80 coming stranger
	deadline=$((SECONDS + SOAK))
	while ((SECONDS < deadline)); do
		churn "$((++round))" || fail "a command failed in round $round"
	done
	for name in ask-steady ask-changing ask-coming; do
		end_crowd "$name" || ((++failures))
	done >"$BATS_TEST_TMPDIR/report"
	after=$(holdings)
	{
		cat "$BATS_TEST_TMPDIR/report"
		echo "$((round - 35)) rounds of changes"
		echo "before: $before" "after: $after"
	} | sed 's/^/# /' >&3
	((failures == 0)) || fail "wrong answers:" "$(cat "$BATS_TEST_TMPDIR/report")"
	[[ $(holding maps "$after") == "$(holding maps "$before")" && $(holding programs "$after") == "$(holding programs "$before")" ]]
	# A machine that others use, too: 16 MiB is less than ten dispatchers take.
	(($(holding kernel "$after") < $(holding kernel "$before") + 16384))
	(($(holding systemd "$after") < $(holding systemd "$before") + 4096))
	[[ $(isomctl status --json) == *'"steady"'* ]]
}
