# Every target sets up what it needs; `make help` lists them. PYTHON=… names a Python 3.11 or 3.12.
.DEFAULT_GOAL := help
BIN := .venv/bin
LOCKED := .venv/.locked
STAMP := .venv/.installed

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: install
install: $(STAMP) ## make .venv with everything, from the lock file

# TMPDIR: pip unpacks where there is room for .venv, and leaves nothing elsewhere.
# setuptools comes first, from the lock: one package (google-apitools) is served as source alone, and what builds it
# is to be what the lock names, not the newest there is.
PIP = TMPDIR="$$PWD/.venv/tmp" $(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation

$(LOCKED): requirements.lock tools/check_machine.sh
	@rm -f $@ $(STAMP)
	@python=$$(tools/check_machine.sh "$(PYTHON)") \
		&& echo "installing into .venv with $$python: 430 MB to download, 1.8 GB on disk, a minute or more" \
		&& "$$python" -m venv --clear .venv && mkdir .venv/tmp
	@awk '/^setuptools==/ { on = 1 } on { print } on && !/\\$$/ { exit }' requirements.lock > .venv/setuptools.lock
	@$(PIP) --quiet --require-hashes -r .venv/setuptools.lock
	@{ $(PIP) --progress-bar off --require-hashes -r requirements.lock || echo "failed $$?"; } | tools/progress.sh
	@touch $@

$(STAMP): $(LOCKED) pyproject.toml setup.py
	@mkdir -p .venv/tmp && $(PIP) --quiet --editable .
	@touch $@

.PHONY: engines
engines: install ## fetch and build what a stream needs on this machine, if it is not there
	@$(BIN)/python -c 'from local.engines import prefetch; prefetch(["kafka", "kafka-io", "flink", "prism"])'

.PHONY: demo
demo: install ## from nothing to a filled warehouse on this machine, in minutes
	@$(BIN)/python launcher.py demo

.PHONY: test
test: install ## every test, the ones with real servers included
	@$(BIN)/python -m pytest --durations=25

.PHONY: airflow-install
airflow-install: install ## make .airflow/venv, the Airflow that `make airflow` and the tests use
	@tools/install_airflow.sh $(BIN)/python

.PHONY: airflow
airflow: airflow-install ## Airflow on this machine beside the local cloud, with the DAGs, until Ctrl-C
	@$(BIN)/python -m tools.airflow

.PHONY: soak
soak: install ## a stream that is killed 50 times while 500,000 events flow: an hour or more
	@$(BIN)/python -m pytest -m soak

# The emulators that a shell may still name are none of its business.
.PHONY: test-cloud
test-cloud: $(if $(PROJECT),$(if $(BUCKET),install)) ## end to end on real BigQuery and Cloud Storage: PROJECT=… BUCKET=gs://…
	@if [ -z "$(PROJECT)" ] || [ -z "$(BUCKET)" ]; then \
		echo "error: say where: make test-cloud PROJECT=my-project BUCKET=gs://my-bucket" >&2; exit 2; fi
	@env -u BIGQUERY_EMULATOR_HOST -u BIGQUERY_STORAGE_EMULATOR_HOST -u STORAGE_EMULATOR_HOST \
		SHOP_TEST_PROJECT="$(PROJECT)" SHOP_TEST_BUCKET="$(BUCKET)" $(BIN)/python -m pytest -m cloud tests/cloud

.PHONY: bench
bench: install ## speed and memory of the batch and of the stream, beside others
	@$(BIN)/python -m benchmarks.batch; batch=$$?; $(BIN)/python -m benchmarks.stream && exit $$batch

.PHONY: lint lint-format lint-ruff lint-types lint-imports
lint: lint-format lint-ruff lint-types lint-imports ## all checks
lint-format: install ## formatting
	@$(BIN)/ruff format --check .
lint-ruff: install ## ruff's rules
	@$(BIN)/ruff check .
lint-types: install ## mypy --strict
	@$(BIN)/mypy
lint-imports: install ## imports go one way
	@$(BIN)/lint-imports

.PHONY: format
format: install ## put the code into form
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

.PHONY: lock
lock: install ## renew requirements.lock from pyproject.toml, local/*.lock.toml from local/*.toml
	@$(BIN)/python -m pip install --quiet uv==0.13.9
	@$(BIN)/uv --no-cache pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' --quiet --output-file requirements.lock
	@$(BIN)/uv --no-cache pip compile deploy/airflow/requirements.in --overrides deploy/airflow/overrides.txt --universal \
		--python-version 3.11 --generate-hashes --custom-compile-command 'make lock' --quiet \
		--output-file deploy/airflow/requirements.lock
	@$(BIN)/python -m local.maven

.PHONY: clean
clean: ## remove what the targets made, the local cloud's data included
	@[ ! -d .local ] || [ ! -x $(BIN)/python ] || $(BIN)/python launcher.py local down
	rm -rf .venv .local .airflow .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist
