# shellcheck shell=bash
#
# Units that share a template, a label or a binding: who gets the packets, and what one unit's stop means to the other.

load ../lib/container
load ../lib/units

server=/usr/lib/isomer-tests/echo-server

@test "instances of a template, each with a label of its own" {
	unit col@.service <<-END
		[Service]
		Type=notify
		ExecStart=$server --name col-%i --notify tcp:127.0.0.1:82%i
		[Isomer]
		Label=col-%i
		Bind=tcp 127.4.%i.0/24 80
	END
	systemctl daemon-reload
	systemctl start col@11 col@12
	assert_answer col-11 tcp 127.4.11.1 80
	assert_answer col-12 tcp 127.4.12.1 80
	systemctl stop col@11
	assert_refused tcp 127.4.11.1 80
	assert_answer col-12 tcp 127.4.12.1 80
}

@test "a section for one instance alone" {
	unit one@.service <<-END
		[Service]
		Type=notify
		ExecStart=$server --name one-%i --notify tcp:127.0.0.1:81%i
	END
	unit one@03.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 127.4.3.0/24 80'
	systemctl daemon-reload
	systemctl start one@03 one@04
	assert_answer one-03 tcp 127.4.3.1 80
	[[ $(systemctl show --property=Wants --value one@04) != *isomer* ]]
}

@test "two units under one label: the later one takes over, and the earlier one's stop changes nothing" {
	listening_service blue 8001 <<<$'Label=colour\nBind=tcp 127.4.5.0/24 80'
	listening_service green 8002 <<<$'Label=colour\nBind=tcp 127.4.5.0/24 80'
	systemctl start blue
	assert_answer blue tcp 127.4.5.1 80
	start_probing tcp 127.4.5.1 80
	systemctl start green
	assert_answer green tcp 127.4.5.1 80
	systemctl stop blue
	assert_answer green tcp 127.4.5.1 80
	systemctl start blue
	systemctl stop green
	assert_answer blue tcp 127.4.5.1 80
	stop_probing blue green
}

@test "a binding of two units under one label lives until both are stopped" {
	listening_service left 8003 <<<$'Label=sides\nBind=tcp 127.4.6.0/24 80\nBind=tcp 127.4.6.0/24 81'
	listening_service right 8004 <<<$'Label=sides\nBind=tcp 127.4.6.0/24 80'
	systemctl start left
	systemctl start right
	[[ $(isomctl bindings --label sides) == *left.service*right.service* ]]
	systemctl stop left
	assert_answer right tcp 127.4.6.1 80
	assert_unbound 127.4.6.1 81
	systemctl stop right
	assert_unbound 127.4.6.1 80
}

# No binding is about this port.
assert_unbound() { [[ $(isomctl --json bindings --ip "$1" --port "$2") != *prefix* ]]; }

@test "the same binding under two labels: the second unit fails and names the first" {
	listening_service first 8005 <<<'Bind=tcp 127.4.7.0/24 80'
	listening_service second 8006 <<<$'Bind=tcp 127.4.7.0/24 80\nBind=tcp 127.4.7.0/24 81'
	systemctl start first
	assert_start_fails second first.service 127.4.7.0/24
	assert_answer first tcp 127.4.7.1 80
	assert_refused tcp 127.4.7.1 81

	systemctl stop first
	systemctl start second
	assert_answer second tcp 127.4.7.1 80
}

@test "a more specific binding of another unit is no conflict" {
	listening_service wide 8007 <<<'Bind=tcp 127.4.8.0/24 0'
	listening_service narrow 8008 <<<'Bind=tcp 127.4.8.8 80'
	systemctl start wide narrow
	assert_answer narrow tcp 127.4.8.8 80
	assert_answer wide tcp 127.4.8.8 81
	assert_answer wide tcp 127.4.8.9 80
	systemctl stop narrow
	assert_answer wide tcp 127.4.8.8 80
}

@test "a binding made by hand under another label: the unit fails and names it" {
	listening_service polite 8009 <<<'Bind=tcp 127.4.9.0/24 80'
	isomctl load
	isomctl bind by-hand tcp 127.4.9.0/24 80
	assert_start_fails polite by-hand
	isomctl unbind by-hand tcp 127.4.9.0/24 80
	systemctl start polite
	assert_answer polite tcp 127.4.9.1 80
}

@test "a binding made by hand under the same label outlives the unit" {
	listening_service guest 8010 <<<'Bind=tcp 127.4.10.0/24 80'
	isomctl load
	isomctl bind guest tcp 127.4.10.0/24 80
	systemctl start guest
	assert_answer guest tcp 127.4.10.1 80
	systemctl stop guest
	[[ $(isomctl bindings --label guest) == *127.4.10.0/24* ]]
}

@test "ranges of ports in sections: within one another, and one that cuts another's is refused" {
	listening_service ranged-outer 8031 <<<'Bind=tcp 127.5.9.0/24 100-199'
	listening_service ranged-inner 8032 <<<'Bind=tcp 127.5.9.0/24 150-159'
	listening_service ranged-cut 8033 <<<'Bind=tcp 127.5.9.0/24 155-165'
	systemctl daemon-reload
	systemctl start ranged-outer ranged-inner
	assert_answer ranged-outer tcp 127.5.9.1 100
	assert_answer ranged-inner tcp 127.5.9.1 155
	assert_start_fails ranged-cut "ranged-cut.service:5: cannot bind tcp 127.5.9.0/24 155-165 under label \"ranged-cut\": tcp 127.5.9.0/24 150-159, bound under label \"ranged-inner\" by ranged-inner.service, overlaps it"
	systemctl stop ranged-inner
	assert_answer ranged-outer tcp 127.5.9.1 155
	systemctl stop ranged-outer
	assert_refused tcp 127.5.9.1 155
}

@test "load-bindings replaces what was bound by hand, and a conflict names the unit" {
	listening_service kept 8034 <<<'Bind=tcp 127.5.10.0/24 80'
	systemctl start kept
	isomctl bind other tcp 127.5.11.0/24 80
	! said=$(isomctl load-bindings - 2>&1 <<<'{"bindings": [{"label": "other", "protocol": "tcp", "prefix": "127.5.10.0/24", "port": 80}]}') ||
		fail "it took a unit's binding"
	[[ $said == *'-:1:'*'kept.service has bound it under label "kept": use that label, or stop kept.service'* ]] || fail "$said"
	! said=$(isomctl bind other tcp 127.5.10.0/24 80 2>&1) || fail "it took a unit's binding"
	[[ $said == *'cannot bind tcp 127.5.10.0/24 80 under label "other": kept.service has bound it'*'or stop kept.service' ]] || fail "$said"
	[[ $(isomctl bindings --label other) == *127.5.11.0/24* ]]
	isomctl load-bindings - <<<'{"bindings": []}'
	[[ $(isomctl bindings --label other) != *127.5.11.0/24* ]]
	assert_answer kept tcp 127.5.10.1 80
}
