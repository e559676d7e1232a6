# The commands everyone uses. The environment is private (.venv), hash-pinned and made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run test node test-long soak test-model image-smoke check format bench lock clean package rie

run: $(VENV)/.serving ## Start the gateway on 127.0.0.1:8080 with rules/default.route
	@$(BIN)/pointsman serve rules/default.route

test: $(VENV)/.dev node ## All tests but the long ones
	$(BIN)/pytest -m "not long" -n auto

NODE := tests/clients/node

node: ## The JavaScript clients that are tested; where npm cannot install them they are skipped, loudly
	@$(MAKE) -s --no-print-directory $(NODE)/node_modules/.package-lock.json || \
		echo "THE JAVASCRIPT CLIENTS ARE NOT TESTED: npm is missing, or could not install them" >&2

$(NODE)/node_modules/.package-lock.json: $(NODE)/package-lock.json $(NODE)/package.json
	@cd $(NODE) && npm ci --silent --ignore-scripts && touch node_modules/.package-lock.json

test-long: $(VENV)/.dev ## The long targets: a million differential checks, soak
	$(BIN)/pytest -m long

soak: $(VENV)/.dev ## A router under mixed faults for MINUTES (30): memory, sockets, tasks, every request
	$(BIN)/python -m tests.soak.soak --minutes $(or $(MINUTES),30)

test-model: $(VENV)/.dev ## Generations of two real model servers, one killed on the way; puts torch into .venv-model
	@test -x .venv-model/bin/transformers || { $(PYTHON) -m venv .venv-model && \
		.venv-model/bin/python -m pip --disable-pip-version-check install -q torch==2.13.0 'transformers[serving]==5.23.0'; }
	$(BIN)/python tests/model/serve_tiny.py

image-smoke: $(VENV)/.dev ## The steps of Dockerfile for real, on a base made on the spot; Debian's buildah and debootstrap, as root
	$(BIN)/python tests/deploy/image_smoke.py

check: $(VENV)/.dev ## Lint, format, types, import contracts, policies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pointsman check --root rules rules/default.route rules/examples/*.route
	$(BIN)/pointsman fmt --check rules/default.route rules/examples/*.route rules/catalog/*.route

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Every benchmark, PEERS=DIR other gateways too; tables in benchmarks/README.md
	$(BIN)/python -m benchmarks $(if $(PEERS),--peers $(PEERS))

POLICY ?= rules/default.route
ROOT ?= $(if $(filter rules/%,$(POLICY)),rules)
STAGE ?= dev
OSLS := deploy/node_modules/.bin/osls

package: $(VENV)/.serving deploy/node_modules/.ready ## What AWS Lambda is given: POLICY and code as a zip, the stack of STAGE beside it
	@$(BIN)/python deploy/lambda/package.py $(POLICY) $(if $(ROOT),--root $(ROOT)) $(ADD:%=--add %)
	@$(OSLS) package --stage $(STAGE) --package build/lambda/$(STAGE)
	@ls build/lambda/$(STAGE)

deploy/node_modules/.ready: deploy/package.json deploy/package-lock.json
	@cd deploy && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

rie: build/rie/.unpacked ## AWS's Runtime Interface Emulator, out of a package on PyPI; tests/serverless runs it

build/rie/.unpacked: tests/serverless/rie.txt | $(VENV)/bin/python
	@$(PIP) download -q --no-deps --require-hashes -d build/rie -r tests/serverless/rie.txt
	@cd build/rie && $(CURDIR)/$(BIN)/python -m zipfile -e aws_sam_cli-*.whl wheel
	@mv build/rie/wheel/samcli/local/rapid/aws-lambda-rie-* build/rie/
	@chmod 755 build/rie/aws-lambda-rie-* && rm -rf build/rie/wheel build/rie/*.whl && touch $@

lock: $(VENV)/.dev ## Renew both lock files from pyproject.toml
	$(BIN)/pip-compile -q --upgrade $(LOCK_FLAGS) -o requirements.lock pyproject.toml
	$(BIN)/pip-compile -q --upgrade $(LOCK_FLAGS) --all-extras -c requirements.lock -o tests/requirements.lock pyproject.toml

LOCK_FLAGS := --generate-hashes --no-header --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pointsman needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.serving: requirements.lock pyproject.toml | $(VENV)/bin/python
	@$(PIP) install -q --require-hashes -r requirements.lock
	@$(PIP) install -q --no-deps -e .
	@touch $@

$(VENV)/.dev: tests/requirements.lock requirements.lock pyproject.toml | $(VENV)/bin/python
	@$(PIP) install -q --require-hashes -r tests/requirements.lock
	@$(PIP) install -q --no-deps -e .
	@touch $@ $(VENV)/.serving

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
