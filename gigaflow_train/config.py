"""Every number of the trainer, with its unit and reason. A preset is a function that returns a TrainConfig.

Confidence marks as in `gigaflow_env.Config`: (A) several sources agree on the paper's value, (D) not published: ours.
Paper: arXiv 2502.03349, Table A3.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def value(default: Any, unit: str, reason: str) -> Any:
    metadata = {"unit": unit, "reason": reason}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainConfig:
    # What it drives in
    preset: str = value("paper", "", "preset of the environment")
    map: str = value("loop", "", "name of a shipped map, or path of a map file")
    environment: dict[str, Any] = value({}, "", "values of the environment's Config that differ from its preset")
    num_envs: int = value(2048, "rows", "agents that drive at once: 128 steps of 2048 take 1 GB (D; the paper: 2.6 M)")
    agents_per_world: int | None = value(None, "rows", "rows that share a world; none: as the environment's preset has it")
    traffic: float = value(
        0.0, "share", "of the rows with rule-based drivers, from which nothing is learned; 0 in the paper (D)"
    )
    backend: str = value("cpu", "", "what steps the environment, and where the learner works: cpu or cuda")
    threads: int = value(2, "threads", "of the simulator and of torch, which take turns")
    seed: int = value(0, "", "of weights, actions, minibatches and worlds")

    # How long
    minutes: float | None = value(None, "min", "time budget; the first budget that is spent ends the run")
    steps: int | None = value(1_000_000_000_000, "transitions", "sample budget, counted in live rows (A)")
    checkpoint_every: int = value(50, "iterations", "a crash loses no more than this (D)")

    # Rollout
    rollout: int = value(128, "steps", "between updates (A)")
    discount: float = value(0.999, "", "horizon of 1000 steps = 300 s (A)")
    trace: float = value(0.95, "", "lambda of the generalised advantage: looks 20 steps = 6 s ahead (A)")

    # Advantage filter
    filter_share: float = value(0.01, "", "samples below this share of the running largest |advantage| are dropped (A)")
    filter_rate: float = value(0.25, "", "weight of the newest largest |advantage| in the running one (A)")
    kept_least: float = value(0.02, "share", "kept at least: one exploded advantage must not starve ten updates (D)")

    # Update
    epochs: int = value(3, "passes", "over the samples that were kept (A)")
    minibatch: int = value(256_000, "samples", "a gradient step (A)")
    learning_rate: float = value(5e-4, "", "of Adam at the start; falls to 0 by a cosine over the budget (A)")
    adam_epsilon: float = value(1e-5, "", "customary for PPO (D)")
    clip: float = value(0.2, "", "bound of the probability ratio's change (A)")
    entropy: float = value(0.01, "", "weight of the entropy bonus (A)")
    entropy_end: float = value(0.01, "", "the same when the budget is spent; linear in between (A: constant)")
    value_weight: float = value(0.5, "", "of the critic's loss in the sum (A)")
    gradient_norm: float = value(0.5, "", "longer gradients are shortened to this (A)")

    # Network
    set_widths: tuple[int, ...] = value((128, 128), "units", "layers of every set element, before the maximum (D)")
    vector_width: int = value(256, "units", "layer of ego, conditioning and goals (D)")
    trunk_widths: tuple[int, ...] = value((1024, 1024, 1024), "units", "layers behind the encoders (A)")
    separate: bool = value(True, "", "actor and critic share nothing: 3 M parameters each (A)")
    brake_bias: float = value(0.0, "", "taken off the first logits of the strongest braking; 0 in the paper (D)")

    def __post_init__(self) -> None:
        for name in ("set_widths", "trunk_widths"):
            widths = getattr(self, name)
            if not isinstance(widths, (tuple, list)) or not widths or not all(type(w) is int and w > 0 for w in widths):
                raise ValueError(f"{name}={widths!r}: give one or more layer widths, for example [64, 64]")
            object.__setattr__(self, name, tuple(widths))
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            if field.type is int and type(given) is not int:
                raise ValueError(f"{field.name}={given!r} is not a whole number")
            if field.type is float:
                if isinstance(given, bool) or not isinstance(given, (int, float)):
                    raise ValueError(f"{field.name}={given!r} is not a number")
                object.__setattr__(self, field.name, float(given))
        whole = ("num_envs", "threads", "checkpoint_every", "rollout", "epochs", "minibatch", "vector_width")
        for name in whole:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        for name in ("discount", "trace", "filter_share", "filter_rate", "kept_least", "traffic"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}={getattr(self, name)}: must lie between 0 and 1")
        for name in ("learning_rate", "clip", "gradient_norm", "adam_epsilon"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0")
        if self.minutes is None and self.steps is None:
            raise ValueError("minutes and steps are both unset: give at least one budget")
        for name in ("minutes", "steps"):
            budget = getattr(self, name)
            if budget is not None and not budget > 0:
                raise ValueError(f"{name}={budget!r}: a budget must be above 0")

    def replace(self, **changes: Any) -> "TrainConfig":
        """A copy with some values changed; an unknown name is an error that says which names are near."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                near = difflib.get_close_matches(name, names)
                raise ValueError(f"unknown training value {name!r}" + (f": did you mean {', '.join(near)}?" if near else ""))
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """The values as JSON types; `from_json` is the inverse."""
        return dataclasses.asdict(self)


def from_json(values: Mapping[str, Any]) -> TrainConfig:
    """The config that `TrainConfig.to_json` wrote; values it lacks are an error, since a default may have changed."""
    missing = [field.name for field in dataclasses.fields(TrainConfig) if field.name not in values]
    if missing:
        raise ValueError(f"the training config lacks {', '.join(missing)}")
    return TrainConfig().replace(**values)


def paper() -> TrainConfig:
    """The published setting, but for the number of rows."""
    return TrainConfig()


def laptop() -> TrainConfig:
    """Learns to drive on two CPU cores in minutes: a small network, short rollouts, small minibatches."""
    return TrainConfig(
        preset="laptop",
        num_envs=1024,
        minutes=10.0,
        steps=None,
        rollout=32,  # 33 k samples: an update every half second
        discount=0.99,  # horizon of 30 s: goals lie 30-90 m apart
        epochs=2,
        minibatch=4096,  # fits the cache: 8192 costs half as much again per sample
        learning_rate=3e-3,  # 2 M samples: 85 % of the routes completed, 77 % with 1.5e-3 (one seed each)
        entropy_end=0.001,  # sampled actions are evaluated, so the last minutes sharpen them
        set_widths=(32, 32),
        vector_width=64,
        trunk_widths=(128, 128),
        separate=False,
        brake_bias=2.0,  # the action set brakes on average; without this the first million samples stand still
    )


PRESETS = {"laptop": laptop, "paper": paper}
