"""Snapshots: restored worlds go on bit-equal; what does not fit is refused; observations follow from a small part."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from gigaflow_env import GigaflowVectorEnv, snapshot
from gigaflow_env.state import ABSENT, ENDED, LIVE

AGENTS = 6
ROWS = 5 * AGENTS - 2
MODES = [mode.value for mode in AutoresetMode]


def make(**changes) -> GigaflowVectorEnv:
    options = {"num_envs": ROWS, "map": ["loop", "downtown"], "preset": "laptop", "agents_per_world": AGENTS, "threads": 1}
    config = {"world_steps": 40, "max_steps": 30, **changes.pop("config", {})}
    return gymnasium.make_vec("gigaflow_env:GigaFlow-v0", **{**options, "config": config, **changes})


def drive(env: GigaflowVectorEnv, steps: int, seed: int = 0) -> list[bytes]:
    """The bytes of all that some random steps return."""
    rng, run = np.random.default_rng(seed), []
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(rng.integers(0, 12, env.num_envs))
        ended = terminated | truncated
        if "final_obs" in info:
            info["final_obs"] = info["final_obs"][ended]  # other rows of it may be stale
        run += [array.tobytes() for array in (obs, reward, terminated, truncated, *map(info.get, sorted(info)))]
        if env.autoreset_mode == AutoresetMode.DISABLED and ended.any():
            obs, info = env.reset(options={"reset_mask": ended})
            run += [array.tobytes() for array in (obs, *map(info.get, sorted(info)))]
    return run


@pytest.fixture(scope="module")
def env():
    made = make()
    made.reset(seed=3)
    drive(made, 25)
    return made


@pytest.mark.parametrize("changes", [{}, {"preset": "paper", "agents_per_world": (3, AGENTS)}], ids=["laptop", "paper"])
@pytest.mark.parametrize("mode", MODES)
def test_restored_worlds_go_on_bit_equal(mode, changes, tmp_path):
    env = make(autoreset_mode=mode, **changes)
    env.reset(seed=3)
    drive(env, 25)
    file = tmp_path / "one.npz"
    snapshot.save(file, env.snapshot())
    expected = [*drive(env, 60, seed=1), env.reset()[0].tobytes(), *drive(env, 5)]
    for other in (env, make(autoreset_mode=mode, threads=2, copy=False, **changes)):
        obs, info = other.restore(snapshot.load(file))
        assert obs.shape == (ROWS, env.layout.size) and len(info["active"]) == ROWS
        assert [*drive(other, 60, seed=1), other.reset()[0].tobytes(), *drive(other, 5)] == expected
        other.close()


def test_a_restore_returns_what_was_seen():
    env = make()
    env.reset(seed=0)
    obs, _, _, _, info = env.step(np.full(ROWS, 10))
    kept = env.snapshot()
    drive(env, 10)
    again, same = env.restore(kept)
    np.testing.assert_array_equal(obs, again)
    for name in same:
        np.testing.assert_array_equal(info[name], same[name])


def test_a_snapshot_is_a_copy(env):
    kept = env.snapshot()
    before = {name: array.copy() for name, array in kept.items()}
    drive(env, 3)
    for name, array in kept.items():
        np.testing.assert_array_equal(array, before[name])


def test_some_worlds():
    """Two of the worlds are set back: they repeat what they did; the others go on as if nothing had happened."""
    env, undisturbed = make(), make()
    for one in (env, undisturbed):
        one.reset(seed=3)
        drive(one, 10)
    kept = env.snapshot([3, 1])
    chosen = np.isin(env.world_of_row, [1, 3])
    actions = np.random.default_rng(5).integers(0, 12, (20, ROWS))
    first = [env.step(action)[0] for action in actions]
    elsewhere = [undisturbed.step(action)[0] for action in actions]
    obs, _ = env.restore(kept)
    np.testing.assert_array_equal(obs[~chosen], first[-1][~chosen])
    for k, action in enumerate(actions):
        obs = env.step(action)[0]
        np.testing.assert_array_equal(obs[chosen], first[k][chosen])
        np.testing.assert_array_equal(obs[~chosen], undisturbed.step(action)[0][~chosen])
    assert len(elsewhere) == 20


def test_some_worlds_under_another_seed_are_refused(env):
    kept = env.snapshot([0])
    whole = env.snapshot()
    env.reset(seed=99)
    with pytest.raises(ValueError, match="1 of 5 worlds and was taken under another seed"):
        env.restore(kept)
    env.restore(whole)
    env.restore(kept)


@pytest.mark.parametrize("worlds", [[], [5], [-1], [0, 0], [0.5], 2])
def test_worlds_that_there_are_not(env, worlds):
    with pytest.raises(ValueError, match=r"worlds=.*: expected different numbers from 0 to 4"):
        env.snapshot(worlds)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_envs": ROWS - 1}, rf"rows is {ROWS} there and {ROWS - 1} here"),
        ({"map": ["downtown", "loop"]}, r"map 0 is \['loop', '.*'\] there and \['downtown', '.*'\] here"),
        ({"autoreset_mode": "NextStep"}, r"mode is 0 there and 1 here"),
        ({"config": {"dt": 0.1}}, r"config dt is 0\.3 there and 0\.1 here"),
        ({"config": {"collision": (0.0, 9.0)}}, r"config collision is \[2\.0, 3\.0\] there and \[0\.0, 9\.0\] here$"),
        ({"preset": "paper"}, r"; .*; .*, and \d+ more$"),
    ],
)
def test_another_environment_is_refused(env, changes, message):
    other = make(**changes)
    with pytest.raises(ValueError, match=f"the snapshot belongs to another environment: .*{message}"):
        other.restore(env.snapshot())
    with pytest.raises(RuntimeError, match="before the first reset"):
        other.snapshot()


def test_another_version_is_refused(env):
    kept = env.snapshot()
    theirs = json.loads(str(kept["declaration"]))
    theirs["version"], theirs["array pose.x"] = "0.0.9", "float64 world agent"
    kept["declaration"] = np.array(json.dumps(theirs))
    with pytest.raises(ValueError, match=r"version is '0\.0\.9' there .*; array pose\.x is 'float64 world agent' there"):
        env.restore(kept)


def test_damage_changes_nothing(env):
    before = env.snapshot()
    for name, array, message in (
        ("pose.x", before["pose.x"][:, :2], r"damaged: pose\.x is float32 \(5, 2\), expected float32 \(5, 6\)"),
        ("rows.steps", before["rows.steps"].astype(np.int64), r"damaged: rows\.steps is int64"),
        ("worlds", np.array([7]), r"damaged: its worlds are array\(\[7\]\)"),
        ("goals.x", None, r"lacks 'goals\.x'"),
        ("declaration", None, "no snapshot: it has no 'declaration'"),
    ):
        wrong = {**before, name: array} if array is not None else {k: v for k, v in before.items() if k != name}
        with pytest.raises(ValueError, match=message):
            env.restore(wrong)
    for name, array in env.snapshot().items():
        np.testing.assert_array_equal(array, before[name])


def test_files(env, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        snapshot.save(tmp_path / "one.npy", env.snapshot())
    (tmp_path / "wrong.npz").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"wrong\.npz is no snapshot"):
        snapshot.load(tmp_path / "wrong.npz")
    snapshot.save(tmp_path / "one.npz", env.snapshot())
    (tmp_path / "torn.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"torn\.npz is no snapshot"):
        snapshot.load(tmp_path / "torn.npz")
    (tmp_path / "notes.txt").write_text("root:x:0:0")
    with pytest.raises(ValueError, match=r"notes\.txt is no snapshot: it is no \.npz file$"):
        snapshot.load(tmp_path / "notes.txt")
    with pytest.raises(TypeError, match=r"state=3: expected what observation_state\(\) returns"):
        env.observe(3)


def test_some_worlds_need_a_reset_before(env):
    with pytest.raises(RuntimeError, match=r"restore\(\) of some worlds before the first reset"):
        make().restore(env.snapshot([0]))


# Observations of states


PAPER = {
    "preset": "paper", "map": ["arterial", "downtown"], "agents_per_world": (3, AGENTS),
    "config": {
        "world_steps": 40, "max_steps": 30, "inattentive": 0.5, "inattentive_share": 0.5,
        "stop_sign_speed": 30.0, "stop_sign_distance": 60.0,
    },
}  # fmt: skip
"""The paper's world, where what is rare happens often: many overlook others, and whoever sees a sign has stood at it."""


