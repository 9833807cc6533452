# shellcheck shell=bash
#
# isomctl verify: sections are checked from their files alone, with the file, the line and the column of what is wrong; what
# units say together; what isn't local; what the machine lacks. The unit path is a directory of the test's.
load ../lib/netns
load ../lib/refusing
load ../lib/json

setup() {
	netns_setup
	UNITS=$BATS_TEST_TMPDIR/units NAMED=()
	mkdir "$UNITS"
	in_ns ip route add local 192.0.2.0/24 dev lo
	in_ns ip route add local 2001:db8::/32 dev lo
}

# unit NAME: writes stdin to that file on the unit path.
unit() { mkdir -p "$(dirname "$UNITS/$1")" && cat >"$UNITS/$1"; }

# section NAME: a service whose section is stdin; its first line is line 4 of the file.
section() { { printf '[Service]\nExecStart=/bin/true\n[Isomer]\n' && cat; } | unit "$1"; }

verify() { in_ns env SYSTEMD_UNIT_PATH="$UNITS" "$BUILD/isomctl" verify "$@"; }

# finds STATUS ARGUMENT...: what it finds is just the lines on stdin, in which % stands for the directory of the units.
finds() {
	local expected status_expected=$1
	expected=$(sed "s|%|$UNITS|g")
	shift
	run verify "$@"
	# shellcheck disable=SC2154 # run sets it
	diff <(sed '$d' <<<"$output") - <<<"$expected" || fail "$output" || return
	[[ $status == "$status_expected" ]] || fail "exit status $status, expected $status_expected"
}

