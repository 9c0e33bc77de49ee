# Needs Python 3.11 or newer, and make. Everything else comes from the lock, into .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALLED := $(VENV)/.installed

# Without compiled code to read, each process that a test starts compiles the whole tree anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: dev test test-all durations check schema lock clean

# Everything, running: make dev ARGS="--port 4000 --no-demo"
dev: $(INSTALLED)
	@$(BIN)/hogsend dev $(ARGS)

# make test ARGS="tests/cli -x"   Tests that share an engine and its worker run in one process each (loadgroup).
test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not slow" $(ARGS)

# All of `make test`, what takes too long for every day, and more examples for the properties.
test-all: $(INSTALLED)
	HOGSEND_EXAMPLES=40 $(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

# Note how long each test takes, so that the longest are begun first.
durations: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadgroup --note-durations $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n0 tests/test_import_directions.py

# Write the GraphQL schema that the code says.
schema: $(INSTALLED)
	$(BIN)/hogsend schema > schema.graphql.partial
	mv schema.graphql.partial schema.graphql

# Resolve anew: names, versions and hashes, for every platform. requirements.lock is what production runs.
lock: $(INSTALLED)
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check --quiet install uv
	$(VENV)/lock/bin/uv pip compile pyproject.toml $(COMPILE) -o requirements.lock
	$(VENV)/lock/bin/uv pip compile pyproject.toml --extra dev --extra test -c requirements.lock \
		$(COMPILE) -o requirements-dev.lock
	rm -rf $(VENV)/lock

COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Hogsend needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Set PYTHON=..." >&2; \
		exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
