.DEFAULT_GOAL := help
.PHONY: help local test test-cluster test-engine contract quick lint fmt bench bench-faults clean ci

RUN := tools/uv run --frozen
DOCUMENTS ?=
MODEL ?=
LOCAL = $(if $(DOCUMENTS),--documents "$(DOCUMENTS)") $(if $(MODEL),--model "$(MODEL)") $(if $(V),--verbose)

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

local: ## answer documents on this machine: DOCUMENTS=folder MODEL=name V=1
	@$(RUN) ollama-eks local $(LOCAL)

# Built here, not in a fixture: a test's time limit is no limit for a compiler.
.PHONY: ollama control-plane pulumi-cli
ollama:
	@$(RUN) python -m cli.toolchain >/dev/null
control-plane:
	@$(RUN) python -m tests.cluster.tools >/dev/null
pulumi-cli:
	@$(RUN) python -m tests.engine.tools >/dev/null

test: ollama ## unit, graph and worker tests, with a real Ollama (built once)
	$(RUN) pytest tests/unit tests/graph tests/worker

test-cluster: ollama control-plane ## the program's objects on a real Kubernetes with KEDA (built once)
	$(RUN) pytest tests/cluster

test-engine: pulumi-cli ## the program on the real Pulumi engine, over doubles of the providers (built once)
	$(RUN) pytest tests/engine

contract: ollama ## judge a server version: OLLAMA_BINARY=/path/to/ollama
	$(RUN) pytest tests/worker/test_api_contract.py

quick: ## unit and graph tests: nothing to build, under a minute
	$(RUN) pytest tests/unit tests/graph

lint: ## ruff and pyright
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) pyright --project pyproject.toml

fmt: ## format the code
	$(RUN) ruff check --fix
	$(RUN) ruff format

bench: ## measure (nothing is asserted): PEER='another worker {spec}'
	$(RUN) python -m bench.worker_speed $(if $(PEER),--peer '$(PEER)')
	$(RUN) python -m bench.worker_memory
	$(RUN) python -m bench.provision
	$(RUN) python -m bench.load
	$(RUN) python -m bench.scale_up
	$(RUN) python -m bench.program
	$(RUN) python -m bench.critical_path

bench-faults: ## documents and model Jobs under faults of every kind: SEED=number repeats a run
	$(RUN) python -m bench.faults $(if $(SEED),--seed $(SEED))
	$(RUN) python -m bench.provision_faults --kills 200

clean: ## remove local runs, models and caches of this checkout
	rm -rf .local .pytest_cache .ruff_cache .hypothesis

ci: lint ollama control-plane pulumi-cli ## what CI runs: lint, then every tier in one call
	$(RUN) pytest
