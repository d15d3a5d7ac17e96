"""The soak test in short, and that it would find what it looks for."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import bridge, place

from gigaflow_env.backend import world_step
from gigaflow_env.config import Config
from gigaflow_env.roads import RoadMap, load, shipped
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import ABSENT, FROZEN, LIVE, WAITING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import anomalies
import soak


def maps() -> list[RoadMap]:
    return [load(shipped()["loop"]), bridge()]


def test_no_anomaly_in_two_hundred_thousand_agent_steps() -> None:
    result = soak.run(soak.Soak(agent_steps=2.4e5, agents=16, worlds=8), maps())
    assert result["anomalies"] == 0, soak.report(result)
    for name, one in result["passes"].items():
        assert one["agent_steps"] == pytest.approx(8e4, rel=0.01)
        for kind in ("collisions", "off_road"):
            assert one[kind] > 100, f"{name}: {one[kind]} {kind}"
    going, starting, frozen = (result["passes"][name] for name in ("continue", "respawn", "freeze"))
    assert frozen["wrecks"] > 1000 and not going["wrecks"] + starting["wrecks"]
    assert going["outside_grid"] > 1000 and starting["outside_grid"] == 0
    assert going["astray"] > 100 and starting["episodes"] > 1000


@pytest.mark.parametrize("on_crash", soak.PASSES)
def test_the_same_seed_finds_the_same(on_crash: str) -> None:
    short = soak.Soak(agent_steps=6000, agents=8, worlds=4)
    one, other = (soak.drive(short, maps(), on_crash)[0] for _ in range(2))
    assert anomalies.totals(one) == anomalies.totals(other) and one.first == other.first


def test_lane_keepers_come_far() -> None:
    """What they are for: agents that live for long. Straight on and at random the first bends end them."""
    reached = []
    for behaviour in range(3):
        simulator = Simulator(maps()[0], 48, Config(agents_per_world=16), mode=world_step.NEXT_STEP, threads=1)
        simulator.reset(np.array([1, 0], np.uint32))
        rng, moved = np.random.default_rng(1), np.zeros(48)
        for _ in range(150):
            simulator.step(soak.choose(simulator, 1, rng))
            moved += simulator.per_row(simulator.state.motion.distance)
        reached.append(moved[16 * behaviour : 16 * behaviour + 16].sum() / simulator.state.rows.episode[behaviour].sum())
    assert reached[2] > 2 * max(reached[:2]), reached


# What is found


def watched(on_crash: str = "continue") -> anomalies.Watch:
    """Both maps as they are with a world each, after some steps; agents 0 and 1 of the second stand under the bridge."""
    config = Config(on_crash=on_crash, agents_per_world=8)
    simulator = Simulator(maps(), 16, config, mode=soak.PASSES[on_crash], threads=1)
    simulator.reset(np.array([3, 0], np.uint32))
    for _ in range(3):
        simulator.step(np.full(16, 7))
    simulator.state.rows.status[1, 2:] = WAITING
    for a, x in ((0, -60.0), (1, -40.0)):
        place(simulator, a, x, 0.0, w=1)
    state = simulator.state
    network = simulator.roads.network
    own = network.maps[1]["lanes_at"]
    state.lane_position.section[1, :2] = network.lanes["first"][own] + np.array([40, 60])
    for events in state.events:
        events[:] = False
    grounds = [anomalies.ground(*pair) for pair in zip(simulator.maps, simulator.roads.origins, strict=True)]
    return anomalies.find_neighbours(simulator, grounds)


def damage_state(sim: Simulator) -> None:
    sim.state.body.c_acc[1, 1] = np.inf


def damage_observation(sim: Simulator) -> None:
    sim.observations[0, 1, 5] = np.nan


def widen_observation(sim: Simulator) -> None:
    sim.observations[0, 1, 5] = 1.001


def widen_final_observation(sim: Simulator) -> None:
    sim.state.outcome.truncated[0, 1] = True
    sim.final_observations[0, 1, 5] = -1.5


def lose(sim: Simulator) -> None:
    sim.state.rows.status[1, 1] = ABSENT


def outnumber(sim: Simulator) -> None:
    """The world has two agents, so the other six rows should be empty."""
    sim.state.clock.agents[1] = 2


def wreck(sim: Simulator) -> None:
    """A wreck in the way: who runs into it reports a collision, the wreck doesn't."""
    sim.state.rows.status[1, 1] = FROZEN
    sim.state.pose.x[1, 1] = sim.state.pose.x[1, 0] + 4.4


def leave_map(sim: Simulator) -> None:
    sim.state.lane_position.section[1, 1] = 0  # of the first map


def leave_lane(sim: Simulator) -> None:
    """The last section of a lane begins no quad."""
    lane = sim.roads.network.lanes[sim.roads.network.maps[1]["lanes_at"]]
    sim.state.lane_position.section[1, 1] = lane["first"] + lane["quads"]


def aim_elsewhere(sim: Simulator) -> None:
    sim.state.goals.count[1, 1] = 2
    sim.state.goals.section[1, 1, :2] = sim.state.lane_position.section[1, 0], 0


