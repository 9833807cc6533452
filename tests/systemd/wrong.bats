# shellcheck shell=bash
#
# Sections that are wrong, one kind after the other. Each fails its own unit, whose journal has the file and the line, the
# key, the value and what was expected; and sections that look odd, and are right.

load ../lib/container
load ../lib/units
bats_require_minimum_version 1.5.0

server=/usr/lib/isomer-tests/echo-server

# service NAME PORT: that listens there; its section, in a drop-in of its own, is stdin.
service() {
	unit "$1.service" <<-END
		[Service]
		Type=notify
		ExecStart=$server --name $1 --notify tcp:127.0.0.1:$2
	END
	{ echo '[Isomer]' && cat; } | unit "$1.service.d/isomer.conf"
}

# The wrong line, and what is said of it besides that line.
wrong_lines() {
	local long
	long=$(printf 'x%.0s' {1..256})
	cat <<-END
		Bund=tcp 127.5.0.0/24 80|unknown
		Bind=sctp 127.5.0.0/24 80|not a protocol
		Bind=tcp 127.5.0.0/33 80|wrong length
		Bind=tcp 127.5.0 80|not an IP prefix
		Bind=tcp 127.5.0.0/24 65536|port
		Bind=tcp 127.5.0.0/24 http|port
		Bind=tcp 127.5.0.0/24 90-80|port
		Bind=tcp ::ffff:127.5.0.0/120 80|write 127.5.0.0/24
		Bind=tcp 127.5.0.0/24|too few words
		Bind=80|too few words
		Bind=%x tcp 127.5.0.0/24 80|%x
		Bind=tcp 127.5.0.0/24 %|%
		Label=$long|255
		Label=%y|%y
		Socket=tcp 127.0.0.0/8 80|not an IP address
		Socket=tcp 127.0.0.1 0|not a port
		Socket=tcp 127.0.0.1 80-90|not a port
		Required=perhaps|not a boolean
		SocketTimeoutSec=a while|SocketTimeoutSec=a while:
		no assignment at all|no assignment
	END
}

@test "every kind of wrong line fails its unit, and is named with its file and number" {
	local line said count=0 status
	while IFS='|' read -r line said; do
		service wrong-$((++count)) 8000 <<<$'# Line 3 it is:\n'"$line"
	done < <(wrong_lines)
	systemctl daemon-reload

	count=0
	while IFS='|' read -r line said; do
		((++count))
		assert_start_fails "wrong-$count" "/etc/systemd/system/wrong-$count.service.d/isomer.conf:3: ${line:0:32}" "$said"
		status=$(systemctl status "wrong-$count" || true)
		[[ $status == *"isomer.conf:3: ${line:0:32}"* ]] || fail "systemctl status doesn't tell:" "$status"
	done < <(wrong_lines)
	((count == 20))
}

@test "all wrong lines of a section are named, not just the first" {
	service thrice 8001 <<-END
		Bind=tcp nonsense 80
		Bind=tcp 127.5.1.0/24 80
		Required=perhaps
		Unknown=1
	END
	systemctl daemon-reload
	assert_start_fails thrice isomer.conf:2: isomer.conf:4: isomer.conf:5:
	assert_refused tcp 127.5.1.1 80
}

@test "the same binding under two labels names both lines" {
	service divided 8002 <<-END
		Bind=one tcp 127.5.2.0/24 80
		Bind=two tcp 127.5.2.77/24 80
	END
	systemctl daemon-reload
	assert_start_fails divided isomer.conf:2 isomer.conf:3 '"one"' '"two"'
}

@test "the unit beside it starts, and what runs already is left in peace" {
	service running 8003 <<<'Bind=tcp 127.5.3.0/24 80'
	service good 8004 <<<'Bind=tcp 127.5.4.0/24 80'
	service bad 8005 <<<'Bind=tcp 127.5.5.0/24'
	systemctl daemon-reload
	systemctl start running
	run ! systemctl start bad good
	assert_answer running tcp 127.5.3.1 80
	assert_answer good tcp 127.5.4.1 80
	[[ $(systemctl is-active bad) == failed ]]
}

@test "a wrong section fails a socket unit" {
	unit badsock.socket <<-END
		[Socket]
		ListenStream=127.0.0.1:8006
		[Isomer]
		Bind=tcp
	END
	unit badsock.service <<-END
		[Service]
		ExecStart=$server --listen-fds
	END
	systemctl daemon-reload
	assert_start_fails badsock.socket /etc/systemd/system/badsock.socket:4
}