# mentions STATUS TEXT...: of the units NAMED, or of all, it finds a line for each TEXT, and as many.
mentions() {
	local text status_expected=$1
	shift
	run verify "${NAMED[@]}"
	for text; do
		[[ $output == *"$text"* ]] || fail "no \"$text\" in:" "$output" || return
	done
	[[ $status == "$status_expected" ]] || fail "exit status $status, expected $status_expected:" "$output" || return
	[[ $(wc -l <<<"$output") == $(($# + 1)) ]] || fail "expected $# findings:" "$output"
}

@test "right sections: nothing is found, and how many units there are is told" {
	section web.service <<<$'Bind=tcp 192.0.2.0/24 80\nBind=tcp 192.0.2.0/24 *\nBind=tcp ::/0 80'
	section dns.service <<<$'Label=dns\nBind=udp 127.0.0.0/8 53'
	unit other.service <<<$'[Service]\nExecStart=/bin/true'
	run verify
	[[ $status == 0 && $output == '2 units checked: 0 errors, 0 warnings' ]] || fail "$output"
	run verify web
	[[ $status == 0 && $output == '1 unit checked: 0 errors, 0 warnings' ]] || fail "$output"
	[[ $(verify --json | json 'root') == "{'units': 2, 'errors': 0, 'warnings': 0, 'findings': []}" ]]
}

@test "every wrong line of a file is found, with the column of what is wrong" {
	section web.service <<-'END'
		Bnid=tcp 192.0.2.0/24 80
		Bind=tpc 192.0.2.0/24 80
		  Bind = l tcp 192.0.2.0/33 80
		Bind=tcp 192.0.2.0/24 http
		Bind=tcp \
		# a comment
		    192.0.2.0/24 \
		  65536
		Bind=ümläut tcp 192.0.2 80
		Bind=80
		Required=maybe
		what
		Frobnicate=1
		Bind=tcp 192.0.2.0/24 80 # http
		Bind=tcp 192.0.2.0/24 80 web
		Bind=tcp 192.0.2.0/24 80 443
		Socket=udp 192.0.2.1:53 53
	END
	finds 1 <<-'END'
		%/web.service:4:1: error: Bnid=tcp 192.0.2.0/24 80: this key is unknown: did you mean Bind=? There are Label=, Bind=, Socket=, Required= and SocketTimeoutSec=
		%/web.service:5:6: error: Bind=tpc 192.0.2.0/24 80: "tpc" is not a protocol: write tcp or udp
		%/web.service:6:16: error: Bind=l tcp 192.0.2.0/33 80: "192.0.2.0/33" has a wrong length: write /0 to /32
		%/web.service:7:23: error: Bind=tcp 192.0.2.0/24 http: "http" is not a port: write a number from 1 to 65535, a range LO-HI, or 0 or * for all
		%/web.service:11:3: error: Bind=tcp      192.0.2.0/24    65536: "65536" is not a port: write a number from 1 to 65535, a range LO-HI, or 0 or * for all
		%/web.service:12:17: error: Bind=ümläut tcp 192.0.2 80: "192.0.2" is not an IP prefix: write ADDRESS or ADDRESS/LENGTH
		%/web.service:13:6: error: Bind=80: these are too few words: write [LABEL] PROTOCOL, an address, and a port, like tcp 192.0.2.1 80
		%/web.service:14:10: error: Required=maybe: "maybe" is not a boolean: write yes or no
		%/web.service:15:1: error: what: this is no assignment: write KEY=VALUE
		%/web.service:16:1: error: Frobnicate=1: this key is unknown: there are Label=, Bind=, Socket=, Required= and SocketTimeoutSec=
		%/web.service:17:23: error: Bind=tcp 192.0.2.0/24 80 # http: "80" is not a protocol: a comment takes a line of its own
		%/web.service:18:10: error: Bind=tcp 192.0.2.0/24 80 web: "192.0.2.0/24" is not a protocol: the label stands first, like web tcp 192.0.2.0/24 80
		%/web.service:19:10: error: Bind=tcp 192.0.2.0/24 80 443: "192.0.2.0/24" is not a protocol: write one port or one range, and a line for each other
		%/web.service:20:12: error: Socket=udp 192.0.2.1:53 53: "192.0.2.1:53" is not an IP address: write the port after a blank
	END
	[[ $(verify --json | json '[root["findings"][2][k] for k in ("severity", "unit", "file", "line", "column")]') == \
		"['error', 'web.service', '$UNITS/web.service', 6, 16]" ]]
}

@test "near misses: of the section's name, and of keys" {
	unit web.service <<<$'[Service]\nExecStart=/bin/true\n[Isomre]\nBind=x\n[Install]\n[Isomer]\nlabel=a\nSockte=b'
	mentions 1 'web.service:3:1: warning: [Isomre]: did you mean [Isomer]?' ':7:1: error: label=a: this key is unknown: did you mean Label=?' \
		':8:1: error: Sockte=b: this key is unknown: did you mean Socket=?'
}

@test "a section whose name has no end, and what isn't known to be one" {
	unit web.service <<<$'[Service]\nExecStart=/bin/true\n[Isomer\nBind=x'
	unit web.service.d/more.conf <<<$'[Isomer]\nBind=tcp 127.0.0.0/8 80'
	mentions 1 'web.service:3:1: error: [Isomer: a section'\''s name ends in ]'
}

@test "a protocol that is bound, and that no Socket= line is for" {
	section web.service <<-'END'
		Bind=tcp 127.0.0.0/8 80
		Bind=udp 127.0.0.0/8 80
		Socket=tcp 127.0.0.1 8080
	END
	mentions 1 'web.service:5:1: error: udp is bound to "web", and none of its Socket= lines is for udp'
}

@test "a label that is bound, and that no unit registers a socket under" {
	section web.service <<-'END'
		Bind=tcp 127.0.0.0/8 80
		Bind=other udp 127.0.0.0/8 53
		Bind=other udp 127.0.0.0/8 54
		Bind=%i tcp 127.0.0.0/8 81
	END
	section app@.service <<<'Bind=%i tcp 127.0.0.0/8 82'
	local found='web.service:5:1: warning: label "other" gets no socket'
	sed -i /%i/d "$UNITS/web.service"
	mentions 0 "$found"
	section dns.service <<<$'Label=other\nBind=udp 127.0.0.0/8 55\nSocket=another tcp 127.0.0.1 53\nSocket=other udp 127.0.0.1 53'
	mentions 0
	sed -i /=other.udp/d "$UNITS/dns.service"
	mentions 0 "$found" 'dns.service:5:1: warning: label "other" gets no socket'
	sed -i /^Socket/d "$UNITS/dns.service"
	mentions 0
}

@test "a root directory of its own, where the helper isn't found" {
	local key
	for key in RootDirectory=/srv/root RootImage=/srv/root.img; do
		unit web.service <<<$'[Service]\nExecStart=/bin/true\n'"$key"$'\n[Isomer]\nBind=tcp 127.0.0.0/8 80'
		mentions 1 "web.service: error: it has ${key%%=*}=, where isomer-helper isn't found: it takes RootDirectoryStartOnly=yes"
		echo Required=no >>"$UNITS/web.service"
		mentions 0 "web.service: warning: it has ${key%%=*}="
		unit web.service.d/start.conf <<<$'[Service]\nRootDirectoryStartOnly=yes'
		mentions 0
		unit web.service.d/start.conf <<<$'[Service]\n'"${key%%=*}="
		mentions 0
		rm "$UNITS/web.service.d/start.conf"
	done
}

@test "a section in a unit of a type that has none" {
	unit nightly.timer <<<$'[Timer]\nOnCalendar=daily\n[Isomer]\nBind=tcp 127.0.0.0/8 80'
	unit srv-web.mount.d/isomer.conf <<<$'[X-Isomer]\nLabel=web'
	unit target.d/all.conf <<<$'[Isomer]'
	unit right.timer <<<$'[Timer]\nOnCalendar=daily\n# [Isomer]'
	ln -s nightly.timer "$UNITS/alias.timer"
	finds 1 <<-END
		%/nightly.timer:3:1: error: [Isomer] is a section of services and socket units: nobody reads it here
		%/srv-web.mount.d/isomer.conf:1:1: error: [Isomer] is a section of services and socket units: nobody reads it here
		%/target.d/all.conf:1:1: error: [Isomer] is a section of services and socket units: nobody reads it here
	END
}

@test "a network namespace of its own, without a socket unit" {
	unit web.service <<<$'[Service]\nExecStart=/bin/true\nPrivateNetwork=yes\n[Isomer]\nBind=tcp 127.0.0.0/8 80'
	mentions 0 'web.service: warning: PrivateNetwork= or NetworkNamespacePath= puts its sockets into another network namespace'
	unit web.socket <<<$'[Socket]\nListenStream=127.0.0.1:8080'
	mentions 0
}

@test "drop-ins count, and have their own places; later ones may clear" {
	section web.service <<<'Bind=tcp 192.0.2.0/24 80'
	unit web.service.d/a.conf <<<$'[Isomer]\nBind=other tcp 192.0.2.0/24 80'
	mentions 1 "web.service.d/a.conf:2:1: error: Bind=other tcp 192.0.2.0/24 80: is for \"other\" here, but for \"web\" at $UNITS/web.service:4"
	unit web.service.d/b.conf <<<$'[Isomer]\nBind='
	mentions 0
}

@test "units that are named are compared with all others, of which nothing else is said" {
	section a.service <<<$'Bind=tcp 192.0.2.0/24 80\nBind=tcp 192.0.2.0/24 100-200\nBind=tcp 192.0.2.1 53\nLabel=a'
	section b.service <<<$'Bind=tcp 192.0.2.0/24 80\nBind=tcp 192.0.2.0/24 150-250\nBind=nobody tcp 198.51.100.1 1\nBind=x'
	section c.service <<<$'Label=a\nBind=tcp 192.0.2.0/24 80\nBind=b tcp 192.0.2.1 53\nBind=tcp 192.0.2.0/25 80\nBind=tcp 192.0.2.128/25 80'
	NAMED=(a)
	mentions 1 "a.service:4:1: error: tcp 192.0.2.0/24 80: it is bound to \"a\" here, and to \"b\" by b.service at $UNITS/b.service:4" \
		"a.service:5:1: error: tcp 192.0.2.0/24 100-200 overlaps tcp 192.0.2.0/24 150-250 of b.service at $UNITS/b.service:5" \
		"a.service:6:1: error: tcp 192.0.2.1/32 53: it is bound to \"a\" here, and to \"b\" by c.service at $UNITS/c.service:6" \
		'a.service:4:1: warning: tcp 192.0.2.0/24 80 can never win: more specific bindings hold all its packets'
	run verify a
	[[ $output == *'1 unit checked: 3 errors, 1 warning' ]] || fail "$output"
	# Of a FILE, which may be for another machine, only the FILEs given.
	NAMED=("$UNITS/a.service")
	mentions 0
	run verify "$UNITS/a.service" "$UNITS/c.service"
	[[ $output == *'2 units checked: 1 error, 3 warnings' ]] || fail "$output"
}

@test "of a socket unit that has no section, that of its service is checked" {
	section other.service <<<$'Bind=tcp 192.0.2.0/24 80\nBind=y'
	section web.service <<<$'Bind=tcp 192.0.2.0/24 80\nBind=x'
	unit www.socket <<<$'[Socket]\nListenStream=127.0.0.1:8080\nService=www.service'
	ln -s web.service "$UNITS/www.service"
	local of_service=('web.service:4:1: error: tcp 192.0.2.0/24 80: it is bound to "web" here, and to "other" by other.service' 'web.service:5:6: error: Bind=x')
	for NAMED in www.socket "$UNITS/www.socket"; do
		mentions 1 "${of_service[@]}"
		of_service=("${of_service[1]}") # of a FILE
	done
	unit web.service <<<$'[Service]\nExecStart=/bin/true'
	NAMED=www.socket
	mentions 0 'www.socket: warning: it has no [Isomer] section'
}

@test "what is bound by hand to another label" {
	section web.service <<<$'Bind=tcp 192.0.2.0/24 80\nBind=tcp 192.0.2.0/24 81\nBind=tcp 192.0.2.0/24 82-83'
	isomctl load
	isomctl bind web tcp 192.0.2.0/24 80
	isomctl bind dns udp 192.0.2.0/24 80
	mentions 0
	isomctl bind 'my web' tcp 192.0.2.0/24 81
	isomctl bind other tcp 192.0.2.0/24 82-83
	local by_hand=("web.service:5:1: error: tcp 192.0.2.0/24 81: it is bound to \"web\" here, and to \"my web\" by hand: isomctl unbind 'my web' tcp 192.0.2.0/24 81"
		'web.service:6:1: error: tcp 192.0.2.0/24 82-83: it is bound to "web" here, and to "other" by hand: isomctl unbind other tcp 192.0.2.0/24 82-83')
	mentions 1 "${by_hand[@]}"
	NAMED=(web.service)
	mentions 1 "${by_hand[@]}"
	NAMED=("$UNITS/web.service")
	mentions 0
	# Whoever may not look isn't told of it.
	run --separate-stderr in_ns setpriv --inh-caps=-all --bounding-set=-all env SYSTEMD_UNIT_PATH="$UNITS" "$BUILD/isomctl" verify
	# shellcheck disable=SC2154 # run sets it
	[[ $status == 0 && -z $stderr ]] || fail "$output" "$stderr"
}

@test "drop-ins of a unit that isn't there" {
	local found='ngnix.service: warning: there is no ngnix.service, only drop-ins of it: nothing reads them'
	section nginx.service <<<'Bind=tcp 192.0.2.0/24 80'
	unit ngnix.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 192.0.2.0/24 80'
	mentions 0 "$found"
	run verify ngnix
	[[ $output == "$found"$'\n'* ]] || fail "$output"
	run verify "$UNITS/ngnix.service.d/isomer.conf"
	[[ $output == '1 unit checked: 0 errors, 0 warnings' ]] || fail "$output"
	# An alias, and one that hides it.
	ln -s nginx.service "$UNITS/ngnix.service"
	mentions 0
	ln -sf /dev/null "$UNITS/ngnix.service"
	mentions 0
	# Templates, their instances and prefixes.
	unit web@.service <<<$'[Service]\nExecStart=/bin/true'
	unit web@a.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 192.0.2.1 80'
	unit app@.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 192.0.2.2 80'
	unit app-.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 192.0.2.3 80'
	mentions 0
	unit app@a.service.d/more.conf <<<$'[Isomer]\nBind=tcp 192.0.2.4 80'
	mentions 0 'app@a.service: warning: there is no app@a.service'
}

@test "drop-ins of a type: their sections are an error, and nobody's" {
	local passed_over="service.d/all.conf:1:1: error: the section is passed over"
	section web.service <<<'Bind=tcp 192.0.2.0/24 80'
	section dns.service <<<'Bind=udp 192.0.2.0/24 53'
	unit isomer-bind@.service <<<$'[Service]\nExecStart=/bin/true'
	unit web.socket <<<$'[Socket]\nListenStream=127.0.0.1:8080'
	unit service.d/all.conf <<<$'[Isomer]\nBind=x\nBind=tcp 192.0.2.0/25 80\nSocket=tcp ::1 80'
	mentions 1 "$passed_over"
	NAMED=(web dns)
	mentions 1 "$passed_over"
	unit plain.socket <<<$'[Socket]\nListenStream=127.0.0.1:8080'
	unit plain.service <<<$'[Service]\nExecStart=/bin/true'
	NAMED=(plain.socket) # its service has no section either
	mentions 1 "$passed_over" 'plain.socket: warning: it has no [Isomer] section'
	NAMED=("$UNITS/plain.socket")
	mentions 0 'plain.socket: warning: it has no [Isomer] section'
	NAMED=("$UNITS/web.service")
	mentions 0
	NAMED=("$UNITS/service.d/all.conf")
	mentions 1 "$passed_over"
	# What else it says does count.
	unit service.d/network.conf <<<$'[Service]\nPrivateNetwork=yes'
	NAMED=(dns)
	mentions 1 "$passed_over" 'dns.service: warning: PrivateNetwork='
	# One of that name for the unit alone hides it.
	unit web.service.d/all.conf <<<$'[Isomer]\nBind=tcp 192.0.2.0/26 80'
	NAMED=(web)
	mentions 0
}

@test "one binding under two labels, of two units; under one it is none of the matter" {
	section a.service <<<$'Bind=tcp 192.0.2.0/24 80\nLabel=web'
	section b.service <<<$'Bind=tcp 192.0.2.7/24 80\nLabel=web'
	mentions 0
	section c.service <<<$'\nBind=tcp 192.0.2.0/24 80'
	mentions 1 "c.service:5:1: error: tcp 192.0.2.0/24 80: it is bound to \"c\" here, and to \"web\" by a.service at $UNITS/a.service:4"
	# Instances of a template may say otherwise than it does.
	section t@.service <<<'Bind=%i tcp 192.0.2.0/24 80'
	section u@.service <<<'Bind=tcp 192.0.2.%i 80'
	unit c.service <<<''
	mentions 0
}

@test "ranges that cut each other, of one unit or two" {
	section a.service <<<$'Bind=tcp 192.0.2.0/24 100-200\nBind=tcp 192.0.2.0/24 110-120\nBind=tcp 192.0.2.0/25 150-300'
	mentions 0
	section b.service <<<$'Bind=tcp 192.0.2.0/24 115-130\nBind=udp 192.0.2.0/24 150-300'
	mentions 1 "b.service:4:1: error: tcp 192.0.2.0/24 115-130 overlaps tcp 192.0.2.0/24 110-120 of a.service at $UNITS/a.service:5"
}

@test "bindings that can never win, for others hold all their packets" {
	section a.service <<<$'Bind=tcp 192.0.2.0/24 80\nBind=tcp 192.0.2.0/25 80'
	mentions 0
	section b.service <<<$'Bind=tcp 192.0.2.128/25 *'
	mentions 0 "a.service:4:1: warning: tcp 192.0.2.0/24 80 can never win: more specific bindings hold all its packets, such as tcp 192.0.2.0/25 80 of a.service at $UNITS/a.service:5"
}

@test "prefixes that aren't local, and how to make them so" {
	section a.service <<<$'Bind=tcp 198.51.100.0/24 80\nBind=tcp 192.0.2.7 80\nBind=tcp 2001:db9::/64 1\nBind=tcp 192.0.2.0/23 81'
	mentions 0 'a.service:4:1: warning: 198.51.100.0/24 isn'\''t local on this machine: no packet to it arrives: ip route add local 198.51.100.0/24 dev lo' \
		':6:1: warning: 2001:db9::/64 isn'\''t local on this machine: no packet to it arrives: ip -6 route add local 2001:db9::/64 dev lo' \
		':7:1: warning: 192.0.2.0/23 is local only in part'
	in_ns ip route add local 198.51.100.0/24 dev lo
	in_ns ip -6 route add local 2001:db9::/64 dev lo
	in_ns ip route add local 192.0.2.0/23 dev lo
	mentions 0
}

@test "the wildcard as a prefix is one address" {
	section a.service <<<$'Bind=tcp 0.0.0.0 80\nBind=tcp :: 80\nBind=tcp 0.0.0.0/0 81\nBind=tcp ::/0 81\nBind=tcp 0.0.0.1 82'
	mentions 0 'a.service:4:1: warning: 0.0.0.0 is one address, which nobody sends to: did you mean 0.0.0.0/0?' \
		'a.service:5:1: warning: :: is one address, which nobody sends to: did you mean ::/0?' \
		'a.service:8:1: warning: 0.0.0.1/32 isn'\''t local'
}

@test "Socket= lines are held against what socket units open" {
	unit web.socket <<<$'[Socket]\nListenStream=8080\nListenDatagram=127.0.0.1:53\nListenStream=/run/web'
	section web.service <<-'END'
		Bind=tcp 192.0.2.0/24 80
		Socket=tcp :: 8080
		Socket=four tcp 0.0.0.0 8080
		Socket=udp 127.0.0.1 53
		Socket=udp 127.0.0.1 5353
		Socket=x tcp 127.0.0.1 8080
	END
	mentions 1 'web.service:8:1: error: Socket=udp 127.0.0.1 5353: web.socket doesn'\''t open such a socket' \
		'web.service:9:1: error: Socket=tcp 127.0.0.1 8080: web.socket doesn'\''t open such a socket'
	# One that its own section is for, that another service names, and a list that is cleared.
	section web.service <<<$'Bind=tcp 192.0.2.0/24 80\nSocket=tcp :: 8080'
	unit web.socket.d/x.conf <<<$'[Socket]\nListenStream=\nListenStream=8081\nBindIPv6Only=ipv6-only\n[Isomer]\nSocket=tcp 0.0.0.0 8081'
	mentions 1 'web.socket.d/x.conf:6:1: error: Socket=tcp 0.0.0.0 8081: web.socket doesn'\''t open such a socket'
	unit web.socket.d/x.conf <<<$'[Socket]\nListenStream=\nListenStream=8081'
	unit more.socket <<<$'[Socket]\nListenStream=[::]:8080\nService=web.service'
	mentions 0
	unit unix.socket <<<$'[Socket]\nListenStream=/run/x\n[Isomer]\nBind=tcp 192.0.2.0/24 1'
	mentions 1 'unix.socket: error: it has a section, and no TCP or UDP socket'
}

@test "a start that ends before its sockets are looked for, or while they are" {
	local early='web.service: warning: it is Type=oneshot without RemainAfterExit=yes: when its sockets are looked for, it has no process left'
	local late=':3:1: warning: SocketTimeoutSec= is longer than TimeoutStartSec= (10 s), after which systemd ends the start'
	# service LINE...: web.service has these lines.
	service() { printf '%s\n' '[Service]' ExecStart=/bin/true "$@" >"$UNITS/web.service"; }
	unit web.service.d/isomer.conf <<<$'[Isomer]\nBind=tcp 192.0.2.0/24 80\nSocketTimeoutSec=11s'
	service Type=oneshot
	mentions 0 "$early"
	service Type=oneshot RemainAfterExit=yes # with processes of its own making
	mentions 0
	service TimeoutStartSec=10
	mentions 0 "$late"
	service TimeoutSec=10s Type=exec
	mentions 0 "$late"
	service TimeoutSec=10 Type=notify-reload
	mentions 0
	service TimeoutStartSec=10 TimeoutStartSec=0
	mentions 0
	service TimeoutStartSec=11 TimeoutStopSec=1
	mentions 0
	service TimeoutStartSec=10 Type=oneshot
	mentions 0 "$early" "$late"
	# Sockets that PID 1 opens are there at once.
	unit web.socket <<<$'[Socket]\nListenStream=127.0.0.1:8080'
	mentions 0
	rm "$UNITS/web.socket"
	# The default is nobody's mistake.
	service TimeoutStartSec=2
	mentions 0 "${late/10 s/2 s}"
	sed -i /Timeout/d "$UNITS/web.service.d/isomer.conf"
	mentions 0
}

@test "two sockets of a socket unit for one label" {
	# fails NAME LINE...: so it does with these lines in web.socket, and with the first of them as the one to name.
	fails() {
		printf '%s\n' '[Socket]' "${@:2}" >"$UNITS/web.socket"
		mentions 1 "web.socket:$#:1: error: $1"
	}
	works() {
		printf '%s\n' '[Socket]' "$@" >"$UNITS/web.socket"
		mentions 0
	}
	local two='tcp 127.0.0.1 8080 and tcp 127.0.0.1 8081 would both be for label "web": name the one in the section, like Socket=tcp 127.0.0.1 8080'
	section web.service <<<'Bind=tcp 192.0.2.0/24 80'
	fails "$two" ListenStream=127.0.0.1:8080 ListenStream=127.0.0.1:8081
	fails 'tcp :: 8080 and tcp 127.0.0.1 8081' ListenStream=8080 ListenStream=127.0.0.1:8081
	fails 'tcp 127.0.0.1 8080 and tcp 127.0.0.1 8081' ListenStream=127.0.0.1:8080 ReusePort=yes ListenStream=127.0.0.1:8081
	works ListenStream=127.0.0.1:8080 ListenStream='[::1]:8080' ListenStream=/run/web
	works ListenStream='[::]:8080' ListenStream=0.0.0.0:8081 BindIPv6Only=ipv6-only
	works ListenStream=127.0.0.1:8080 ReusePort=yes ListenStream=127.0.0.1:8080
	works ListenStream=127.0.0.1:8080 ListenStream= ListenStream=127.0.0.1:8081
	works ListenStream=127.0.0.1:8080 ListenStream=127.0.0.1:8081 Service=other.service
	works ListenStream=127.0.0.1:8080 ListenStream=127.0.0.1:8081 SocketProtocol=mptcp
	# Of a protocol that isn't bound, but of all where none is.
	works ListenStream=127.0.0.1:8080 ListenDatagram=127.0.0.1:8080 ListenDatagram=127.0.0.1:8081
	section web.service <<<'Label=web'
	fails 'udp 127.0.0.1 8080 and udp 127.0.0.1 8081' ListenDatagram=127.0.0.1:8080 ListenDatagram=127.0.0.1:8081
	# The section tells, or the socket unit has one of its own.
	section web.service <<<$'Bind=tcp 192.0.2.0/24 80\nSocket=tcp 127.0.0.1 8080'
	works ListenStream=127.0.0.1:8080 ListenStream=127.0.0.1:8081
	unit web.service <<<$'[Service]\nExecStart=/bin/true'
	printf '[Isomer]\nBind=tcp 192.0.2.0/24 80\n' | unit web.socket.d/isomer.conf
	fails "$two" ListenStream=127.0.0.1:8080 ListenStream=127.0.0.1:8081
	echo Required=no >>"$UNITS/web.socket.d/isomer.conf"
	mentions 0 "web.socket:3:1: warning: $two"
}

@test "FILEs are checked without the unit path, with the drop-ins beside them" {
	mkdir -p "$BATS_TEST_TMPDIR/here/web.service.d"
	section hidden.service <<<'Bind=x'
	cd "$BATS_TEST_TMPDIR/here" || return
	# nsenter(1) goes elsewhere.
	verify() { in_ns env --chdir="$PWD" SYSTEMD_UNIT_PATH="$UNITS" "$BUILD/isomctl" verify "$@"; }
	printf '[Service]\nExecStart=/bin/true\n' >web.service
	printf '[Isomer]\nBind=x\n' >web.service.d/isomer.conf
	for words in web.service ./web.service "$PWD/web.service" web.service.d/isomer.conf; do
		run verify "$words"
		[[ $status == 1 && $output == "$PWD/web.service.d/isomer.conf:2:6: error: Bind=x: "* ]] || fail "$words: $output" || return
		[[ $output == *'1 unit checked: 1 error, 0 warnings' ]] || fail "$words: $output" || return
	done
	refuses 1 'cannot read ./none.service: No such file' verify ./none.service
	for words in /etc/passwd "$PWD" ./web.service.d; do
		refuses 1 "cannot check $words: it is no unit file: NAME.service, NAME.socket, or a .conf in NAME.service.d" verify "$words"
	done
	# shellcheck disable=SC2154 # run sets it
	run verify none.service
	[[ $status == 1 && $output == *'none.service: error: there is no such unit'* ]]
	run verify web.timer
	[[ $status == 1 && $output == *'web.timer: error: this is neither a service nor a socket unit'* ]]
	unit plain.service <<<$'[Service]\nExecStart=/bin/true'
	run verify plain.service
	[[ $status == 0 && $output == *'plain.service: warning: it has no [Isomer] section'* ]]
}

@test "what the machine lacks: an old kernel, no bpffs; of FILEs, that is a warning" {
	section web.service <<<'Bind=tcp 192.0.2.0/24 80'
	run in_ns env SYSTEMD_UNIT_PATH="$UNITS" setarch --uname-2.6 "$BUILD/isomctl" verify
	[[ $status == 1 && $output == *'error: the kernel is Linux 2.6.'*': Isomer takes 5.10 or later'* ]] || fail "$output"
	run in_ns env SYSTEMD_UNIT_PATH="$UNITS" setarch --uname-2.6 "$BUILD/isomctl" verify "$UNITS/web.service"
	[[ $status == 0 && $output == *'warning: the kernel is Linux 2.6.'* ]] || fail "$output"
	in_ns sh -c 'while umount /sys/fs/bpf 2>/dev/null; do :; done'
	run verify
	[[ $status == 0 && $output == *'warning: no BPF file system is mounted on /sys/fs/bpf'* ]] || fail "$output"
}
