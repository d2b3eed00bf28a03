# Two commands on a fresh machine: `make demo` and `make test`. Both make the environment first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fix clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(READY)  ## make the environment (.venv), with the demo's backbone and the tools for tests

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo,dev]'
	@touch $@

demo: $(READY)  ## train adapters and a fusion on the embedded corpus with a real backbone, into outputs/demo
	$(BIN)/python scripts/demo.py

test: $(READY)  ## run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(READY)  ## lint, format, types and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadfile

fix: $(READY)  ## let the linter mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and caches, never outputs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
