"""Recorded scenes drive: exactly as recorded, seen and hit by those who are controlled."""

import copy
import functools
import re
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from conftest import call, crossing, plain, reals
from hypothesis import given
from hypothesis import strategies as st
from recorded_scenes import (
    CYCLIST,
    DT,
    EGO,
    FIRST_SEEN,
    LAST_SEEN,
    LEADER,
    ONCOMING,
    PARKED,
    PEDESTRIAN,
    STARTS,
    STEPS,
    TURNS_GREEN,
    scenario,
    scene,
)

from gigaflow_env.backend.world_step import known, parameters
from gigaflow_env.config import CONDITIONING, laptop, params
from gigaflow_env.jit import kernel
from gigaflow_env.population import ROAD_USERS
from gigaflow_env.sim.traffic.replay import follow_track, leave_scene, moment, steering
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import ABSENT, ENDED, GREEN, LIVE, OFF, OFF_ROAD, OVERLAPS, PLAYED, RED

NO_JERK = 7
P = params(laptop())
SHARED = Path(__file__).resolve().parents[2] / "shared" / "scenes"


def make(scenes, **arguments):
    """An environment of scenes and what is behind it."""
    given = {"preset": "laptop", "threads": 1, "scene_readers": 0, **arguments}
    env = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", scenes=scenes, **given)
    return env, env.unwrapped


def still(env):
    return np.full(env.num_envs, NO_JERK)


def positions(env, world=0):
    """Number of the Scenario's agent, x, y [m] in its coordinates and status of every place of a world that has an agent."""
    one = env.scenes[world]
    places = np.flatnonzero(one.agents >= 0)
    pose, origin = env.simulator.state.pose, env.simulator.roads.origins[world]
    x, y = (array[world, places].astype(float) + origin[k] for k, array in enumerate((pose.x, pose.y)))
    return one.agents[places], x, y, env.simulator.state.rows.status[world, places]


def divergence(env, world=0):
    """Largest distance [m] from the record of those on the road: all of those that the record has, and no others."""
    one = env.scenes[world]
    agents, x, y, status = positions(env, world)
    seen = one.scenario.valid[agents, one.step]
    assert np.array_equal(seen, status >= LIVE)
    far = np.hypot(x - one.scenario.x[agents, one.step], y - one.scenario.y[agents, one.step])
    return far[seen].max()


@pytest.mark.parametrize(("control", "rows"), [("ego", 1), ("predict", 2), ("all", 5)])
def test_the_expert_is_where_the_record_is(control, rows):
    env, inner = make(scene(), control=control, drivers="replay")
    _, info = env.reset(seed=1)
    assert env.num_envs == rows and info["active"].all() and info["traffic"].all()
    assert inner.scenes[0].controlled.all() and inner.scenes[0].left_out == 0
    for step in range(1, STEPS - 1):
        _, _, terminated, truncated, info = env.step(still(env))
        assert inner.scenes[0].step == step and divergence(inner) < 1e-4
        assert not truncated.any()
        # Nobody meets anybody. The pedestrian leaves the road where it crosses it, as recorded, if it is controlled.
        assert not info["collision"].any() and not info["offroad"][: min(rows, 2)].any()
    _, _, _, truncated, _ = env.step(still(env))
    assert truncated[0] and inner.scene_rounds == 1 and inner.scenes[0].step == 0
    env.close()


def test_tracks_appear_and_vanish_and_are_who_they_are():
    env, inner = make(scene())
    env.reset(seed=1)
    agents, *_ = positions(inner)
    place = {int(agent): k for k, agent in enumerate(inner.scenes[0].agents) if agent >= 0}
    kinds = list(ROAD_USERS)
    for step in range(STEPS - 1):
        assert inner.scenes[0].step == step
        rows, body = inner.simulator.state.rows, inner.simulator.state.body
        cyclist = rows.status[0, place[CYCLIST]]
        assert cyclist == (PLAYED if FIRST_SEEN <= step <= LAST_SEEN else ABSENT)
        assert kinds[body.kind[0, place[PEDESTRIAN]]] == "pedestrian" and kinds[body.kind[0, place[ONCOMING]]] == "truck"
        assert body.length[0, place[ONCOMING]] == 8 and inner.simulator.state.motion.speed[0, place[ONCOMING]] == 8
        env.step(still(env))
    assert sorted(place) == [EGO, LEADER, ONCOMING, CYCLIST, PEDESTRIAN, PARKED]
    env.close()