def kept_run(steps=45, **changes):
    """An environment, the observations of some steps, and the states that they follow from."""
    env = make(**changes)
    seen, states = [env.reset(seed=3)[0]], [env.observation_state()]
    rng = np.random.default_rng(0)
    for _ in range(steps):
        obs, _, terminated, truncated, _ = env.step(rng.integers(0, 12, ROWS))
        seen.append(obs)
        states.append(env.observation_state())
        if env.autoreset_mode == AutoresetMode.DISABLED and (ended := terminated | truncated).any():
            seen.append(env.reset(options={"reset_mask": ended})[0])
            states.append(env.observation_state())
    return env, np.stack(seen), {name: np.stack([state[name] for state in states]) for name in snapshot.OBSERVED}


def by_row(observations):
    """(steps, worlds, agents, size) as the environment's (steps, rows, size)."""
    return observations.reshape(len(observations), 5 * AGENTS, -1)[:, :ROWS]


@pytest.mark.parametrize("changes", [{}, PAPER], ids=["laptop", "paper"])
@pytest.mark.parametrize("mode", MODES)
def test_observations_follow_from_what_is_kept(mode, changes):
    env, seen, states = kept_run(autoreset_mode=mode, **changes)
    assert states["pose.x"].shape == (len(seen), 5, AGENTS)
    assert set(np.unique(states["rows.status"])) >= ({LIVE, ABSENT} if mode == "SameStep" else {LIVE, ENDED})
    now = env.snapshot()
    np.testing.assert_array_equal(by_row(env.observe(states)), seen)
    for name, array in env.snapshot().items():
        np.testing.assert_array_equal(array, now[name])


