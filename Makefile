# Everything is installed into .venv; outside this folder only the download caches of pip and uv are written.
# `make test PYTHON=python3.13` keeps an environment for that version beside the first one, in .venv/3.13.
FIRST := $(shell cat .venv/.made 2>/dev/null)
PYTHON ?= $(or $(FIRST),python3)
VENV := $(if $(filter $(PYTHON),$(or $(FIRST),$(PYTHON))),.venv,.venv/$(patsubst python%,%,$(notdir $(PYTHON))))
BIN := $(VENV)/bin
INSTALL := $(BIN)/python .ci/install.py -c constraints.txt
PARALLEL := --side-by-side
SOAK := soak
COVERED := core engine simulation keeper admin payloads idempotency
# The tests start many processes. With bytecode on disk none of them compiles its modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test long soak check format lint types layers words pages docs coverage lowest dist screenshots bench clean

help: ## show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.run ## watch messages flow through the built-in SQS, in the terminal and in the browser
	$(BIN)/leasekeeper demo

test: $(VENV)/.dev ## run the tests, side by side, in about two minutes; `make long` runs those that take longer
	$(BIN)/python -m pytest $(PARALLEL) -m "not long"

long: $(VENV)/.dev ## run the tests that `make test` leaves out: each server that others wrote, most processes, many worlds
	$(BIN)/python -m pytest $(PARALLEL) -m long

soak: $(VENV)/.dev ## run what takes long, one after another: processes killed in loops, browsers, load; SOAK= chooses some
	$(BIN)/python -m pytest $(SOAK)

check: format lint types layers test ## run format, lint, types, layers and test

format: $(VENV)/.dev ## check that every file is formatted
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev ## check the style with ruff
	$(BIN)/ruff check .

types: $(VENV)/.dev ## check the types with mypy, in strict mode
	$(BIN)/mypy

layers: $(VENV)/.dev ## check that every floor imports only floors below it
	$(BIN)/lint-imports

words: $(VENV)/.dev ## count old-fashioned words per 1,000 words, with the place of each
	$(BIN)/python docs/scripts/words.py

pages: $(VENV)/.dev ## write the pages that come from the code
	for script in docs/scripts/*_page.py; do $(BIN)/python $$script || exit 1; done

coverage: $(VENV)/.dev ## check how much of core and engine the tests cover that do not take long
	$(BIN)/python -m pytest $(PARALLEL) -q -m "not long" $(COVERED:%=tests/%) \
	  --cov=leasekeeper.core --cov=leasekeeper.engine --cov-report=term:skip-covered --cov-fail-under=97

lowest: $(VENV)/.dev ## run the tests on the oldest versions that pyproject.toml allows; TESTS= chooses some
	$(BIN)/python .ci/lowest.py $(TESTS)

docs: $(VENV)/.dev ## build the documentation site into site/; every internal link is checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

dist: $(VENV)/.dev ## build the wheel and the sdist into dist/, install the wheel and run its demo
	$(BIN)/python .ci/dist.py

screenshots: $(VENV)/.dev ## take the pictures of the pages in docs/images (needs chromium)
	$(BIN)/python soak/pages/kit/pictures.py

bench: $(VENV)/.dev ## run all consumers side by side; writes docs/internals/benchmarks.md (an hour, needs npm)
	$(BIN)/python benchmarks/field/run.py --publish

clean: ## remove what was installed, built and cached
	rm -rf .venv dist site benchmarks/.environments benchmarks/.results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Leasekeeper needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into $(VENV), once: this takes up to a minute, and is silent for most of it."
	$(PYTHON) -m compileall -q src & $(PYTHON) -m venv $$($(PYTHON) -c 'import pip' 2>/dev/null && echo --without-pip) $(VENV) && wait
	@echo $(PYTHON) > $@

$(VENV)/.run: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) pip -e '.[cli,admin]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) pip -e '.[dev]' + -c constraints.txt --no-deps 'amazon-sqs-extended-client>=1.0.1' # it asks for 150 MB of servers that it does not use
	@$(BIN)/python .ci/compile.py >/dev/null 2>&1 & # it ends after some seconds, while the tests are collected
	@touch $@ $(VENV)/.run
