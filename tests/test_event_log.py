"""The event log: who met whom and whose fault it was, on paper; one entry for each crash."""

import dataclasses
import math

import gymnasium
import numpy as np
import pytest
import shapely
from conftest import box, call, clear, place, reals, ring, run, section_at, simulator
from hypothesis import given
from hypothesis import strategies as st
from warps import give

from gigaflow_env import event_log
from gigaflow_env.config import laptop
from gigaflow_env.event_log import COLLISION, OFFROAD, EventLog
from gigaflow_env.sim.fault import FRONT, NONE, REAR, SIDE, at_fault, side_of
from gigaflow_env.state import FROZEN, LIVE

EAST = -10.0  # y of the middle of the ring's lane to the east


def scene(*cars, wrecks=()):
    """Cars on the ring, (x, y, heading, speed), as they came: judged after a step. Some are wrecks."""
    sim = simulator(ring(), len(cars), laptop().replace(agents_per_world=len(cars), on_crash="continue"))
    log = EventLog(sim)
    sim.contacts = log.contacts
    clear(sim)
    for a, (x, y, heading, speed) in enumerate(cars):
        way = 0.3 * speed
        before = x - way * np.cos(heading), y - way * np.sin(heading), heading
        place(sim, a, x, y, heading, speed=speed, coming_from=before)
        sim.state.lane_position.offset[0, a], sim.state.lane_position.angle[0, a], sim.state.lane_position.cos[0, a] = (
            y - EAST,
            heading,
            np.cos(heading),
        )
        sim.state.rows.status[0, a] = FROZEN if a in wrecks else LIVE
    run("collide", sim)
    run("record_contact", sim)
    sim.state.clock.tick[:] += 1
    log.add(sim)
    return log


def only(log):
    (event,) = log.array
    return event


def test_hitting_the_rear_is_the_fault_of_who_is_behind():
    event = only(scene((50.0, EAST, 0.0, 12.0), (53.0, EAST, 0.0, 4.0)))
    assert (event["row"], event["other"], event["kind"]) == (0, 1, COLLISION)
    assert (event["side"], event["other_side"]) == (FRONT, REAR)
    assert event["fault"] and not event["other_fault"]
    assert (event["speed"], event["other_speed"]) == (12.0, 4.0)
    assert event["x"] == pytest.approx(50.0) and event["y"] == pytest.approx(EAST)


def test_hitting_somebody_that_stands_is_ones_fault():
    event = only(scene((50.0, EAST, 0.0, 0.0), (47.0, EAST, 0.0, 6.0)))
    assert not event["fault"] and event["other_fault"]
    assert (event["side"], event["other_side"]) == (REAR, FRONT)


def test_hitting_a_wreck_is_ones_fault():
    event = only(scene((47.0, EAST, 0.0, 6.0), (50.0, EAST, 0.0, 0.0), wrecks=[1]))
    assert (event["row"], event["other"], event["side"]) == (0, 1, FRONT)
    assert event["fault"] and not event["other_fault"]


@pytest.mark.parametrize(("squeezed", "fault"), [(1.0, False), (0.6, True)])
def test_in_a_warped_world_a_lane_is_as_wide_as_it_is_there(squeezed, fault):
    """Met from the side in a lane of 3.5 m, or of 2.1 m, in which it has no room."""
    sim = simulator(ring(), 2, laptop().replace(agents_per_world=2, on_crash="continue"))
    sim.contacts = EventLog(sim).contacts
    clear(sim)
    give(sim, [[1.0, 0.0], [0.0, squeezed]])
    for a, y in enumerate((EAST, EAST + 1.9)):
        place(sim, a, 50.0, y, speed=8.0, coming_from=(47.6, y, 0.0))
        sim.state.lane_position.offset[0, a], sim.state.lane_position.angle[0, a], sim.state.lane_position.cos[0, a] = (
            y - EAST,
            0,
            1,
        )
    sim.state.lane_position.section[0] = section_at(sim, "east", 50.0)
    sim.state.body.width[0] = 2.05
    sim.state.lane_position.offset[0, 0] = 0.1
    run("collide", sim)
    run("record_contact", sim)
    assert sim.contacts.side[0].tolist() == [SIDE, SIDE] and sim.contacts.fault[0].tolist() == [fault, True]


