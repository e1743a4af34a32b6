# Everything sets itself up: `make test` and `make demo` work on a fresh clone, and again without a network.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# Two test workers share the machine; more threads in each would only get into each other's way.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo bench test fast torture fuzz clients audit kernels gates format reference clean

help:  ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY)  ## Make the virtual environment with the tested versions

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed (PYTHON=...)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)  ## Fine-tune the default model on the sample data and compare before with after
	env -u OMP_NUM_THREADS $(BIN)/python recipes/support/demo.py

test: $(READY)  ## Run every test, the journeys with a real model included
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

fast: $(READY)  ## Run the tests that need neither a real model nor a whole run
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not journey and not whole"

torture: $(READY)  ## Kill runs and the service at random moments, 200 times each; compare what comes out
	$(BIN)/python tests/torture.py
	$(BIN)/python tests/kill_service.py

fuzz: $(READY)  ## Feed every reader what strangers may send, for a minute each, and the API 10,000 requests
	$(BIN)/python tests/fuzz.py
	$(BIN)/python tests/api_fuzz.py

clients: $(READY)  ## Let clients that others wrote go the whole way, each in an environment of its own (needs node, chromium)
	$(BIN)/python tests/clients/run.py

audit: $(READY)  ## Compare the pinned versions with published advisories (offline: ADVISORIES=all.zip)
	$(BIN)/python tests/audit.py $(ADVISORIES)

# The version that this torch asks for on a GPU; beside the environment, so that nothing else finds it.
TRITON := .peers/triton
$(TRITON)/ready:
	$(BIN)/python -m pip install --quiet --no-deps --target $(@D) triton==3.7.1
	touch $@

kernels: $(READY) $(TRITON)/ready  ## Check on a CPU what torch would run on a GPU: interpreted, and as machine code (long)
	TRITON_INTERPRET=1 PYTHONPATH=tests:$(TRITON) $(BIN)/python tests/gpu_kernels.py
	PYTHONPATH=tests:$(TRITON) $(BIN)/python tests/gpu_kernels.py

PEERS := .peers
NEW_PEER = test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D); $(@D)/bin/python -m pip install --quiet

$(PEERS)/trl/ready:
	$(NEW_PEER) -c constraints.txt torch transformers peft 'trl>=1.16'
	touch $@

# Its own pins name an older torch; both sides shall have the same.
$(PEERS)/litgpt/ready:
	$(NEW_PEER) -c constraints.txt torch numpy safetensors tokenizers huggingface_hub psutil pyyaml tqdm
	$(@D)/bin/python -m pip install --quiet --no-deps litgpt lightning lightning-utilities pytorch-lightning torchmetrics \
	jsonargparse packaging docstring-parser typeshed_client importlib_resources
	touch $@

# Its own pins name older libraries, but for torch. Nothing here has pictures or sound, and the published builds of these
# two want CUDA's libraries, so that neither loads beside a torch without them.
$(PEERS)/llamafactory/ready:
	$(NEW_PEER) $$(grep '^torch==' constraints.txt) 'llamafactory>=0.9.5'
	$(@D)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio
	touch $@

# The newest torchao that still has what torchtune imports.
$(PEERS)/torchtune/ready:
	$(NEW_PEER) -c constraints.txt torch 'torchao==0.15.0' 'torchtune==0.6.1'
	touch $@

bench: $(READY) $(foreach peer,trl litgpt llamafactory torchtune,$(PEERS)/$(peer)/ready)  ## Measure a step beside its peers', on the data in TUNESMITH_DATA (long)
	@for work in "alpaca full" "alpaca lora" "banking77 full --batch 16" "banking77 lora --batch 64"; do \
	for peer in defaults best litgpt llamafactory llamafactory-best torchtune; do \
	python=$(PEERS)/$$(case $$peer in defaults|best) echo trl;; *) echo $${peer%-best};; esac)/bin/python; \
	env -u OMP_NUM_THREADS $(BIN)/python benchmarks/step.py $$work --peer $$peer --peer-python $$python; \
	done; done

gates: $(READY)  ## Check format, lint, types, floors and dead code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture

format: $(READY)  ## Write every file in the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: $(READY)  ## Write the pages that are made from the code
	$(BIN)/python -m tunesmith recipe schema --markdown > docs/settings.md
	$(BIN)/python -m tunesmith data findings > docs/findings.md

clean:  ## Remove the virtual environment and the caches
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .hypothesis .import_linter_cache
