# A virtual environment in .venv, and what is done in it. `make help` says what there is.

# A Python of the system's, if it is new enough: others may be out of reach for ordinary users.
PYTHON ?= $(shell for python in /usr/bin/python3 python3; do \
	$$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
SHARED ?= $(HOME)/cwl-udss-tests
SOURCES := setup.cfg pyproject.toml $(shell find cwl_udss -name '*.py')

.DEFAULT_GOAL := help
.PHONY: help demo test test-pbs lint conformance bench clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 13

demo: $(VENV)/installed  ## run a small workflow in an image made of files of this machine
	$(VENV)/bin/python examples/demo/demo.py

test: $(VENV)/installed-test  ## run all tests
	$(VENV)/bin/pytest -n 2 $(TESTS)

test-pbs: $(VENV)/installed-test  ## run the tests of batch runs on the real PBS of this machine (SHARED=DIR, which its nodes see)
	mkdir -p $(SHARED)
	CWL_UDSS_TESTS_PBS=real CWL_UDSS_TESTS_SCRATCH=$(SHARED) $(VENV)/bin/pytest \
		--basetemp=$(SHARED)/pytest -k pbs tests/batch/test_batch_runs.py

lint: $(VENV)/installed-lint  ## check rules, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

conformance: $(VENV)/installed-conformance  ## run CWL's suite (SUITE=PATH, else fetched) and the containment suite
	$(VENV)/bin/python conformance/run $(if $(SUITE),--suite $(SUITE)) --output conformance-results/official
	$(VENV)/bin/python conformance/run --suite conformance/containment --output conformance-results/containment

bench: $(VENV)/installed-test  ## measure against others, and print the tables (see benchmarks/README.md)
	$(VENV)/bin/python benchmarks/all.py

clean:  ## remove the virtual environment
	rm -rf $(VENV)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo 'needs Python 3.10 or newer with venv: install python3-venv, or make PYTHON=…'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python $(SOURCES)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check .
	@touch $@

$(VENV)/installed-%: $(VENV)/installed
	$(VENV)/bin/pip install --quiet --disable-pip-version-check '.[$*]'
	@touch $@
