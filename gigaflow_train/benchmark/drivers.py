"""Who drives: a checkpoint, rules, something that learned nothing, or a callable of the user's own."""

import hashlib
import importlib
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from gigaflow_env import Config, driver
from gigaflow_train.benchmark.request import PLAIN, POLICIES, RULES, is_callable
from gigaflow_train.evaluate.baselines import Act


class Identity(NamedTuple):
    """Which policy it was."""

    name: str
    file: str = ""
    sha256: str = ""


def check(policy: str, suite: str) -> None:
    """Raises ValueError or FileNotFoundError for a policy that is none, or that the suite has no place for. No torch."""
    if policy == "replay" and suite in ("longform", "robustness", "carla-routes"):
        raise ValueError(f"replay is the recorded expert, and {suite} has no recordings: name another policy")
    if policy in POLICIES:
        return
    if is_callable(policy):
        module, _, name = policy.partition(":")
        if not module or not name:
            raise ValueError(f"policy {policy!r}: write module:callable")
        from gigaflow_train.options import check_policy

        check_policy(policy)
    elif not driver.is_checkpoint(policy):
        names = ", ".join((driver.PRETRAINED, *POLICIES))
        raise FileNotFoundError(
            f"policy {policy!r} is neither a run directory nor a checkpoint file, nor module:callable, nor one of {names}"
        )


def is_trained(policy: str) -> bool:
    """Whether a policy is a checkpoint."""
    return policy not in POLICIES and not is_callable(policy)


def seat(policy: str) -> str:
    """What `drivers` of the environment is for its rows."""
    return policy if policy in RULES else "policy"


def identity(policy: str) -> Identity:
    """A policy's name, and for a checkpoint its file and that one's SHA-256."""
    if not is_trained(policy):
        return Identity(policy)
    path = Path(driver.file_of(policy))
    return Identity(policy, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def config_of(policy: str) -> Config:
    """The environment in which a checkpoint was trained; for all others that of the one which is shipped."""
    return driver.config_of(policy if is_trained(policy) else driver.PRETRAINED)


def action_of(policy: str) -> str:
    """The kind of a policy's actions."""
    if not is_trained(policy):
        return "discrete"
    from gigaflow_train import checkpoint

    return checkpoint.read_facts(policy).config.action


def acting(policy: str, env: Any, seed: int, *, greedy: bool = False) -> Act:
    """Observations to actions. Rows with drivers of their own ignore them.

    Raises TypeError where a callable of the user's doesn't return a function.
    """
    from gigaflow_train.evaluate import policies

    if policy in RULES or policy in PLAIN:
        return policies.baseline("constant" if policy in RULES else policy, env, seed)
    if is_callable(policy):
        return own(policy, env, seed)
    return policies.trained(policy, env, seed, greedy=greedy, other_scales=True)


def own(policy: str, env: Any, seed: int) -> Act:
    """The policy that `module:callable`, called with environment and seed, returns: a function of observations."""
    module, _, name = policy.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"policy {policy!r}: module {module!r} has no {name!r}")
        found = getattr(found, part)
    if not callable(found):
        raise ValueError(f"policy {policy!r}: {name!r} can't be called")
    act = found(env, seed)
    if not callable(act):
        raise ValueError(
            f"policy {policy!r}: called with environment and seed it returned {type(act).__name__}; "
            "expected a function from observations (N, D) to actions (N,)"
        )
    return act
