"""A checker of Gymnasium's vector contract, which upstream does not have: `check_vector_env(env)`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

_SEED = 7
_TWIN_STEPS = 20  # of two runs that are compared
_KEPT_STEPS = 8  # whose arrays are kept, to see whether a later step comes in the same memory


def check_vector_env(env: VectorEnv, *, steps: int = 500, options_kept: bool = True) -> None:
    """Check that a NumPy vector environment, also a wrapped one, keeps Gymnasium's contract. Closes it.

    Attributes, spaces, seeds, shapes and dtypes, observations inside of their space, infos, the autoreset mode which the
    metadata name, `reset_mask` in mode Disabled, fresh arrays (unless `env.unwrapped.copy` is False), close.

    steps: random steps to drive; at least one episode must end in them.
    options_kept: False permits that `reset` takes entries out of the caller's options, as SyncVectorEnv and
    RecordEpisodeStatistics of Gymnasium 1.4 do.

    Rows that share a world, and so see each other, are told by an attribute `world_of_row`, int (num_envs,), of the
    unwrapped environment: after a partial reset only the rows of other worlds must have the observation that they had.

    Raises AssertionError that says what was expected and what came.
    """
    mode = _check_attributes(env)
    _check_spaces(env)
    _check_steps(env, mode, steps, options_kept)
    _check_seeds(env, mode)
    _check_close(env)


def _check_attributes(env: VectorEnv) -> AutoresetMode:
    rows = getattr(env, "num_envs", None)
    _expect(isinstance(rows, int) and rows >= 1, "num_envs", "an int of at least 1", rows)
    _expect(isinstance(env.metadata, dict), "metadata", "a dict", env.metadata)
    mode: Any = env.metadata.get("autoreset_mode")
    _expect(isinstance(mode, AutoresetMode), 'metadata["autoreset_mode"]', "an AutoresetMode", mode)
    choices = [None, *env.metadata.get("render_modes", [])]
    _expect(env.render_mode in choices, "render_mode", f"one of {choices}", env.render_mode)
    _expect(env.closed is False, "closed", "False before close()", env.closed)
    return mode


def _check_spaces(env: VectorEnv) -> None:
    for name in ("observation_space", "action_space"):
        given, expected = getattr(env, name), batch_space(getattr(env, f"single_{name}"), env.num_envs)
        _expect(given == expected, name, f"single_{name} in a batch of num_envs, {expected}", given)


def _check_seeds(env: VectorEnv, mode: AutoresetMode) -> None:
    """The same seed gives the same run; without a seed it's another one."""
    first, again, other = _run(env, mode, _SEED), _run(env, mode, _SEED), _run(env, mode, None)
    for step, (one, two) in enumerate(zip(first, again, strict=True)):
        for name, a, b in zip(("observation", "reward", "terminated", "truncated"), one, two, strict=True):
            _expect(_same(a, b), f"{name} of step {step}", f"the same in two runs of seed {_SEED}", "different ones")
    moved = not all(map(_same, again, other))
    _expect(moved, "reset() without a seed", f"another run than the one before, of seed {_SEED}", "the same")


def _run(env: VectorEnv, mode: AutoresetMode, seed: int | None) -> list[tuple[Any, ...]]:
    """What a reset and some steps return, with the same actions in every call."""
    env.action_space.seed(_SEED)
    obs, _ = env.reset(seed=seed)
    nothing = np.zeros(env.num_envs)
    run = [_copy((obs, nothing, nothing, nothing))]
    for _ in range(_TWIN_STEPS):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        run.append(_copy((obs, reward, terminated, truncated)))
        if mode == AutoresetMode.DISABLED and (terminated | truncated).any():
            env.reset(options={"reset_mask": terminated | truncated})
    return run


