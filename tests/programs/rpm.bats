# shellcheck shell=bats disable=SC2317 # much is called by its name alone
#
# The RPM package, as Debian's rpm builds and installs it: it has what `make install` installs, is upgraded under traffic
# without a connection lost, and leaves nothing when it goes.
load ../lib/container
load ../lib/units
load ../lib/package

setup_file() {
	local version
	command -v rpmbuild >/dev/null || skip "needs rpm"
	for version in 0.1.0 0.1.1; do
		"$TESTS/../packaging/make-rpm" "$version" >"$BATS_FILE_TMPDIR/log" 2>&1 || fail "$(<"$BATS_FILE_TMPDIR/log")" || return
	done
	package_setup
}

file_of() { echo "$BUILD/rpm/isomer-$1"-*.rpm; }
# rpm [ARGUMENT...]: in there, where no other package is known.
rpm_there() { in_container rpm --nodeps "$@"; }

put_package() { cat "$(file_of "$1")"; }
install_package() { rpm_there --upgrade --replacepkgs "/run/packages/$1"; }
remove_package() { rpm_there --erase isomer; }

@test "it has what make install installs" {
	make -s -C "$TESTS/.." install DESTDIR="$BATS_TEST_TMPDIR/all" zshdir=/usr/share/zsh/site-functions
	diff <(cd "$BATS_TEST_TMPDIR/all" && find . ! -type d -printf '/%P\n' | sort) \
		<(rpm --query --package --queryformat '[%{FILEMODES:perms} %{FILENAMES}\n]' "$(file_of 0.1.0)" |
			sed -n 's/^[-l][^ ]* //p' | grep -v -e /.build-id/ -e /licenses/ | sort)
}

@test "it installs, and a section works" { it_installs_and_a_section_works; }

@test "it is upgraded under traffic, and no connection is lost" { it_is_upgraded_under_traffic; }

@test "installed again, it does no harm" { it_does_no_harm_when_installed_again; }

@test "it goes without a trace, and the service runs on" { it_goes_without_a_trace; }

@test "the same tree gives the same bytes" {
	local first
	first=$(sha256sum <"$(file_of 0.1.1)")
	"$TESTS/../packaging/make-rpm" 0.1.1 >/dev/null
	[[ $(sha256sum <"$(file_of 0.1.1)") == "$first" ]]
}
