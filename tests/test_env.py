"""The environment: rows and worlds, seeds, autoreset in worlds of several agents, events, statistics, copies and threads."""

import copy
import inspect
import json
import pickle
import resource
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from gigaflow_env import FEATURES, Config, GigaflowVectorEnv, RoadMap
from gigaflow_env.config import laptop, paper
from gigaflow_env.declare import fields
from gigaflow_env.layout import Layout
from gigaflow_env.roads import Lane, load, save, shipped
from gigaflow_env.state import ABSENT, LIVE

AGENTS = 8
MODES = [mode.value for mode in AutoresetMode]


def make(num_envs: int = 3 * AGENTS, **changes) -> GigaflowVectorEnv:
    """Worlds of eight agents on the loop; other keywords than the environment's own are changes of the configuration."""
    options = {"preset": "laptop", "agents_per_world": AGENTS, "threads": 1}
    config = {name: given for name, given in changes.items() if name in Config.__dataclass_fields__}
    options |= {name: given for name, given in changes.items() if name not in config}
    return gymnasium.make_vec("GigaFlow-v0", num_envs=num_envs, config=config, **options)


@pytest.fixture
def short_street(tmp_path) -> str:
    """File of a map with one lane, 120 m long: too short for eight agents that keep 30 m."""
    line = np.array([[0.0, 0.0, 0.0, 0.0, 3.5], [120.0, 0.0, 0.0, 0.0, 3.5]])
    path = tmp_path / "street.lanes.json"
    save(RoadMap("street", {"lane": Lane("lane", line)}), path)
    return str(path)


def actions_of(env: GigaflowVectorEnv, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 12, (steps, env.num_envs))


def drive(env: GigaflowVectorEnv, actions: np.ndarray, seed: int | None = 0) -> list[tuple]:
    """What reset and the steps return; mode Disabled: also what the resets of the rows that ended return."""
    run = [env.reset(seed=seed)]
    for action in actions:
        run.append(env.step(action))
        ended = run[-1][2] | run[-1][3]
        if env.autoreset_mode == AutoresetMode.DISABLED and ended.any():
            run.append(env.reset(options={"reset_mask": ended}))
    return run


