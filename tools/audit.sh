#!/bin/sh
# Checks every package of requirements.lock against PyPI's list of known vulnerabilities.
# Exit codes: 0 none is known, 1 some are known, 2 the list is unreachable or lacks a package.
# Usage: tools/audit.sh PIP_AUDIT [LOCK]
output=$("$1" --strict --disable-pip --progress-spinner off --requirement "${2:-requirements.lock}" 2>&1)
code=$?
case "$output" in
    *"could not be audited"* | *ConnectionError* | *Traceback*)
        echo "$output" | tail -n 1 >&2
        echo "error: no package was checked: pypi.org's list of known vulnerabilities is not reachable" >&2
        exit 2
        ;;
esac
echo "$output"
exit $code
