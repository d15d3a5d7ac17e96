"""Bad input gives one clear error that names the value, the place and what would be right."""

import gymnasium
import numpy as np
import pytest

from gigaflow_env import Config, MapError, RoadMap
from gigaflow_env.config import laptop
from gigaflow_env.roads import Lane, save
from gigaflow_env.simulator import Simulator

ROWS = 4


def make(**options) -> gymnasium.vector.VectorEnv:
    return gymnasium.make_vec("gigaflow_env:GigaFlow-v0", **{"num_envs": ROWS, "preset": "laptop", "threads": 1, **options})


@pytest.fixture(scope="module")
def env():
    env = make()
    env.reset(seed=0)
    return env


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_envs": 0}, r"num_envs=0: must be a whole number, 1 to 16,777,216"),
        ({"num_envs": 2.5}, r"num_envs=2\.5: must be a whole number, 1 to"),
        ({"num_envs": True}, r"num_envs=True: must be a whole number"),
        ({"map": "lopp"}, r"map='lopp' is neither a shipped town \(.*downtown.*loop.*\), nor random:SEED, nor a file"),
        ({"map": "nowhere/town.xodr"}, r"map='nowhere/town\.xodr' is neither a shipped town .* nor a file"),
        ({"map": []}, r"map=\[\]: name at least one map"),
        ({"map": "random:x"}, r"map='random:x': a random town is named by a whole number"),
        ({"map": ["loop", "lopp"]}, r"map='lopp' is neither a shipped town"),
        ({"preset": "papre"}, r"preset='papre': choose one of 'paper', 'laptop'"),
        ({"config": {"colision": 1.0}}, r"unknown configuration 'colision': did you mean collision"),
        ({"config": {"xyzzy": 1.0}}, r"unknown configuration 'xyzzy'$"),
        ({"config": {"collision": (3, 1)}}, r"collision=\(3, 1\): a range is \(low, high\) with low <= high"),
        ({"config": {"on_crash": "explode"}}, r"on_crash='explode': choose one of 'respawn', 'freeze', 'leave', 'continue'"),
        ({"config": {"max_steps": 10.5}}, r"max_steps=10\.5: must be a whole number, 1 to"),
        ({"agents_per_world": 0}, r"agents_per_world=0: must be 1 to 256 agents"),
        ({"agents_per_world": 257}, r"agents_per_world=257: must be 1 to 256 agents"),
        ({"max_episode_steps": 0}, r"max_steps=0: must be a whole number, 1 to"),
        ({"autoreset_mode": "same_step"}, r"autoreset_mode='same_step': choose one of 'NextStep', 'SameStep', 'Disabled'"),
        ({"autoreset_mode": None}, r"autoreset_mode=None: choose one of"),
        ({"threads": 0}, r"threads=0: must be a whole number, 1 to 1,024, or None for all processors"),
        ({"render_mode": "ansi"}, r"render_mode='ansi': choose one of None, 'rgb_array', 'human'"),
        ({"backend": "tpu"}, r"backend='tpu': choose one of 'cpu', 'cuda'"),
    ],
)
def test_making(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("given", [3, None, np.zeros(2)])
def test_a_map_of_another_type(given):
    with pytest.raises(TypeError, match=r"map=.*: expected the name of a shipped town, the path of a map file, or"):
        make(map=given)


def test_a_mistyped_keyword():
    with pytest.raises(TypeError, match="unexpected keyword argument 'agent_per_world'"):
        make(agent_per_world=4)


def test_a_map_file_that_cannot_be_read(tmp_path):
    wrong = tmp_path / "town.lanes.json"
    wrong.write_text('{"format": "gigaflow-lanes",\n "version": 1,,}')
    with pytest.raises(MapError, match=r"town\.lanes\.json: not a readable map: .* line 2"):
        make(map=str(wrong))
    broken = tmp_path / "town.xodr"
    broken.write_text("<OpenDRIVE>\n<road>\n</OpenDRIVE>")
    with pytest.raises(MapError, match=r"town\.xodr.*line 3"):
        make(map=broken)
    other = tmp_path / "town.dwg"
    other.write_text("")
    with pytest.raises(MapError, match=r"town\.dwg: unknown map format; supported are"):
        make(map=str(other))


def test_an_element_of_a_map_file_that_is_wrong(tmp_path):
    path = tmp_path / "town.xodr"
    path.write_text(
        '<OpenDRIVE>\n<header revMajor="1" revMinor="6"/>\n<road id="1" length="10" junction="-1">\n<planView>\n'
        '<geometry s="0" x="zero" y="0" hdg="0" length="10"><line/></geometry>\n</planView>\n</road>\n</OpenDRIVE>'
    )
    with pytest.raises(MapError, match=r"town\.xodr.*line 5.*geometry.*zero"):
        make(map=path)


def test_more_agents_than_the_map_holds(tmp_path):
    line = np.array([[0.0, 0.0, 0.0, 0.0, 3.5], [50.0, 0.0, 0.0, 0.0, 3.5]])
    path = tmp_path / "lane.lanes.json"
    save(RoadMap("lane", {"one": Lane("one", line)}), path)
    with pytest.raises(ValueError, match=r"agents_per_world=60 do not fit map 'lane': it has room for 3$"):
        make(num_envs=120, map=["loop", path], agents_per_world=60)
    make(num_envs=3, map=path, agents_per_world=60)  # three rows are one world of three agents


@pytest.mark.parametrize(
    "actions, message",
    [
        (np.zeros(ROWS + 1, int), r"actions have shape \(5,\): expected one per row, \(4,\)"),
        (np.zeros((ROWS, 1), int), r"actions have shape \(4, 1\): expected one per row, \(4,\)"),
        (3, r"actions have shape \(\): expected one per row"),
        (np.zeros(ROWS), r"actions have dtype float64: expected whole numbers 0 to 11"),
        (np.zeros(ROWS, bool), r"actions have dtype bool: expected whole numbers 0 to 11"),
        (np.array([0, 1, 12, 0]), r"action 12 of row 2: must be 0 to 11"),
        (np.array([0, -1, 12, 0]), r"action -1 of row 1: must be 0 to 11"),
        (np.array([0, 1, 2, 2**40 + 3]), r"action 1099511627779 of row 3: must be 0 to 11"),
    ],
)
def test_actions(env, actions, message):
    age = env.simulator.state.clock.tick.copy()
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    np.testing.assert_array_equal(env.simulator.state.clock.tick, age)  # nothing moved


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reset_mask": np.ones(ROWS + 1, bool)}, r"reset_mask is bool \(5,\): expected bool \(4,\)"),
        ({"reset_mask": np.ones(ROWS, int)}, r"reset_mask is int64 \(4,\): expected bool \(4,\)"),
        ({"reset_mask": None}, r"reset_mask is object \(\): expected bool \(4,\)"),
        ({"reset_mask": np.zeros(ROWS, bool)}, r"reset_mask names no row: at least one must be True"),
        (
            {"reset_musk": np.ones(ROWS, bool)},
            r"unknown reset option 'reset_musk': there is 'reset_mask' and 'conditioning'",
        ),
    ],
)
def test_reset_options(env, options, message):
    before = env.simulator.observations.copy()
    with pytest.raises(ValueError, match=message):
        env.reset(seed=3, options=options)
    np.testing.assert_array_equal(env.simulator.observations, before)


