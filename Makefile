# The commands of this repository. `make demo` and `make test` need nothing but Debian and Python 3.11.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
NAME ?= live-quality

.PHONY: help setup setup-test demo demo-live test test-long unit check golden bench docs lock clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## install whatever is missing, with progress
	@$(PYTHON) scripts/bootstrap.py

setup-test:
	@$(PYTHON) scripts/bootstrap.py --extra test

demo: setup  ## beacons to CDN decisions on a console, then a report (ARGS='--seconds 120 --json --no-browser')
	@$(BIN)/headrace demo $(ARGS)

demo-live:  ## the same with real players over two throttled CDNs (root)
	@$(PYTHON) scripts/bootstrap.py --extra players
	@$(BIN)/headrace demo-live $(ARGS)

test: setup-test check  ## all tests
	@$(BIN)/python scripts/test_all.py

test-long: setup-test  ## chaos, differential, model and large-state tests in full: hours (SLIMBASE_STATE_GB, SLIMBASE_STATE_MINUTES)
	@$(BIN)/python scripts/test_all.py --long

unit: ## the quick tests only
	@$(BIN)/pytest -q tests/unit tests/golden tests/tidy

check:  ## linters, types, layers, house rules
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q . && $(BIN)/mypy && $(BIN)/lint-imports
	@if cargo clippy --version >/dev/null 2>&1; then cargo fmt --check && cargo clippy -q --all-targets -- -D warnings; fi

golden:  ## rewrite golden files
	@HEADRACE_GOLDEN=1 $(BIN)/pytest -q tests/golden tests/cluster/test_driver_errors.py

bench: setup  ## one published number (NAME=live-quality ARGS='--json --quick')
	@$(BIN)/headrace bench $(NAME) $(ARGS)

docs:  ## write docs/reference from the code
	@$(BIN)/python scripts/reference.py

lock:  ## renew the lock files
	@uv=build/tools/bin/uv; for p in "pyproject.toml -o requirements.lock" "pyproject.toml --group dev -o requirements-dev.lock" \
	  "runtimes/flink/pyproject.toml -o runtimes/flink/requirements.lock"; do \
	  $$uv pip compile -q --upgrade --generate-hashes --universal --python-version 3.11 --no-emit-index-url $$p; done

clean:  ## remove everything that was built or installed here
	@rm -rf build dist site target src/headrace/state/_slimbase.abi3.so .venv runtimes/flink/.venv java/*/target console/node_modules src/headrace/console/static
