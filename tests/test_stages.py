"""Every stage writes what its docstring says and nothing else, only its own row, and in any order of agents."""

import copy
import inspect
import re

import numpy as np
import pytest
from conftest import PER_LIGHT, STAGES, crossing, plain, run, simulator

from gigaflow_env.backend import world_step
from gigaflow_env.config import laptop
from gigaflow_env.event_log import Contacts, EventLog
from gigaflow_env.roads import load, shipped
from gigaflow_env.snapshot import WORKSPACE
from gigaflow_env.state import ENDED, GROUPS, IDM, LIVE, WAITING

AGENTS = 12
STARTING = ("populate", "propose", "resolve_spawns", "spawn", "condition")


@pytest.fixture(scope="module")
def driven():
    """Two worlds on two maps after random driving, with rows of every status."""
    config = laptop().replace(agents_per_world=AGENTS, on_route_done="new_route", on_crash="freeze", lights_off=0.0)
    drivers = {"policy": 0.5, "idm": 0.5}
    sim = simulator([load(shipped()["loop"]), crossing(lights=True)], 2 * AGENTS, config, drivers=drivers)
    sim.contacts = EventLog(sim).contacts
    rng = np.random.default_rng(0)
    for _ in range(30):
        sim.step(rng.choice([1, 4, 6, 7, 8, 10], 2 * AGENTS))
    return sim


def ready(driven, name):
    """A copy of the simulator before the stage, where everything that it has to write is still to be written."""
    sim = copy.copy(driven)
    sim.state, sim.observations, sim.actions = copy.deepcopy((driven.state, driven.observations, driven.actions))
    sim.contacts = copy.deepcopy(driven.contacts)
    state = sim.state
    state.rows.status[:, 2], state.rows.status[:, 5] = ENDED, WAITING
    for event in state.events:
        event[:] = True
    state.lights.colour[:] = -1
    state.neighbours.agent[:], state.neighbours.key[:], state.neighbours.scratch[:] = -1, 7, 7
    state.outcome.reward[:] = np.nan
    state.lane_position.stood[:] = 7
    for a in range(AGENTS):
        state.lane_routes.route_distance[:, a], state.lane_routes.smallest[:, a] = 100.0 + a, 50.0
    state.lane_routes.row[:], state.lane_routes.goal[:] = -1, -1
    state.clock.tick[:] += 1
    state.traffic.yielded[:], state.traffic.cap[:] = True, np.nan
    state.traffic.waits_for[:], state.traffic.waits_how[:], state.traffic.still[:], state.traffic.backing[:] = -7, 9, 7, 5
    for array in sim.contacts:
        array[:] = 7
    sim.observations[:] = np.nan
    sim.actions[:] = np.arange(AGENTS)
    if name in STARTING:
        state.rows.status[:, ::2] = WAITING
        state.proposal.section[:] = 0
        for array in (state.proposal.x, state.proposal.length, state.reward_weights.coefficients):
            array[:] = np.nan
        state.proposal.free[:] = True
    if name == "locate":
        state.pose.z[:] += 0.1
        for array in (state.lane_position.fraction, state.lane_position.offset, state.lane_position.route_distance):
            array[:] = np.nan
    if name in ("resolve_spawns", "spawn"):
        for w in range(2):
            run("propose", sim, w=w)
    if name == "spawn":
        state.lane_routes.goal[:] = 5
        for w in range(2):
            run("resolve_spawns", sim, w=w)
        assert state.proposal.free.any() and not state.proposal.free.all()
    if name == "end_episode":
        for array in (*state.pose[-4:], state.motion.speed):
            array[:] = 3.0
    if name == "follow":
        # One of the drivers has waited for a lane change for too long.
        a = int(np.flatnonzero((state.rows.status[0] == LIVE) & (state.rows.driver[0] == IDM))[0])
        state.traffic.wish[0, a], state.traffic.still[0, a], state.motion.speed[0, a] = 0, 10_000, 0
        state.traffic.backing[0, a] = 0  # who holds names the same one as before
    if name == "arrive":
        # One of the agents has reached its final goal.
        a = int(np.flatnonzero(state.rows.status[0] == LIVE)[0])
        state.goals.next[0, a] = state.goals.count[0, a] - 1
        last = (0, a, state.goals.next[0, a])
        state.goals.x[last], state.goals.y[last] = state.pose.x[0, a], state.pose.y[0, a]
        state.motion.speed[0, a] = 0
    return sim