def test_the_policy_drives_and_sees_the_tracks():
    env, inner = make(scene(), config={"view_range": 100.0})
    obs, _ = env.reset(seed=1)
    blocks = inner.layout.split(obs)
    # It begins as recorded, at 10 m/s on the middle of its lane, and sees the leader 30 m ahead.
    assert np.allclose(inner.simulator.state.motion.speed[0, 0], 10)
    ahead = blocks.agents[0, :, 0] * 100
    assert np.isclose(ahead, 30, atol=0.1).any()
    for _ in range(10):
        env.step(np.full(1, 10))  # full throttle
    agents, x, _, _ = positions(inner)
    assert x[0] > scenario().x[EGO, 10] + 0.5, "it should be ahead of the record"
    env.close()


def test_who_is_hit_is_named():
    """The ego goes on at 10 m/s while the car before it stands."""
    starts = (STARTS[EGO], (-40.0, -1.75, 0.0, 0.0), *STARTS[2:])
    env, inner = make(scene(starts=starts), events=True)
    env.reset(seed=1)
    agents = inner.scenes[0].agents
    ended = None
    for step in range(STEPS - 1):
        _, _, terminated, _, info = env.step(still(env))
        if terminated[0]:
            ended = step
            assert info["collision"][0]
            break
    # Front to rear are 20 - 4.5 m apart: touched in the 16th step.
    assert ended == 15
    (event,) = inner.event_log
    assert agents[event["other"] % inner.simulator.agents] == LEADER and event["fault"] and not event["other_fault"]
    _, _, _, _, info = env.step(still(env))
    assert not info["active"][0], "who crashed is gone until the scene ends"
    env.close()


def test_with_continue_a_crash_ends_nothing():
    starts = (STARTS[EGO], (-40.0, -1.75, 0.0, 0.0), *STARTS[2:])
    env, _ = make(scene(starts=starts), config={"on_crash": "continue"})
    env.reset(seed=1)
    hits = 0
    for step in range(STEPS - 1):
        _, _, terminated, truncated, info = env.step(still(env))
        hits += info["collision"][0]
        assert not terminated[0] and truncated[0] == (step == STEPS - 2)
    assert hits > 1
    env.close()


END_OF_THE_ROAD = ((69.0, -1.75, 0.0, 0.0),)
"""The ego stands, where its street has 3 m left: there is no other goal, and no way on."""


@pytest.mark.parametrize(
    ("arguments", "stays"),
    [
        ({"drivers": "replay"}, True),
        ({"drivers": "replay", "config": {"on_crash": "continue"}}, True),
        ({"config": {"on_crash": "continue"}}, True),
        ({"drivers": "idm", "config": {"on_crash": "continue"}}, True),
        ({}, False),
    ],
)
def test_who_follows_a_track_and_who_nothing_ends_stays_where_the_road_ends(arguments, stays):
    env, inner = make(scene(starts=END_OF_THE_ROAD, predict=(EGO,)), **arguments)
    env.reset(seed=1)
    done, goals = 0, 0
    for step in range(STEPS - 1):
        _, _, terminated, truncated, info = env.step(still(env))
        done, goals = done + info["route_done"][0], goals + info["goal"][0]
        assert terminated[0] == (not stays and step == 0) and truncated[0] == (stays and step == STEPS - 2)
    assert done == goals == (arguments.get("drivers") != "idm"), "once; rules can't drive to what lies beside them"
    env.close()


def test_the_recorded_way_is_the_route():
    env, inner = make(scene(), way_every=10.0)
    env.reset(seed=1)
    goals, origin = inner.simulator.state.goals, inner.simulator.roads.origins[0]
    # 40 m in 40 steps: at 10, 20, 30 m and the end; the record still moves there, so the road goes on for 50 m.
    assert goals.count[0, 0] == 5
    assert np.allclose(goals.x[0, 0, :4] + origin[0], [-50, -40, -30, -20], atol=1.01)
    assert np.allclose(goals.x[0, 0, 4] + origin[0], 30, atol=1.0)
    reached = 0
    for _ in range(STEPS - 2):
        _, _, _, _, info = env.step(still(env))
        reached += info["goal"][0]
    assert reached == 4
    env.close()
    env, inner = make(scene(), way_every=10.0, config={"on_route_done": "respawn"})
    env.reset(seed=1)
    assert inner.simulator.state.goals.count[0, 0] == 4
    ended = [bool(env.step(still(env))[2][0]) for _ in range(STEPS - 2)]
    assert sum(ended) == 1, "the recorded end ends the episode at any speed"
    env.close()


