"""The checker accepts environments that keep the contract, and names what is wrong with those that break it in one place."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import ClipReward, RecordEpisodeStatistics

import gigaflow_env  # noqa: F401  registers GigaFlow-v0
from gigaflow_env.testing import check_vector_env

MODES = [mode.value for mode in AutoresetMode]


class Countdown(VectorEnv):
    """Five rows; each counts down from a random start to 0, where its episode ends. Keeps the contract in all modes."""

    num_envs = 5
    render_mode = None

    def __init__(self, mode: str = "SameStep") -> None:
        self.mode = AutoresetMode(mode)
        self.metadata = {"autoreset_mode": self.mode, "render_modes": []}
        self.single_observation_space = spaces.Box(0.0, 1000.0, (2,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.left = np.zeros(self.num_envs, np.int64)
        self.done = np.zeros(self.num_envs, np.bool_)

    def start(self, mask):
        self.left[mask] = self.np_random.integers(3, 900, int(mask.sum())) % 40 + 3
        self.done[mask] = False

    def look(self):
        return np.stack([self.left, np.full(self.num_envs, 5)], axis=1).astype(np.float32)

    def info(self):
        return {"left": self.left.copy()}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start((options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_)))
        return self.look(), self.info()

    def step(self, actions):
        again = self.done.copy() if self.mode == AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, np.bool_)
        self.start(again)
        self.left[~again] -= 1
        self.done = (self.left <= 0) & ~again
        reward, ended, info = np.where(again, 0.0, 1.0 + actions), self.done.copy(), self.info()
        if self.mode == AutoresetMode.SAME_STEP:
            info |= {"final_obs": self.look(), "_final_obs": ended.copy()}
            self.start(ended)
        return self.look(), reward, ended, np.zeros(self.num_envs, np.bool_), info


@pytest.mark.parametrize("mode", MODES)
def test_accepts_the_example_that_the_broken_ones_derive_from(mode):
    check_vector_env(Countdown(mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("town", ["loop", "downtown"])
def test_accepts_gigaflow(mode, town):
    options = {"preset": "laptop", "agents_per_world": 8, "threads": 1, "map": town, "record_stats": True}
    check_vector_env(gymnasium.make_vec("GigaFlow-v0", num_envs=20, autoreset_mode=mode, **options), steps=150)


def test_accepts_gigaflow_that_reuses_its_arrays_and_says_so():
    check_vector_env(gymnasium.make_vec("GigaFlow-v0", num_envs=5, preset="laptop", threads=1, copy=False))


@pytest.mark.parametrize("mode", MODES)
def test_accepts_gymnasiums_own(mode):
    check_vector_env(SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 3, autoreset_mode=mode), options_kept=False)


@pytest.mark.parametrize("mode", MODES)
def test_accepts_wrapped_environments(mode):
    env = gymnasium.make_vec("GigaFlow-v0", num_envs=6, preset="laptop", threads=1, autoreset_mode=mode)
    check_vector_env(ClipReward(RecordEpisodeStatistics(env), -1, 1), options_kept=False)


class NoRows(Countdown):
    num_envs = 0


class ModeAsText(Countdown):
    def __init__(self, mode):
        super().__init__(mode)
        self.metadata["autoreset_mode"] = mode


class RenderModeUnknown(Countdown):
    render_mode = "rgb_array"


class SpaceNotBatched(Countdown):
    def __init__(self, mode):
        super().__init__(mode)
        self.observation_space = self.single_observation_space


class SeedIgnored(Countdown):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None, options=options)


class AlwaysTheSameSeed(Countdown):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=3 if options is None else None, options=options)


class ResetWithoutInfo(Countdown):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed, options=options)[0]


class DoublePrecision(Countdown):
    def look(self):
        return super().look().astype(np.float64)


class OutsideOfTheSpace(Countdown):
    def look(self):
        return super().look() - 20


class WholeRewards(Countdown):
    def step(self, actions):
        obs, reward, *rest = super().step(actions)
        return obs, reward.astype(np.int64), *rest


class FlagsAsNumbers(Countdown):
    def step(self, actions):
        obs, reward, terminated, truncated, info = super().step(actions)
        return obs, reward, terminated.astype(np.int8), truncated, info


class OneFlag(Countdown):
    def step(self, actions):
        obs, reward, terminated, truncated, info = super().step(actions)
        return obs, reward, terminated, truncated[:1], info


class FourReturned(Countdown):
    def step(self, actions):
        obs, reward, terminated, _, info = super().step(actions)
        return obs, reward, terminated, info


class InfoAsList(Countdown):
    def info(self):
        return [{} for _ in range(self.num_envs)]

    def step(self, actions):
        return self.look(), np.ones(5), np.zeros(5, np.bool_), np.zeros(5, np.bool_), self.info()


class ShortInfo(Countdown):
    def info(self):
        return {"left": self.left[:2].copy()}


class InfoThatComesAndGoes(Countdown):
    def info(self):
        return super().info() | ({"odd": self.left.copy()} if self.left[0] % 2 else {})


class MaskOfNumbers(Countdown):
    def info(self):
        return super().info() | {"_left": self.left.copy()}


class NeverEnds(Countdown):
    def step(self, actions):
        self.left += 1
        return super().step(actions)


class NoFinalObs(Countdown):
    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, {"left": info["left"]}


class FinalObsOfAllRows(Countdown):
    def step(self, actions):
        *rest, info = super().step(actions)
        info["_final_obs"][:] = True
        return *rest, info


class FinalObsOutside(Countdown):
    def step(self, actions):
        *rest, info = super().step(actions)
        info["final_obs"] -= 7
        return *rest, info


class ReturnsTheLastObservation(Countdown):
    def step(self, actions):
        obs, *rest, info = super().step(actions)
        if "final_obs" in info:
            obs[info["_final_obs"]] = info["final_obs"][info["_final_obs"]]
        return obs, *rest, info


class DeadStepPays(Countdown):
    def step(self, actions):
        obs, reward, *rest = super().step(actions)
        return obs, reward + 1, *rest


class DeadStepEnds(Countdown):
    def step(self, actions):
        before = self.done.copy()
        obs, reward, terminated, truncated, info = super().step(actions)
        return obs, reward, terminated, truncated | before, info


class StaysAtTheEnd(Countdown):
    def start(self, mask):
        if not mask.all():
            self.left[mask] = 1
            self.done[mask] = False
            return
        super().start(mask)

    def step(self, actions):
        obs, *rest = super().step(actions)
        return np.maximum(obs - 1, 0), *rest


class EatsTheOptions(Countdown):
    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed, options=options)
        if options:
            options.pop("reset_mask")
        return result


class ClearsTheMask(Countdown):
    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed, options=options)
        if options:
            options["reset_mask"][:] = False
        return result


class MaskIgnored(Countdown):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


class MaskReturnsFewerRows(Countdown):
    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed, options=options)
        return (obs[options["reset_mask"]] if options else obs), info


class ReusedObservation(Countdown):
    def __init__(self, mode):
        super().__init__(mode)
        self.buffer = np.zeros((5, 2), np.float32)

    def reset(self, *, seed=None, options=None):
        self.buffer[:], info = super().reset(seed=seed, options=options)
        return self.buffer, info

    def step(self, actions):
        self.buffer[:], *rest = super().step(actions)
        return self.buffer, *rest


class RingOfRewards(Countdown):
    """Three buffers that take turns: enough to look right from one step to the next."""

    def step(self, actions):
        if not hasattr(self, "ring"):
            self.ring, self.turn = np.zeros((3, 5)), 0
        obs, reward, *rest = super().step(actions)
        self.turn = (self.turn + 1) % 3
        self.ring[self.turn] = reward
        return obs, self.ring[self.turn], *rest


class ClosesOnce(Countdown):
    def close(self):
        if self.closed:
            raise RuntimeError("closed twice")
        super().close()


class NeverClosed(Countdown):
    def close(self):
        pass


BROKEN = [
    (NoRows, "SameStep", r"num_envs: expected an int of at least 1, got 0"),
    (ModeAsText, "SameStep", r'metadata\["autoreset_mode"\]: expected an AutoresetMode, got SameStep'),
    (RenderModeUnknown, "SameStep", r"render_mode: expected one of \[None\], got rgb_array"),
    (SpaceNotBatched, "SameStep", r"observation_space: expected single_observation_space in a batch of num_envs"),
    (SeedIgnored, "SameStep", r"observation of step 0: expected the same in two runs of seed 7"),
    (AlwaysTheSameSeed, "SameStep", r"reset\(\) without a seed: expected another run"),
    (ResetWithoutInfo, "SameStep", r"reset\(\): expected a tuple \(observation, info\)"),
    (DoublePrecision, "SameStep", r"observation of reset: expected float32 \(5, 2\), got float64 \(5, 2\)"),
    (OutsideOfTheSpace, "SameStep", r"observation of (reset|step): expected inside of Box"),
    (WholeRewards, "SameStep", r"reward: expected floating \(5,\), got int64"),
    (FlagsAsNumbers, "SameStep", r"terminated: expected bool \(5,\), got int8"),
    (OneFlag, "SameStep", r"truncated: expected bool \(5,\), got bool \(1,\)"),
    (FourReturned, "SameStep", r"step\(\): expected a tuple of 5"),
    (InfoAsList, "SameStep", r"info of reset: expected a dict of arrays, got <class 'list'>"),
    (ShortInfo, "SameStep", r"info of reset: left: expected an array of length 5, got \(2,\)"),
    (InfoThatComesAndGoes, "SameStep", r"keys without mask in the info of step: expected always the same"),
    (MaskOfNumbers, "SameStep", r"info of reset: _left: expected bool \(5,\), got int64"),
    (NeverEnds, "SameStep", r"episodes: expected at least one that ends in 500 steps; raise `steps`, got none"),
    (NoFinalObs, "SameStep", r"info of a step with ends: expected a key final_obs in mode SameStep"),
    (FinalObsOfAllRows, "SameStep", r"_final_obs: expected terminated \| truncated"),
    (FinalObsOutside, "SameStep", r"final_obs of row \d: expected inside of Box"),
    (ReturnsTheLastObservation, "SameStep", r"observation after the end: expected that of a new episode"),
    (DeadStepPays, "NextStep", r"reward of the step after the end: expected 0"),
    (DeadStepEnds, "NextStep", r"flags of the step after the end: expected False"),
    (StaysAtTheEnd, "NextStep", r"observation in the step after the end: expected that of a new episode"),
    (EatsTheOptions, "Disabled", r"options after reset: expected as they were, with reset_mask, got {}"),
    (ClearsTheMask, "Disabled", r"reset_mask after reset: expected as it was"),
    (MaskIgnored, "Disabled", r"observation of rows outside of reset_mask: expected as it was"),
    (MaskReturnsFewerRows, "Disabled", r"observation of reset with reset_mask: expected float32 \(5, 2\)"),
    (ReusedObservation, "SameStep", r"returned arrays: expected memory of their own in each step"),
    (RingOfRewards, "SameStep", r"returned arrays: expected memory of their own in each step"),
    (ClosesOnce, "SameStep", r"close\(\): expected that a second call does nothing, got RuntimeError\('closed twice'\)"),
    (NeverClosed, "SameStep", r"closed: expected True after close\(\), got False"),
]


@pytest.mark.parametrize("broken, mode, message", BROKEN, ids=[broken.__name__ for broken, _, _ in BROKEN])
def test_names_what_is_broken(broken, mode, message):
    with pytest.raises(AssertionError, match=message):
        check_vector_env(broken(mode))


def test_reused_memory_is_allowed_where_the_environment_says_so():
    env = ReusedObservation("SameStep")
    env.copy = False
    check_vector_env(env)
