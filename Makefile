# Everything runs in a virtual environment of its own, made on first use: `make test` is all that a fresh clone needs.
PYTHON ?= python3
VENV ?= .venv
# The TensorFlow package: `make setup TENSORFLOW=tensorflow` for a GPU.
TENSORFLOW ?= tensorflow-cpu
# Tests run in a process for each core. A process takes 1.5 GB: `make test PARALLEL=` for one alone.
PARALLEL ?= --numprocesses=auto --maxprocesses=4 --dist=worksteal

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup test test-slow lint format demo bench build docs build-files bazel-test clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make the virtual environment and install the package with what its tests and examples need.

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Python 3.10 to 3.13 is needed. Received: PYTHON=$(PYTHON) ($$($(PYTHON) --version 2>&1)). \
	Name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module: install it (on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(TENSORFLOW),examples,test]'
	@touch $@

# In two runs: a process keeps every program that XLA compiled in it, and the image layers make hundreds of them.
test: lint ## Check style, then run the tests.
	$(BIN)/python -m pytest $(PARALLEL) tests/augment tests/ops
	$(BIN)/python -m pytest $(PARALLEL) tests --ignore=tests/augment --ignore=tests/ops

test-slow: setup ## Run the tests that take minutes.
	$(BIN)/python -m pytest $(PARALLEL) -m slow

lint: setup ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## Fix style and formatting where that is safe.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: setup ## Train the image example with its defaults: a minute or two on two cores.
	$(BIN)/python examples/train_image.py

bench: setup ## Measure every recipe on 40 labels, then the cost of a step and of views: two hours on two cores.
	$(BIN)/python -m benchmarks.recipes
	$(BIN)/python -m benchmarks.step_cost
	$(BIN)/python -m benchmarks.augmentation

build: setup ## Build the wheel into dist/.
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

docs: setup ## Write docs/algorithms.md from the code and the results of the benchmarks.
	$(BIN)/python -m tools.algorithms_page

build-files: setup ## Write the BUILD files from the imports.
	$(BIN)/python tools/build_files.py

bazel-test: setup ## Check with Bazel 4 that every target's deps are complete.
	@command -v bazel >/dev/null || { \
	  echo "Bazel 4 is needed (on Debian 12: apt-get install bazel-bootstrap)." >&2; exit 1; }
	PATH="$(abspath $(BIN)):$$PATH" bazel test //...

clean: ## Remove the virtual environment and everything that was built.
	rm -rf $(VENV) dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
