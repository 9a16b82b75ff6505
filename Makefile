# The same commands for people and for CI. Everything lands in .venv and out/, models in their cache ($DUOLOGUE_MODELS,
# else ~/.cache/duologue/models); nothing else on the machine is touched.
#
#   make demo    a whole spoken conversation in real time, on a bare machine        → out/demo/
#   make models  what the tests and the demo use: some 460 MB of real models        → the cache of models
#   make test    every test                                  (one folder or test: make test ARGS="tests/agent/core")
#   make check   every gate: style, types, floors, sizes
#   make bench   how fast and how small, ours beside its peers                      → out/bench/
#   make listen  is what came out of the last demo what its transcript says?
#   make docs    the generated parts of docs/
#   make clean   forget .venv, the peers' environments and out/

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo models test check bench listen docs format clean

# The first Python on the PATH that is new enough; `make PYTHON=/path/to/python3.12 demo` takes another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
PIP := $(RUN) -m pip install --disable-pip-version-check --quiet
ARGS ?=

help:
	@sed -n 's/^#   //p' Makefile

# --- installing: a stamp each, so that a second run starts at once ---------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer on the PATH. Install one (Debian: apt-get install python3" \
		"python3-venv), or name it: make PYTHON=/path/to/python3.12 demo" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) >$(VENV).log 2>&1 \
		|| { $(PYTHON) -m venv --clear --without-pip $(VENV) >>$(VENV).log 2>&1 \
			&& $(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip >>$(VENV).log 2>&1; } \
		|| { cat $(VENV).log >&2; rm -rf $(VENV) $(VENV).log; \
			echo "This Python cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@rm -f $(VENV).log

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing Duologue with its voices into $(VENV) (once; about a minute)"
	@$(PIP) -e '.[piper,kokoro]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV) (once)"
	@$(PIP) -e '.[test]'
	@touch $@

# --- the commands ----------------------------------------------------------------------------------------------------

demo: $(VENV)/.installed
	@$(BIN)/duologue demo --out out/demo $(ARGS)

# Those that are there and whole are left alone. Without them the tests of real models say that they were left out.
MODELS := whisper:tiny.en whisper:base piper:en_US-joe-medium kokoro:v1.0 llamacpp:SmolLM2-135M-Instruct-Q4_1 \
	turn:smart-turn-v3.2

models: $(VENV)/.installed
	@$(BIN)/duologue models pull $(MODELS) $(ARGS)

# Coverage is a gate of the whole run only: a part of the tests covers a part of the code.
test: $(VENV)/.installed-test
ifeq ($(strip $(ARGS)),)
	@$(RUN) -m pytest --cov --cov-report=
	@$(RUN) -m coverage report --skip-covered --skip-empty --fail-under=90
	@$(RUN) -m coverage report --skip-covered --include='agent/duologue/core/*' --fail-under=100
else
	@$(RUN) -m pytest $(ARGS)
endif

check: $(VENV)/.installed-test
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(RUN) -m mypy
	@$(BIN)/lint-imports --no-logo
	@$(RUN) tests/gates/house_rules.py
	@$(RUN) docs/generate.py --check

bench: $(VENV)/.installed-test
	@PYTHONPATH=tests $(RUN) -m benchmarks.bench --out out/bench $(ARGS)

listen: $(VENV)/.installed-test
	@PYTHONPATH=tests $(RUN) -m benchmarks.listen out/demo $(ARGS)

docs: $(VENV)/.installed
	@$(RUN) docs/generate.py

format: $(VENV)/.installed-test
	@$(RUN) -m ruff check --fix --quiet || true
	@$(RUN) -m ruff format --quiet

clean:
	@rm -rf $(VENV) .bench-venvs out .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
