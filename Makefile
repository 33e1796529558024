# Every target makes the .venv that it needs from the lock files; a fresh machine needs git, make and a Python of the
# range that pyproject.toml names. The first of these that fits makes the .venv; PYTHON=... names another.
PYTHON ?= python3 python3.13 python3.12 python3.11
RANGE := $(shell sed -n 's/^requires-python = "\([^"]*\)".*/\1/p' pyproject.toml)
FITS := import re, sys; low, high = [tuple(map(int, x.split("."))) for x in re.findall("[0-9.]+", "$(RANGE)")]; \
	sys.exit(not low <= sys.version_info[:2] < high)
FIND_PYTHON = for name in $(PYTHON); do "$$name" -c '$(FITS)' 2>/dev/null && { echo "$$name"; exit 0; }; done; \
	echo 'Python $(RANGE) needed (metaworld and MuJoCo have no wheels for others), and none of these is one: $(PYTHON).' >&2; \
	echo 'Name one with PYTHON=/path/to/python3.13; uv fetches one: uv python install 3.13, then' >&2; \
	echo 'make PYTHON="$$(uv python find 3.13)".' >&2; exit 1
# Where nothing keeps bytecode, each of the many processes that tests and documents start parses all that it imports, JAX
# included, for a second or two; some containers ask for that.
unexport PYTHONDONTWRITEBYTECODE
UV_VERSION := 0.13.9
BIN := .venv/bin
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header pyproject.toml

.PHONY: help python demo test test-full clients build smoke nightly newest matrix lint format type check bench docs pictures \
	notebooks lock lock-clients clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

# --- environments: .venv/demo has what the package and its command line need, .venv/dev everything ---
$(BIN)/uv:
	python=$$($(FIND_PYTHON)) && "$$python" -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)

python:  ## the interpreter that makes the .venv
	@$(FIND_PYTHON)

.venv/demo: requirements/demo.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/demo.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: requirements/dev.lock .venv/demo
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@touch $@

# An environment of their own for the libraries that use the adapters: gymnax does not go with the newest gymnasium, and
# PyTorch is in no lock file. pip fetches PyTorch, from TORCH_INDEX if that is given: on Linux PyPI has the build for
# CUDA, of several gigabytes; https://download.pytorch.org/whl/cpu has the small one for the CPU.
CLIENTS := .venv/clients
TORCH_INDEX ?=
FETCH_TORCH = $(CLIENTS)/bin/python -m pip install -q --disable-pip-version-check \
	$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $$(grep '^torch==' requirements/clients.in)

$(CLIENTS)/installed: requirements/clients.txt pyproject.toml | $(BIN)/uv
	$(BIN)/python -m venv --clear $(CLIENTS)
	$(FETCH_TORCH)
	$(BIN)/uv pip install -q --python $(CLIENTS)/bin/python -r requirements/clients.txt
	$(BIN)/uv pip install -q --python $(CLIENTS)/bin/python --no-deps --no-build-isolation -e .
	@touch $@

# --- what one runs ---
demo: .venv/demo  ## MT10 in one vmap: experts, success beside CPU metaworld, pictures in out/
	$(BIN)/mjx-metaworld demo

# Two processes: a test process is one core's work. All that needs the compiled program of MT50 runs in one of them.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

test: .venv/dev  ## the quick tests; ARGS=--ci for all that CI runs
	$(PYTEST) $(ARGS)

test-full: .venv/dev  ## all tests in their long form
	$(PYTEST) --full $(ARGS)

clients: $(CLIENTS)/installed  ## the adapters under gymnax, rejax, rsl_rl, skrl and PyTorch; TORCH_INDEX=... for PyTorch
	JAX_PLATFORMS=cpu $(CLIENTS)/bin/python -m pytest tests/clients $(ARGS)

build: .venv/demo  ## wheel and sdist, in dist/
	$(BIN)/uv build -q --clear --no-build-isolation --python $(BIN)/python -o dist

smoke: build  ## install the wheel where nothing else is, and step it there, in the locked versions
	$(BIN)/python tests/install/smoke.py

nightly: test-full newest  ## all long forms, then `newest`; with -k also where a long form fails

newest: build  ## install the wheel with the newest of everything on each Python at hand, and check jax at length
	$(BIN)/python tests/install/smoke.py --newest --pythons all

matrix: build  ## the versions that the package works with, each in an environment of its own, into docs/guides/versions.md
	$(BIN)/python tests/install/matrix.py $(ARGS)

lint: .venv/dev  ## format and lint, checked only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: .venv/dev  ## format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: .venv/dev  ## pyright
	$(BIN)/pyright

check: ARGS = --ci
check: lint type test  ## everything a commit should pass

bench: .venv/dev  ## throughput and compile time on this machine, into the README
	$(BIN)/python -m benchmarks.throughput --document README.md $(ARGS)

docs: .venv/dev  ## the documentation site, in out/site; DOCS_PICTURES=0 leaves the pictures out
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: .venv/dev  ## the pictures of README and guides, in docs/pictures; that of the page needs Chromium
	$(BIN)/python docs/pictures.py

notebooks: .venv/dev  ## execute the notebooks on CPU
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest tests/project/test_notebooks.py

UPGRADE ?= --upgrade
lock: | $(BIN)/uv  ## the newest allowed versions into the lock files; UPGRADE= adds what is missing and keeps the rest
	$(LOCK) $(UPGRADE) --extra cli --extra view --extra build -o requirements/demo.lock
	$(LOCK) $(UPGRADE) --extra cli --extra view --extra build --extra dev -c requirements/demo.lock -o requirements/dev.lock

lock-clients: | $(BIN)/uv  ## the newest allowed versions beside requirements/clients.in into clients.txt
	$(BIN)/python -m venv --clear $(CLIENTS)
	$(FETCH_TORCH)
	$(BIN)/uv pip install -q --python $(CLIENTS)/bin/python -e '.[cli]' -r requirements/clients.in
	$(BIN)/uv pip freeze --python $(CLIENTS)/bin/python --exclude-editable | sed 's/+cpu$$//; /^nvidia-/d; /^triton==/d; /^pip==/d' \
		> requirements/clients.txt

clean:  ## remove the environment and every output
	rm -rf .venv out dist build .pytest_cache .ruff_cache
