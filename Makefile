PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

EXAMPLES ?= 5000
# One more than there are cores: some tests wait for a moment of real time.
WORKERS ?= $(shell expr $$(nproc) + 1)
# Setup compiles nothing; what is used is compiled once, when it is used, and not anew by each of hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup parts test lint unit faults model demo bench backends soak week lock clean

help: ## what can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## the project's own virtual environment, from the lock file

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "rotator needs Python 3.11 or newer; '$(PYTHON)' is older (set PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "Python lacks 'venv': install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "setting up $(VENV) from requirements-dev.lock ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

parts:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
	  || { echo "the tests need a PostgreSQL server: install it (Debian: apt-get install postgresql)" >&2; exit 1; }
	@command -v promtool >/dev/null \
	  || { echo "the tests need promtool, no server: install it (Debian: apt-get install prometheus)" >&2; exit 1; }
	@command -v chromium >/dev/null \
	  || { echo "the tests need a browser: install it (Debian: apt-get install chromium)" >&2; exit 1; }
	@command -v systemd-analyze >/dev/null \
	  || { echo "the tests need systemd-analyze, which need not run: install it (Debian: apt-get install systemd)" >&2; exit 1; }

test: parts setup ## lint, types, import contracts and all tests
	@$(MAKE) --no-print-directory -j2 lint unit

lint: setup ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: parts setup ## all tests, on every core
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations=15 --durations-min=5

model: setup ## the model of operators, time, faults and restarts, for long: EXAMPLES=5000 SEED=1
	@case "$(EXAMPLES)$(or $(SEED),1)" in *[!0-9]*) echo "model: EXAMPLES and SEED are whole numbers" >&2; exit 2;; esac
	MODEL_SHRINK=1 MODEL_EXAMPLES=$(EXAMPLES) MODEL_SEED=$(or $(SEED),1) $(BIN)/pytest -n auto tests/model

demo: setup ## the rotator against a simulator and a real OpenBao, with keys that live for seconds
	@$(BIN)/python -m tests.demo

bench: setup ## 500 rotations beside a floor of bare clients, start-up times and memory
	@$(BIN)/python -m tests.bench

.PHONY: audit-scale
audit-scale: setup ## an audit of 2,000 policies in 20 projects: requests, time and memory
	@$(BIN)/python -m tests.bench.audit

faults: setup ## every fault at every point of a rotation, then pairs of faults: PAIRS=5000 SEED=7 for more of them
	@$(BIN)/python -m tests.faults $(if $(PAIRS),--pairs $(PAIRS)) $(if $(SEED),--seed $(SEED))

backends: setup ## every fault and every missing permission at every backend, as a table
	@$(BIN)/python -m tests.backends

soak: setup ## ROTATIONS=1000 SEED=...: rotations under random faults and kills, then many rotators on one journal
	@$(BIN)/python -m tests.soak $(if $(ROTATIONS),--rotations $(ROTATIONS)) $(if $(SEED),--seed $(SEED))

week: setup ## DAYS=60 POLICIES=200 SEED=...: days on simulated time, under faults and restarts; what grows, and what is left
	@$(BIN)/python -m tests.week $(if $(DAYS),--days $(DAYS)) $(if $(POLICIES),--policies $(POLICIES)) $(if $(SEED),--seed $(SEED))

BUILDER ?= docker
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' rotator/__init__.py)

.PHONY: image
image: ## the container image: BUILDER=buildah BASE=... for others than docker and its python image
	$(BUILDER) build $(BUILD_FLAGS) --file Dockerfile --tag rotator:$(VERSION) $(if $(BASE),--build-arg BASE=$(BASE)) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) .

lock: setup ## write the lock files anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
	  pyproject.toml --extra notifications --extra postgresql --extra simulator --group dev --output-file requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --constraint requirements-dev.lock pyproject.toml --extra notifications --extra postgresql --extra simulator \
	  --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --constraint requirements-dev.lock --group pyproject.toml:build --output-file requirements-build.lock

clean: ## remove the virtual environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
