#!/bin/sh
# Creates .airflow/venv from deploy/airflow/requirements.lock, unless it has exactly these packages already.
# Usage: tools/install_airflow.sh PYTHON
set -eu
cd "$(dirname "$0")/.."
lock=deploy/airflow/requirements.lock
venv=.airflow/venv

[ ! -f "$venv/.locked" ] || ! cmp -s "$lock" "$venv/.locked" || exit 0
echo "installing Airflow into $venv: a minute or more"
"$1" -m venv --clear "$venv"
# uv comes first, from the lock. Its cache is on the same disk, so files are linked, not copied. With py_requirements
# Airflow creates the launcher's environment in each run, and takes the files from the same cache.
awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' "$lock" > "$venv/uv.lock"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$venv/uv.lock"
UV_CACHE_DIR=.airflow/uv "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --require-hashes \
    -r "$lock"
cp "$lock" "$venv/.locked"
