# Everything a fresh machine needs is set up here: Python 3.11+, git and a compiler's runtime (libgomp) suffice.
PYTHON ?= python3
K ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test fuzz lint format lock clean bench-data bench-limits bench-serve bench-drift bench-quality bench-cost bench-fast bench-years bench-why bench-nights

demo: $(READY)
	$(BIN)/middlewatch demo

test: $(READY)
	scripts/system-needs libgomp1 chromium
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

# The tests take the same made-up rows each time; this takes new ones.
fuzz: $(READY)
	$(BIN)/python -m pytest --hypothesis-profile fuzz -k "$(K)"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-data bench-limits bench-serve bench-quality bench-cost bench-fast bench-years bench-nights: bench-%: $(READY)
	$(BIN)/python bench/$*.py

bench-drift bench-faults: bench-%: $(READY)
	$(BIN)/python bench/$*

# Hashes, no registry addresses: the same packages from whichever index the machine is set up for.
lock:
	$(BIN)/python -m uv pip compile pyproject.toml --all-extras --group dev --universal --generate-hashes --no-emit-index-url --no-header --upgrade -o requirements-dev.txt

$(READY): requirements-dev.txt pyproject.toml
	scripts/system-needs libgomp1
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

bench-why: $(READY)
	$(BIN)/python bench/why.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist demo-night
