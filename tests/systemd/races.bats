# shellcheck shell=bash disable=SC2317 # much is called by its name alone
#
# Units that start and stop at random, many at once, while clients ask: no packet gets to a third server, and in the end what
# runs is listed and answers, and what doesn't has left nothing. RACE_UNITS are how many (10), for RACE_SECONDS (10).
load ../lib/container
load ../lib/units
load ../lib/walking

RACE_SECONDS=${RACE_SECONDS:-10}
RACE_UNITS=${RACE_UNITS:-10}

@test "units that start and stop at random" {
	local number units=() racers=() racer begin
	set_seed
	unit race@.service <<-'END'
		[Unit]
		StartLimitIntervalSec=0
		[Service]
		Type=notify
		ExecStart=/usr/lib/isomer-tests/echo-server --name race-%i --notify tcp:127.0.0.1:80%i
		[Isomer]
		Label=race-%i
		Bind=tcp 127.6.%i.0/24 80
		Bind=tcp 127.6.%i.0/24 100-200
	END
	unit wildcard.service <<-'END'
		[Service]
		Type=notify
		ExecStart=/usr/lib/isomer-tests/echo-server --name wildcard --notify tcp:0.0.0.0:81
	END
	systemctl daemon-reload
	systemctl start wildcard race@99
	for ((number = 10; number < 10 + RACE_UNITS; number++)); do
		units+=("race@$number.service")
	done
	start_probing tcp 127.6.99.1 80
	begin=$SECONDS
	race() {
		local i
		RANDOM=$((SEED + $1))
		for ((i = 0; i < 5 || SECONDS - begin < RACE_SECONDS; i++)); do
			systemctl "$( ((RANDOM % 2)) && echo start || echo stop)" "${units[RANDOM % RACE_UNITS]}" || true
		done
	}
	for racer in {1..4}; do
		race "$racer" 3>&- &
		racers+=($!)
	done
	# Two racers may have wanted opposite things of one unit: then a job is canceled, and that is no failure.
	wait "${racers[@]}"
	stop_probing race-99
	wait_until all_settled

	local expected=(99) listed
	for ((number = 10; number < 10 + RACE_UNITS; number++)); do
		if systemctl --quiet is-active "race@$number"; then
			assert_answer "race-$number" tcp "127.6.$number.1" 80
			assert_answer "race-$number" tcp "127.6.$number.1" 150
			expected+=("$number")
		else
			assert_refused tcp "127.6.$number.1" 80
		fi
	done
	listed=$(isomctl bindings | awk 'NR > 1 { sub("race-", "", $1); print $1 }' | sort | uniq -c | awk '{ print $1 $2 }' | paste -sd' ')
	[[ $listed == "$(printf '2%s\n' "${expected[@]}" | sort | paste -sd' ')" ]] ||
		fail "twice each is listed: $listed; active: ${expected[*]}"

	systemctl stop 'race@*'
	wait_until all_settled
	(($(isomctl bindings | wc -l) == 1)) || fail "left over:" "$(isomctl bindings)"
	[[ $(isomctl --json status) != *race* ]]
}

# No unit is on its way, nor is anything that holds bindings.
all_settled() {
	local jobs units
	jobs=$(systemctl list-jobs --no-legend --plain)
	units=$(systemctl list-units --no-legend --plain --state=deactivating,activating 'race@*' 'isomer@*')
	[[ -z $jobs && -z $units ]]
}