def test_lights_show_what_was_recorded():
    env, inner = make(scene())
    env.reset(seed=1)
    lights = sorted(crossing(lights=True).signals)
    for step in range(STEPS - 1):
        colours = dict(zip(lights, inner.simulator.state.lights.colour[0].tolist(), strict=False))
        assert colours["light west"] == (RED if step < TURNS_GREEN else GREEN)
        assert colours["light east"] == OFF and colours["light south"] == OFF, "nobody saw it; it isn't in the record"
        env.step(still(env))
    env.close()


def test_start_conflicts_are_flagged():
    # A car whose box reaches into that of the ego; a leader on the edge of the road.
    starts = (STARTS[EGO], (-30.0, -3.0, 0.0, 10.0), (-56.0, -1.75, 0.0, 10.0), *STARTS[3:])
    env, inner = make(scene(starts=starts), control="predict", config={"on_crash": "continue"})
    env.reset(seed=1)
    assert inner.scenes[0].start_conflict.tolist() == [OVERLAPS, OFF_ROAD]
    env.close()
    env, inner = make(scene())
    env.reset(seed=1)
    assert inner.scenes[0].start_conflict.tolist() == [0]
    env.close()


def test_start_step_and_length():
    env, inner = make(scene(), start_step=5, scene_steps=12, drivers="replay")
    env.reset(seed=1)
    assert inner.scenes[0].step == 5 and inner.scenes[0].steps == 12
    for step in range(12):
        assert divergence(inner) < 1e-4
        _, _, _, truncated, _ = env.step(still(env))
        assert truncated[0] == (step == 11)
    env.close()


SHORT, LONG = 11, 16


def three_scenes():
    return [scene(name=f"scene {k}", steps=steps) for k, steps in enumerate((SHORT, LONG, LONG))]


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_scenes_follow_each_other(mode):
    """Three scenes through two worlds: two pages a round."""
    env, inner = make(three_scenes(), worlds=2, autoreset_mode=mode)
    obs, info = env.reset(seed=1)
    names, ends = [], []
    for step in range(50):
        names.append([one.scenario.name for one in inner.scenes])
        obs, reward, terminated, truncated, info = env.step(still(env))
        ends += [(step, row) for row in np.flatnonzero(truncated).tolist()]
        assert not terminated.any() and np.isfinite(obs).all()
        if mode == "Disabled" and truncated.any():
            obs, info = env.reset(options={"reset_mask": truncated})
    turned = [k for k in range(1, 50) if names[k] != names[k - 1]]
    assert names[0] == ["scene 0", "scene 1"] and names[turned[0]] == ["scene 2"] and names[turned[1]] == names[0]
    # A page is over with its longest scene; the row of the shorter one has ended before, and waits.
    extra = mode == "NextStep"  # the step in which a page begins
    assert turned[:2] == [LONG - 1 + extra, 2 * (LONG - 1 + extra)]
    assert ends[:3] == [(SHORT - 2, 0), (LONG - 2, 1), (2 * LONG - 3 + extra, 0)]
    assert inner.scene_rounds == 1
    env.reset(seed=1)
    assert inner.scene_rounds == 0 and [one.number for one in inner.scenes] == [0, 1]
    env.close()


def test_any_number_of_threads_gives_the_same_bits():
    found = []
    for threads in (1, 2, 3):
        env, inner = make(three_scenes(), worlds=3, threads=threads, control="all", others="idm")
        obs, _ = env.reset(seed=3)
        kept = [obs]
        for step in range(20):
            obs, reward, *_ = env.step((np.arange(env.num_envs) * 7 + step) % 12)
            kept += [obs, reward]
        found.append([array.tobytes() for array in kept])
        env.close()
    assert found[0] == found[1] == found[2]


