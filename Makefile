# Every target sets itself up: it needs Python 3.11 or newer, make and a package index, nothing else.
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
UV = $(PYTHON) .ci/uv.py
SYNC = $(PYTHON) .ci/sync.py --all-extras

ENVIRONMENTS = $(PYTHON) .ci/environments.py

.PHONY: demo test test-core test-frameworks test-floors test-pythons bench lint lock clean

demo:  ## four roles of agents against a local provider: no key, no network
	@$(SYNC) --inexact --no-dev
	@.venv/bin/bursar demo

test: test-core test-frameworks  ## every test, the README's fences and the notebooks included

test-core:  ## all that needs no framework
	@$(SYNC) --inexact --no-dev --group test
	.venv/bin/pytest

test-frameworks:  ## each framework's adapter, with the oldest and the newest versions, each in an environment of its own
	@$(ENVIRONMENTS) test

test-floors:  ## guarded clients with the oldest SDKs that are allowed, those between, and the newest
	@$(PYTHON) .ci/floors.py

test-pythons:  ## the core on each other Python that is found here, from 3.11 on; TESTS says which tests
	@$(PYTHON) .ci/pythons.py $(TESTS)

bench:  ## time and memory, against floors measured in the same run
	@$(SYNC) --inexact --no-dev --group test
	@set -e; for file in guard prices stores; do \
		echo "--- $$file"; PYTHONPATH=. .venv/bin/python tests/benchmarks/bench_$$file.py; done
	@$(ENVIRONMENTS) bench

lint:  ## format, lint, types twice, import contracts
	@$(SYNC) --inexact
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/pyright
	.venv/bin/mypy
	.venv/bin/lint-imports
	@$(ENVIRONMENTS) types

lock:  ## newest versions into uv.lock, from the public index only
	env -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u PIP_INDEX_URL -u UV_FIND_LINKS $(UV) --no-config lock --upgrade
	$(ENVIRONMENTS) lock

clean:
	rm -rf .venv* .uv dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find core integrations tests .ci -name __pycache__ -type d -prune -exec rm -rf {} +

ifeq ($(PYTHON),)
$(error Python 3.11 or newer is needed; none of python3, python3.11 ... python3.14 on the PATH is)
endif
