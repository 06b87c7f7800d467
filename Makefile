PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := -n auto --dist worksteal
DEMO := configs/Glyphs/ProtoNet_N5K1_C4.yaml
ACTIVATE := echo "For the scripts in experiments/: source $(VENV)/bin/activate (once a terminal), or start them with $(BIN)/python."

.PHONY: help demo test test-all audit docs lint format

help:                      ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@$(ACTIVATE)

demo: $(VENV)/.run         ## train and evaluate a few-shot model on images drawn on the spot
	$(BIN)/python experiments/run_evaluator.py --cfg $(DEMO) --untrained
	$(BIN)/python experiments/run_trainer.py --cfg $(DEMO) --tag demo --overwrite
	@$(ACTIVATE)

test: lint                 ## linters and the fast tests, a process for each core
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not gpu"

test-all: lint             ## every test
	$(BIN)/python -m pytest $(PARALLEL)

audit: $(VENV)/.dev        ## every YAML loads, builds, runs a step; every published number is in data/published.csv
	$(BIN)/python -m pytest $(PARALLEL) tests/configs

docs: $(VENV)/.run         ## write docs/methods.md anew, from the methods, the YAMLs and docs/results.md
	$(BIN)/python docs/make_methods.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.dev       ## sort imports and reformat
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

$(VENV)/.run: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV); PyTorch is large, so this takes minutes."
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@
	@$(ACTIVATE)

$(VENV)/.dev: requirements.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV); PyTorch is large, so this takes minutes."
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@ $(VENV)/.run
	@$(ACTIVATE)
