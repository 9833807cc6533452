# shellcheck shell=bash
#
# What bash, zsh and fish offer where isomctl's words are typed, each asked by itself: complete-SHELL. A shell that isn't
# installed is skipped.
load ../lib/netns

setup() {
	netns_setup
	export PATH=$BATS_TEST_TMPDIR/bin:$BUILD:$PATH HOME=$BATS_TEST_TMPDIR ZCOMPDUMP=$BATS_FILE_TMPDIR/zcompdump
	mkdir "$BATS_TEST_TMPDIR"/{bin,files}
	cd "$BATS_TEST_TMPDIR/files" || return
	touch bindings.json base.json other.json
}

need() { [[ $1 == bash && -e /usr/share/bash-completion/bash_completion ]] || command -v "$1" >/dev/null || skip "needs $1"; }

load_some() {
	isomctl load
	isomctl bind web tcp 192.0.2.0/24 80
	isomctl bind web tcp 2001:db8::/64 443
	isomctl bind dns udp 192.0.2.7 53
	isomctl bind ftp tcp 192.0.2.0/24 5000-5009
	isomctl bind 'two words' tcp 127.0.0.1 0
}

# offers SHELL LINE...: "LINE> " and what the shell offers for it, sorted, with | between; as it would stand on the line, but
# unquoted. bash completes from the last colon on, fish repeats an option.
offers() {
	local row line='' before found=()
	while IFS= read -r row; do
		if [[ $row != '== '* ]]; then
			row=${row//\\/}
			[[ $row != -*=* ]] || row=${row#*=}
			found+=("$before$row")
			continue
		fi
		[[ ! $line ]] || print_offer
		line=${row#== } before='' found=()
		if [[ $1 == bash && $line =~ [^\ ]*:[^\ :]*$ ]]; then
			before=${BASH_REMATCH[0]%"${BASH_REMATCH[0]##*:}"}
		fi
	done < <(in_ns env -C "$PWD" "$TESTS/netns/complete-$1" "${@:2}" </dev/null 2>&1)
	print_offer
}

print_offer() { echo "$line> $(printf '%s\n' "${found[@]}" | LC_ALL=C sort -u | paste -sd'|')"; }

# assert_offers SHELL: stdin has lines, each with what is to be offered for it.
assert_offers() {
	local expected
	mapfile -t expected
	diff <(printf '%s\n' "${expected[@]}") <(offers "$1" "${expected[@]%%>*}")
}

# What is typed, and what is offered for it.
lines() {
	cat <<-'END'
		isomctl un> unbind|unload|unregister
		isomctl -> --bpffs|--help|--json|--netns|--version
		isomctl --json sta> status
		isomctl load > 
		isomctl load --j> --json
		isomctl bindings --> --bpffs|--help|--ip|--json|--label|--netns|--port|--protocol
		isomctl bindings --label > dns|ftp|two words|web
		isomctl bindings -label=w> web
		isomctl bindings --label=w> web
		isomctl bindings --ip 2001:> 2001:db8::/64
		isomctl bindings --protocol tcp --port > 0|443|5000-5009|53|80
		isomctl status t> two words
		isomctl bind new > tcp|udp
		isomctl bind new tcp > 127.0.0.1/32|192.0.2.0/24|192.0.2.7/32|2001:db8::/64
		isomctl bind new tcp 127.0.0.0/8 5> 5000-5009|53
		isomctl unbind -- w> web
		isomctl unbind web tcp > 192.0.2.0/24|2001:db8::/64
		isomctl unbind web tcp 2001:db8::/64 > 443
		isomctl unbind two\ words tcp > 127.0.0.1/32
		isomctl unbind web tcp 2001:db8::/64 443 > 
		isomctl load-bindings --d> --dry-run
		isomctl load-bindings b> base.json|bindings.json
		isomctl register > dns|ftp|two words|web
		isomctl register-pid o> other.json
		isomctl register-pid 1 w> web
		isomctl register-pid 1 web tcp 1> 127.0.0.1
		isomctl unregister web > ipv4|ipv6
		isomctl unregister web ipv4 > tcp|udp
		isomctl --netns /proc/self/ns/net unbind d> dns
		isomctl --netns=/proc/self/ns/net unbind d> dns
		isomctl --bpffs /nowhere unbind > 
		isomctl nonsense > 
	END
}

# What isomctl may have some day: the completions know it by its help.
other_isomctl() {
	cat >"$BATS_TEST_TMPDIR/bin/isomctl" <<-'END'
		#!/bin/sh
		case "$*" in
		--help) printf '%s\n' 'Commands:' '  explain    tell' '  verify     check' '' 'Options:' '  --json    as JSON' ;;
		'explain --help') echo 'Usage: isomctl [OPTION …] explain [--brief] PROTOCOL ADDRESS PORT' ;;
		'verify --help') echo 'Usage: isomctl [OPTION …] verify [--every[=SECONDS]] [UNIT|FILE…]' ;;
		*bindings) echo '{"label": "web", "prefix": "192.0.2.0/24", "port": 80}' ;;
		*) exit 1 ;;
		esac
	END
	cat >"$BATS_TEST_TMPDIR/bin/systemctl" <<-'END'
		#!/bin/sh
		printf '%s\n' 'base.service enabled enabled' 'nginx.service loaded active running'
	END
	chmod +x "$BATS_TEST_TMPDIR"/bin/*
}

other_lines() {
	cat <<-'END'
		isomctl > explain|verify
		isomctl explain --> --brief|--json
		isomctl explain tcp > 192.0.2.0
		isomctl explain tcp 192.0.2.0 > 80
		isomctl verify --e> --every
		isomctl verify ba> base.json|base.service
		isomctl verify base.service other.json ng> nginx.service
	END
}

nothing_lines() {
	cat <<-'END'
		isomctl unbind > 
		isomctl bind x tcp > 
		isomctl bindings --port > 
		isomctl unregister web ip> ipv4|ipv6
	END
}

for shell in bash zsh fish; do
	eval "
		completes_$shell() {
			need $shell
			load_some
			assert_offers $shell < <(lines)
		}
		offers_nothing_$shell() {
			need $shell
			assert_offers $shell < <(nothing_lines)
		}
		completes_others_$shell() {
			need $shell
			other_isomctl
			assert_offers $shell < <(other_lines)
		}
		offers_processes_$shell() {
			need $shell
			[[ \$(offers $shell 'isomctl register-pid ')'|' == *\"|\$NETNS_PID|\"* ]]
		}"
done

@test "bash: commands, options, and what is bound" { completes_bash; }
@test "zsh: commands, options, and what is bound" { completes_zsh; }
@test "fish: commands, options, and what is bound" { completes_fish; }

@test "bash: no dispatcher, nothing to offer, and nothing to say" { offers_nothing_bash; }
@test "zsh: no dispatcher, nothing to offer, and nothing to say" { offers_nothing_zsh; }
@test "fish: no dispatcher, nothing to offer, and nothing to say" { offers_nothing_fish; }

@test "bash: commands that isomctl's help has, whatever they are; units" { completes_others_bash; }
@test "zsh: commands that isomctl's help has, whatever they are; units" { completes_others_zsh; }
@test "fish: commands that isomctl's help has, whatever they are; units" { completes_others_fish; }

@test "bash: processes" { offers_processes_bash; }
@test "zsh: processes" { offers_processes_zsh; }
@test "fish: processes" { offers_processes_fish; }

# Each word that stands for an argument in a usage is one that the completions have an answer for.
@test "isomctl's usages are made of words that the completions know" {
	local command kind
	while read -r command; do
		while read -r kind; do
			[[ $kind =~ ^(LABEL|PROTOCOL|PREFIX|IP|ADDRESS|PORT|PID|PIDFILE|UNIT|FILE|PATH|SECONDS|TIMESPAN|[a-z][a-z0-9]*)$ ]] ||
				fail "isomctl $command: $kind is unknown to the completions" || return
		done < <(
			isomctl "$command" --help | sed -n "1s/.*] $command//p" | sed 's/\[--[a-z-]*//g; s/\[[^ ]PORT\]\|\[\/LENGTH\]//g' |
				tr '[]| …=' '\n' | grep .
		)
	done < <(isomctl --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\)  .*/\1/p')
}
