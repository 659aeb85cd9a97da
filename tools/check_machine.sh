#!/bin/sh
# Prints the Python that can make .venv, or says in one line what the machine lacks.
# Usage: tools/check_machine.sh [PYTHON]
set -u
needed_mb=4000
found=""

for candidate in ${1:-python3.12 python3.11 python3 python}; do
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case "$version" in
        3.11 | 3.12)
            if ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                echo "$candidate ($version) has no venv module: install python$version-venv" >&2
                exit 2
            fi
            free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
            if [ ! -d .venv ] && [ "$free_mb" -lt "$needed_mb" ]; then
                echo "only $free_mb MB are free here, $needed_mb MB are needed" >&2
                exit 2
            fi
            echo "$candidate"
            exit 0
            ;;
        *) found="$found $candidate is $version;" ;;
    esac
done
echo "Python 3.11 or 3.12 is needed;${found:- no Python was found;} give one with make PYTHON=/path/to/python3.12" >&2
exit 2
