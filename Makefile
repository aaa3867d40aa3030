# Everything a developer runs. `make demo` and `make test` install what they need first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed-$(shell cat requirements.txt pyproject.toml | cksum | cut -d' ' -f1)
# Telemetry of every dependency is off; small networks and parallel tests want one thread each.
export DO_NOT_TRACK := 1
# Compiled modules are kept, whatever the shell says: without them every process of every test
# compiles all it imports anew, which is a third of the time.
unexport PYTHONDONTWRITEBYTECODE
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
TIMED := .ci/timed

.PHONY: help demo test install lint types contract tests unit stores statistics torch servers dashboards pictures pins bench-peers secrets clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 14

demo: install ## The whole story on real handwritten digits
	@$(ONE_THREAD) $(BIN)/fieldwatch demo $(ARGS)

test: ## Lint, strict types, import contract and every test, with timings
	@rm -f .ci/timings.txt
	@$(TIMED) install $(MAKE) --no-print-directory install
	@$(TIMED) lint $(MAKE) --no-print-directory lint
	@$(TIMED) types $(MAKE) --no-print-directory types
	@$(TIMED) contract $(MAKE) --no-print-directory contract
	@$(TIMED) tests $(MAKE) --no-print-directory tests
	@$(TIMED) servers $(MAKE) --no-print-directory servers
	@echo; echo "Timings"; cat .ci/timings.txt

install: $(READY) ## Create .venv with exactly pinned requirements

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and was not found; install it, or name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "Fieldwatch needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) --version). Name another: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing pinned requirements into $(VENV) (torch is large: a minute or three the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements.txt)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-* && touch $@

lint: install ## Style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install ## Strict types
	@$(BIN)/mypy

contract: install ## Who may import whom
	@$(BIN)/lint-imports

# Collecting takes each run a good part of a minute, so CI runs these four together.
tests: install ## unit, stores, torch and statistics in one run
	@$(ONE_THREAD) $(BIN)/pytest -q -n 2 --dist worksteal -m "not servers"

unit: install ## Tests a developer runs all the time (about two minutes; aim: one)
	@$(ONE_THREAD) $(BIN)/pytest -q -n 2 -m "not statistics and not torch and not servers and not stores"

stores: install ## The state store on PostgreSQL, and rivals for one store
	@$(ONE_THREAD) $(BIN)/pytest -q -n 2 -m stores

torch: install ## Importing fastai Learners
	@$(ONE_THREAD) $(BIN)/pytest -q -n 2 -m "torch and not servers"

statistics: install ## Guarantees, by simulation
	@$(ONE_THREAD) $(BIN)/pytest -q -n 2 -m statistics

# Stories mostly wait: two files at a time take little longer than the longest.
servers: install ## Real processes and servers, killed and restarted; the demo's story; a page and its end
	@$(ONE_THREAD) $(BIN)/pytest -q -n 2 --dist loadfile -m servers

dashboards: install ## Write Grafana's dashboards and the table of metrics anew from their code
	@$(BIN)/python -m dashboards.metrics_table
	@$(BIN)/python -m dashboards.grafana.boards $(ARGS)

pictures: install ## Draw the dashboards in Chromium from a story's Prometheus (needs both, Node 20 and npm)
	@cd dashboards/draw && { test -d node_modules || npm ci; } && npm run build
	@$(ONE_THREAD) $(BIN)/python -m benchmarks.story_boards --home .fieldwatch-boards -- \
		node dashboards/draw/draw.mjs --to .fieldwatch-boards/pictures --small dashboards/grafana/pictures

pins: ## Renew the pinned requirements from the ranges in pyproject.toml
	@$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --extra train --extra reports --extra dev --constraint .ci/pins.in -o requirements.txt pyproject.toml
	@# What the images hold is what the tests ran with.
	@$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --constraint requirements.txt -o requirements-serve.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --extra reports --constraint requirements.txt -o requirements-monitor.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --extra train --constraint requirements.txt -o requirements-train.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 -o requirements-peers.txt .ci/peers.in

bench-peers: install ## Install the peers that benchmarks compare with, in an environment of their own
	@test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	@$(BIN)/uv pip install --python .venv-peers/bin/python -r requirements-peers.txt

SECRETS := database_password admin_key prometheus_key alertmanager_key grafana_password

# A container's user is not yours: the files are for everybody to read, their folder for you alone.
secrets: ## Make what docker-compose.yml keeps secret, in secrets/, where it is not there yet
	@mkdir -p -m 0700 secrets
	@for name in $(SECRETS); do test -s secrets/$$name || { \
	  head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >secrets/$$name && chmod 0444 secrets/$$name && echo "made secrets/$$name"; }; done

clean: ## Remove .venv and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
