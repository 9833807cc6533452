# shellcheck shell=bash
#
# The Debian package: it installs, is upgraded under traffic without a connection lost, and leaves nothing when it goes. The
# container has Isomer from `make install` at first: that is taken away.
load ../lib/container
load ../lib/units
bats_require_minimum_version 1.5.0

server=/usr/lib/isomer-tests/echo-server

setup_file() {
	local version
	command -v dpkg-buildpackage lintian >/dev/null || skip "needs dpkg-dev, debhelper and lintian"
	for version in 0.1.0 0.1.1; do
		"$TESTS/../packaging/make-deb" "$version" >"$BATS_FILE_TMPDIR/lintian-$version" 2>&1 ||
			fail "make-deb $version:" "$(<"$BATS_FILE_TMPDIR/lintian-$version")" || return
	done
	container_setup
	make -s -C "$TESTS/.." install DESTDIR="$BATS_FILE_TMPDIR/all"
	(cd "$BATS_FILE_TMPDIR/all" && find . ! -type d -printf '/%P\n') | in_container xargs rm -f
	in_container mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/log /run/packages
	in_container touch /var/lib/dpkg/status
	in_container rm -f /usr/sbin/policy-rc.d # which build machines have, against services
	for version in 0.1.0 0.1.1; do
		in_container sh -c "cat >/run/packages/$version.deb" <"$BUILD/deb/isomer_${version}_$(dpkg --print-architecture).deb"
	done
	systemctl daemon-reload
}

# dpkg [ARGUMENT...]: in there, where no other package is known.
dpkg_there() { in_container dpkg --force-depends --force-confdef "$@"; }

@test "it installs, and a section works" {
	run ! in_container which isomctl
	dpkg_there --install /run/packages/0.1.0.deb
	[[ $(isomctl --version) == 'isomctl 0.1.0' ]]
	printf '%s\n' '[Service]' Type=notify "ExecStart=$server --name packaged --notify tcp:127.0.0.1:8001" \
		'[Isomer]' 'Bind=tcp 127.20.0.0/16 80' | unit packaged.service
	systemctl daemon-reload
	systemctl start packaged
	assert_answer packaged tcp 127.20.1.2 80
}

@test "it is upgraded under traffic, and no connection is lost" {
	local before
	before=$(isomctl --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["dispatcher"]["program"])')
	start_probing tcp 127.20.1.2 80
	dpkg_there --install /run/packages/0.1.1.deb
	stop_probing packaged
	[[ $(isomctl --version) == 'isomctl 0.1.1' ]]
	[[ $(isomctl --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["dispatcher"]["program"])') != "$before" ]]
	assert_active isomer packaged
	assert_answer packaged tcp 127.20.1.2 80
}

@test "installed again, it does no harm" {
	start_probing tcp 127.20.1.2 80
	dpkg_there --install /run/packages/0.1.1.deb
	stop_probing packaged
}

@test "it goes without a trace, and the service runs on" {
	dpkg_there --purge isomer
	assert_refused tcp 127.20.1.2 80
	assert_active packaged
	assert_answer packaged tcp 127.0.0.1 8001
	[[ $(systemctl show --property=DropInPaths --value packaged) != *isomer* ]]
	systemctl restart packaged
	# shellcheck disable=SC2016 # expanded by the shell in there
	in_container sh -c 'for place in /usr /etc /run/systemd/generator* /sys/fs/bpf; do
		[ ! -d "$place" ] || find "$place" -name "*isomer*" ! -path "*/isomer-tests*"
	done' >"$BATS_TEST_TMPDIR/left"
	[[ ! -s $BATS_TEST_TMPDIR/left ]] || fail "left:" "$(<"$BATS_TEST_TMPDIR/left")"
}

@test "the same tree gives the same bytes" {
	local first
	first=$(sha256sum <"$BUILD/deb/isomer_0.1.1_$(dpkg --print-architecture).deb")
	"$TESTS/../packaging/make-deb" 0.1.1 >/dev/null
	[[ $(sha256sum <"$BUILD/deb/isomer_0.1.1_$(dpkg --print-architecture).deb") == "$first" ]]
}
