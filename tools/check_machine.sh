#!/bin/sh
# Prints the Python that can make .venv, or says in one line what the machine lacks.
# Usage: tools/check_machine.sh [PYTHON]
set -u
needed_mb=4000 # .venv 1790, the wheels while they are unpacked 430, pip's cache 430; the rest is for the demo's data

fail() {
    echo "$1" >&2
    exit 2
}

# Any Python answers this, even 2.7. Debian ships `venv` without what it needs; that is in a package of its own.
probe='
import sys
try:
    import ensurepip, venv
    venv = "yes"
except ImportError:
    venv = "no"
print("%d.%d.%d %s" % (sys.version_info[:3] + (venv,)))
'

named=${1:-}
if [ -n "$named" ]; then
    set -- "$named"
else
    # pyenv puts a shim on PATH for versions that are not selected too; it fails, the Python behind it works.
    shim=$(command -v python3.12 || command -v python3.11 || command -v python3 || :)
    case "$shim" in
        */shims/*) pyenv=${shim%/shims/*} ;;
        *) pyenv=${PYENV_ROOT:-${HOME:-}/.pyenv} ;;
    esac
    set -- python3.12 python3.11 python3 python "$pyenv"/versions/3.12.*/bin/python3 "$pyenv"/versions/3.11.*/bin/python3
fi

unfit=""
no_venv=""
chosen=""
for candidate in "$@"; do
    answer=$("$candidate" -c "$probe" 2>/dev/null </dev/null) || continue
    version=${answer% *}
    case "$answer" in
        3.11.*yes | 3.12.*yes) chosen=$candidate && break ;;
        3.11.* | 3.12.*) no_venv=${no_venv:-$version} ;;
        [12].* | 3.[0-9].* | 3.10.*) unfit="$unfit $candidate is $version (too old)," ;;
        *) unfit="$unfit $candidate is $version (too new)," ;;
    esac
done

if [ -z "$chosen" ]; then
    [ -z "$no_venv" ] || fail "Python $no_venv has no venv module: apt install python${no_venv%.*}-venv (Debian, Ubuntu)"
    if [ -n "$named" ] && [ -z "$unfit" ]; then
        fail "PYTHON=$named does not run; name a Python 3.11 or 3.12"
    fi
    fail "Python 3.11 or 3.12 is needed;${unfit:- no Python was found,} name one with make PYTHON=/path/to/python3.12"
fi

free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
if [ ! -d .venv ] && [ "$free_mb" -lt "$needed_mb" ]; then
    fail "only $free_mb MB are free here, $needed_mb MB are needed"
fi
echo "$chosen"
