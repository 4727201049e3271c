# make study · make test · make test-all · make test-tpu · make bench · make results · make docs · make lint · make lock
PYTHON ?= python3
BIN := .venv/bin
WORKDIR ?= runs/quickstart
# As jax 0.10.2 asks for it.
LIBTPU := 0.0.42.*

.PHONY: setup study test test-all test-tpu bench results docs lint lock clean

setup: .venv/.runtime

.venv/.runtime: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	touch $@

.venv/.docs: .venv/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

study: .venv/.runtime
	$(BIN)/jaxscale study configs/quickstart.py --workdir $(WORKDIR)

# Tests compile far more than they compute: programs of these are not optimized (those of test-all are), and the tests
# of a file, which share programs, stay in one process.
test: lint
	XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0" $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -n 2

# Compiles for TPUs that are not there: the compiler is libtpu, kept apart since jax would look for TPUs with it.
test-tpu: .venv/tpu
	JAX_PLATFORMS=cpu PYTHONPATH=.venv/tpu $(BIN)/python -m pytest -m slow -k tpu tests/training/test_ahead.py

.venv/tpu: .venv/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ 'libtpu==$(LIBTPU)'

lint: .venv/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: .venv/.dev
	$(BIN)/python benchmarks/import_time.py

# docs/results.md from the committed tables.
results:
	$(PYTHON) benchmarks/claims.py

docs: .venv/.docs
	$(BIN)/mkdocs build --strict

# The tested versions, for every supported Python and platform; needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf .venv site