def forget_place(sim: Simulator) -> None:
    sim.state.lane_position.section[1, 1] -= 59


def jump(sim: Simulator) -> None:
    sim.state.pose.x[1, 1] += 9.5


def start_inside(sim: Simulator) -> None:
    sim.state.pose.x[1, 1] = sim.state.pose.x[1, 0] + 4.4
    sim.state.rows.episode[1, 1] += 1


def leave_road(sim: Simulator) -> None:
    sim.state.pose.y[1, 1] += 6.0


def crash_alone(sim: Simulator) -> None:
    sim.state.events.collision[1, 1] = True


def crash_with_the_bridge(sim: Simulator) -> None:
    """Two boxes one over the other, 4 m apart in height."""
    sim.state.pose.x[1, 1] = sim.state.pose.x[1, 0] + 1
    sim.state.pose.z[1, 1] += 4.0
    sim.state.events.collision[1] = sim.state.rows.status[1] == LIVE


def overlap(sim: Simulator) -> None:
    sim.state.pose.x[1, 1] = sim.state.pose.x[1, 0] + 4.4
    sim.state.events.collision[1, 0] = True


DAMAGE = {
    damage_state: {"state_not_finite": 1},
    damage_observation: {"observation_not_finite": 1},
    widen_observation: {"observation_outside": 1},
    widen_final_observation: {"observation_outside": 1},
    lose: {"row_lost": 1},
    outnumber: {"row_lost": 6},
    wreck: {"overlap_unnoticed": 1},
    leave_map: {"foreign_section": 1, "lost_section": 1},
    leave_lane: {"foreign_section": 1, "lost_section": 1},
    aim_elsewhere: {"foreign_section": 1},
    forget_place: {"lost_section": 1},
    jump: {"jump": 1},
    start_inside: {"spawn_overlap": 1},
    leave_road: {"off_road_unnoticed": 1},
    crash_alone: {"collision_without_partner": 1},
    crash_with_the_bridge: {"collision_without_partner": 2, "jump": 1},
    overlap: {"overlap_unnoticed": 1, "jump": 1},
}
"""What is done to a healthy state, and what has to be found then; nothing else may be."""


def found_after(change: Any, on_crash: str) -> dict[str, int]:
    found = watched(on_crash)
    change(found.simulator)
    anomalies.inspect(found, thorough=True)
    seen = {kind: notes for kind, notes in anomalies.totals(found).items() if kind in anomalies.ANOMALIES and notes}
    assert seen.keys() == found.first.keys()
    return seen


@pytest.mark.parametrize("on_crash", soak.PASSES)
def test_a_healthy_state_has_no_anomaly(on_crash: str) -> None:
    assert found_after(lambda simulator: None, on_crash) == {}


@pytest.mark.parametrize("change", DAMAGE)
def test_damage_is_found(change: Any) -> None:
    on_crash = "respawn" if change is leave_road else "continue"
    assert found_after(change, on_crash) == DAMAGE[change]


def test_a_row_that_waits_for_more_than_200_steps_is_found() -> None:
    found = watched()
    for step in range(202):
        anomalies.inspect(found, thorough=False)
        assert anomalies.totals(found)["waits_long"] == (0 if step < 200 else 6 * (step - 199)), step
    assert "world 1 (bridge), agent 2" in found.first["waits_long"]


def test_every_kind_of_anomaly_is_damaged_here() -> None:
    assert {kind for kinds in DAMAGE.values() for kind in kinds} | {"waits_long"} == set(anomalies.ANOMALIES)


# The command


def test_the_result_names_what_was_found_and_the_exit_status_tells(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(soak, "shipped", lambda: ["loop"])
    monkeypatch.setattr(sys, "argv", ["soak.py"])
    argv = ["--agent-steps", "2000", "--agents", "8", "--worlds", "3", "--json", str(tmp_path / "soak.json")]
    assert soak.main(argv) == 0
    result = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
    assert result["anomalies"] == 0 and list(result["maps"]) == ["loop"]
    assert result["agent_steps"] == pytest.approx(2000, rel=0.1)
    assert {"commit", "processor", "command", "settings"} <= result["maps"]["loop"].keys()
    assert soak.main([*argv, "--only", "downtown"]) == 0
    again = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
    assert list(again["maps"]) == ["downtown", "loop"] and again["maps"]["loop"] == result["maps"]["loop"]
    assert [path.name for path in tmp_path.iterdir()] == ["soak.json"]
    assert "0 anomalies in" in capsys.readouterr().out

    inspect = soak.inspect

    def damaged(found: anomalies.Watch, **options: Any) -> None:
        found.simulator.state.rows.score[2, 4] = np.nan
        inspect(found, **options)

    monkeypatch.setattr(soak, "inspect", damaged)
    monkeypatch.setenv("GIGAFLOW_CHECK", "0")  # the soak is to find it
    assert soak.main(argv) == 1
    said = capsys.readouterr().out
    assert "state_not_finite" in said and "first at tick 1, world 2 (loop), agent 4" in said