def _check_steps(env: VectorEnv, mode: AutoresetMode, steps: int, options_kept: bool) -> None:
    """Drive, and check everything that comes back."""
    fresh = getattr(env.unwrapped, "copy", True) is not False
    returned = env.reset(seed=_SEED)
    _expect(isinstance(returned, tuple) and len(returned) == 2, "reset()", "a tuple (observation, info)", type(returned))
    obs, info = returned
    _check_observation(env, "observation of reset", obs)
    _check_info(env, "info of reset", info, None)
    kept = [list(_arrays(obs))]
    always: set[str] | None = None
    ended, anew = False, False
    done = np.zeros(env.num_envs, np.bool_)
    for _ in range(steps):
        before = _copy(obs)
        stepped: Any = env.step(env.action_space.sample())
        _expect(isinstance(stepped, tuple) and len(stepped) == 5, "step()", "a tuple of 5", type(stepped))
        obs, reward, terminated, truncated, info = stepped
        _check_observation(env, "observation of step", obs)
        _check_rows(env, "reward", reward, np.floating)
        _check_rows(env, "terminated", terminated, np.bool_)
        _check_rows(env, "truncated", truncated, np.bool_)
        always = _check_info(env, "info of step", info, always)
        if fresh and len(kept) < _KEPT_STEPS:
            kept.append(list(_arrays((obs, reward, terminated, truncated, info.get("final_obs")))))

        if mode == AutoresetMode.NEXT_STEP and done.any():
            _expect(not reward[done].any(), "reward of the step after the end", "0 in mode NextStep", reward[done])
            flags = terminated | truncated
            _expect(not flags[done].any(), "flags of the step after the end", "False in mode NextStep", flags[done])
            anew |= _differs(before, obs, done)
        done = terminated | truncated
        if done.any():
            ended = True
            if mode == AutoresetMode.SAME_STEP:
                anew |= _check_final(env, obs, info, done)
            elif mode == AutoresetMode.DISABLED:
                before = _copy(obs)
                obs = _check_mask(env, before, done, options_kept)
                anew |= _differs(before, obs, done)
    _expect(ended, "episodes", f"at least one that ends in {steps} steps; raise `steps`", "none")
    last = "observation in the step after the end" if mode == AutoresetMode.NEXT_STEP else "observation after the end"
    _expect(anew, last, "that of a new episode", "the last one of the old episode")
    for number, one in enumerate(kept):
        for other in kept[number + 1 :]:
            shared = any(np.shares_memory(x, y) for x in one for y in other if x.dtype != object and y.dtype != object)
            _expect(not shared, "returned arrays", "memory of their own in each step (or copy=False)", "reused memory")


def _check_observation(env: VectorEnv, what: str, obs: Any) -> None:
    if isinstance(obs, np.ndarray):
        expected, got = (f"{given.dtype} {given.shape}" for given in (env.observation_space, obs))
        _expect(expected == got, what, expected, got)
    _expect(env.observation_space.contains(obs), what, f"inside of {env.observation_space}", obs)


def _check_rows(env: VectorEnv, what: str, given: Any, dtype: type) -> None:
    array = isinstance(given, np.ndarray)
    _expect(array, what, "a NumPy array", type(given))
    fits = given.shape == (env.num_envs,) and np.issubdtype(given.dtype, dtype)
    _expect(fits, what, f"{dtype.__name__} ({env.num_envs},)", f"{given.dtype} {given.shape}")


def _check_info(env: VectorEnv, what: str, info: Any, always: set[str] | None) -> set[str]:
    """A key with a mask `_key` may come and go; one without stands for all rows, in every step. Returns the latter."""
    _expect(isinstance(info, dict), what, "a dict of arrays", type(info))
    _check_lengths(env, what, info)
    for key in info:
        if f"_{key}" in info:
            _check_rows(env, f"{what}: _{key}", info[f"_{key}"], np.bool_)
    plain = {key for key in info if f"_{key}" not in info and not (key.startswith("_") and key[1:] in info)}
    if always is not None:
        _expect(plain == always, f"keys without mask in the {what}", f"always the same, {sorted(always)}", sorted(plain))
    return plain


