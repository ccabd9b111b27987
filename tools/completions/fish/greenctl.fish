# Completion of greenctl(1) for fish.

# Is it the word of this number that is being completed, behind these words?
function __greenctl_at
    set -l words (commandline -opc)
    test (count $words) -eq $argv[1]
    or return 1
    test (count $argv) -eq 1
    or contains -- $words[$argv[1]] $argv[2..]
end

function __greenctl_threads
    set -l words (commandline -opc)
    greenctl $words[2] ps 2>/dev/null | string match -rg '^ *(\d+) '
end

complete -c greenctl -f
complete -c greenctl -n '__greenctl_at 1' -F -a 'report convert help version (greenctl 2>/dev/null | string match -rg "^ *(\d+) ")'
complete -c greenctl -n '__greenctl_at 2 report convert' -F
complete -c greenctl -n '__greenctl_at 2; and not __greenctl_at 2 report convert help version' \
    -a 'ps bt fds timers locks stats top trace cancel log'
complete -c greenctl -n '__greenctl_at 3 trace' -a 'on off'
complete -c greenctl -n '__greenctl_at 3 log' -a 'off threads all'
complete -c greenctl -n '__greenctl_at 3 bt' -a 'all (__greenctl_threads)'
complete -c greenctl -n '__greenctl_at 3 cancel' -a '(__greenctl_threads)'
