# shellcheck shell=bash
#
# isomctl status about units: which ones have to do with a label, and in which state they are.
load ../lib/container
load ../lib/units
load ../lib/json

# units: those of the first destination, in short.
units() { isomctl status --json web | json '[(u["name"], u["state"], u["substate"], u["binds"], u["registered"]) for u in root["destinations"][0]["units"]]'; }

@test "status shows units and their states, also of one that is down and has bindings" {
	listening_service web 8080 <<<'Bind=tcp 127.7.0.0/24 80'
	listening_service other 8081 <<-END
		Label=other
		Bind=web tcp 127.7.1.0/24 80
		Bind=tcp 127.7.2.0/24 80
	END
	systemctl start web other
	[[ $(units) == "[('web.service', 'active', 'running', True, True), ('other.service', 'active', 'running', True, False)]" ]] ||
		fail "$(units)"
	[[ $(isomctl status web) == *' web.service '*' active '*"$(systemctl show --property MainPID --value web) echo-server" ]]
	systemctl stop other
	systemctl start isomer@web.service.service
	systemctl enable --now isomer@web.service.service 2>/dev/null
	systemctl kill --signal=KILL web
	wait_until_failed() { [[ $(systemctl is-failed web) == failed ]]; }
	wait_until wait_until_failed
	[[ $(units) == "[('web.service', 'failed', 'failed', True, False)]" ]] || fail "$(units)"
	[[ $(isomctl status web) == *' web.service '*' failed '*'-' ]]
	systemctl disable --now isomer@web.service.service 2>/dev/null
}
