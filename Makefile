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
.PHONY: help train test tests slow bench lint docs tables soak memory lookup towns maps scenes traffic large-maps damage damage-scenes import-times driver gallery recorded \
  test-libraries world cuda-cost gpu-check kills ranks paper against training-against ablations worlds clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

train: $(TRAINS)  ## teach agents to drive by self-play, four minutes; then table, curve and video
	$(BIN)/gigaflow-train run --preset laptop --map $(TRAIN_MAP) --out $(TRAIN_OUT) --report

test: $(READY)  ## style, types and all tests but the slow ones, side by side: ten minutes on two cores
	$(MAKE) --jobs=2 --output-sync=line lint tests

# Pip leaves it to the first import to keep bytecode (--no-compile). Where the environment forbids that, each of the hundred
# processes that tests start compiles what it imports, torch for one: as long again as the import.
tests slow: export PYTHONDONTWRITEBYTECODE =

tests: $(READY)  ## all tests but the slow ones
	$(BIN)/python tests/kernels.py
	$(BIN)/python -m pytest

slow: $(READY)  ## the slow tests, which test leaves out
	$(BIN)/python -m pytest -m slow

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy gigaflow_env gigaflow_train tests/typed_user.py

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

damage: $(READY)  ## real maps with one thing missing each: none is lost in silence: make damage MAPS="one.xodr other.osm"
	$(BIN)/python benchmarks/damaged_maps.py $(MAPS)

damage-scenes: $(READY)  ## recorded scenes with damaged bytes: each is a scene or an error: make damage-scenes SCENES="one.pkl other.db"
	$(BIN)/python benchmarks/damaged_scenes.py --made $(SCENES)

import-times: $(READY)  ## import and compile times beside those of another revision: make import-times BEFORE=folder MAPS="one.xodr"
	$(BIN)/python benchmarks/import_times.py $(BEFORE) $(MAPS)

scenes: $(READY)  ## 1,000 generated scenes: loading, memory, and speed beside a town (a quarter of an hour)
	$(BIN)/python benchmarks/scenes.py --json benchmarks/results/scenes.json

large-maps: $(READY)  ## compile time and memory by lane-kilometres, up to 20 x 20 km (ten minutes)
	$(BIN)/python benchmarks/large_maps.py --json benchmarks/results/large_maps.jsonl

traffic: $(READY)  ## rule-based cars on all towns, on the files in FOLDER, and on 50 random towns (half an hour)
	$(BIN)/python benchmarks/traffic.py $(if $(FOLDER),--folder $(FOLDER)) --towns 1000 1050 --json benchmarks/results/traffic.jsonl

towns: $(READY)  ## 200 random towns of each style: all of them plausible (minutes)
	$(BIN)/python benchmarks/towns.py --json benchmarks/results/towns.json
	$(BIN)/python benchmarks/towns.py --style old --json benchmarks/results/towns_old.json
	$(BIN)/python benchmarks/towns.py --style tight --json benchmarks/results/towns_tight.json
	$(BIN)/python benchmarks/towns.py --style wide --json benchmarks/results/towns_wide.json

gpu-check: $(READY)  ## on a machine with a card, 8 minutes: tests, throughput, training; benchmarks/results/cuda.json
	$(BIN)/python benchmarks/gpu_check.py

driver: $(READY)  ## what the model card says of the pretrained driver, in benchmarks/results/driver.json (hours)
	$(BIN)/python benchmarks/driver.py
	$(BIN)/python benchmarks/driver.py --plot docs/media/conditioning.png

kills: $(READY)  ## kill -9 a hundred times while it trains: what is left is always whole (minutes)
	$(BIN)/python benchmarks/kills.py --out benchmarks/results/kills.json

ranks: $(READY)  ## what 1 to 8 processes send while they train: counted, on the wire, and computed (minutes)
	$(BIN)/python benchmarks/ranks.py --out benchmarks/results/ranks.json

paper: $(READY)  ## one iteration of the published setting on the CPU, both stores: memory as predicted (ten minutes)
	$(BIN)/python benchmarks/paper.py --threads 1 --store observations --out benchmarks/results/paper.jsonl
	$(BIN)/python benchmarks/paper.py --threads 1 --store states --out benchmarks/results/paper.jsonl

against: $(READY)  ## a step's speed beside another revision, in turns: make against REVISION=163c8ce MAPS="one.xodr" (minutes)
	$(BIN)/python benchmarks/against.py $(REVISION) $(MAPS)

training-against: $(READY)  ## training's speed beside another revision, in turns: make training-against OTHER=../before (a quarter of an hour)
	$(BIN)/python benchmarks/training_against.py $(OTHER) --samples 3000000 --threads 1 --out benchmarks/results/training_against.jsonl
	$(BIN)/python benchmarks/training_against.py $(OTHER) --samples 3500000 --seeds 0 1 2 --out benchmarks/results/training_against.jsonl
	$(BIN)/python benchmarks/training_against.py --plot docs/media/training_against.png

test-libraries: $(READY)  ## every RL library learns, each in a virtual environment of its own: make test-libraries LIBRARIES="skrl" (half an hour)
	$(BIN)/python benchmarks/libraries.py $(LIBRARIES)

ablations: $(READY)  ## what the parts of the method are worth, three seeds each (an hour)
	$(BIN)/gigaflow-train sweep benchmarks/ablations.toml --out runs/ablations
	$(BIN)/python benchmarks/ablations.py runs/ablations

worlds: $(READY)  ## what the driver's worlds give it, three seeds each (an hour)
	$(BIN)/gigaflow-train sweep benchmarks/worlds.toml --out runs/worlds
	$(BIN)/python benchmarks/ablations.py runs/worlds

cuda-cost: $(READY)  ## what the CUDA kernels do in a step, counted on the CPU: instructions and memory sectors (minutes)
	$(BIN)/python benchmarks/cuda_cost.py --json benchmarks/results/cuda_cost.jsonl

recorded: $(READY)  ## policies on recorded scenes and on routes of CARLA's towns: benchmarks/results/{recorded,routes}.json (minutes)
	$(BIN)/python benchmarks/recorded.py
	$(BIN)/python benchmarks/recorded.py --suites carla-routes --out benchmarks/results/routes.json

gallery: $(READY)  ## the shipped towns and the moving pictures of traffic and viewer, in docs/media/
	$(BIN)/python -m docs_tools.gallery
	$(BIN)/python -m docs_tools.traffic
	$(BIN)/python -m docs_tools.watch --dark

world: $(READY)  ## the pictures docs/media/world_*.png: who is on the roads, a bridge, a light, a warped town
	$(BIN)/python -m docs_tools.world

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e ".[dev]"
	touch $(READY) $(TRAINS) $(WRITES)

$(TRAINS): pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train,render]"
	touch $(TRAINS)

$(WRITES): pyproject.toml setup.py constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $(WRITES)

clean:  ## remove the virtual environment, builds and the site
	rm -rf $(VENV) build dist site *.egg-info