def _check_lengths(env: VectorEnv, what: str, info: dict[str, Any]) -> None:
    for key, given in info.items():
        if isinstance(given, dict):
            _check_lengths(env, f"{what}: {key}", given)
            continue
        fits = isinstance(given, np.ndarray) and given.shape[:1] == (env.num_envs,)
        _expect(fits, f"{what}: {key}", f"an array of length {env.num_envs}", getattr(given, "shape", given))


def _check_final(env: VectorEnv, obs: Any, info: dict[str, Any], done: np.ndarray) -> bool:
    """Mode SameStep: the last observations are in the info. Whether the returned ones differ from them: a new episode."""
    _expect("final_obs" in info, "info of a step with ends", "a key final_obs in mode SameStep", sorted(info))
    mask = info.get("_final_obs")
    _expect(mask is not None and _same(mask, done), "_final_obs", f"terminated | truncated, {done}", mask)
    space, anew = env.single_observation_space, False
    for row in np.flatnonzero(done).tolist():
        last = _row(info["final_obs"], row)
        _expect(space.contains(last), f"final_obs of row {row}", f"inside of {space}", last)
        anew |= not _same(last, _row(obs, row))
    return anew


def _check_mask(env: VectorEnv, before: Any, done: np.ndarray, options_kept: bool) -> Any:
    """Mode Disabled: a reset of the rows that ended leaves the others alone. Returns the new observation."""
    mask = done.copy()
    options = {"reset_mask": mask}
    obs, info = env.reset(options=options)
    if options_kept:
        _expect(list(options) == ["reset_mask"], "options after reset", "as they were, with reset_mask", options)
    _expect(_same(mask, done), "reset_mask after reset", f"as it was, {done}", mask)
    _check_observation(env, "observation of reset with reset_mask", obs)
    _check_info(env, "info of reset with reset_mask", info, None)
    world = getattr(env.unwrapped, "world_of_row", np.arange(env.num_envs))
    others = ~np.isin(world, world[mask])
    _expect(not _differs(before, obs, others), "observation of rows outside of reset_mask", "as it was", "a different one")
    return obs


def _check_close(env: VectorEnv) -> None:
    env.close()
    _expect(env.closed is True, "closed", "True after close()", env.closed)
    try:
        env.close()
    except Exception as error:
        raise AssertionError(f"close(): expected that a second call does nothing, got {error!r}") from error


def _expect(holds: bool, what: str, expected: str, got: Any) -> None:
    if not holds:
        raise AssertionError(f"{what}: expected {expected}, got {got}")


def _arrays(given: Any) -> Iterator[np.ndarray]:
    """The arrays of an observation of any space, or of a tuple of them."""
    if isinstance(given, dict):
        for key in sorted(given):
            yield from _arrays(given[key])
    elif isinstance(given, tuple):
        for one in given:
            yield from _arrays(one)
    elif given is not None:
        yield np.asarray(given)


def _copy(given: Any) -> Any:
    if isinstance(given, dict):
        return {key: _copy(one) for key, one in given.items()}
    if isinstance(given, tuple):
        return tuple(_copy(one) for one in given)
    return np.array(given)


def _row(batch: Any, row: int) -> Any:
    if isinstance(batch, dict):
        return {key: _row(one, row) for key, one in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_row(one, row) for one in batch)
    return batch[row]


def _same(a: Any, b: Any) -> bool:
    """Whether two observations, or tuples of arrays, are equal; nan equals nan."""
    pairs = zip(_arrays(a), _arrays(b), strict=True)
    return all(np.array_equal(x, y, equal_nan=np.issubdtype(x.dtype, np.inexact)) for x, y in pairs)


def _differs(before: Any, after: Any, rows: np.ndarray) -> bool:
    """Whether an observation is another one in any of the rows."""
    return any(not _same(x[rows], y[rows]) for x, y in zip(_arrays(before), _arrays(after), strict=True))
