# Every target makes the .venv that it needs from the lock files; a fresh machine needs git, make and Python >= 3.11.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header pyproject.toml

.PHONY: help demo test test-full lint format type check bench docs notebooks lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

# --- environments: .venv/demo has what the package and its command line need, .venv/dev everything ---
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python >= 3.11 needed; name one with PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)

.venv/demo: requirements/demo.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/demo.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: requirements/dev.lock .venv/demo
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@touch $@

# --- what one runs ---
demo: .venv/demo  ## MT10 in one vmap: experts, success beside CPU metaworld, pictures in out/
	$(BIN)/mjx-metaworld demo

# Two processes, a file in one of them: a test process is one core's work, and grows to 7 GB by its compiled programs.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

test: .venv/dev  ## the quick tests
	$(PYTEST) $(ARGS)

test-full: .venv/dev  ## all tests in their long form
	$(PYTEST) --full $(ARGS)

lint: .venv/dev  ## format and lint, checked only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: .venv/dev  ## format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: .venv/dev  ## pyright
	$(BIN)/pyright

check: lint type test  ## everything a commit should pass

bench: .venv/dev  ## throughput and compile time on this machine, into the README
	$(BIN)/python -m benchmarks.throughput --document README.md $(ARGS)

docs: .venv/dev  ## the documentation site, in out/site; DOCS_PICTURES=0 leaves the pictures out
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: .venv/dev  ## execute the notebooks on CPU
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest --full tests/project/test_notebooks.py

lock: | $(BIN)/uv  ## take the newest allowed versions into the lock files
	$(LOCK) --upgrade --extra cli --extra build -o requirements/demo.lock
	$(LOCK) --upgrade --extra cli --extra build --extra dev -c requirements/demo.lock -o requirements/dev.lock

clean:  ## remove the environment and every output
	rm -rf .venv out dist build .pytest_cache .ruff_cache