def assert_same(one, other) -> None:
    """Equal bit for bit: arrays, and dicts, lists and tuples of them."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rows, worlds", [(1, 1), (7, 1), (AGENTS, 1), (AGENTS + 1, 2)])
def test_any_number_of_rows(rows, worlds):
    env = make(rows)
    obs, info = env.reset(seed=0)
    assert (env.num_envs, env.num_worlds, env.agents_per_world) == (rows, worlds, min(rows, AGENTS))
    assert obs.shape == (rows, env.layout.size) == env.observation_space.shape
    assert info["active"].all()
    np.testing.assert_array_equal(env.world_of_row, [row // AGENTS for row in range(rows)])
    for action in actions_of(env, 20):
        obs, reward, terminated, truncated, info = env.step(action)
        assert obs.shape[0] == len(reward) == len(terminated) == len(truncated) == rows
        assert all(len(given) == rows for given in info.values())
    beyond = env.simulator.state.rows.status.reshape(-1)[rows:]
    assert len(beyond) == worlds * env.agents_per_world - rows and (beyond == ABSENT).all()


def test_make_vec_without_arguments():
    env = gymnasium.make_vec("gigaflow_env:GigaFlow-v0")
    assert env.num_envs == 1 and env.config == paper() and env.autoreset_mode == AutoresetMode.SAME_STEP
    env.reset(seed=0)
    env.step(env.action_space.sample())


def test_the_specification_goes_through_json():
    arguments = {"map": ["loop", "downtown"], "preset": "laptop", "config": {"progress": [0.1, 0.2]}, "max_episode_steps": 9}
    env = gymnasium.make_vec("GigaFlow-v0", num_envs=5, autoreset_mode="NextStep", agents_per_world=3, **arguments)
    text = env.spec.to_json()
    assert json.loads(text)["kwargs"]["config"] == {"progress": [0.1, 0.2]}
    again = gymnasium.make_vec(EnvSpec.from_json(text))
    assert again.config == env.config == laptop().replace(progress=(0.1, 0.2), max_steps=9, agents_per_world=3)
    assert again.autoreset_mode == AutoresetMode.NEXT_STEP and again.num_envs == 5
    assert again.simulator.roads.names == ("loop", "downtown")
    actions = actions_of(env, 30)
    assert_same(drive(env, actions), drive(again, actions))


def test_metadata_belong_to_the_instance():
    one, other = make(), make(autoreset_mode="Disabled", dt=0.1)
    assert one.metadata["autoreset_mode"] is one.autoreset_mode is AutoresetMode.SAME_STEP
    assert other.metadata["autoreset_mode"] is other.autoreset_mode is AutoresetMode.DISABLED
    assert (one.metadata["render_fps"], other.metadata["render_fps"]) == (3, 10)
    assert make(dt=3.0).metadata["render_fps"] == 1
    assert GigaflowVectorEnv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


def test_the_mode_can_be_given_as_gymnasiums_enum():
    assert make(autoreset_mode=AutoresetMode.NEXT_STEP).autoreset_mode is AutoresetMode.NEXT_STEP


def test_a_complete_configuration_replaces_the_preset():
    config = laptop().replace(agents_per_world=4, lane_count=5)
    env = gymnasium.make_vec("GigaFlow-v0", num_envs=8, config=config)
    assert env.config == config and env.num_worlds == 2 and env.layout.counts.lanes == 5


def test_maps_by_name_by_path_and_as_objects_take_turns(tmp_path):
    towns = shipped()
    road_map = load(towns["downtown"])
    assert isinstance(road_map, RoadMap)
    env = make(5 * AGENTS, map=["loop", towns["loop"], road_map])
    np.testing.assert_array_equal(env.simulator.state.clock.map, [0, 1, 2, 0, 1])
    assert env.simulator.roads.names == ("loop", "loop", "downtown")
    obs, _ = env.reset(seed=0)
    assert obs.any(axis=1).all()


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_run_whatever_was_before(mode):
    env, other = make(autoreset_mode=mode, record_stats=True), make(autoreset_mode=mode, record_stats=True)
    actions = actions_of(env, 40)
    first = drive(env, actions, seed=3)
    drive(other, actions_of(env, 25, seed=1), seed=5)
    assert_same(first, drive(env, actions, seed=3))
    assert_same(first, drive(other, actions, seed=3))


def test_resets_without_a_seed_differ_but_follow_from_the_last_one():
    env, other = make(), make()
    starts = [env.reset(seed=1)[0], env.reset()[0], env.reset()[0], env.reset(seed=2)[0]]
    for one in range(4):
        for two in range(one):
            assert (starts[one] != starts[two]).any(axis=1).all()
    assert_same(starts[:3], [other.reset(seed=1)[0], other.reset()[0], other.reset()[0]])


def test_rows_and_worlds_differ_from_each_other():
    obs, _ = make().reset(seed=0)
    assert len(np.unique(obs, axis=0)) == len(obs)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("town", ["loop", "downtown"])
def test_results_do_not_depend_on_the_number_of_threads(mode, town):
    rows = 5 * AGENTS - 3
    runs = []
    for threads in (1, 2, 3, 5, 9):
        env = make(rows, map=town, autoreset_mode=mode, threads=threads, world_steps=30, record_stats=True)
        runs.append(drive(env, actions_of(env, 50)))
        env.close()
    for run in runs[1:]:
        assert_same(runs[0], run)


def through_pickle(env: GigaflowVectorEnv) -> GigaflowVectorEnv:
    return pickle.loads(pickle.dumps(env))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle])
def test_a_copy_goes_on_as_the_original_does(duplicate):
    env = make(threads=2, record_stats=True)
    env.reset(seed=0)
    before, after = actions_of(env, 20), actions_of(env, 30, seed=1)
    for action in before:
        env.step(action)
    twin = duplicate(env)
    assert_same([env.step(action) for action in after], [twin.step(action) for action in after])
    assert_same(env.reset(), twin.reset())
    env.close()
    twin.step(after[0])  # threads of its own
    twin.close()


def test_arrays_are_fresh_unless_copy_is_false():
    fresh, reused = make(record_stats=True), make(record_stats=True, copy=False)
    first, again = fresh.reset(seed=0), reused.reset(seed=0)
    assert_same(first, again)
    kept = copy.deepcopy(first)
    for action in actions_of(fresh, 30):
        result, same = fresh.step(action), reused.step(action)
        ended = result[2] | result[3]
        assert_same(result[:4], same[:4])
        info, other = dict(result[4]), dict(same[4])
        assert_same(info.pop("final_obs")[ended], other.pop("final_obs")[ended])
        assert_same(info, other)
        assert not result[4]["final_obs"][~ended].any()
        assert not any(np.shares_memory(a, b) for a, b in zip(result[:4], fresh.step(action)[:4], strict=True))
        now = reused.step(action)
        assert all(np.shares_memory(a, b) for a, b in zip(same[:4], now[:4], strict=True))
        assert np.shares_memory(again[0], now[0])
    assert_same(first, kept)


@pytest.mark.parametrize("mode", MODES)
def test_statistics_are_the_sums_of_the_rewards_of_each_episode(mode):
    env = make(autoreset_mode=mode, record_stats=True, max_episode_steps=25, world_steps=60)
    _, info = env.reset(seed=0)
    total, length, active = np.zeros(env.num_envs), np.zeros(env.num_envs, int), info["active"]
    episodes = 0
    for action in actions_of(env, 150):
        _, reward, terminated, truncated, info = env.step(action)
        ended = terminated | truncated
        total += reward
        length += active
        np.testing.assert_array_equal(info["_episode"], ended)
        np.testing.assert_allclose(info["episode"]["r"][ended], total[ended], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(info["episode"]["l"], np.where(ended, length, 0))
        assert not info["episode"]["r"][~ended].any()
        total[ended], length[ended], active = 0, 0, info["active"]
        episodes += ended.sum()
        if mode == "Disabled" and ended.any():
            _, info = env.reset(options={"reset_mask": ended})
            active = info["active"]
    assert episodes > 100 and length.max() <= 25


def test_info_has_the_same_keys_in_every_step():
    events = ["collision", "goal", "offroad", "red_light", "route_done", "timeout"]
    for mode, more in (("SameStep", ["_final_obs", "final_obs"]), ("NextStep", []), ("Disabled", [])):
        env = make(autoreset_mode=mode)
        _, info = env.reset(seed=0)
        assert sorted(info) == sorted([*events, "active", "distance", "erratic", "traffic"])
        _, *_, info = env.step(actions_of(env, 1)[0])
        assert sorted(info) == sorted([*events, "active", "distance", "erratic", "traffic", *more])
        assert all(info[name].dtype == np.bool_ for name in [*events, "active"])


def test_events_say_why_an_episode_ended():
    env = make(10 * AGENTS, max_episode_steps=20, goal_distance=(5.0, 15.0), waypoints_max=0, goal_speed=30.0)
    env.reset(seed=0)
    seen = {"collision": 0, "offroad": 0, "route_done": 0, "timeout": 0}
    for action in actions_of(env, 100):
        _, _, terminated, truncated, info = env.step(action)
        crash = info["collision"] | info["offroad"]
        np.testing.assert_array_equal(terminated, crash | info["route_done"])
        assert not (terminated & truncated).any()
        np.testing.assert_array_equal(truncated, info["timeout"] & ~terminated)  # no world ends so soon
        assert (info["goal"] | ~info["route_done"]).all()
        for name in seen:
            seen[name] += info[name].sum()
        if env.simulator.state.clock.step.max() >= env.config.world_steps - 1:
            break
    assert min(seen.values()) > 0, seen


def test_crashes_and_final_goals_need_not_end_an_episode():
    near = {"goal_speed": 30.0, "goal_distance": (5.0, 15.0), "waypoints_max": 0}
    env = make(on_crash="continue", on_route_done="new_route", world_stagger=0.0, **near)
    env.reset(seed=0)
    crashes, routes, ended = 0, 0, 0
    for action in actions_of(env, 60):
        _, _, terminated, truncated, info = env.step(action)
        crashes, routes = crashes + info["offroad"].sum(), routes + info["route_done"].sum()
        # Where the road ends at the final goal there is no new route.
        assert not (terminated & ~info["route_done"]).any() and not truncated.any() and info["active"].all()
        ended += terminated.sum()
    assert crashes > 0 and routes > ended


def test_an_episode_ends_after_max_episode_steps():
    env = make(1, max_episode_steps=7, on_crash="continue", on_route_done="new_route", world_stagger=0.0)
    assert env.config.max_steps == 7
    env.reset(seed=0)
    ends = [step for step in range(1, 29) if env.step(np.array([4]))[3][0]]
    assert ends == [7, 14, 21, 28]


def world_ends(env: GigaflowVectorEnv, steps: int) -> np.ndarray:
    """Steps in which each world ended, bool (steps, worlds). All of a world's rows end together."""
    env.reset(seed=0)
    ends = np.zeros((steps, env.num_worlds), bool)
    for step, action in enumerate(actions_of(env, steps)):
        _, _, terminated, truncated, info = env.step(action)
        ended = (terminated | truncated).reshape(env.num_worlds, -1)
        cut = (truncated & ~info["timeout"]).reshape(env.num_worlds, -1)
        ends[step] = cut.any(axis=1)
        assert ended[ends[step]].all(), "a world that is over ends the episodes of all of its agents"
    return ends


