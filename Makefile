# Every target installs what it needs; `make help` lists them. PYTHON=… names a Python 3.11 to 3.14, or is `newest` (the
# default) or `oldest`: the newest or oldest one on this machine.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
STAMP := $(VENV)/.installed

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: install
install: $(STAMP) ## create .venv with all packages of the lock file

# TMPDIR: pip unpacks on the disk that has room for .venv, and leaves nothing elsewhere.
# setuptools comes first: google-apitools is published as source only, and must be built with the locked setuptools,
# not with the newest one.
PIP = TMPDIR="$$PWD/$(VENV)/tmp" $(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation

$(LOCKED): requirements.lock tools/check_machine.sh
	@rm -f $@ $(STAMP)
	@python=$$(tools/check_machine.sh "$(PYTHON)") \
		&& echo "installing into $(VENV) with $$python: 430 MB to download, 1.8 GB on disk, a minute or more" \
		&& "$$python" -m venv --clear $(VENV) && mkdir $(VENV)/tmp
	@awk '/^setuptools==/ { on = 1 } on { print } on && !/\\$$/ { exit }' requirements.lock > $(VENV)/setuptools.lock
	@$(PIP) --quiet --require-hashes -r $(VENV)/setuptools.lock
	@{ $(PIP) --progress-bar off --require-hashes -r requirements.lock || echo "failed $$?"; } | tools/progress.sh
	@touch $@

$(STAMP): $(LOCKED) pyproject.toml setup.py
	@mkdir -p $(VENV)/tmp && $(PIP) --quiet --editable .
	@touch $@

.PHONY: engines
engines: install ## download and build what a stream needs on this machine, unless it is there
	@$(BIN)/python -c 'from local.engines import prefetch; prefetch(["kafka", "kafka-io", "flink", "prism"])'

.PHONY: demo
demo: install ## run batch and stream on this machine, from nothing to filled tables, in minutes
	@$(BIN)/python launcher.py demo $(if $(LOCAL_DIR),--local_dir "$(LOCAL_DIR)")

# tests/workers.py says which tests a worker runs. Each worker has a local cloud of its own.
WORKERS := 3
.PHONY: test
test: install ## every test, the ones with real servers included: WORKERS=…
	@$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --durations=25

UNIT_TESTS = $(addprefix tests/,benchmarks commands connectors console contracts graphs operations pipelines protocol sample_data transforms)
NO_SERVER := not e2e and not soak and not cloud
.PHONY: test-unit
test-unit: install ## the unit tests and the graph tests, without the slow ones: no server, a minute
	@$(BIN)/python -m pytest -q -m "$(NO_SERVER)$(if $(SLOW),, and not slow)" --numprocesses=$(WORKERS) --dist=loadfile $(UNIT_TESTS)

.PHONY: mutations
mutations: install ## break each step of the protocols in turn, and show that a test fails: CONTRIBUTING.md
	@$(BIN)/python -m tests.mutations

# The tests that a new Python could break, in minutes; the demo has separate data.
.PHONY: test-newest
test-newest: install ## the unit tests and the demo on the newest Python of this machine, if .venv has another
	@newest=$$(tools/check_machine.sh newest) || exit; \
	minor='import sys; print("3.%d" % sys.version_info[1])'; \
	if [ "$$("$$newest" -c "$$minor")" = "$$($(BIN)/python -c "$$minor")" ]; then \
		echo "$(VENV) has the newest Python of this machine already, $$($(BIN)/python -V): nothing to do"; \
	else \
		data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && \
		$(MAKE) --no-print-directory VENV=.venv-newest PYTHON="$$newest" LOCAL_DIR="$$data" SLOW=yes test-unit demo; \
	fi

.PHONY: airflow-install
airflow-install: install ## create .airflow/venv, the Airflow that `make airflow` and the tests use
	@tools/install_airflow.sh $(BIN)/python

.PHONY: airflow
airflow: airflow-install ## run Airflow with the DAGs and the local cloud on this machine, until Ctrl-C
	@$(BIN)/python -m tools.airflow

.PHONY: soak
soak: install ## a stream and batches that are killed 50 times each: two hours or more
	@$(BIN)/python -m pytest -m soak

.PHONY: fuzz
fuzz: install ## feed 10 million mutated records to the readers and decoders: RECORDS=… SEED=…
	@$(BIN)/python -m tests.fuzz.campaign $(if $(RECORDS),--records $(RECORDS)) $(if $(SEED),--seed $(SEED))

# Variables of emulators that the shell may still have are removed.
.PHONY: test-cloud
test-cloud: $(if $(PROJECT),$(if $(BUCKET),install)) ## end to end on real BigQuery and Cloud Storage: PROJECT=… BUCKET=gs://…
	@if [ -z "$(PROJECT)" ] || [ -z "$(BUCKET)" ]; then \
		echo "error: say where: make test-cloud PROJECT=my-project BUCKET=gs://my-bucket" >&2; exit 2; fi
	@env -u BIGQUERY_EMULATOR_HOST -u BIGQUERY_STORAGE_EMULATOR_HOST -u STORAGE_EMULATOR_HOST \
		SHOP_TEST_PROJECT="$(PROJECT)" SHOP_TEST_BUCKET="$(BUCKET)" $(BIN)/python -m pytest -m cloud tests/cloud

.PHONY: bench
bench: install ## measure batch and stream, and other implementations, in minutes; FULL=1: with limits, in an hour and a half
	@$(BIN)/python -m benchmarks.batch $(if $(FULL),--full); batch=$$?; \
		$(BIN)/python -m benchmarks.workers $(if $(FULL),--full) || batch=1; \
		$(BIN)/python -m benchmarks.forms $(if $(FULL),,--rounds 1 --events 100000) || batch=1; \
		$(BIN)/python -m benchmarks.stream $(if $(FULL),--full) && exit $$batch

.PHONY: lint lint-format lint-ruff lint-types lint-imports lint-words
lint: lint-format lint-ruff lint-types lint-imports lint-words ## run all checks
lint-format: install ## check the formatting
	@$(BIN)/ruff format --check .
lint-ruff: install ## check ruff's rules
	@$(BIN)/ruff check .
lint-types: install ## check types: mypy --strict
	@$(BIN)/mypy
lint-imports: install ## check that imports go one way
	@$(BIN)/lint-imports
lint-words: install ## check for words that are not used here
	@$(BIN)/python -m tools.words

.PHONY: format
format: install ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

.PHONY: lock
lock: install ## renew requirements.lock and local/programs/*.lock.toml
	@$(BIN)/python -m pip install --quiet uv==0.13.9
	@$(BIN)/uv --no-cache pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make lock' --quiet --output-file requirements.lock
	@$(BIN)/uv --no-cache pip compile deploy/airflow/requirements.in --overrides deploy/airflow/overrides.txt --universal \
		--python-version 3.11 --generate-hashes --custom-compile-command 'make lock' --quiet \
		--output-file deploy/airflow/requirements.lock
	@$(BIN)/python -m local.programs.maven
	@echo "install the locked packages, then run: make licences"

.PHONY: licences
licences: install ## renew docs/reference/licences.md, the licences of the locked packages
	@$(BIN)/python -m tools.licences

.PHONY: platforms
platforms: install ## check that every locked package has a wheel for Linux on arm64 and macOS on arm64
	@$(BIN)/python -m tools.platforms

# In its own environment, because its packages are not part of the lock.
.PHONY: audit
audit: install ## check the locked packages against PyPI's list of known vulnerabilities
	@[ -x .audit/bin/pip-audit ] || { $(BIN)/python -m venv --clear .audit && .audit/bin/python -m pip install --quiet pip-audit==2.10.1; }
	@tools/audit.sh .audit/bin/pip-audit

.PHONY: clean
clean: ## remove all that the targets created, including the local cloud's data
	@[ ! -d .local ] || [ ! -x $(BIN)/python ] || $(BIN)/python launcher.py local down
	rm -rf .venv .venv-newest .local .airflow .audit .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist
