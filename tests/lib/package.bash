# shellcheck shell=bash
#
# For tests of packages in a container: `load ../lib/package`, beside container.bash and units.bash. A file that does says
#
#   install_package VERSION    and
#   remove_package             in there; package_setup has put what put_package VERSION prints to /run/packages/VERSION.

server=/usr/lib/isomer-tests/echo-server

# The container has Isomer from `make install` at first: that is taken away.
package_setup() {
	local version
	container_setup
	make -s -C "$TESTS/.." install DESTDIR="$BATS_FILE_TMPDIR/all"
	(cd "$BATS_FILE_TMPDIR/all" && find . ! -type d -printf '/%P\n') | in_container xargs rm -f
	in_container mkdir -p /run/packages
	for version in 0.1.0 0.1.1; do
		put_package "$version" | in_container sh -c "cat >/run/packages/$version"
	done
	systemctl daemon-reload
}

it_installs_and_a_section_works() {
	! in_container which isomctl || fail "it was there before"
	install_package 0.1.0
	[[ $(isomctl --version) == 'isomctl 0.1.0' ]]
	printf '%s\n' '[Service]' Type=notify "ExecStart=$server --name packaged --notify tcp:127.0.0.1:8001" \
		'[Isomer]' 'Bind=tcp 127.20.0.0/16 80' | unit packaged.service
	systemctl daemon-reload
	systemctl start packaged
	assert_answer packaged tcp 127.20.1.2 80
}

loaded_program() { isomctl --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["dispatcher"]["program"])'; }

it_is_upgraded_under_traffic() {
	local before
	before=$(loaded_program)
	start_probing tcp 127.20.1.2 80
	install_package 0.1.1
	stop_probing packaged
	[[ $(isomctl --version) == 'isomctl 0.1.1' ]]
	[[ $(loaded_program) != "$before" ]]
	assert_active isomer packaged
	assert_answer packaged tcp 127.20.1.2 80
}

it_does_no_harm_when_installed_again() {
	start_probing tcp 127.20.1.2 80
	install_package 0.1.1
	stop_probing packaged
}

it_goes_without_a_trace() {
	remove_package
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
