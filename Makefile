# The front doors work from a fresh clone: they make a virtual environment, install into it, and run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One marker a set of extras: what a door needs, and no more.
READY := $(VENV)/.ready-dev
TRAINS := $(VENV)/.ready-train
WRITES := $(VENV)/.ready-docs
TRAIN_MAP ?= loop
TRAIN_OUT ?= runs/$(shell date +%Y%m%d-%H%M%S)

.DEFAULT_GOAL := help
.PHONY: help train test tests bench lint docs tables soak memory lookup towns maps traffic large-maps gallery world gpu-check clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

train: $(TRAINS)  ## teach agents to drive by self-play, about ten minutes; then table, curve and video
	$(BIN)/gigaflow-train run --preset laptop --map $(TRAIN_MAP) --out $(TRAIN_OUT) --report

test: lint tests  ## style, types and all tests

tests: $(READY)  ## all tests
	$(BIN)/python -m pytest

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy gigaflow_env gigaflow_train

docs: $(WRITES)  ## the site, in site/: warnings are errors, no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

tables: $(READY)  ## the tables of README and documents anew, from declarations and results
	$(BIN)/python -m docs_tools.tables

bench: $(READY)  ## throughput of this machine, as one JSON object
	$(BIN)/gigaflow-env bench --json

soak: $(READY)  ## ten million agent-steps on every town: no NaN, no escape, no overlap (half an hour)
	$(BIN)/python benchmarks/soak.py

memory: $(READY)  ## a million steps of the environment: its memory stays flat (ten minutes)
	$(BIN)/python benchmarks/memory.py

lookup: $(READY)  ## a million points on the towns: kernels and Shapely agree on which lane they are
	$(BIN)/python benchmarks/lookup.py

maps: $(READY)  ## what importing real maps shows: make maps MAPS="one.xodr other.osm"
	$(BIN)/python benchmarks/maps.py $(MAPS)

large-maps: $(READY)  ## compile time and memory by lane-kilometres, up to 20 x 20 km (ten minutes)
	$(BIN)/python benchmarks/large_maps.py --json benchmarks/results/large_maps.jsonl

traffic: $(READY)  ## rule-based cars on all towns, on the files in FOLDER, and on 50 random towns (half an hour)
	$(BIN)/python benchmarks/traffic.py $(if $(FOLDER),--folder $(FOLDER)) --towns 1000 1050 --json benchmarks/results/traffic.jsonl

towns: $(READY)  ## 200 random towns: all of them plausible (minutes)
	$(BIN)/python benchmarks/towns.py

gpu-check: $(READY)  ## on a machine with a card, 8 minutes: tests, throughput, training; benchmarks/results/cuda.json
	$(BIN)/python benchmarks/gpu_check.py

gallery: $(READY)  ## the shipped towns and the moving picture of the README, in docs/media/
	$(BIN)/python -m docs_tools.gallery
	$(BIN)/python -m docs_tools.traffic

world: $(READY)  ## the pictures docs/media/world_*.png: who is on the roads, a bridge, a light, a warped town
	$(BIN)/python -m docs_tools.world

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY) $(TRAINS) $(WRITES)

$(TRAINS): pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,render]"
	touch $(TRAINS)

$(WRITES): pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $(WRITES)

clean:  ## remove the virtual environment, builds and the site
	rm -rf $(VENV) build dist site *.egg-info
