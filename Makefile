# Every target sets up .venv by itself: nothing is needed but Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Without bytecode each process of the tests, and each sidecar that they start, would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo envoy dashboards schemas test coverage check format bench soak fuzz fleet proto lock release clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 18

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## watch real requests pass through a real Envoy (ARGS=--once ends by itself)
	@$(BIN)/python -m demo $(ARGS)

# Tests of one file run in one process, since they share an Envoy; tests/conftest.py says in which order.
PYTEST := pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: $(READY) ## run every test (ARGS="tests/core -k owner" runs some)
	$(BIN)/python -m $(PYTEST) $(ARGS)

coverage: $(READY) ## run every test and measure the branch coverage of sidecar/
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m $(PYTEST) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(READY) ## format, lint, types, import boundaries, generated code, style, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.generated_code
	$(BIN)/python -m tests.generated_envoy
	$(BIN)/python -m tests.generated_dashboards
	$(BIN)/python -m tests.generated_schemas
	$(BIN)/python -m tests.generated_chart
	$(BIN)/python -m tests.style
	$(BIN)/codespell

format: $(READY) ## format the code and sort its imports
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

bench: $(READY) ## measure cost per check, memory, start (ARGS=--quick for a short run)
	@$(BIN)/python -m bench $(ARGS)

soak: $(READY) ## ten minutes of cancellations, resets, reconnects (ARGS="--seconds 60")
	@$(BIN)/python -m bench.soak $(ARGS)

fleet: $(READY) ## simulate 10,000 nodes, their registry and their Zervi
	@$(BIN)/python -m bench.fleet

fuzz: $(READY) ## fuzz what reads hostile bytes (ARGS="--seconds 600 tokens")
	@said=$$($(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-fuzz.lock 2>&1) \
	  || { echo "$$said" >&2; case "$$said" in \
	    *"No matching distribution found"*) echo "there is no atheris for this Python; hypothesis does its work" >&2;; \
	    *) exit 1;; esac; }
	@$(BIN)/python -m fuzz $(ARGS)

envoy: $(READY) ## generate envoy/ from its sidecar.yaml files, and parts of deploy/
	$(BIN)/python -m tests.generated_envoy --write
	$(BIN)/python -m tests.generated_chart --write

dashboards: $(READY) ## generate the dashboards of deploy/grafana
	$(BIN)/python -m tests.generated_dashboards --write
	$(BIN)/python -m tests.generated_chart --write

schemas: $(READY) ## generate the JSON Schemas of the configuration files
	$(BIN)/python -m tests.generated_schemas --write

proto: $(READY) ## generate sidecar/pb from proto/
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=sidecar/pb --pyi_out=sidecar/pb proto/ext_authz.proto

# The first with wheels for Python 3.12 and newer has none for 3.11.
ATHERIS := "atheris>=3.1; python_version >= '3.12'" "atheris>=3.0,<3.1; python_version < '3.12'"

lock: $(READY) ## lock the newest versions that pyproject.toml admits
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-tools.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --all-extras pyproject.toml --group dev -o requirements-dev.lock
	echo 'hatchling>=1.27' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate - -o requirements-build.lock
	echo 'uv>=0.9' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate - -o requirements-tools.lock
	printf '%s\n' $(ATHERIS) | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate - -o requirements-fuzz.lock

release: $(READY) ## build dist/, once version, changelog and tag agree
	$(BIN)/python -m tests.release
	rm -rf dist
	$(BIN)/python -m hatchling build
	mkdir -p build && $(BIN)/python -m tests.sbom > build/zervi-sidecar.cdx.json

clean: ## remove what the targets made
	rm -rf .venv .venv-* .coverage* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
