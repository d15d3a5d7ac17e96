# Both front doors work from a fresh clone: they make a virtual environment, install into it, and run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TRAIN_MAP ?= loop
TRAIN_OUT ?= runs/$(shell date +%Y%m%d-%H%M%S)

.PHONY: train test bench lint soak memory lookup towns maps gallery world gpu-check clean

train: $(READY)  ## teach agents to drive by self-play, about ten minutes; then table, curve and video
	$(BIN)/gigaflow-train run --preset laptop --map $(TRAIN_MAP) --out $(TRAIN_OUT) --report

test: $(READY)  ## all tests
	$(BIN)/python -m pytest

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

towns: $(READY)  ## 200 random towns: all of them plausible (minutes)
	$(BIN)/python benchmarks/towns.py

gpu-check: $(READY)  ## on a machine with a card, 8 minutes: tests, throughput, training; benchmarks/results/cuda.json
	$(BIN)/python benchmarks/gpu_check.py

gallery: $(READY)  ## docs/towns.png: the shipped towns, as the README shows them
	$(BIN)/python docs/gallery.py

world: $(READY)  ## docs/world_*.png: who is on the roads, a bridge, a light, a warped town, as the README shows them
	$(BIN)/python docs/world.py

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy gigaflow_env gigaflow_train

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
