# shellcheck shell=bats disable=SC2317 # much is called by its name alone
#
# The RPM package, as Debian's rpm builds and installs it: it has what `make install` installs, is upgraded under traffic
# without a connection lost, and leaves nothing when it goes; to all of that it does the same as the Debian package.
load ../lib/container
load ../lib/units
load ../lib/package

setup_file() {
	local version
	command -v rpmbuild eu-strip >/dev/null || skip "needs rpm and elfutils"
	for version in 0.1.0 0.1.1; do
		"$TESTS/../packaging/make-rpm" "$version" >"$BATS_FILE_TMPDIR/log" 2>&1 || fail "$(<"$BATS_FILE_TMPDIR/log")" || return
	done
	package_setup
	put_recorder
}

file_of() { echo "$BUILD/rpm/isomer-$1"-*.rpm; }
# rpm [ARGUMENT...]: in there, where no other package is known.
rpm_there() { in_container rpm --nodeps "$@"; }

put_package() { cat "$(file_of "$1")"; }
install_package() { rpm_there --upgrade --replacepkgs "/run/packages/$1"; }
remove_package() { rpm_there --erase isomer; }

@test "it has what make install installs" {
	make -s -C "$TESTS/.." install DESTDIR="$BATS_TEST_TMPDIR/all" zshdir=/usr/share/zsh/site-functions
	# Manual pages are compressed. RPM has its own place for licenses, and links for debuggers.
	diff <(cd "$BATS_TEST_TMPDIR/all" && find . ! -type d -printf '/%P\n' | sed 's|^/usr/share/man/.*|&.gz|' | sort) \
		<(rpm --query --package --queryformat '[%{FILEMODES:perms} %{FILENAMES}\n]' "$(file_of 0.1.0)" |
			sed -n 's/^[-l][^ ]* //p' | grep -v -e ^/usr/lib/.build-id/ -e ^/usr/share/licenses/isomer/LICENSE | sort)
}

@test "what a debugger wants is a package of its own" {
	rpm --query --package --list "$BUILD"/rpm/isomer-debuginfo-0.1.0-*.rpm >"$BATS_TEST_TMPDIR/list"
	grep -q '^/usr/lib/debug/usr/bin/isomctl.*\.debug$' "$BATS_TEST_TMPDIR/list"
	grep -q '^/usr/src/debug/isomer-.*/src/isomctl/isomctl.c$' "$BATS_TEST_TMPDIR/list"
}

# put_recorder: commands, in /run/recorder, that change nothing: they append themselves to a file. One unit is known.
put_recorder() {
	in_container mkdir /run/recorder
	in_container sh -c 'cd /run/recorder && cat >rmdir && chmod +x rmdir && ln -s rmdir systemctl && ln -s rmdir deb-systemd-invoke' <<-'END'
		#!/bin/sh
		case "$*" in
		*is-active*) exit "$INACTIVE" ;;
		*list-units*) echo isomer@some.service loaded active exited ;;
		*) echo "${0##*/} $*" | sed -e 's/^deb-systemd-invoke/systemctl/' -e 's/isomer@\*/isomer@some/' >>/run/recorder/done ;;
		esac
	END
}

# what_does INACTIVE SCRIPT ARGUMENT...: prints what the script changes, if `is-active` exits with INACTIVE.
what_does() {
	in_container sh -c ': >/run/recorder/done'
	in_container env INACTIVE="$1" PATH=/run/recorder:/usr/bin:/bin sh -e -s -- "${@:3}" <<<"$2"
	in_container cat /run/recorder/done
}

@test "its scriptlets do what the Debian package's scripts do" {
	local scriptlet instances script arguments inactive ours theirs all=''
	[[ $(rpm --query --package --scripts "$(file_of 0.1.0)" | grep -c '^[a-z]* scriptlet') == 3 ]]
	while read -r scriptlet instances script arguments; do
		for inactive in 0 1; do
			ours=$(what_does $inactive "$(rpm --query --package --queryformat "%{$scriptlet}" "$(file_of 0.1.0)")" "$instances")
			# shellcheck disable=SC2086 # several words
			theirs=$(what_does $inactive "$(<"$TESTS/../packaging/debian/$script")" $arguments)
			[[ $ours == "$theirs" ]] || fail "$scriptlet $instances does:" "$ours" "$script $arguments does:" "$theirs" || return
			all+=$ours$'\n'
		done
	done <<-END
		postin 1 postinst configure
		postin 2 postinst configure 0.1.0
		preun 1 prerm upgrade 0.1.1
		preun 0 prerm remove
		postun 1 postrm upgrade 0.1.1
		postun 0 postrm remove
	END
	[[ $all == *"systemctl reload isomer.service"*"systemctl stop isomer@some.service "*"rmdir /sys/fs/bpf/isomer"* ]]
}

@test "it installs, and a section works" { it_installs_and_a_section_works; }

@test "it is upgraded under traffic, and no connection is lost" { it_is_upgraded_under_traffic; }

@test "installed again, it does no harm" { it_does_no_harm_when_installed_again; }

@test "it goes without a trace, and the service runs on" { it_goes_without_a_trace; }

@test "the same tree gives the same bytes" {
	local first
	first=$(sha256sum "$BUILD"/rpm/isomer-*0.1.1-*.rpm)
	"$TESTS/../packaging/make-rpm" 0.1.1 >/dev/null
	[[ $(sha256sum "$BUILD"/rpm/isomer-*0.1.1-*.rpm) == "$first" ]]
}
