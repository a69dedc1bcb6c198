# Plait. `make demo` and `make test` are all a newcomer needs; `make help` lists the rest.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt
STAMP := $(VENV)/.installed
SOURCES := xds controlplane sidecar tests examples
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo demo-redirect test check bench fuzz golden generate format clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@$(or $(PYTHON),python3) examples/preflight.py
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once; about a minute)"
	@$(PIP) --upgrade pip hatchling editables
	@$(PIP) --no-build-isolation --group dev -e .
	@touch $@

install: $(STAMP) ## create .venv with everything, from constraints.txt

demo: $(STAMP) ## the bookstore on real Envoys: mTLS, a live shift, rotation, a killed control plane (KEEP=1 stays up)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m examples.bookstore.demo

demo-redirect: $(STAMP) ## the same behind redirection, each workload in a network namespace; needs root
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m examples.redirect

test: $(STAMP) ## every test; what needs root reports "blocked: needs root"
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(STAMP) ## format, lint, types, imports, sizes, generated files
	@$(PY) -m ruff format --check $(SOURCES)
	@$(PY) -m ruff check $(SOURCES)
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports
	@$(PY) -m controlplane.api.generate --check
	@$(PY) -m pytest -q -p no:cacheprovider tests/unit/test_repository.py

format: $(STAMP) ## rewrite the sources in the one format
	@$(PY) -m ruff format $(SOURCES)
	@$(PY) -m ruff check --fix $(SOURCES)

bench: $(STAMP) ## benchmarks as JSON lines (BENCH=name runs one)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m tests.bench $(BENCH)

fuzz: $(STAMP) ## look for inputs that reach more code, and keep them (TARGET=request ARGS=-max_total_time=600)
	@$(PY) -m tests.fuzz.grow $(ARGS) $(TARGET)

golden: $(STAMP) ## rewrite the golden files
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m tests.golden

generate: $(STAMP) ## rewrite CRDs and the field reference from the models
	@$(PY) -m controlplane.api.generate

clean: ## remove .venv, caches and demo state
	rm -rf $(VENV) .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