def test_an_action_holds():
    env, inner = make(scene(), decision_every=3)
    env.reset(seed=1)
    jerks = []
    for step in range(9):
        env.step(np.array([10 if step % 3 == 0 else 1]))  # what comes between is ignored
        jerks.append(float(inner.simulator.state.motion.jerk[0, 0]))
    assert len(set(jerks)) == 1 and jerks[0] > 0
    env.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"control": "everybody"}, "control='everybody': choose one of 'ego', 'predict', 'all'"),
        ({"others": "nobody"}, "others='nobody': choose one of"),
        ({"start_step": STEPS}, f"start_step={STEPS}: the record has {STEPS} steps"),
        ({"start_step": -1}, "start_step=-1: must be a whole number"),
        ({"way_every": 0.0}, "way_every=0.0: must be"),
        ({"traffic": "idm"}, "traffic='idm' has no place in scenes"),
        ({"num_envs": 7}, "num_envs=7: 1 worlds of 1 rows are 1"),
        ({"decision_every": 0}, "decision_every=0"),
        ({"drivers": {"policy": 0.5, "idm": 0.5}}, "one name for all rows of scenes"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make(scene(), **arguments)


def test_scenes_have_to_be_named():
    with pytest.raises(ValueError, match="control='all' says something of scenes: name them"):
        gymnasium.make_vec("gigaflow_env:GigaFlow-v0", control="all")
    with pytest.raises(ValueError, match="has no map: give map"):
        make(scenario())
    with pytest.raises(ValueError, match="names no ego"):
        make(scene(ego=None))
    env = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", preset="laptop", num_envs=4)
    with pytest.raises(RuntimeError, match="scenes="):
        _ = env.unwrapped.scenes
    env.close()


def test_a_scenario_on_a_map_given_beside_it():
    env, inner = make(scenario(), map=crossing(lights=True), drivers="replay")
    env.reset(seed=1)
    env.step(still(env))
    assert divergence(inner) < 1e-4
    env.close()


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/scenes is not beside the checkout")
def test_the_ego_on_real_scenes_of_all_formats():
    """Log divergence 0, and nobody is hit: the recorded egos met nobody."""
    env, inner = make(SHARED, drivers="replay", start_step=10, autoreset_mode="NextStep", config={"on_crash": "continue"})
    env.reset(seed=1)
    assert len(inner.scenes) == 5 and not inner.scenes_left_out
    ended = np.zeros(env.num_envs, bool)
    for _ in range(max(one.steps for one in inner.scenes)):
        _, _, _, truncated, info = env.step(still(env))
        ended |= truncated
        assert not info["collision"].any()
        assert all(divergence(inner, world) < 1e-4 for world in np.flatnonzero(~ended))
    assert ended.all() and all(one.step == one.scenario.steps - 1 for one in inner.scenes)
    env.close()


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/scenes is not beside the checkout")
def test_all_experts_of_a_real_scene():
    path = SHARED / "gpudrive_scene_4.json"
    env, inner = make(path, control="all", drivers="replay", start_step=10, config={"on_crash": "continue"})
    env.reset(seed=1)
    hits = np.zeros(env.num_envs, bool)
    for _ in range(inner.scenes[0].steps - 1):
        _, _, _, _, info = env.step(still(env))
        hits |= info["collision"]
        assert divergence(inner) < 1e-4
    assert hits.mean() < 0.15, "recorded boxes overlap here and there, not everywhere"
    env.close()


@given(st.integers(0, 10**6), st.integers(0, 200), st.integers(0, 200))
def test_a_scene_ends_when_its_world_does(begun, steps, age):
    """The world is so old that it ends after as many steps as the scene has."""
    world_steps = begun + steps
    clock = SimpleNamespace(step=np.array([begun + age], np.int32))
    tracks = SimpleNamespace(steps=np.array([steps], np.int32))
    shown = plain(moment)(0, clock, tracks, SimpleNamespace(world_steps=np.int32(world_steps)))
    assert shown == age and (shown == steps) == (clock.step[0] == world_steps)


@given(reals(-30, 30), reals(-2, 2), reals(0.3, 10))
def test_steering_turns_as_the_bicycle_does_and_is_even_handed(speed, turning, wheelbase):
    found = call(steering)(speed, turning, wheelbase, P)
    assert found == -call(steering)(speed, -turning, wheelbase, P) == -call(steering)(-speed, turning, wheelbase, P)
    assert abs(found) <= P.steer_max and (found == 0 or abs(speed) >= 0.5)
    if 0 < abs(found) < 0.5:
        assert np.tan(found) * speed / wheelbase == pytest.approx(turning, rel=1e-4, abs=1e-4)


def test_towns_have_no_pages():
    sim = Simulator("loop", 4, laptop(), threads=1)
    assert not sim.page_over
    with pytest.raises(ValueError, match="only a simulator of scenes"):
        sim.turn(None)


FOLLOWER_STARTS = ((-30.0, -1.75, 0.0, 10.0), (-50.0, -1.75, 0.0, 10.0), *STARTS[2:])
"""The ego, and behind it a car that drives as fast."""
BRAKE = 1


@pytest.mark.parametrize(("others", "hit"), [("replay", True), ("idm", False)])
def test_rule_based_others_react_and_tracks_do_not(others, hit):
    """The ego brakes, as it did not in the record."""
    env, inner = make(scene(starts=FOLLOWER_STARTS), others=others, config={"on_crash": "continue"})
    env.reset(seed=1)
    status = inner.simulator.state.rows.status
    place = {int(agent): k for k, agent in enumerate(inner.scenes[0].agents) if agent >= 0}
    # Vehicles on a lane drive; who stands beside the road, or is no vehicle, is as recorded.
    assert status[0, place[LEADER]] == status[0, place[ONCOMING]] == (PLAYED if hit else LIVE)
    assert status[0, place[PARKED]] == status[0, place[PEDESTRIAN]] == PLAYED
    hits = 0
    for _ in range(STEPS - 2):
        _, _, _, _, info = env.step(np.full(env.num_envs, BRAKE))
        hits += info["collision"][0]
    assert (hits > 0) == hit
    if not hit:  # it stands behind the ego
        behind = inner.simulator.state.pose.x[0, 0] - inner.simulator.state.pose.x[0, place[LEADER]]
        assert 4.5 < behind < 8 and inner.simulator.state.motion.speed[0, place[LEADER]] < 1
    env.close()


def test_rule_based_others_have_the_numbers_of_nuplan():
    env, inner = make(scene(), others="idm", config={"idm_headway": 2.0})
    env.reset(seed=1)
    config, body = inner.config, inner.simulator.state.body
    assert (config.idm_acceleration, config.idm_deceleration, config.idm_headway, config.idm_gap) == (1.0, 2.0, 2.0, 1.0)
    place = inner.scenes[0].agents.tolist().index(LEADER)
    assert body.c_vel[0, place] * config.speed_max > 13.9, "the lane's limit is v0"
    env.close()


def test_a_parked_car_whose_record_trembles_stays_parked():
    """On the lane, and metres of way in steps of some centimetres: no rule may drive it away."""
    starts = (STARTS[EGO], (-30.0, -1.75, 0.0, 0.0))
    made = scenario(starts=starts)
    made.x[1, ::2] += 0.1
    assert np.abs(np.diff(made.x[1])).sum() > 2
    env, inner = make((crossing(lights=True), made), others="idm")
    env.reset(seed=1)
    assert inner.simulator.state.rows.status[0, 1] == PLAYED
    made.x[1] += np.linspace(0, 2.5, STEPS)
    env.close()
    env, inner = make((crossing(lights=True), made), others="idm")
    env.reset(seed=1)
    assert inner.simulator.state.rows.status[0, 1] == LIVE, "who moves is driven"
    env.close()


def test_with_others_by_policy_all_that_are_seen_are_rows():
    env, inner = make(scene(), others="policy")
    _, info = env.reset(seed=1)
    one = inner.scenes[0]
    assert env.num_envs == 5 and info["active"].all() and not info["traffic"].any()
    assert one.controlled.tolist() == [True, False, False, False, False]
    assert one.agents.tolist() == [EGO, PARKED, LEADER, PEDESTRIAN, ONCOMING, CYCLIST]
    env.close()


def test_who_decides():
    env, inner = make(scene(), decision_every=3, control="predict")
    env.reset(seed=1)
    found = []
    for _ in range(6):
        found.append(inner.decides.tolist())
        env.step(still(env))
    assert found == [[True, True], [False, False], [False, False]] * 2
    env.close()


def test_a_checkpoint_drives_and_is_asked_as_often_as_in_its_training():
    with pytest.raises(ValueError, match="trained to decide every 0.3 s, .* 0.1 s: decision_every=3 would be right"):
        make(scene(), preset=None, drivers="pretrained")
    env, inner = make(scene(), preset=None, drivers="pretrained", decision_every=3)
    _, info = env.reset(seed=1)
    assert info["traffic"].all() and inner.config.dt == DT and inner.config.noise_position == 0
    jerks = []
    for _ in range(9):
        env.step(np.zeros(1, int))  # nobody reads it: it would be to brake
        jerks.append(float(inner.simulator.state.motion.jerk[0, 0]))
    assert jerks[0::3] == jerks[1::3] == jerks[2::3] and max(jerks) > -15
    env.close()


def test_pictures_and_recordings_show_the_tracks(tmp_path):
    env, inner = make(scene(), events=True)
    env.reset(seed=1)
    with inner.record(tmp_path / "scene.csv") as recording:
        env.step(still(env))
        env.step(still(env))
    assert len(recording.recorder.moments) == 3
    lines = (tmp_path / "scene.csv").read_text().splitlines()
    assert len(lines) - 1 == 3 * 5, "five are on the road"
    drawn = inner.scene(0, 0)
    assert drawn.active.sum() == 5 and drawn.followed == 0 and "0.2 s" in drawn.text[0]
    assert inner.render_world().shape == (720, 720, 3)
    env.close()


def test_tensors_of_scenes_are_the_arrays():
    torch = pytest.importorskip("torch")
    arrays, _ = make(scene())
    tensors, _ = make(scene(), output="torch")
    for env in (arrays, tensors):
        env.reset(seed=1)
    for _ in range(3):
        one, other = arrays.step(still(arrays)), tensors.step(torch.full((1,), NO_JERK))
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(one[:4], other[:4], strict=True))
        assert np.array_equal(one[4]["distance"], other[4]["distance"].numpy())
    for env in (arrays, tensors):
        env.close()


