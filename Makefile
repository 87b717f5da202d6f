# The commands of this repository. Each makes .venv first, when it is missing or setup.cfg is newer.
#
#     make quickstart                   meta-train on images, a picture and a figure (minutes)
#     make test                         the quick tests, two at a time; ARGS="-k maml" picks some
#     make check                        lint, then the quick tests: what CI runs
#     make slow                         the tests that take minutes
#     make docs                         the site, into site/; a warning or a broken link stops it
#     make package                      a wheel and an sdist, into dist/, checked and tried in a new environment
#     make lint, make format            ruff, and in lint mypy
#     make clean                        removes caches and build products; .venv and outputs stay
#
# Python 3.10 to 3.13; another than python3: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
SOURCES := setup.py tfmeta tests tutorials benchmarks tools
BIN := $(VENV)/bin
READY := $(VENV)/.installed

export TF_CPP_MIN_LOG_LEVEL ?= 2
export MPLBACKEND ?= Agg

.DELETE_ON_ERROR:
.PHONY: quickstart test check docs package lint format slow clean

quickstart: $(READY)
	$(BIN)/python tutorials/01_quickstart.py $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# One after the other also under `make -j`, and pytest's closing line comes last.
check: $(READY)
	$(MAKE) lint
	$(MAKE) test

lint: $(READY)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

package: $(READY)
	rm -rf build dist
	$(BIN)/python -m build --outdir dist > /dev/null
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python tools/check_package.py dist

slow: $(READY)
	$(BIN)/python tools/slow_tests.py $(ARGS)

clean:
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find tfmeta tests tutorials benchmarks tools -name __pycache__ -prune -exec rm -rf {} +

$(READY): setup.cfg
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@
