# make help prints these.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ONLY ?=
DATA ?= ../shared/data
MLFORECAST := .venv-mlforecast
WORKERS ?= 2
TESTS = MLFORECAST_VENV=$(MLFORECAST) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help install serve test coverage bench lint kernels clean

help: ## print this
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# Installed again only when what is to be installed changes.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(VENV)/.installed ## make .venv

# The tests train with mlforecast there: it takes an older pandas than .venv has.
$(MLFORECAST)/.installed: tests/mlforecast/constraints.txt
	test -x $(MLFORECAST)/bin/python || $(PYTHON) -m venv $(MLFORECAST)
	$(MLFORECAST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $< mlforecast lightgbm pyarrow
	touch $@

serve: install ## deploy the examples, serve on 127.0.0.1:8080, print curl lines
	@$(BIN)/python -m examples.serve

lint: install ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Where the tests look for them: one core compiles, while the others lint.
kernels: install
	$(BIN)/python -c "from backends.trees.kernel_cache import prepare; prepare('build/kernels')"

test: lint kernels $(MLFORECAST)/.installed ## set up and run everything; WORKERS=3 for more at once
	$(TESTS)

coverage: lint kernels $(MLFORECAST)/.installed ## the same, slower, and print what no test ran
	$(TESTS) --cov --cov-report=term:skip-covered --cov-report=xml:build/coverage.xml

bench: install ## print the bars as a table; ONLY=P1,P3 for some, DATA=folder of the adult data
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) --data $(DATA)

clean: ## remove what the others made
	rm -rf $(VENV) $(MLFORECAST) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
