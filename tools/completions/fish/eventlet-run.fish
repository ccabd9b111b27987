# Completion of eventlet-run(1) for fish. The options, their words and the groups come from the
# program itself, so there is nothing here to keep up to date.

function __eventlet_run_groups
    for group in (eventlet-run --help 2>/dev/null | string replace -rf '^Patch groups: ' '' | string split ' ')
        # Of a list, the last part.
        set -l before (commandline -ct | string replace -r '^--[^=]*=' '' | string match -r '.*,')
        echo $before$group
    end
end

function __eventlet_run_functions
    set -l before (commandline -ct | string replace -r '^--[^=]*=' '' | string match -r '.*,')
    eventlet-run --list-patches 2>/dev/null | awk -v before="$before" 'NR > 1 { print before $2 }'
end

function __eventlet_run_signals
    kill -l | string split ' ' | string match -r '\S+'
end

# The words behind eventlet-run's own options; fails while there are none.
function __eventlet_run_command
    set -l words (commandline -opc) (commandline -ct)
    set -e words[1]
    while set -q words[1]; and string match -q -- '-*' $words[1]
        if test $words[1] = --
            set -e words[1]
            break
        end
        # "--name value"
        set -l name (string replace -r '^--' '' -- $words[1])
        if eventlet-run --list-options 2>/dev/null | string match -qr -- "^$name\t="
            set -e words[1]
        end
        set -e words[1]
    end
    set -q words[1]; or return 1
    printf '%s\n' $words
end

complete -c eventlet-run -f -n __eventlet_run_command \
    -a '(complete -C (string join " " -- (__eventlet_run_command | string escape)))'

eventlet-run --list-options 2>/dev/null | while read -l -d \t name value words default variable help
    set -l how
    switch $name
        case patch no-patch
            set how -x -a '(__eventlet_run_groups)'
        case bind
            set how -x -a '(__eventlet_run_functions)'
        case dump-signal
            set how -x -a '(__eventlet_run_signals)'
        case carriers
            set how -x -a auto
        case lib '*-file'
            set how -r -F
        case '*'
            switch $value
                case '=''*'
                    set how -x -a (string replace -a '|' ' ' -- "$words ")
                case '\?'
                case '*'
                    set how -f -a (string replace -a '|' ' ' -- "$words ")
            end
    end
    complete -c eventlet-run -n 'not __eventlet_run_command' -l $name $how -d $help
end
