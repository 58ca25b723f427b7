# Everything happens in .venv (and .venv-parity, which alone has torch). `make help` lists the commands.

PYTHON ?= python3

# Is Python new enough, and can it make a virtual environment?
define check-python
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON): not found; try make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "dsv4c needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); try make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
endef

.PHONY: help demo test lint parity bench clean check-compiler
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*##/  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: .venv/.installed check-compiler  ## install, then small checkpoint -> compile -> run -> proof
	.venv/bin/python examples/demo.py

test: .venv/.installed-test check-compiler  ## the test suite, without torch
	.venv/bin/python -m pytest -q --ignore=tests/parity

lint: .venv/.installed-test  ## ruff and mypy
	.venv/bin/ruff check
	.venv/bin/mypy

parity: .venv-parity/.installed check-compiler  ## against transformers, in an environment of its own
	.venv-parity/bin/python -m pytest -q tests/parity

bench: .venv/.installed check-compiler  ## decode and prefill against peers and the machine's limits (benchmarks/)
	.venv/bin/python benchmarks/decode.py
	.venv/bin/python benchmarks/prefill.py

clean:  ## remove environments, builds and caches
	rm -rf .venv .venv-parity build dist *.egg-info .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Compiled models are linked into shared objects by the system's compiler.
check-compiler:
	@command -v g++ >/dev/null || { echo "g++: not found; on Debian: apt-get install g++" >&2; exit 1; }

.venv/bin/python .venv-parity/bin/python:
	$(check-python)
	@echo "making $(@D:/bin=) and installing into it (once, a minute or two)"
	@$(PYTHON) -m venv $(@D:/bin=)

# The stamps make a second call fast: pip runs again only when the packaging files change.
.venv/.installed: .venv/bin/python setup.cfg pyproject.toml
	.venv/bin/python -m pip install --quiet --editable .
	@touch $@

.venv/.installed-test: .venv/.installed
	.venv/bin/python -m pip install --quiet --editable '.[test]'
	@touch $@

.venv-parity/.installed: .venv-parity/bin/python setup.cfg pyproject.toml
	.venv-parity/bin/python -m pip install --quiet --editable '.[test,parity]'
	@touch $@
