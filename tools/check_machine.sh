#!/bin/sh
# Prints the Python that can create .venv, or one line that says what the machine lacks.
# Usage: tools/check_machine.sh [PYTHON | newest | oldest]
# By default it is the newest Python from 3.11 to 3.14 on this machine.
set -u
needed_mb=4000 # .venv 1790, the wheels while they are unpacked 430, pip's cache 430; the rest is for the demo's data

fail() {
    echo "$1" >&2
    exit 2
}

# Any Python answers this, even 2.7. Debian ships `venv` without ensurepip, which is in a separate package.
probe='
import sys
try:
    import ensurepip, venv
    venv = "yes"
except ImportError:
    venv = "no"
print("%d.%d.%d %s" % (sys.version_info[:3] + (venv,)))
'

wanted=newest
case "${1:-}" in
    newest | oldest) wanted=$1 named="" ;;
    *) named=${1:-} ;;
esac
if [ -n "$named" ]; then
    set -- "$named"
else
    # pyenv puts shims on PATH even for versions that are not selected. Such a shim fails; the Python behind it works.
    shim=$(command -v python3.14 || command -v python3.13 || command -v python3.12 || command -v python3.11 \
        || command -v python3 || :)
    case "$shim" in
        */shims/*) pyenv=${shim%/shims/*} ;;
        *) pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv} ;;
    esac
    set -- python3.14 python3.13 python3.12 python3.11 python3 python "$pyenv"/versions/3.1[1-4].*/bin/python3
fi

unfit=""
no_venv=""
chosen=""
chosen_minor=""
for candidate in "$@"; do
    answer=$("$candidate" -c "$probe" 2>/dev/null </dev/null) || continue
    version=${answer% *}
    minor=${version#*.}
    minor=${minor%%.*}
    case "$answer" in
        3.1[1-4].*yes)
            if [ -z "$chosen" ] || { [ "$wanted" = newest ] && [ "$minor" -gt "$chosen_minor" ]; } \
                || { [ "$wanted" = oldest ] && [ "$minor" -lt "$chosen_minor" ]; }; then
                chosen=$candidate chosen_minor=$minor
            fi
            ;;
        3.1[1-4].*) no_venv=${no_venv:-$version} ;;
        [12].* | 3.[0-9].* | 3.10.*) unfit="$unfit $candidate is $version (too old)," ;;
        *) unfit="$unfit $candidate is $version (too new)," ;;
    esac
done

if [ -z "$chosen" ]; then
    [ -z "$no_venv" ] || fail "Python $no_venv has no venv module: apt install python${no_venv%.*}-venv (Debian, Ubuntu)"
    if [ -n "$named" ] && [ -z "$unfit" ]; then
        fail "PYTHON=$named does not run; name a Python 3.11, 3.12, 3.13 or 3.14"
    fi
    fail "Python 3.11 to 3.14 is needed;${unfit:- no Python was found,} name one with make PYTHON=/path/to/python3.13"
fi

free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
if [ ! -d .venv ] && [ "$free_mb" -lt "$needed_mb" ]; then
    fail "only $free_mb MB are free here, $needed_mb MB are needed"
fi
echo "$chosen"