def test_conditioning_is_for_rows():
    env, inner = make(scene(), control="predict", conditioning={"collision": np.array([1.0, 2.0]), "goal_radius": 5.0})
    env.reset(seed=1)
    coefficients = inner.simulator.state.reward_weights.coefficients
    assert coefficients[0, :2, CONDITIONING.index("collision")].tolist() == [1.0, 2.0]
    assert coefficients[0, :2, CONDITIONING.index("goal_radius")].tolist() == [5.0, 5.0]
    env.close()


@pytest.mark.parametrize("stage", [follow_track, leave_scene])
def test_stages_write_what_they_say_of_their_own_row_in_any_order(stage):
    found = []
    for order in (1, -1):
        env, inner = make([scene(), scene(steps=9)], control="predict", drivers="replay", others="idm")
        env.reset(seed=1)
        sim = inner.simulator
        if stage is leave_scene:
            sim.state.rows.status[0, 1] = ENDED
        have = known(sim._parts)
        before = copy.deepcopy(sim.state)
        agents = np.arange(sim.agents)[::order]
        loop_of(stage)(agents, 0, *(have[name] for name in parameters(plain(stage)) if name not in ("w", "a")))
        changed = {}
        for group, arrays in sim.state._asdict().items():
            for name, array in arrays._asdict().items():
                old = getattr(getattr(before, group), name)
                if array.tobytes() != old.tobytes():
                    changed[f"{group}.{name}"] = array.copy()
                    assert len(array) != 2 or array[1].tobytes() == old[1].tobytes(), "the other world changed"
        found.append(changed)
        env.close()
    assert found[0].keys() == found[1].keys() and found[0]
    assert all(array.tobytes() == found[1][name].tobytes() for name, array in found[0].items())
    said = plain(stage).__doc__.split("Writes: ")[1]
    for name in found[0]:
        assert name.split(".")[0] in said, f"{name} changed, and is not said to"


@functools.cache
def loop_of(stage):
    """A kernel that runs a stage for some agents of a world."""

    def loop(agents, w, *groups):
        for a in agents:
            stage(w, a, *groups)

    loop.__name__ = f"{stage.__name__}_of_scenes"
    return kernel(loop)
