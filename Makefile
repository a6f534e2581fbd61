# The work on Runwright. Needs Python 3.11 or newer, git and make; everything else is set up on first use.

VENV  := .venv
BIN   := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: demo test check bench docs clean help

demo: $(READY)  ## Run the example that charts the standard library's source
	@cd examples/stdlib-statistics && $(BIN)/runwright run stdlib.toml --workers 4
	@cd examples/stdlib-statistics && $(BIN)/runwright logs latest summary

test: check  ## Check, run every test, and hold the coverage to its thresholds
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n 2 --junitxml=build/tests.xml
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage json --quiet -o build/coverage.json
	@$(BIN)/python tools/coverage_gate.py build/coverage.json build/tests.xml

check: $(READY)  ## Lint, formatting, types and layers
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(READY)  ## Run the benchmarks beside their peers
	@$(BIN)/python -m benchmarks.peers
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY)  ## Follow the links of the documentation and run its code
	@$(BIN)/python -m pytest tests/meta/test_docs.py

clean:  ## Remove what the other targets made
	rm -rf $(VENV) .venv-* .coverage .coverage.* build dist examples/*/.runwright
	rm -rf .hypothesis .mypy_cache .ruff_cache .import_linter_cache

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' Makefile | expand -t 8

$(READY): pyproject.toml tools/setup tools/constraints.txt
	@PYTHON='$(PYTHON)' tools/setup $(VENV)
	@touch $@
