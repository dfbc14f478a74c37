# Each target does all the set-up it needs, also on a machine that has only make and Python 3.11 or later.
# `make` alone lists the targets. ARGS is passed on: `make demo ARGS=--traffic`.
# PYTHON=/path/to/python chooses the Python that .venv is made with.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
export PYTHON
ARGS ?=
BENCH ?= relay

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
LOCK := $(RUN) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet

# A .venv that is half made, or whose Python is gone since the system was upgraded, is made anew.
ifeq ($(wildcard $(VENV)/installed),$(VENV)/installed)
ifneq ($(shell $(RUN) -c 'print("works")' 2>/dev/null),works)
$(shell rm -f $(VENV)/installed $(VENV)/installed-dev)
endif
endif

.PHONY: help demo test fuzz bench screenshots check lock clean chromium pgbouncer promtool

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/installed ## The whole system in this terminal; ARGS=--traffic plays payments, ARGS=--help says more
	@exec $(RUN) manage.py demo $(ARGS)

# They start some hundred processes, which shall not all compile the project.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/installed-dev chromium pgbouncer promtool ## All tests, with PostgreSQL, Kafka and a browser of their own; ARGS names some
	$(RUN) -m pytest $(or $(ARGS),-n auto)

fuzz: $(VENV)/installed-dev ## Ask all that the OpenAPI document offers, for 5 minutes; ARGS="--seconds 3600" for longer
	$(RUN) -m tests.fuzz $(ARGS)

bench: $(VENV)/installed-dev ## How fast a backlog reaches Kafka, against a ceiling measured beside it; BENCH=publish is another
	$(RUN) -m benchmarks.$(BENCH) $(ARGS)

screenshots: $(VENV)/installed-dev chromium ## The pictures of docs/screenshots/, of a demo with traffic; ARGS="--only flow" takes one
	$(RUN) -m tests.screenshots $(ARGS)

check: $(VENV)/installed-dev ## Format, lint, layers, types, migrations, deployment settings
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) $(VENV)/bin/lint-imports
	$(RUN) -m mypy
	@# Without a database it warns that it did not look at what is applied there, which is not asked here.
	$(RUN) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	DJANGO_HTTPS=true $(RUN) manage.py check --deploy --fail-level WARNING

lock: $(VENV)/installed-dev ## Lock the requirements again, with hashes; ARGS=--upgrade takes the newest
	$(LOCK) $(ARGS) --output-file requirements.txt requirements.in
	$(LOCK) $(ARGS) --output-file requirements-dev.txt requirements-dev.in

clean: ## Remove what make built; the demo's data in .devstack stays
	rm -rf $(VENV) staticfiles .mypy_cache .ruff_cache .import_linter_cache .hypothesis test-results

chromium: $(VENV)/installed-dev
	@.ci/get-chromium $(RUN)

pgbouncer:
	@.ci/get-pgbouncer

promtool: $(VENV)/installed
	@.ci/get-promtool $(VENV)

# The stamps are newer than the locks they were made from: a lock that changes is installed again.
$(VENV)/installed: requirements.txt
	@set -e; if ! $(RUN) -m pip --version >/dev/null 2>&1; then \
	    python=$$(.ci/find-python); \
	    echo "Making $(VENV) with $$($$python --version)"; \
	    $$python -m venv --clear $(VENV); \
	fi
	@echo "Installing requirements.txt"
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	@echo "Installing requirements-dev.txt"
	@$(PIP) -r requirements-dev.txt
	@touch $@
