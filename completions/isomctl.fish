# SPDX-License-Identifier: GPL-2.0-only
#
# Completes isomctl's words in fish. What commands there are, and which options and arguments each of them has, is read from
# isomctl's help; labels, prefixes and ports come from the dispatcher, and where that can't be asked, there are none.

# __isomctl_live KEY COMMAND...: the values of a key in the JSON of a command, each once. Texts that are printed with other
# escapes than \" and \\ can't be typed either. $isomctl is the command with its --netns and --bpffs.
function __isomctl_live --no-scope-shadowing
    $isomctl --json $argv[2..-1] 2>/dev/null | head -n 10000 |
        sed -nE 's/.*"'$argv[1]'": ("(([^"\\\\]|\\\\["\\\\])*)"|([0-9]+)).*/\2\4/; t found; d; :found; s/\\\\(.)/\1/g; p' |
        sort -u
end

# A line each: the command, a tab, and what it does.
function __isomctl_commands
    $argv --help 2>/dev/null | sed -nE '/^Commands:/,/^$/s/^  ([a-z-]+) +(.*)/\1\t\2/p'
end

# What may stand after a command, a line each: "--label LABEL" and "--dry-run", and arguments, "FILE". Without a command,
# the options that all have.
function __isomctl_usage
    set -l isomctl $argv[1..-2]
    $isomctl --help 2>/dev/null | sed -nE '/^Options:/,$s/^  (--[a-z-]+)( [A-Z]+)?  .*/\1\2/p'
    test -n "$argv[-1]"
    and $isomctl $argv[-1] --help 2>/dev/null |
        sed -nE "1{s/.*] $argv[-1]//p}" | grep -oE -e '\[--[a-z-]+ [^ ]+\]|[^ ]+' | sed -E 's/^\[//; s/\]$//; s/^(--[a-z-]+)[=[].*/\1/'
end

function __isomctl_units
    begin
        systemctl list-unit-files --plain --no-legend --type=service,socket
        systemctl list-units --all --plain --no-legend --type=service,socket
    end 2>/dev/null | awk '{ print $1 }' | sort -u
end

# __isomctl_offer KINDS [COMMAND ARGUMENT...]: candidates of all of these kinds, "UNIT|FILE…" for example. What is unbound
# is bound as the arguments before it say.
function __isomctl_offer --no-scope-shadowing
    set -l filter bindings
    if test "$argv[2]" = unbind
        set -q argv[3]; and set -a filter --label $argv[3]
        set -q argv[4]; and set -a filter --protocol $argv[4]
        set -q argv[5]; and set -a filter --ip $argv[5]
    end
    for kind in (string split '|' (string replace -r '….*' '' -- $argv[1]))
        switch $kind
            case LABEL
                __isomctl_live label status
            case PROTOCOL
                printf '%s\n' tcp udp
            case PREFIX 'IP[/*'
                __isomctl_live prefix $filter
            case IP
                printf '%s\n' 127.0.0.1 0.0.0.0 ::1 ::
            case ADDRESS
                __isomctl_live prefix bindings | sed 's|/.*||' | sort -u
            case 'PORT*'
                __isomctl_live port $filter
            case PID
                __fish_complete_pids
            case UNIT
                __isomctl_units
            case '*FILE' PATH
                __fish_complete_path $cur
            case '*'
                string match -r '^[a-z].*' $kind
        end
    end
end

function __isomctl_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    set -l isomctl $words[1]
    set -l option
    set -l command
    set -l options_end
    set -l arguments
    set -l usage (__isomctl_usage $isomctl '')

    for word in $words[2..-1]
        set -l name --(string replace -r '^--?' '' -- $word)
        if test -n "$option"
            contains -- $option --netns --bpffs
            and set -a isomctl $option $word
            set option
        else if test "$word" = --
            set options_end yes
        else if string match -q -- '-*' $word; and test -z "$options_end"
            if string match -qr -- '^--?(netns|bpffs)=' $word
                set -a isomctl $word
            else if string match -q -- "$name *" $usage
                set option $name
            end
        else if test -z "$command"
            set command $word
            set usage (__isomctl_usage $isomctl $command | string match -v -- --version)
        else
            set -a arguments $word
        end
    end

    set -l kinds (string match -rv -- '^--' $usage)
    set -l next (math (count $arguments) + 1)
    set -l before
    if test -z "$option"; and string match -qr -- '^-[^=]+=' $cur; and test -z "$options_end"
        set option --(string replace -r '^--?([^=]*)=.*' '$1' -- $cur)
        set before (string replace -r '=.*' '=' -- $cur)
        set cur (string replace -r '^[^=]*=' '' -- $cur)
    end
    if test "$option" = --netns
        ls /run/netns 2>/dev/null
    end
    if test -n "$option"
        printf "$before%s\n" (__isomctl_offer (string match -r -- "(?<=^$option ).*" $usage))
    else if string match -q -- '-*' $cur; and test -z "$options_end"
        string match -r -- '^--[a-z-]+' $usage
    else if test -z "$command"
        __isomctl_commands $isomctl
    else if set -q kinds[$next]
        __isomctl_offer $kinds[$next] $command $arguments
    else if string match -q '*…*' -- $kinds[-1]
        __isomctl_offer $kinds[-1]
    end
end

complete -c isomctl -f -a '(__isomctl_complete)'