def test_world_ends_are_staggered():
    ends = world_ends(make(20 * AGENTS, world_steps=40), 80)
    assert (ends.sum(axis=0) == 2).all()
    first, second = ends[:40].argmax(axis=0), 40 + ends[40:].argmax(axis=0)
    np.testing.assert_array_equal(second - first, 40)
    assert len(np.unique(first)) > 10 and ends.sum(axis=1).max() <= 5


def test_worlds_end_together_without_stagger():
    ends = world_ends(make(4 * AGENTS, world_steps=40, world_stagger=0.0), 80)
    np.testing.assert_array_equal(np.flatnonzero(ends.any(axis=1)), [39, 79])
    assert ends[[39, 79]].all()


def until_an_end(env: GigaflowVectorEnv, actions: np.ndarray) -> tuple[int, tuple]:
    """Drive until some, not all, rows of a world end: the number of steps, and what the last returned."""
    env.reset(seed=0)
    for step, action in enumerate(actions):
        result = env.step(action)
        ended = (result[2] | result[3]).reshape(env.num_worlds, -1)
        if (ended.any(axis=1) & ~ended.all(axis=1)).any():
            return step, result
    raise AssertionError("no row ended")


def test_the_end_of_an_episode_looks_the_same_in_all_modes():
    same, following, disabled = (make(autoreset_mode=mode) for mode in ("SameStep", "NextStep", "Disabled"))
    actions = actions_of(same, 50)
    step, (obs, reward, terminated, truncated, info) = until_an_end(same, actions)
    ended = terminated | truncated
    for other in (following, disabled):
        number, result = until_an_end(other, actions)
        assert number == step
        assert_same([reward, terminated, truncated], list(result[1:4]))
        assert_same(info["final_obs"][ended], result[0][ended])
        for name in ("distance", "collision", "offroad", "route_done", "timeout"):  # of the step, not of the new start
            assert_same(info[name], result[4][name])
        assert not result[4]["active"][ended].any() and result[4]["active"][~ended].all()
    assert info["active"].all() and (obs[ended] != info["final_obs"][ended]).any(axis=1).all()


