# shellcheck shell=bash
#
# A unit's bindings are there from before it starts until it is stopped. A wildcard server on the same port waits for
# their packets all the while; it must not get one: where the unit can't answer, the packet is refused.

load ../lib/container
load ../lib/units
bats_require_minimum_version 1.5.0

setup_file() {
	container_setup
	in_container ip route add local 2001:db8::/32 dev lo
	unit wildcard.service <<-'END'
		[Service]
		Type=notify
		ExecStart=/usr/lib/isomer-tests/echo-server --name wildcard --notify tcp:[::]:80 udp:[::]:80
	END
	systemctl daemon-reload
	systemctl start wildcard
}

# bound NAME SUBNET PORT [LINE...]: a running service of that name that listens on PORT; port 80 of SUBNET is bound to it.
bound() {
	local name=$1 subnet=$2 port=$3
	shift 3
	printf '%s\n' '[Service]' Type=notify \
		"ExecStart=/usr/lib/isomer-tests/echo-server --name $name --notify tcp:[::]:$port udp:[::]:$port" "$@" \
		'[Isomer]' "Bind=tcp $subnet 80" "Bind=udp $subnet 80" | unit "$name.service"
	systemctl daemon-reload
	systemctl start "$name"
}

restarts_of() { systemctl show --property=NRestarts --value "$1"; }

@test "through restarts" {
	bound restarted 127.1.0.0/24 8001
	start_probing tcp 127.1.0.1 80
	for _ in 1 2 3; do
		systemctl restart restarted
		assert_answer restarted tcp 127.1.0.2 80
	done
	stop_probing restarted refused silent # of a server that ends
}

@test "through restarts, IPv6 and UDP" {
	bound restarted6 2001:db8:1::/48 8002
	start_probing --timeout-ms 100 udp 2001:db8:1::1 80
	for _ in 1 2 3; do
		systemctl restart restarted6
		assert_answer restarted6 udp 2001:db8:1::2 80
	done
	stop_probing restarted6 refused timeout # what the old server didn't get round to
}

@test "through a crash, the wait for the automatic restart, and that restart" {
	bound crashing 127.1.1.0/24 8003 Restart=always RestartSec=500ms
	start_probing tcp 127.1.1.1 80
	systemctl kill --signal=KILL crashing
	wait_until assert_refused tcp 127.1.1.2 80
	wait_until assert_answer crashing tcp 127.1.1.2 80
	[[ $(restarts_of crashing) == 1 ]]
	stop_probing crashing refused silent
}

@test "through a crash in the midst of answers" {
	bound suicidal 127.1.2.0/24 8004 Restart=always RestartSec=10ms StartLimitBurst=100
	unit suicidal.service.d/crash.conf <<-'END'
		[Unit]
		StartLimitIntervalSec=0
		[Service]
		ExecStart=
		ExecStart=/usr/lib/isomer-tests/echo-server --name suicidal --notify --crash-after 20 tcp:127.0.0.1:8004
		[Isomer]
		Bind=
		Bind=tcp 127.1.2.0/24 80
	END
	systemctl daemon-reload
	start_probing tcp 127.1.2.1 80
	systemctl restart suicidal 2>/dev/null || true # it may crash before its start is done
	crashed_five_times() { (($(restarts_of suicidal) >= 5)); }
	wait_until crashed_five_times
	stop_probing suicidal refused silent
}

@test "through systemd's own changes: daemon-reload and daemon-reexec" {
	bound steady 127.1.3.0/24 8005
	start_probing tcp 127.1.3.1 80
	systemctl daemon-reload
	systemctl daemon-reexec
	wait_until systemctl is-active steady
	stop_probing steady
}

@test "until systemctl stop returns: then others get the packets, however often that happens" {
	unit stopped.service.d/limit.conf <<<$'[Unit]\nStartLimitIntervalSec=0'
	bound stopped 127.1.4.0/24 8006
	systemctl --quiet add-wants multi-user.target stopped # else systemd forgets it, and how often it started, between
	for _ in {1..10}; do
		assert_active isomer@stopped.service.service
		assert_answer stopped tcp 127.1.4.1 80
		systemctl stop stopped
		assert_answer wildcard tcp 127.1.4.1 80
		assert_answer wildcard udp 127.1.4.1 80
		systemctl start stopped
	done
}

