# `make compare` and `make test` do all the set-up themselves. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: compare test test-backends test-matrix test-versions test-colab notebooks lint dist bench docs clean
.DELETE_ON_ERROR:

# The stamps make a second call install nothing.
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
DOCS := $(VENV)/.docs

$(RUN): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "tfnorm needs Python 3.11, 3.12 or 3.13, and %s is %d.%d. Run: make PYTHON=python3.12 ..." % (sys.executable, *v))'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing into $(VENV) (about two minutes) ..."
	@$(PIP) -r requirements.txt
	@$(PIP) --editable ".[tensorflow]"
	@touch $@

$(DEV): $(DOCS) requirements-dev.txt
	@$(PIP) -r requirements-dev.txt
	@touch $@

$(DOCS): $(RUN) requirements-docs.txt
	@$(PIP) -r requirements-docs.txt
	@touch $@

compare: $(RUN)
	@$(BIN)/tfnorm compare

test: $(DEV)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# On Keras's other backends: numerics, penalties, the steps and files of every layer, each callback, a conversion and the
# statistics of activations. `make test` trains there, in tests/test_backends.py.
ON_BACKENDS := tests/test_regularizers.py tests/layers/test_numerics.py tests/layers/test_weight_standardization.py \
  tests/layers/test_contract.py::test_a_training_step tests/layers/test_contract.py::test_save_and_load \
  tests/callbacks/test_every_callback.py::TestContract::test_leaves_training_as_it_is \
  tests/callbacks/test_every_callback.py::test_tf_data_tells_what_arrays_tell \
  tests/convert/test_accelerate.py::test_a_layer tests/analysis/test_activations.py
test-backends: $(DEV)
	for backend in jax torch; do KERAS_BACKEND=$$backend $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 \
	  $(ON_BACKENDS) || exit 1; done

# The whole products of cases, of which `make test` runs a cut along each axis.
test-matrix: $(DEV)
	$(BIN)/python -m pytest -m matrix --numprocesses auto --maxprocesses 4

# In an environment for each of tests/environments; prints the table of tested versions, and writes it into the docs.
test-versions: dist
	$(BIN)/nox

# The environment that is like Colab's, with the part of its tests that CI has time for.
test-colab: dist
	$(BIN)/nox --session "versions(colab)" -- --cut

dist: $(DEV)
	rm -rf dist
	$(BIN)/python -m build --installer uv
	$(BIN)/python -m twine check --strict dist/*

# With small settings; the outputs in the files are those of full ones.
notebooks: $(DEV)
	$(BIN)/python -m pytest --nbmake --numprocesses auto --maxprocesses 4 notebooks

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# PyTorch takes part if it is installed: $(BIN)/python -m pip install -e ".[bench]". Memory is read from Linux's /proc.
bench: $(DEV)
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/memory.py || test ! -e /proc/self/clear_refs
	$(BIN)/python benchmarks/accelerate.py
	$(BIN)/python benchmarks/fold.py
	$(BIN)/python benchmarks/families.py
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python docs/performance.py

docs: $(DOCS)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

clean:
	rm -rf $(VENV) .venv-tfa .nox build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