def test_next_step_mode_starts_anew_in_the_next_step_while_the_others_drive_on():
    env, other = make(autoreset_mode="NextStep"), make(autoreset_mode="NextStep")
    actions = actions_of(env, 50)
    step, (obs, _, terminated, truncated, info) = until_an_end(env, actions)
    until_an_end(other, actions)
    ended = terminated | truncated
    action = actions[step + 1]
    new_obs, reward, terminated, truncated, info = env.step(action)
    assert not reward[ended].any() and not (terminated | truncated)[ended].any()
    assert info["active"][ended].all() and (new_obs[ended] != obs[ended]).any(axis=1).all()
    assert not info["collision"][ended].any() and not info["distance"][ended].any()
    assert (info["distance"][~ended] > 0).any() and (new_obs[~ended] != obs[~ended]).any(axis=1).all()
    assert (env.simulator.per_row(env.simulator.state.rows.steps)[ended] == 0).all()

    # The action of the dead step has no effect; the next one has.
    changed = np.where(ended, (action + 5) % 12, action)
    assert_same(list(other.step(changed)), [new_obs, reward, terminated, truncated, info])
    assert (env.step(action)[0][ended] != other.step(changed)[0][ended]).any(axis=1).all()


def test_disabled_mode_starts_the_masked_rows_and_leaves_the_others_where_they_are():
    env = make(autoreset_mode="Disabled")
    _, (obs, _, terminated, truncated, _) = until_an_end(env, actions_of(env, 50))
    ended = terminated | truncated
    state = copy.deepcopy(env.simulator.state)
    new_obs, info = env.reset(options={"reset_mask": ended})
    assert info["active"].all() and not info["collision"].any() and not info["distance"].any()
    assert (new_obs[ended] != obs[ended]).any(axis=1).all()

    old, new = env.layout.split(obs), env.layout.split(new_obs)
    for name in FEATURES._fields:
        if name != "agents":  # they see that somebody has come
            np.testing.assert_array_equal(getattr(old, name)[~ended], getattr(new, name)[~ended], err_msg=name)
    others = ~np.isin(env.world_of_row, env.world_of_row[ended])
    np.testing.assert_array_equal(obs[others], new_obs[others])
    for group in ("rows", "pose", "body", "goals", "reward_weights"):
        before, after = getattr(state, group), getattr(env.simulator.state, group)
        for name in before._fields:
            a, b = env.simulator.per_row(getattr(before, name)), env.simulator.per_row(getattr(after, name))
            np.testing.assert_array_equal(a[~ended], b[~ended], err_msg=f"{group}.{name}")
    env.step(actions_of(env, 1)[0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("town", ["loop", "downtown"])
def test_a_mask_starts_live_rows_anew_in_any_mode_and_other_worlds_do_not_notice(mode, town):
    # No stagger: worlds at age 0, where a light's program begins.
    env, other = (make(map=town, autoreset_mode=mode, world_stagger=0.0, threads=2) for _ in range(2))
    obs, _ = env.reset(seed=0)
    other.reset(seed=0)
    mask = np.zeros(env.num_envs, bool)
    mask[[1, 4]] = True
    options = {"reset_mask": mask}
    for _ in range(2):  # every reset gives another start
        before = obs
        obs, info = env.reset(options=options)
        assert list(options) == ["reset_mask"] and mask.sum() == 2
        assert info["active"].all() and (obs[mask] != before[mask]).any(axis=1).all()
        np.testing.assert_array_equal(obs[AGENTS:], before[AGENTS:])
    for action in actions_of(env, 30):
        a, b = env.step(action), other.step(action)
        np.testing.assert_array_equal(a[0][AGENTS:], b[0][AGENTS:])
        np.testing.assert_array_equal(a[1][AGENTS:], b[1][AGENTS:])
        for one, result in ((env, a), (other, b)):
            ended = result[2] | result[3]
            if mode == "Disabled" and ended.any():
                one.reset(options={"reset_mask": ended})


def test_a_seed_with_a_mask_decides_where_the_rows_start():
    env, other = make(), make()
    mask = np.arange(env.num_envs) == 2
    for one in (env, other):
        one.reset(seed=0)
    a, b = env.reset(seed=5, options={"reset_mask": mask})[0], other.reset(seed=6, options={"reset_mask": mask})[0]
    assert (a[2] != b[2]).any()
    other.reset(seed=0)
    assert_same(a, other.reset(seed=5, options={"reset_mask": mask})[0])


def test_an_agent_without_place_waits(short_street):
    env = make(2 * AGENTS, map=short_street, spawn_gap=30.0, record_stats=True)
    obs, info = env.reset(seed=0)
    active = info["active"]
    assert active.any() and not active.all()
    entered = 0
    for action in actions_of(env, 60):
        new_obs, reward, terminated, truncated, info = env.step(action)
        assert not obs[~active].any() and obs[active].any(axis=1).all()
        assert not reward[~active].any() and not (terminated | truncated)[~active].any()
        for name in ("collision", "offroad", "red_light", "goal", "route_done", "timeout"):
            assert not info[name][~active].any()
        entered += (info["active"] & ~active).sum()
        obs, active = new_obs, info["active"]
    assert entered > 0


def test_who_waits_ignores_its_action(short_street):
    env, other = (make(2 * AGENTS, map=short_street, spawn_gap=30.0) for _ in range(2))
    active = env.reset(seed=0)[1]["active"]
    other.reset(seed=0)
    for action in actions_of(env, 30):
        a, b = env.step(action), other.step(np.where(active, action, 0))
        assert_same(list(a), list(b))
        active = a[4]["active"]


def test_nobody_sees_who_waits(short_street):
    env = make(AGENTS, map=short_street, spawn_gap=30.0, view_range=5000.0)
    obs, info = env.reset(seed=0)
    live = info["active"]
    assert 1 < live.sum() < AGENTS
    present = env.layout.split(obs).agents[..., FEATURES.agents._fields.index("present")]
    np.testing.assert_array_equal(present[live].sum(axis=1), live.sum() - 1)


def test_actions_of_any_integer_type_and_as_lists():
    results = []
    for dtype in (np.int8, np.uint8, np.int32, np.int64, np.uint64):
        env = make()
        env.reset(seed=0)
        results.append(env.step(actions_of(env, 1)[0].astype(dtype)))
    env.reset(seed=0)
    results.append(env.step(actions_of(env, 1)[0].tolist()))
    for result in results[1:]:
        assert_same(list(results[0]), list(result))


def test_a_closed_environment_may_be_closed_again():
    env = make(threads=2)
    env.reset(seed=0)
    env.close()
    env.close()
    assert env.closed


def test_rendering_draws_a_row_when_it_is_looked_at():
    pytest.importorskip("matplotlib", reason="pictures need the extra render")
    env = make(2 * AGENTS, render_mode="rgb_array")
    env.reset(seed=0)
    frames = env.render()
    assert len(frames) == 2 * AGENTS
    frame = frames[0]
    assert frame.shape == (720, 720, 3) and frame.dtype == np.uint8 and len(np.unique(frame)) > 5
    assert (frames[-1] != frame).any()
    np.testing.assert_array_equal(frames[AGENTS + 1], env.render_world(1, 1))
    assert [one.shape for one in frames[1:3]] == [(720, 720, 3)] * 2
    with pytest.raises(IndexError):
        frames[2 * AGENTS]


def test_the_scene_follows_a_live_agent_only(short_street):
    pytest.importorskip("matplotlib", reason="pictures need the extra render")
    env = make(AGENTS, map=short_street, spawn_gap=30.0)
    active = env.reset(seed=0)[1]["active"]
    assert active.any() and not active.all()
    for agent in range(AGENTS):
        scene = env.scene(0, agent)
        assert scene.followed == (agent if active[agent] else -1)
        np.testing.assert_array_equal(scene.active, active)


@pytest.mark.slow
def test_memory_stays_flat():
    env = make(64, record_stats=True)
    env.reset(seed=0)
    actions = actions_of(env, 16)

    def run(steps: int) -> int:
        for step in range(steps):
            env.step(actions[step % 16])
            if step % 500 == 0:
                env.reset()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    before = run(500)
    after = run(200_000 // 64)
    assert after - before < 4e6, f"{(after - before) / 1e6:.1f} MB more after 200,000 rows"


def test_the_documentation_has_every_block_of_the_observation():
    document = GigaflowVectorEnv.__doc__
    layout = Layout(Config())
    for name, group in zip(FEATURES._fields, FEATURES, strict=True):
        count = getattr(layout.counts, name)
        sizes = {"lanes": "lane_count", "boundaries": "boundary_count", "stops": "stop_count", "agents": "agent_count"}
        assert f"| {name} | {sizes.get(name, count)} | {len(fields(group))} |" in document


def document_table(document: str, section: str) -> dict[str, str]:
    """First columns of a section's table; a row of several names gives one entry each."""
    lines = document.split(section)[1].split("##")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if line.strip().startswith("|")]
    return {name: row[1].strip('"') for row in rows[2:] for name in row[0].split(", ")}


def test_the_documentation_has_every_argument_with_its_default():
    arguments = document_table(GigaflowVectorEnv.__doc__, "## Arguments")
    for name, parameter in inspect.signature(GigaflowVectorEnv.__init__).parameters.items():
        if name != "self":
            assert arguments.pop(name) == str(parameter.default)
    assert not arguments


def test_rows_that_are_live_are_those_that_are_active():
    env = make(autoreset_mode="NextStep")
    env.reset(seed=0)
    for action in actions_of(env, 30):
        *_, info = env.step(action)
        np.testing.assert_array_equal(info["active"], env.simulator.per_row(env.simulator.state.rows.status) == LIVE)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_worlds_end_and_begin_anew_on_time(mode):
    """Worlds of 6 steps, all begun at once: every row is truncated at each sixth step and drives in the ones between."""
    config = {"world_steps": 6, "world_stagger": 0.0, "on_crash": "continue", "on_route_done": "new_route"}
    env = gymnasium.make_vec(
        "GigaFlow-v0", num_envs=24, map="downtown", agents_per_world=8, config=config, autoreset_mode=mode
    )
    env.reset(seed=0)
    straight = np.full(24, 7)
    for step in range(1, 25):
        _, _, terminated, truncated, info = env.step(straight)
        assert not terminated.any() and truncated.tolist() == [step % 6 == 0] * 24, step
        if mode == "Disabled" and step % 6 == 0:
            _, info = env.reset(options={"reset_mask": truncated})
        assert info["active"].all() or (mode == "NextStep" and step % 6 == 0)
        assert (info["distance"] > 0).mean() > 0.5 or step % 6 in ((0, 1) if mode == "NextStep" else (0,))
    env.close()


def test_a_random_town_is_the_same_for_the_same_seed():
    towns = [gymnasium.make_vec("GigaFlow-v0", num_envs=16, map=f"random:{seed}", preset="laptop") for seed in (3, 3, 4)]
    seen = [env.reset(seed=0)[0] for env in towns]
    assert np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2])
    for env in towns:
        env.close()
