# `make compare` and `make test` do all the set-up themselves. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One more than cores, because some tests wait for others' processes.
WORKERS := --numprocesses $(shell nproc 2>/dev/null | awk '{ print ($$1 < 4 ? $$1 : 3) + 1 }' || echo 4) --dist worksteal
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: compare test test-tfa test-backends test-matrix test-versions test-colab notebooks lint dist bench docs clean
.DELETE_ON_ERROR:

# The tests start hundreds of processes that import tfnorm, and need not compile it each time.
unexport PYTHONDONTWRITEBYTECODE

# The stamps make a second call install nothing.
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
DOCS := $(VENV)/.docs
TFA := .venv-tfa/.installed

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
	$(BIN)/python -m pytest $(WORKERS)

# Opens models that tensorflow-addons wrote, and some that it writes now, with TensorFlow 2.15 in its own environment.
test-tfa: $(DEV) $(TFA)
	$(BIN)/python -m pytest -m "(addons or tfa) and not matrix" $(WORKERS) tests/convert

# tensorflow-addons has no build for Python 3.12 or newer.
$(TFA): requirements-tfa.txt
	@for python in python3.11 python3.10 $(PYTHON); do \
	  $$python -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 12))' 2>/dev/null || continue; \
	  echo "Installing tensorflow-addons into .venv-tfa (about two minutes) ..."; \
	  $$python -m venv --clear .venv-tfa && \
	  .venv-tfa/bin/python -m pip --disable-pip-version-check install --quiet -r requirements-tfa.txt && \
	  touch $@ && exit 0; exit 1; done; echo "tensorflow-addons needs Python 3.9, 3.10 or 3.11. Install one of them."; exit 1

# What must hold on each of Keras's backends; writes how many tests of each feature passed into docs/backends.md.
ON_BACKENDS := $(addprefix tests/,layers models callbacks datasets convert analysis training experiments ops) \
  $(addprefix tests/test_,regularizers.py misclassified.py cli.py cli_convert.py export.py backends.py export_backends.py)
test-backends: $(DEV)
	for backend in tensorflow jax torch; do \
	  KERAS_BACKEND=$$backend OMP_NUM_THREADS=1 TFNORM_RECORD_FEATURES=1 $(BIN)/python -m pytest \
	    -m "not matrix and not tfa" $(WORKERS) $(ON_BACKENDS) || exit 1; done
	$(BIN)/python docs/backends.py

# The whole products of cases, of which `make test` runs a cut along each axis.
test-matrix: $(DEV)
	$(BIN)/python -m pytest -m matrix $(WORKERS)

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
	$(BIN)/python -m pytest --nbmake $(WORKERS) notebooks

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
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python docs/performance.py

docs: $(DOCS)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

clean:
	rm -rf $(VENV) .venv-tfa .nox build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