def test_a_refused_reset_does_not_use_up_its_seed():
    one, other = make(), make()
    for env in (one, other):
        env.reset(seed=0)
    with pytest.raises(ValueError, match="names no row"):
        one.reset(seed=9, options={"reset_mask": np.zeros(ROWS, bool)})
    np.testing.assert_array_equal(one.reset()[0], other.reset()[0])


def test_a_seed_that_is_no_number(env):
    with pytest.raises(ValueError, match=r"seed=\[1, 2, 3, 4\]: must be a whole number, at least 0, or None"):
        env.reset(seed=[1, 2, 3, 4])


def test_a_step_before_the_first_reset():
    env = make()
    with pytest.raises(RuntimeError, match=r"step\(\) before the first reset\(\): call reset\(\) first"):
        env.step(np.zeros(ROWS, int))
    with pytest.raises(RuntimeError, match=r"reset_mask before the first reset: call reset\(\) for all rows first"):
        env.reset(options={"reset_mask": np.ones(ROWS, bool)})


def test_use_after_close():
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    env.close()
    for use in (env.reset, env.render, lambda: env.step(np.zeros(ROWS, int))):
        with pytest.raises(RuntimeError, match="the environment is closed: make a new one"):
            use()


def test_a_step_without_the_reset_that_mode_disabled_asks_for():
    env = make(autoreset_mode="Disabled", max_episode_steps=1)
    env.reset(seed=0)
    *_, terminated, truncated, _ = env.step(np.full(ROWS, 4))
    assert (terminated | truncated).all()
    env.reset(options={"reset_mask": np.array([True, True, False, False])})
    with pytest.raises(RuntimeError, match=r"row 2 has ended: reset it with options=\{'reset_mask': mask\} before"):
        env.step(np.full(ROWS, 4))
    env.reset(options={"reset_mask": np.array([False, False, True, True])})
    env.step(np.full(ROWS, 4))


def test_rendering_without_render_mode(env):
    with pytest.raises(RuntimeError, match=r'render\(\) needs render_mode="rgb_array" or "human" at make_vec'):
        env.render()


@pytest.mark.parametrize("world, agent", [(1, 0), (0, ROWS), (-1, 0)])
def test_a_scene_that_does_not_exist(env, world, agent):
    with pytest.raises(ValueError, match=rf"world={world}, agent={agent}: there are 1 worlds of 4 agents"):
        env.scene(world, agent)


def test_an_observation_of_another_layout(env):
    with pytest.raises(ValueError, match=rf"the observation has 3 columns, this layout {env.layout.size}"):
        env.layout.split(np.zeros((1, 3)))


def test_the_simulator_checks_the_same_without_the_environment():
    simulator = Simulator("loop", ROWS, laptop().replace(agents_per_world=2), threads=1)
    simulator.reset(np.array([1, 2], np.uint32))
    with pytest.raises(ValueError, match=r"actions have shape \(2,\)"):
        simulator.step(np.zeros(2, int))
    with pytest.raises(ValueError, match="agents_per_world=0"):
        Simulator("loop", ROWS, Config(agents_per_world=0))