@test "Required=no: the unit starts all the same, with a warning" {
	service easy 8007 <<-END
		Required=no
		Bind=tcp nonsense 80
	END
	systemctl daemon-reload
	systemctl start easy
	assert_journal easy isomer.conf:3 'Required=no'
	assert_answer easy tcp 127.0.0.1 8007
}

@test "Required=no: nothing to register is a warning too" {
	service deaf 8008 <<-END
		Required=no
		Bind=tcp 127.5.8.0/24 80
		Socket=tcp 127.0.0.1 9999
	END
	systemctl daemon-reload
	systemctl start deaf
	assert_journal deaf 'Socket=tcp 127.0.0.1 9999' 'Required=no'
	assert_refused tcp 127.5.8.1 80
	assert_unbound 127.5.8.0
	systemctl reload isomer
	assert_unbound 127.5.8.0
	systemctl restart isomer
	assert_unbound 127.5.8.0
	assert_answer deaf tcp 127.0.0.1 8008
}

@test "Required=no: a restart with a section gone wrong leaves no bindings of before" {
	local wrong
	for wrong in 'Bind=tcp nonsense 80' 'Socket=tcp 127.0.0.1 9999'; do
		service spoilt 8029 <<<$'Required=no\nBind=tcp 127.5.10.0/24 8011'
		systemctl daemon-reload
		systemctl restart spoilt
		assert_answer spoilt tcp 127.5.10.1 8011
		service spoilt 8029 <<<$'Required=no\nBind=tcp 127.5.10.0/24 8011\n'"$wrong"
		systemctl daemon-reload
		systemctl restart spoilt
		assert_answer spoilt tcp 127.0.0.1 8029
		assert_unbound 127.5.10.0
	done
}

@test "Required=no: a reload with a section gone wrong leaves all as it was" {
	service reloaded 8030 <<<$'Required=no\nBind=tcp 127.5.31.0/24 80'
	unit reloaded.service.d/reload.conf <<<$'[Service]\nExecReload=/bin/true'
	systemctl daemon-reload
	systemctl start reloaded
	assert_answer reloaded tcp 127.5.31.1 80
	service reloaded 8030 <<<$'Required=no\nBind=tcp 127.5.31.0/24 eighty'
	systemctl daemon-reload
	systemctl reload reloaded
	assert_journal reloaded eighty 'goes on without Isomer'
	assert_answer reloaded tcp 127.5.31.1 80
}

@test "it starts once the section is right" {
	service mended 8009 <<<'Bind=tcp 127.5.9.0/24 eighty'
	systemctl daemon-reload
	assert_start_fails mended eighty
	service mended 8009 <<<'Bind=tcp 127.5.9.0/24 80'
	systemctl daemon-reload
	systemctl start mended
	assert_answer mended tcp 127.5.9.1 80
	systemctl stop mended
	assert_refused tcp 127.5.9.1 80
	assert_unbound 127.5.9.0
}

@test "[X-Isomer] is the same, and systemd says nothing of it" {
	unit silent.service <<-END
		[Service]
		Type=notify
		ExecStart=$server --name silent --notify tcp:127.0.0.1:8010
		[X-Isomer]
		Bind=tcp 127.5.10.0/24 80
	END
	systemctl daemon-reload
	systemctl start silent
	assert_answer silent tcp 127.5.10.1 80
	[[ $(journal silent) != *"Unknown section"* ]]
}

@test "a section is written as other sections are: drop-ins, lists to clear, comments, long lines, specifiers" {
	service written 8011 <<-'END'
		# A comment, \
		Bind=tcp 127.5.0.0/16 80
		; and another
		Label = %p-%H
		Bind=tcp 127.5.11.0/24 80
		Bind=tcp \
		# within a line
		    127.5.12.0/24 \
		    80
	END
	unit written.service.d/more.conf <<-'END'
		[X-Isomer]
		Bind=tcp 127.5.13.0/24 80
		[Isomer]
		Bind=tcp 127.5.14.0/24 80
		X-Mine=is left alone
	END
	systemctl daemon-reload
	systemctl start written
	for address in 127.5.11.1 127.5.12.1 127.5.13.1 127.5.14.1; do
		assert_answer written tcp $address 80
	done
	[[ $(isomctl bindings --label written-isomer-test) == *127.5.11.0/24* ]]

	unit written.service.d/override.conf <<-'END'
		[Isomer]
		Bind=
		Bind=tcp 127.5.15.0/24 80
	END
	systemctl daemon-reload
	systemctl restart written
	assert_answer written tcp 127.5.15.1 80
	for address in 127.5.11.1 127.5.12.1 127.5.13.1 127.5.14.1; do
		assert_refused tcp $address 80
	done
}