def test_worlds_need_not_be_in_their_place():
    """Any of the states in any order, also of several seeds: each world knows its number, and each step its key."""
    env, seen, states = kept_run(10, **PAPER)
    backwards = {name: array[:, ::-1] if snapshot.each_world(name) else array for name, array in states.items()}
    found = env.observe(backwards)[:, ::-1]
    np.testing.assert_array_equal(by_row(found), seen)
    mixed = {name: array[::3] for name, array in states.items()}
    mixed["clock.seed"] = mixed["clock.seed"].copy()
    mixed["clock.seed"][1] += 1
    found = by_row(env.observe(mixed))
    np.testing.assert_array_equal(found[[0, 2, 3]], seen[[0, 6, 9]])
    assert not np.array_equal(found[1], seen[3])
    one = {name: array[4] for name, array in states.items()}
    np.testing.assert_array_equal(env.observe(one).reshape(5 * AGENTS, -1)[:ROWS], seen[4])


def test_every_array_of_it_is_needed():
    """Without any one of them the observation would be another: the list is as short as can be."""
    env, seen, states = kept_run(**PAPER)
    for name in snapshot.OBSERVED:
        wrong = {**states, name: np.zeros_like(states[name])}
        if name in ("goals.count", "goals.next"):
            wrong[name] += 1  # no route is without goal, and few agents have reached one
        elif name == "lane_position.stood":
            wrong[name] -= 1  # nobody has stood anywhere
        elif name == "pose.z":
            wrong[name] += np.arange(AGENTS, dtype=np.float32)  # these towns are flat
        elif name == "variant.plain":
            wrong[name] = ~states[name]
        assert not np.array_equal(by_row(env.observe(wrong)), seen), name


def test_a_snapshot_will_do(env):
    for one in (env, kept_run(10, **PAPER)[0]):
        kept = one.snapshot()
        obs, _ = one.restore(kept)
        np.testing.assert_array_equal(one.observe(kept).reshape(5 * AGENTS, -1)[:ROWS], obs)


def test_it_is_small():
    env = make(num_envs=128, preset="paper", agents_per_world=64, map="downtown")
    obs, _ = env.reset(seed=0)
    kept = env.observation_state()
    assert sum(array.nbytes for array in kept.values()) / 128 < 215 < obs[0].nbytes / 12


def test_states_that_do_not_fit(env):
    kept = env.observation_state()
    with pytest.raises(ValueError, match=r"the state lacks 'body\.width': an observation follows from clock\.seed, "):
        env.observe({name: array for name, array in kept.items() if name != "body.width"})
    with pytest.raises(ValueError, match=r"pose\.x is float32 \(5, 2\): expected float32 \(5, 6\)"):
        env.observe({**kept, "pose.x": kept["pose.x"][:, :2]})
