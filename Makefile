# Everything installs into .venv; nothing outside this folder is touched.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check format lint types layers words pages coverage bench clean

help: ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/.run ## the main job: messages flow on the built-in SQS, watched live
	$(BIN)/leasekeeper demo

test: .venv/.dev ## all tests
	$(BIN)/python -m pytest

check: format lint types layers test ## format, lint, types, layers, tests

format: .venv/.dev ## is everything formatted?
	$(BIN)/ruff format --check .

lint: .venv/.dev ## ruff
	$(BIN)/ruff check .

types: .venv/.dev ## mypy, strict
	$(BIN)/mypy

layers: .venv/.dev ## does every floor import only floors below it?
	$(BIN)/lint-imports

words: .venv/.dev ## old-fashioned words per 1,000, by part of the project, with each place
	$(BIN)/python docs/scripts/words.py

pages: .venv/.dev ## write the pages that come from the code
	for script in docs/scripts/*_page.py; do $(BIN)/python $$script || exit 1; done

coverage: .venv/.dev ## coverage of the decisions and their shells
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage report --include='src/leasekeeper/core/*,src/leasekeeper/engine/*'

bench: .venv/.dev ## all consumers side by side; writes docs/internals/benchmarks.md (takes an hour, needs npm)
	$(BIN)/python benchmarks/field/run.py --publish

clean: ## remove what was installed and cached
	rm -rf .venv benchmarks/.environments benchmarks/.results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Leasekeeper needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: .venv/.made pyproject.toml constraints.txt
	$(PIP) -e '.[cli]'
	@touch $@

.venv/.dev: .venv/.made pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	@touch $@ .venv/.run
