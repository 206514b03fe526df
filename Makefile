# cpn-twin: `make demo` shows it, `make test` proves it. Needs python3 (3.11 or newer), make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := streams twin producers
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# a file stays on one worker, so what a module sets up is set up once
PYTEST_ARGS ?= -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow broker-test chaos check bench bench-stream bench-policies lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

venv: $(STAMP) ## make .venv with the locked versions and the command cpn

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "cpn-twin needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
	       "name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "could not make $(VENV); on Debian or Ubuntu install python3-venv first" >&2; exit 1; }
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## run the built-in scenario: every policy on the same 24 hours, with a report
	$(BIN)/cpn demo

test: check ## check, then every test but the slow ones
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(STAMP) ## the slow tests: published bills of every place, window and limit
	$(BIN)/python -m pytest -m "slow and not broker and not compose" $(PYTEST_ARGS) --dist load

broker-test: $(STAMP) ## the long tests on a real broker and Redis: 150,000 records, kills, an emptied Redis, the published bill
	$(BIN)/python -m pytest -m "slow and broker" tests/broker --deselect tests/broker/test_chaos.py

chaos: $(STAMP) ## processes, broker and Redis killed, paused, emptied and cut off at random (CPN_CHAOS_SEEDS="1 2 3")
	$(BIN)/python -m pytest -m slow tests/broker/test_chaos.py -x

check: $(STAMP) ## lint, format, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-logo

bench: $(STAMP) ## speed of the embedded runtime: events/s and CPU per event by stage (BENCH_ARGS="--help")
	@$(BIN)/python -m ops.bench $(BENCH_ARGS)

bench-stream: $(STAMP) ## the worker beside other readers, latency, recovery, windows; on a real broker and Redis (BENCH_ARGS="--help")
	@$(BIN)/python -m ops.bench.streaming $(BENCH_ARGS)

bench-policies: $(STAMP) ## price beside every baseline on generated scenarios, every seed shown
	@$(BIN)/python -m ops.bench.policies $(BENCH_ARGS)

lock: $(STAMP) ## resolve requirements.lock again (newest versions the bounds allow)
	$(BIN)/uv --quiet pip compile pyproject.toml --extra parquet --extra stream --extra local --extra test --extra dev \
	  --universal --python-version 3.11 --upgrade --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --output-file requirements.lock

clean: ## remove .venv, caches and build results
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
