# Each target sets up .venv from a fresh clone; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
TESTS  ?= tests
WORKERS ?= auto

.PHONY: help install demo test lint format docs benchmarks clean

help:
	@echo "make install     .venv with the package and everything a user needs; then .venv/bin/fluxtrapolation --help"
	@echo "make demo        simulated towers -> three scenarios x three fluxes -> scores -> report; names the page to open"
	@echo "make test        all tests"
	@echo "make lint        style, types, import contracts"
	@echo "make docs        the documentation, in docs/_build/html"
	@echo "make benchmarks  speed and memory, each beside a peer or a physical limit"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("fluxtrapolation needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; say make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras, renewed when the requirements change.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@

install: $(VENV)/.installed-all
	@$(BIN)/fluxtrapolation --version
	@echo "$(BIN)/fluxtrapolation"

demo: $(VENV)/.installed-all
	@$(BIN)/python examples/demo.py --out demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -q $(TESTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

benchmarks: $(VENV)/.installed-test
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf $(VENV) demo build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
