# shellcheck shell=bash
#
# docs/examples, each with the program that it is for, as its README says: copied below /, started, asked.
load ../lib/container
load ../lib/units
bats_require_minimum_version 1.5.0

examples=$TESTS/../docs/examples
programs=$(realpath "$TESTS/../build/programs")

setup_file() {
	export ISOMER_TEST_PROGRAMS=$programs
	container_setup
	# What the packages have beside /usr, and their installation would make.
	copy "$programs" etc/nginx etc/ssh lib/systemd/system/nginx.service lib/systemd/system/ssh.service
	in_container sh -ec '
		mv /lib/systemd/system/nginx.service /lib/systemd/system/ssh.service /etc/systemd/system/
		mkdir -p /var/log/nginx /var/lib/nginx /etc/ssh
		rm -rf /etc/nginx/sites-enabled /etc/nginx/modules-enabled
		getent passwd sshd >/dev/null || echo "sshd:x:74:65534::/run/sshd:/usr/sbin/nologin" >>/etc/passwd
		getent passwd www-data >/dev/null || echo "www-data:x:33:33::/var/www:/usr/sbin/nologin" >>/etc/passwd
		ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
		printf "HostKey /etc/ssh/ssh_host_ed25519_key\n" >/etc/ssh/sshd_config
		ip route add local 192.0.2.0/24 dev lo
		ip route add local 198.51.100.7 dev lo
		ip -6 route add local 2001:db8::/64 dev lo'
}

# copy DIRECTORY PATH...: puts these of it below the container's /.
copy() { tar -c -C "$@" | in_container tar -x -C / --no-same-owner; }

# install_example NAME
install_example() {
	copy "$examples/$1" .
	systemctl daemon-reload
}

# ask URL: what a web server says there, or "refused".
ask() {
	in_container curl --silent --show-error --globoff --max-time 10 "$1" 2>&1 ||
		[[ $? != 7 ]] || echo refused
}

assert_says() {
	local got
	got=$(ask "$1")
	[[ $got == *"$2"* ]] || fail "$1 says \"$got\", expected \"$2\""
}

@test "nginx: a /24 and a /64, from two sockets on loopback" {
	install_example nginx
	systemctl start nginx
	assert_says http://192.0.2.77/ 'nginx, asked for 192.0.2.77'
	assert_says http://192.0.2.254/ 'nginx, asked for 192.0.2.254'
	assert_says 'http://[2001:db8::1234]/' 'nginx, asked for [2001:db8::1234]'
	assert_says http://192.0.2.77:8080/ refused
	in_container ss -Hltn 'sport = :8080 or sport = :80' | awk '{ print $4 }' | sort >"$BATS_TEST_TMPDIR/sockets"
	[[ $(paste -sd' ' "$BATS_TEST_TMPDIR/sockets") == '127.0.0.1:8080 [::1]:8080' ]]
	systemctl reload nginx
	assert_says http://192.0.2.77/ 'nginx, asked for 192.0.2.77'
	systemctl restart nginx
	assert_says http://192.0.2.77/ 'nginx, asked for 192.0.2.77'
	systemctl stop nginx
	assert_says http://192.0.2.77/ refused
}

@test "socket-activated: the first connection starts it" {
	install_example socket-activated
	systemctl start hello.socket
	assert_inactive hello.service
	assert_says http://192.0.2.77:81/ 'hello at 192.0.2.77 port 81'
	assert_active hello.service
	systemctl stop hello.service hello.socket
	assert_says http://192.0.2.77:81/ refused
}

@test "blue-green: the one started last has the traffic, and it comes back" {
	install_example blue-green
	systemctl start app@blue
	assert_says http://192.0.2.77:82/ blue
	systemctl start app@green
	assert_says http://192.0.2.77:82/ green
	systemctl restart app@blue
	assert_says http://192.0.2.77:82/ blue
	systemctl start app@green
	systemctl restart app@green
	assert_says http://192.0.2.77:82/ green
	systemctl stop app@blue
	assert_says http://192.0.2.77:82/ green
	systemctl stop app@green
}

# resolve ADDRESS [TCP]: asks the name server there for isomer.test, from a socket that takes answers from that address alone.
resolve() {
	in_container python3 - "$@" <<-'END'
		import socket, struct, sys
		query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\6isomer\4test\0" + struct.pack(">2H", 1, 1)
		tcp = len(sys.argv) > 2
		s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
		s.settimeout(10)
		try:
		    s.connect((sys.argv[1], 53))
		    s.send(struct.pack(">H", len(query)) + query if tcp else query)
		    print(".".join(map(str, s.recv(512)[-4:])))
		except ConnectionRefusedError:
		    print("refused")
	END
}

@test "dns: unbound answers from the address that was asked, UDP and TCP" {
	install_example dns
	systemctl start dns
	[[ $(resolve 192.0.2.77) == 192.0.2.80 ]]
	[[ $(resolve 192.0.2.254) == 192.0.2.80 ]]
	[[ $(resolve 192.0.2.77 tcp) == 192.0.2.80 ]]
	[[ $(isomctl --json status dns | python3 -c '
import json, sys
print(sum(d["lookups"] for d in json.load(sys.stdin)["destinations"]))') == 3 ]]
	systemctl stop dns
	[[ $(resolve 192.0.2.77) == refused ]]
}

# banner PORT: the first line that is said there.
banner() { in_container bash -c "head -n 1 </dev/tcp/198.51.100.7/$1"; }

@test "ssh: every port of one address" {
	local port
	install_example ssh
	systemctl start ssh
	for port in 1 22 443 8080 65535; do
		[[ $(banner "$port") == SSH-2.0-OpenSSH* ]]
	done
	systemctl reload ssh
	[[ $(banner 443) == SSH-2.0-OpenSSH* ]]
	systemctl stop ssh
}

@test "tenants: an address and a label each" {
	local tenant
	install_example tenants
	systemctl start tenant@1 tenant@2 tenant@3
	for tenant in 1 2 3; do
		in_container sh -c "echo of $tenant >/var/lib/tenants/$tenant/index.html"
		assert_says "http://192.0.2.$tenant:83/" "of $tenant"
	done
	systemctl stop tenant@2
	assert_says http://192.0.2.2:83/ refused
	assert_says http://192.0.2.3:83/ 'of 3'
	systemctl stop tenant@1 tenant@3
}
