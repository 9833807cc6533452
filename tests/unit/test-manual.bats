#!/usr/bin/env bats
#
# The manual pages say what there is, no more and no less: isomctl's commands and options as its own help has them, the keys
# and specifiers that the section's parser knows, and what the generator writes.
#
# shellcheck disable=SC2102 # [Service] is what a line of a unit file looks like

bats_require_minimum_version 1.5.0

setup() {
	command -v mandoc >/dev/null || skip "needs mandoc"
	: "${BUILD:=$BATS_TEST_DIRNAME/../../build}"
	BUILD=$(realpath "$BUILD")
	cd "$BATS_TEST_DIRNAME/../.." || return
}

# page PAGE: as it is installed, as text, with no line broken.
page() { mandoc -T ascii -O width=1000 "$BUILD/man/$1" | col -bx; }

# listed WORDS: they are what a list on stdin has an item of; the item's text may begin beside a short one.
listed() {
	awk -v words="     $1" '$0 == words || index($0, words "  ") == 1 { found = 1 } END { exit !found }' || {
		echo "there is no item \"$1\""
		return 1
	}
}

# Commands and arguments, as their usage has them but in ASCII: a line each.
usages() {
	local command
	"$BUILD/isomctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\)  .*/\1/p' | while read -r command; do
		"$BUILD/isomctl" "$command" --help | sed -n '1{s/^Usage: isomctl \[OPTION …\] //;s/…/.../g;p}'
	done
}

# The options in isomctl's help: "--json" of all, "bindings --label" of one.
options_of_help() {
	"$BUILD/isomctl" --help | sed -n '/^Options:/,$s/^  \(--[a-z-]*\) .*/\1/p'
	usages | while read -r command arguments; do
		{
			grep -o -e '\[--[a-z-]*' <<<"$arguments" | tr -d '['
			"$BUILD/isomctl" "$command" --help | sed -n 's/^\(--[a-z-]*\) .*/\1/p'
		} | sort -u | sed "s/^/$command /"
	done
}

# The same in isomctl(8), whose lists are made of commands, and in them of options.
options_of_page() {
	awk '/^\.Sh COMMANDS/ { commands = 1 } /^\.Sh JSON/ { exit }
		commands && /^\.It Cm / { command = $3 " " }
		/^\.It Fl Fl / { print command "--" $4 }' man/isomctl.8
}

@test "mandoc finds nothing to warn of" {
	run -0 mandoc -T lint -W warning man/*
	[[ -z $output ]]
}

@test "isomctl(8) has the commands of isomctl --help with their arguments, and no others" {
	local usage
	while read -r usage; do
		page isomctl.8 | listed "$usage"
	done < <(usages)
	diff <(usages | cut -d' ' -f1 | sort) \
		<(sed -n '/^\.Sh COMMANDS/,/^\.Sh JSON/s/^\.It Cm \([a-z-]*\).*/\1/p' man/isomctl.8 | sort)
}

@test "isomctl(8) has the options of each command's help, and no others" {
	[[ $(options_of_help) == *'bindings --label'* ]]
	diff <(options_of_help | sort) <(options_of_page | sort)
}

@test "isomer.unit(5) has the keys that the section's parser knows, and no others" {
	diff <(sed -n 's/^\t{"\([A-Za-z]*\)", parse_[a-z_]*},/\1/p' src/section.c) \
		<(sed -n '/^\.Sh KEYS/,/^\.Ss/s/^\.It Cm \([A-Za-z]*\)=.*/\1/p' man/isomer.unit.5)
}

@test "isomer.unit(5) has the specifiers that are replaced, and no others" {
	diff <(sed -n "/^static int specifier_value/,/^}/s/^\tcase '\([A-Za-z%]\)':/%\1/p" src/unitfile.c | sort) \
		<(sed -n 's/^\.It Cm \(\\&\)\{0,1\}\(%.\) Ta .*/\2/p' man/isomer.unit.5 | sort)
}

@test "isomer.unit(5) has all that the generator adds" {
	local line
	mkdir "$BATS_TEST_TMPDIR"/{units,out}
	cd "$BATS_TEST_TMPDIR/units"
	printf '%s\n' [Service] ExecStart=/bin/true ExecReload=/bin/true [Isomer] >service.service
	printf '%s\n' [Service] ExecStart=/bin/true RootDirectory=/srv [Isomer] >rooted.service
	printf '%s\n' [Socket] ListenStream=80 [Isomer] >socket.socket
	SYSTEMD_UNIT_PATH=$PWD "$BUILD/isomer-generator" "$BATS_TEST_TMPDIR/out"
	cd "$OLDPWD"
	[[ $(cat "$BATS_TEST_TMPDIR"/out/*/* | grep -c '^Exec') == 5 ]]
	while read -r line; do
		page isomer.unit.5 | grep -qxE " +${line//+/\\+}" || {
			echo "isomer.unit(5) has no \"$line\""
			return 1
		}
	done < <(cat "$BATS_TEST_TMPDIR"/out/*/* | grep -e '^[A-Z]' | sort -u)
}

@test "isomer.service(8) has the helper's commands" {
	local command
	while read -r command; do
		page isomer.service.8 | listed "$command"
	done < <("$BUILD/isomer-helper" --help | sed -n 's/^  \([a-z]*\) *\( UNIT\)\{0,1\}  .*/\1\2/p')
}

@test "pages that pages and units name are there, and are installed" {
	local name installed=$BATS_TEST_TMPDIR/installed
	cp -a "$BUILD/stage" "$installed"
	while read -r name; do
		[[ -s $installed/usr/share/man/man${name##*.}/$name ]] || {
			echo "$name is not there"
			return 1
		}
	done < <(
		sed -n 's/^\.Xr \(isom[^ ]*\) \([1-9]\).*/\1.\2/p' man/*
		grep -ohE 'man:[^ ]*' units/* | sed 's/man:\(.*\)(\(.\))/\1.\2/'
	)
	make -s uninstall DESTDIR="$installed"
	[[ -z $(find "$installed" ! -type d) ]]
}