def test_head_on_both_are_at_fault():
    event = only(scene((50.0, EAST, 0.0, 6.0), (53.0, EAST, np.pi, 6.0)))
    assert event["fault"] and event["other_fault"] and event["side"] == event["other_side"] == FRONT


def test_from_the_side_who_left_its_lane_is_at_fault():
    """Two side by side: one keeps its lane, the other comes over."""
    event = only(scene((50.0, EAST, 0.0, 8.0), (50.0, EAST + 1.9, -0.1, 8.0)))
    assert (event["side"], event["other_side"]) == (SIDE, SIDE)
    assert not event["fault"] and event["other_fault"]


def test_three_in_one_crash_share_its_number_and_two_crashes_do_not():
    log = scene(
        (50.0, EAST, 0.0, 8.0),
        (53.0, EAST, 0.0, 2.0),
        (47.5, EAST, 0.0, 12.0),
        (150.0, EAST, 0.0, 8.0),
        (153.0, EAST, 0.0, 2.0),
    ).array
    assert len(log) == 3 and len(np.unique(log["crash"])) == 2
    assert {(event["row"], event["other"]) for event in log} == {(0, 1), (0, 2), (3, 4)}


def test_boxes_that_stay_in_contact_are_one_event():
    sim = simulator(ring(), 2, laptop().replace(agents_per_world=2, on_crash="continue"))
    log = EventLog(sim)
    sim.contacts = log.contacts
    clear(sim)
    place(sim, 0, 50.0, EAST)
    place(sim, 1, 53.0, EAST)
    for _ in range(20):
        sim.step(np.full(2, 7))
        log.add(sim)
    assert len(log.array) == 1
    log.clear()
    assert len(log.array) == 0