@test "until then, even if isomer@UNIT.service, which systemd stops after the unit, takes its time" {
	unit isomer@slow.service.service.d/slow.conf <<<$'[Service]\nExecStop=/bin/sleep 0.5'
	bound slow 127.1.8.0/24 8009
	assert_answer slow tcp 127.1.8.1 80
	systemctl stop slow
	assert_answer wildcard tcp 127.1.8.1 80
	systemctl start slow
	assert_answer slow tcp 127.1.8.1 80
	start_probing tcp 127.1.8.1 80
	systemctl restart slow
	stop_probing slow refused silent
}

@test "until it failed for good, with no restart to come" {
	bound failing 127.1.5.0/24 8007
	systemctl kill --signal=KILL failing
	wait_until assert_answer wildcard tcp 127.1.5.1 80
}

@test "not beyond a start that failed" {
	bound unable 127.1.6.0/24 80 || true # that port is the wildcard server's
	systemctl --quiet is-failed unable
	wait_until assert_answer wildcard tcp 127.1.6.1 80
}

@test "always, once isomer@UNIT.service is enabled" {
	bound kept 127.1.7.0/24 8008
	systemctl enable isomer@kept.service.service 2>/dev/null
	systemctl stop kept
	assert_refused tcp 127.1.7.1 80
	systemctl start kept
	assert_answer kept tcp 127.1.7.1 80
}

# unstartable NAME SUBNET PORT LINE...: as bound, but with these lines in [Unit], and it isn't started.
unstartable() {
	local name=$1 subnet=$2 port=$3
	shift 3
	printf '%s\n' '[Unit]' "$@" '[Service]' Type=notify \
		"ExecStart=/usr/lib/isomer-tests/echo-server --name $name --notify tcp:[::]:$port" \
		'[Isomer]' "Bind=tcp $subnet 80" | unit "$name.service"
	systemctl daemon-reload
}

@test "not for a unit that never starts because a condition isn't met, until it does" {
	unstartable conditional 127.1.9.0/24 8010 ConditionPathExists=/run/condition
	systemctl start conditional
	assert_inactive conditional
	assert_answer wildcard tcp 127.1.9.1 80
	systemctl reload isomer
	assert_answer wildcard tcp 127.1.9.1 80

	in_container touch /run/condition
	systemctl start conditional
	assert_answer conditional tcp 127.1.9.1 80
	start_probing tcp 127.1.9.1 80
	systemctl restart conditional
	stop_probing conditional refused silent
	systemctl stop conditional
	assert_answer wildcard tcp 127.1.9.1 80
}

@test "not for a unit that never starts because one that it requires fails" {
	unit requirement.service <<<$'[Service]\nType=oneshot\nExecStart=/bin/false'
	unstartable requiring 127.1.10.0/24 8011 Requires=requirement.service After=requirement.service
	run ! systemctl start requiring
	assert_inactive requiring
	assert_answer wildcard tcp 127.1.10.1 80
}

@test "even for a unit that never starts, if isomer@UNIT.service is enabled" {
	unstartable awaited 127.1.11.0/24 8012 ConditionPathExists=/nonexistent
	systemctl enable --quiet --now isomer@awaited.service.service
	assert_refused tcp 127.1.11.1 80
	systemctl start awaited
	assert_refused tcp 127.1.11.1 80
	systemctl restart isomer
	assert_refused tcp 127.1.11.1 80
	systemctl disable --quiet --now isomer@awaited.service.service
	assert_answer wildcard tcp 127.1.11.1 80
}

@test "by an alias, or of no unit, there are none to be held: it is said, and the unit has its own" {
	bound real 127.1.20.0/24 8020
	systemctl stop real
	in_container ln -s real.service /etc/systemd/system/alias.service
	systemctl daemon-reload
	run ! systemctl enable --quiet --now isomer@alias.service.service
	assert_journal isomer-bind@alias.service.service 'alias.service is an alias of real.service: use that name: isomer@real.service.service in place of isomer@alias.service.service'
	assert_unbound 127.1.20.0
	systemctl start real
	assert_answer real tcp 127.1.20.1 80
	systemctl reload isomer
	assert_answer real tcp 127.1.20.1 80
	systemctl disable --quiet --now isomer@alias.service.service
	systemctl stop real

	run ! systemctl start isomer-bind@nonsense.service.service
	assert_journal isomer-bind@nonsense.service.service 'there is no unit nonsense.service'
	bound sectionless 127.1.21.0/24 8021
	systemctl stop sectionless
	# shellcheck disable=SC2016 # sed's own $
	in_container sed -i '/Isomer/,$d' /etc/systemd/system/sectionless.service
	systemctl daemon-reload
	run ! systemctl start isomer-bind@sectionless.service.service
	assert_journal isomer-bind@sectionless.service.service 'sectionless.service has no [Isomer] section: write one into a drop-in of it'
}
