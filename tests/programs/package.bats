# shellcheck shell=bats disable=SC2317 # much is called by its name alone
#
# The Debian package: it has what `make install` installs, is upgraded under traffic without a connection lost, and leaves
# nothing when it goes.
load ../lib/container
load ../lib/units
load ../lib/package

architecture=$(dpkg --print-architecture)

setup_file() {
	local version
	command -v dpkg-buildpackage lintian >/dev/null || skip "needs dpkg-dev, debhelper and lintian"
	for version in 0.1.0 0.1.1; do
		"$TESTS/../packaging/make-deb" "$version" >"$BATS_FILE_TMPDIR/lintian-$version" 2>&1 ||
			fail "make-deb $version:" "$(<"$BATS_FILE_TMPDIR/lintian-$version")" || return
	done
	package_setup
	in_container mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/log
	in_container touch /var/lib/dpkg/status
	in_container rm -f /usr/sbin/policy-rc.d # which build machines have, against services
}

# dpkg [ARGUMENT...]: in there, where no other package is known.
dpkg_there() { in_container dpkg --force-depends --force-confdef "$@"; }

put_package() { cat "$BUILD/deb/isomer_${1}_$architecture.deb"; }
install_package() { dpkg_there --install "/run/packages/$1"; }
remove_package() { dpkg_there --purge isomer; }

# Compressed or not; Debian wants a changelog and the copyright besides.
@test "it has what make install installs" {
	diff <(cd "$BATS_FILE_TMPDIR/all" && find . ! -type d -printf '/%P\n' | sort) \
		<(dpkg-deb --fsys-tarfile "$BUILD/deb/isomer_0.1.0_$architecture.deb" | tar -t | sed -e '\|/$|d' -e 's/^\.//' -e 's/\.gz$//' |
			grep -v -e '^/usr/share/doc/isomer/changelog$' -e '^/usr/share/doc/isomer/copyright$' | sort)
}

@test "it installs, and a section works" { it_installs_and_a_section_works; }

@test "it is upgraded under traffic, and no connection is lost" { it_is_upgraded_under_traffic; }

@test "installed again, it does no harm" { it_does_no_harm_when_installed_again; }

@test "it goes without a trace, and the service runs on" { it_goes_without_a_trace; }

@test "the same tree gives the same bytes" {
	local first
	first=$(sha256sum <"$BUILD/deb/isomer_0.1.1_$architecture.deb")
	"$TESTS/../packaging/make-deb" 0.1.1 >/dev/null
	[[ $(sha256sum <"$BUILD/deb/isomer_0.1.1_$architecture.deb") == "$first" ]]
}