def make(**options):
    arguments = {"num_envs": 64, "map": "downtown", "preset": "laptop", "agents_per_world": 32, "threads": 1, "events": True}
    return gymnasium.make_vec("gigaflow_env:GigaFlow-v0", **{**arguments, **options})


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_it_agrees_with_the_infos(mode):
    env, quiet = make(autoreset_mode=mode), make(autoreset_mode=mode, events=False)
    env.reset(seed=0)
    quiet.reset(seed=0)
    rng, offroads, reds, collided = np.random.default_rng(0), 0, 0, 0
    for _ in range(150):
        actions = rng.choice([7, 10, 10, 9, 11], 64)
        obs, _, terminated, truncated, info = env.step(actions)
        np.testing.assert_array_equal(quiet.step(actions)[0], obs)
        offroads, reds = offroads + info["offroad"].sum(), reds + info["red_light"].sum()
        collided += info["collision"].sum()
        if mode == "Disabled" and (ended := terminated | truncated).any():
            env.reset(options={"reset_mask": ended})
            quiet.reset(options={"reset_mask": ended})
    log = env.event_log
    crashes = log[log["kind"] == COLLISION]
    assert (log["kind"] == OFFROAD).sum() == offroads > 0 and (log["kind"] == 2).sum() == reds
    assert (crashes["other"] > crashes["row"]).all() and len(crashes) > 5
    assert collided / 2 <= len(crashes) <= collided
    assert (crashes["row"] // 32 == crashes["other"] // 32).all() and (crashes["side"] != NONE).all()
    assert (crashes["fault"] | crashes["other_fault"]).mean() > 0.5
    env.reset(seed=1)
    assert len(env.event_log) == 0


def test_events_lie_on_the_map_on_which_they_happened():
    """A world that ends in their step may begin anew on another map."""
    maps = [dataclasses.replace(ring(), name=name) for name in ("west", "east")]
    sim = simulator(maps, 120, laptop().replace(agents_per_world=6, world_steps=5), map_shares=(1, 1))
    sim.roads = sim.roads._replace(origins=np.array([[-1e6, 0.0, 0.0], [1e6, 0.0, 0.0]]))
    log, moved = EventLog(sim), 0
    sim.contacts = log.contacts
    for _ in range(40):
        before, known = sim.state.clock.map.copy(), len(log.array)
        sim.step(np.full(sim.rows, 11))
        log.add(sim)
        worlds = log.array["world"][known:]
        assert (np.sign(log.array["x"][known:]) == np.where(before[worlds] == 0, -1, 1)).all()
        moved += (before != sim.state.clock.map)[worlds].sum()
    assert moved > 0


def test_packing_changes_nothing(monkeypatch):
    """Most entries lie in packed blocks, the last ones do not yet."""
    logs = []
    for block in (10**9, 7):
        monkeypatch.setattr(event_log, "BLOCK", block)
        env = make()
        env.reset(seed=0)
        for _ in range(60):
            env.step(np.full(64, 10))
        logs.append(env.event_log)
        assert bool(env._log._blocks) == (block == 7) and len(env._log._entries) > 0
    assert len(logs[0]) > 20 and np.array_equal(*logs)


def test_without_a_log_one_has_to_ask_for_it():
    with pytest.raises(RuntimeError, match="event_log needs events=True"):
        make(events=False).event_log  # noqa: B018


# Properties of the rules


@given(reals(-15, 15), reals(-15, 15), reals(-math.pi, math.pi), *[reals(0.3, 4)] * 4)
def test_before_and_behind_is_what_lies_there_with_all_corners(ahead, left, angle, length, width, other_length, other_width):
    def side(ahead, left, cos, sin):
        return call(side_of)(ahead, left, cos, sin, length, width, other_length, other_width)

    cos, sin = math.cos(angle), math.sin(angle)
    found = side(ahead, left, cos, sin)
    corners = shapely.get_coordinates(box(*np.array([[ahead], [left], [angle], [other_length], [other_width]])))
    behind, before = corners[:, 0].max(), corners[:, 0].min()
    if min(abs(behind + length), abs(before - length)) > 1e-3:
        assert found == (FRONT if before > length else REAR if behind < -length else SIDE)
    assert found == side(ahead, -left, cos, -sin) == side(ahead, left, -cos, -sin)
    assert {FRONT: REAR, REAR: FRONT, SIDE: SIDE}[found] == side(-ahead, left, cos, -sin)


speeds = reals(-2, 20)


@given(speeds, speeds, st.sampled_from([FRONT, REAR, SIDE]), st.booleans())
def test_fault(speed, other_speed, side, in_lane):
    """Who stands is not at fault, who meets somebody that stands is; driving backwards turns front and rear; a lane
    excuses nobody but who is met from the side."""
    found = call(at_fault)(side, speed, other_speed, in_lane)
    if abs(speed) < 0.05:
        assert not found
    elif abs(other_speed) < 0.05:
        assert found
    else:
        assert found == call(at_fault)({FRONT: REAR, REAR: FRONT, SIDE: SIDE}[side], -speed, other_speed, in_lane)
        assert call(at_fault)(FRONT if speed > 0 else REAR, speed, other_speed, in_lane)
        assert not call(at_fault)(REAR if speed > 0 else FRONT, speed, other_speed, in_lane)
        assert side != SIDE or found != in_lane
    assert call(at_fault)(side, speed, other_speed, False) >= found == call(at_fault)(side, speed, -other_speed, in_lane)


def test_what_was_taken_is_forgotten_but_goes_on_as_the_same_event():
    env = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", num_envs=32, preset="laptop", config={"agents_per_world": 32, "on_crash": "continue"},
        threads=1, events=True,
    )  # fmt: skip
    whole = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", num_envs=32, preset="laptop", config={"agents_per_world": 32, "on_crash": "continue"},
        threads=1, events=True,
    )  # fmt: skip
    parts = []
    for one in (env, whole):
        one.reset(seed=3)
    generator = np.random.default_rng(0)
    for step in range(60):
        actions = generator.integers(12, size=32)
        for one in (env, whole):
            one.step(actions)
        if step % 7 == 0:
            parts.append(env.unwrapped.take_events())
    parts.append(env.unwrapped.take_events())
    assert len(env.unwrapped.event_log) == 0
    assert np.concatenate(parts).tobytes() == whole.unwrapped.event_log.tobytes()
    assert sum(map(len, parts)) > 5
    env.close()
    whole.close()
    silent = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=1, preset="laptop", threads=1)
    with pytest.raises(RuntimeError, match="take_events needs events=True"):
        silent.unwrapped.take_events()
    silent.close()