def arrays(sim):
    """Everything that a stage could write, by name."""
    named = {f"{group}.{name}": array for group, g in sim.state._asdict().items() for name, array in g._asdict().items()}
    named |= {f"contacts.{name}": array for name, array in sim.contacts._asdict().items()}
    return {**named, "obs": sim.observations, "actions": sim.actions}


def changes(before, after, ignored=()):
    """Where the arrays differ, by name, for those that do. NaN equals NaN."""
    old, new = arrays(before), arrays(after)
    different = {name: (old[name] != new[name]) & ~((old[name] != old[name]) & (new[name] != new[name])) for name in old}
    return {name: where for name, where in different.items() if where.any() and name not in ignored}


def declared(stage):
    """What a docstring says after `Writes:`, one set of arrays for each entry.

    An entry is a group, an array (`group.name`, or `name` after another one of its group), or `except` one that is left out.
    """
    text = re.search(r"Writes: ([^\n]+)", plain(stage).__doc__)[1].rstrip(". ")
    kinds = {name: group._fields for name, group in GROUPS._asdict().items()} | {"obs": (), "contacts": Contacts._fields}
    entries, group = [], ""
    for word in text.split(", "):
        if word.startswith("except "):
            entries[-1].remove(f"{group}.{word.removeprefix('except ')}")
        elif word in kinds:
            group = word
            entries.append({f"{word}.{name}" for name in kinds[word]} or {word})
        else:
            group, name = word.split(".") if "." in word else (group, word)
            assert name in kinds[group], f"{plain(stage).__name__}: {word!r} is no array of {group!r}"
            entries.append({f"{group}.{name}"})
    return entries


@pytest.mark.parametrize("name", STAGES)
def test_writes_is_true(driven, name):
    """Nothing but what is declared is written; and each entry of the declaration is."""
    found = set()
    for w in range(2):
        before = ready(driven, name)
        after = copy.copy(before)
        after.state, after.observations, after.contacts = copy.deepcopy((before.state, before.observations, before.contacts))
        run(name, after, w=w)
        found |= set(changes(before, after))
    entries = declared(STAGES[name])
    assert found <= set().union(*entries), "the stage writes more than it declares"
    if name in PER_LIGHT:
        assert found, "there are lights on one of the maps"
    for entry in entries:
        assert entry & found, f"the stage does not write {sorted(entry)}"


@pytest.mark.parametrize("name", STAGES)
def test_only_its_own_row_is_written(driven, name):
    before, w = ready(driven, name), 1
    every = range(3 if name in PER_LIGHT else AGENTS)
    for a in every:
        after = copy.copy(before)
        after.state, after.observations, after.contacts = copy.deepcopy((before.state, before.observations, before.contacts))
        run(name, after, [a], w=w)
        for key, where in changes(before, after, WORKSPACE).items():
            assert np.argwhere(where.reshape(*where.shape[:2], -1).any(axis=2)).tolist() == [[w, a]], key


@pytest.mark.parametrize("name", STAGES)
def test_the_order_of_agents_does_not_matter(driven, name):
    forwards, backwards, mixed = (ready(driven, name) for _ in range(3))
    order = np.arange(3 if name in PER_LIGHT else AGENTS)
    run(name, forwards, order, w=1)
    run(name, backwards, order[::-1], w=1)
    run(name, mixed, np.random.default_rng(1).permutation(order), w=1)
    assert not changes(forwards, backwards, WORKSPACE) and not changes(forwards, mixed, WORKSPACE)


def test_every_stage_is_tested():
    """What a world's step calls for an agent or a light is in the table of stages."""
    called = {"blank"}
    no_stages = {"say_active", "list_waiting"}
    for loop in (
        world_step.begin_world,
        world_step.plan_traffic,
        world_step.record_contacts,
        world_step.drive,
        world_step.respawn,
        world_step.prepare_observation,
        world_step.write_observation,
    ):
        called |= set(re.findall(r"^ +(\w+)\(\s*w,\s*[ak],", inspect.getsource(plain(loop)), re.MULTILINE))
    called -= no_stages  # but parts of the loops
    parts = {
        "find_place": "locate", "measure_angle": "locate", "order_neighbours": "find_neighbours",
        "measure_routes": "select_lane_samples",
    }  # fmt: skip
    assert set(parts) <= called
    called = (called - set(parts)) | set(parts.values())
    assert called and called <= set(STAGES)
    assert set(STAGES) - called == {"plan", "condition"}  # which `arrive` and `spawn` call
