"""Every number of the trainer, with its unit, reason and bounds. A preset is a function that returns a TrainConfig.

Confidence marks as in `gigaflow_env.Config`: (A) several sources agree on the paper's value, (D) not published: ours.
Paper: arXiv 2502.03349, Table A3.
"""

import dataclasses
import difflib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gigaflow_env import BACKENDS
from gigaflow_env import PRESETS as ENVIRONMENTS
from gigaflow_env.bounds import Bounds, choice, flag, real, shown, whole
from gigaflow_train import towns

MISSING = object()
"""What a value means that a file of an older version lacks: nothing, the file can't be read."""


def value(
    default: Any,
    unit: str,
    reason: str,
    *,
    low: float | None = None,
    high: float | None = None,
    open_high: bool = False,
    absent: Any = MISSING,
) -> Any:
    """A field of TrainConfig. low, high: bounds of the number, or of each number of a tuple, both inclusive.

    open_high: the upper bound is not.

    absent: what a checkpoint means that was written before the field existed.
    """
    declared = None if low is None or high is None else Bounds(low, high, open_high=open_high)
    metadata = {"unit": unit, "reason": reason, "bounds": declared, "absent": absent}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class TrainConfig:
    """Every number of a training run, with unit, bounds and reason."""

    # What it drives in
    preset: str = value("paper", "", "preset of the environment")
    maps: tuple[str, ...] = value(("loop",), "", "shipped names, map files, folders of them, random:SEED or random:1-64")
    map_shares: str | tuple[float, ...] = value(
        "equal", "", "of the worlds that begin on each map: equal, length (by lane-km), or a number a map", low=0.0, high=1e9
    )
    environment: dict[str, Any] = value({}, "", "values of the environment's Config that differ from its preset")
    num_envs: int = value(
        2048, "rows", "agents that drive at once: 128 steps of 2048 take 1 GB (D; the paper: 2.6 M)", low=1, high=2**24
    )
    action: str = value(
        "discrete", "", "discrete: one of twelve jerks (A); continuous: two jerks in a box, a Gaussian", absent="discrete"
    )
    agents_per_world: int | None = value(
        None, "rows", "rows that share a world; none: as the environment's preset has it", low=1, high=256
    )
    traffic: float = value(
        0.0,
        "share",
        "of the rows with rule-based drivers, from which nothing is learned; 0 in the paper (D)",
        low=0,
        high=1,
        open_high=True,
    )
    backend: str = value("cpu", "", "what steps the environment, and where the learner works: cpu or cuda")
    threads: int = value(2, "threads", "of the simulator and of torch, which take turns", low=1, high=1024)
    seed: int = value(0, "", "of weights, actions, minibatches and worlds", low=0, high=2**31 - 1)

    # How long
    minutes: float | None = value(
        None, "min", "time budget; the first budget that is spent ends the run", low=1e-3, high=5_256_000
    )
    steps: int | None = value(
        1_000_000_000_000, "transitions", "sample budget, counted in live rows (A)", low=1, high=10**15
    )
    checkpoint_every: int = value(50, "iterations", "a crash loses no more than this (D)", low=1, high=10**9)
    keep: int = value(0, "files", "numbered checkpoints kept besides the last and the best one (D)", low=0, high=10**6)

    # Evaluation while it trains
    eval_maps: tuple[str, ...] = value((), "", "held-out maps, named as maps are; none: no evaluation while it trains")
    eval_every: int = value(200, "iterations", "between two evaluations (D)", low=1, high=10**9)
    eval_rows: int = value(256, "rows", "agents that drive in an evaluation (D)", low=1, high=2**24)
    eval_steps: int = value(600, "steps", "of an evaluation: about 1,000 routes (D)", low=1, high=10**9)

    # Rollout
    rollout: int = value(128, "steps", "between updates (A)", low=1, high=100_000)
    discount: float = value(0.999, "", "horizon of 1000 steps = 300 s (A)", low=0, high=1)
    trace: float = value(0.95, "", "lambda of the generalised advantage: looks 20 steps = 6 s ahead (A)", low=0, high=1)

    # Advantage filter
    filter_share: float = value(
        0.01, "", "samples below this share of the running largest |advantage| are dropped (A)", low=0, high=1
    )
    filter_rate: float = value(0.25, "", "weight of the newest largest |advantage| in the running one (A)", low=0, high=1)
    kept_least: float = value(
        0.02, "share", "kept at least: one exploded advantage must not starve ten updates (D)", low=0, high=1
    )

    # Update
    epochs: int = value(3, "passes", "over the samples that were kept (A)", low=1, high=1000)
    minibatch: int = value(256_000, "samples", "a gradient step (A)", low=1, high=2**31)
    learning_rate: float = value(
        5e-4, "", "of Adam at the start; falls to 0 by a cosine over the budget (A)", low=1e-9, high=1
    )
    adam_epsilon: float = value(1e-5, "", "customary for PPO (D)", low=1e-12, high=1)
    clip: float = value(0.2, "", "bound of the probability ratio's change (A)", low=1e-6, high=1)
    entropy: float = value(0.01, "", "weight of the entropy bonus (A)", low=0, high=10)
    entropy_end: float = value(
        0.01, "", "the same when the budget is spent; linear in between (A: constant)", low=0, high=10
    )
    value_weight: float = value(0.5, "", "of the critic's loss in the sum (A)", low=0, high=100)
    gradient_norm: float = value(0.5, "", "longer gradients are shortened to this (A)", low=1e-9, high=1e9)

    # Network
    set_widths: tuple[int, ...] = value(
        (128, 128), "units", "layers of every set element, before the maximum (D)", low=1, high=65_536
    )
    vector_width: int = value(256, "units", "layer of ego, conditioning and goals (D)", low=1, high=65_536)
    trunk_widths: tuple[int, ...] = value((1024, 1024, 1024), "units", "layers behind the encoders (A)", low=1, high=65_536)
    separate: bool = value(True, "", "actor and critic share nothing: 3 M parameters each (A)")
    brake_bias: float = value(
        0.0,
        "",
        "taken off the first logits of the strongest braking, of discrete actions; 0 in the paper (D)",
        low=-100,
        high=100,
    )
    policy: str = value("", "", "own network, as module:Class; none: that of policy.py", absent="")
    start: str = value("", "", "checkpoint whose weights it begins with, or pretrained; none: at random (D)", absent="")
    policy_arguments: dict[str, Any] = value({}, "", "further arguments of the own network", absent={})
    precision: str = value(
        "float32",
        "",
        "bf16: networks in bfloat16, kept observations in float16; the rest stays",
        absent="float32",
    )

    store: str = value(
        "auto",
        "",
        "what a rollout keeps: observations, or the states that those of the kept samples are rebuilt from; auto: by memory",
        absent="auto",
    )
    fixed: bool = value(
        False,
        "",
        "arrays of fixed shape: nothing in a rollout waits for the device, on a card recorded as graphs (D)",
        absent=False,
    )

    # Others on the road
    opponents: str = value("", "", "folder of older checkpoints that drive a share of the rows; none: self-play", absent="")
    opponent_share: float = value(
        0.25,
        "share",
        "of the rows with opponents, from which nothing is learned (D)",
        low=0,
        high=1,
        open_high=True,
        absent=0.25,
    )

    # For people
    wandb: str = value("", "", "project of Weights & Biases that the figures are sent to; none: none", absent="")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        if self.map_shares not in SHARES and isinstance(self.map_shares, str):
            names = ", ".join(map(repr, SHARES))
            raise ValueError(f"map_shares={self.map_shares!r}: choose one of {names}, or give a number for each map")
        if not isinstance(self.map_shares, str) and not sum(self.map_shares) > 0:
            raise ValueError(f"map_shares={self.map_shares}: at least one must be above 0")
        for name in (*self.maps, *self.eval_maps):
            towns.range_of(name)
        choice("preset", self.preset, ENVIRONMENTS)
        choice("backend", self.backend, BACKENDS)
        choice("action", self.action, ("discrete", "continuous"))
        choice("precision", self.precision, PRECISIONS)
        choice("store", self.store, ("auto", "observations", "states"))
        if self.fixed and self.store == "states":
            raise ValueError("fixed=True keeps observations: store='states' needs fixed=False")
        if self.minutes is None and self.steps is None:
            raise ValueError("minutes and steps are both unset: give at least one budget")
        module, colon, name = self.policy.partition(":")
        if self.policy and not (module and colon and name.isidentifier()):
            raise ValueError(f"policy={self.policy!r}: write module:Class, for example my_networks:Attention")
        if self.opponents and self.traffic + self.opponent_share >= 1.0:
            raise ValueError(
                f"traffic={self.traffic} and opponent_share={self.opponent_share} leave nobody to learn from: together they "
                "must be below 1"
            )
        _check_sizes(self)
        made = ENVIRONMENTS[self.preset]().replace(**self.environment)
        if self.agents_per_world is not None:
            made.replace(agents_per_world=self.agents_per_world)

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


LAYERS_MOST = 64
"""Layers of a network, in each of its parts."""
WEIGHTS_MOST = 10**10
"""Ours: of one network, 40 GB, and three times that in training. The paper's has 3 million."""
SAMPLES_MOST = 2**31
"""Of a rollout. The paper's has 335 million."""
SHARES = ("equal", "length")
"""Words for `map_shares`."""
PRECISIONS = ("float32", "bf16")


def _check_sizes(config: TrainConfig) -> None:
    """Raises ValueError for numbers which are fine alone, and whose product no machine holds."""
    samples = config.num_envs * config.rollout
    if samples > SAMPLES_MOST:
        raise ValueError(
            f"num_envs={config.num_envs} with rollout={config.rollout}: a rollout of {samples:,} samples, must be at most "
            f"{SAMPLES_MOST:,}: lower one of them"
        )
    for name in ("set_widths", "trunk_widths"):
        widths = getattr(config, name)
        weights = sum(a * b for a, b in itertools.pairwise(widths))
        if len(widths) > LAYERS_MOST or weights > WEIGHTS_MOST:
            raise ValueError(
                f"{name}={shown(widths)}: {len(widths)} layers with {weights:,} weights, must be at most {LAYERS_MOST} "
                f"layers with {WEIGHTS_MOST:,} weights"
            )


def _checked(field: Any, given: Any) -> Any:
    """The value of a field in its type. Raises ValueError that names value, bounds and unit."""
    kind, name = field.type.__name__ if type(field.type) is type else str(field.type), field.name
    if given is None and kind.endswith("None"):
        return None
    if kind.startswith("dict"):
        if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
            raise ValueError(f"{name}={shown(given)}: expected a dict of names and values")
        try:
            json.dumps(dict(given), allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"{name}={shown(given)}: must hold what JSON can, as checkpoints keep it") from None
        return dict(given)
    if kind.startswith("bool"):
        return flag(name, given)
    if kind.startswith("str"):
        if isinstance(given, str) and (given or field.default == ""):
            return given
        if "tuple" not in kind:
            raise ValueError(f"{name}={shown(given)}: expected a name")
    if "tuple" in kind:
        if not isinstance(given, (tuple, list)):
            raise ValueError(f"{name}={shown(given)}: expected a list")
        if "tuple[str" in kind:
            if not all(isinstance(one, str) and one for one in given) or (field.default and not given):
                raise ValueError(f"{name}={shown(given)}: expected a list of names")
            return tuple(given)
        if not given:
            raise ValueError(f"{name}={shown(given)}: give one or more numbers")
        return tuple(_number(field, kind, one) for one in given)
    return _number(field, kind, given)


def _number(field: Any, kind: str, given: Any) -> int | float:
    """A number within the field's bounds, whole where its type says so."""
    number = whole if "int" in kind else real
    return number(field.name, given, field.metadata["bounds"], field.metadata["unit"])


def from_json(values: Mapping[str, Any]) -> TrainConfig:
    """The config that `TrainConfig.to_json` wrote, also of a version before some values existed.

    Raises ValueError for values that lack without saying what their absence means, since a default may have changed.
    """
    lacks = [field for field in dataclasses.fields(TrainConfig) if field.name not in values]
    unknown = [field.name for field in lacks if field.metadata["absent"] is MISSING]
    if unknown:
        raise ValueError(f"the training config lacks {', '.join(unknown)}")
    return TrainConfig().replace(**{field.name: field.metadata["absent"] for field in lacks}, **values)


def paper() -> TrainConfig:
    """The published setting, but for the number of rows."""
    return TrainConfig()


def laptop() -> TrainConfig:
    """Learns to drive on two CPU cores in minutes: a small network, short rollouts, small minibatches."""
    return TrainConfig(
        preset="laptop",
        num_envs=1024,
        minutes=4.0,
        steps=None,
        rollout=32,  # 33 k samples: several updates a second
        discount=0.99,  # horizon of 30 s: goals lie 30-90 m apart
        filter_share=0.03,  # keeps 25 % of the samples and 96 % of the squared advantage; 0.01 keeps 64 to 90 %
        epochs=2,
        minibatch=1536,  # smaller with the filter: as many updates from a quarter of the samples
        learning_rate=3e-3,  # 2 M samples: 85 % of the routes completed, 77 % with 1.5e-3 (one seed each)
        entropy_end=0.001,  # sampled actions are evaluated, so the last minutes sharpen them
        set_widths=(32, 32),
        vector_width=64,
        trunk_widths=(128, 128),
        separate=False,
        brake_bias=2.0,  # the action set brakes on average; without this the first million samples stand still
    )


TOWNS = (
    "arterial", "boulevards", "downtown", "highway", "lefthand", "loop", "lots", "mixed", "oldtown", "roundabouts",
    "village",
)  # fmt: skip
"""The shipped towns."""
TOWN_SHARES = (6.0, 12.0, 5.0, 10.0, 5.0, 1.0, 2.0, 5.0, 10.0, 4.0, 2.0)
"""How often `generalist` trains in each. More often than by length: lights, roads so wide that a goal in another lane needs
several lane changes, and corners that are tighter than a car turns."""


def generalist() -> TrainConfig:
    """One driver for towns it has never seen: hours on a few CPU cores, many random towns, mixed traffic."""
    return laptop().replace(
        maps=(*TOWNS, "random:1-64", "random:old:1-32", "random:tight:1-32", "random:wide:1-32"),
        # Three quarters of the worlds are of the kinds in which it failed most: many towns, none to be learned by heart.
        map_shares=(*TOWN_SHARES, *(0.4,) * 64, *(3.0,) * 32, *(3.0,) * 32, *(2.0,) * 32),
        minutes=240.0,
        environment={
            "agents_per_world": [4, 32],
            "view_range": 80.0,  # a stop from 20 m/s takes 40 m, and a crossing car comes as fast
            "route_range": 400.0,
            "lane_count": 24,
            "boundary_count": 20,
            "agent_count": 10,
            "stop_count": 5,  # with two, lines that were passed hid the next one, and red lights were run
            "population": {"car": 0.8, "any": 0.2},
            "goal_distance": [20.0, 200.0],
            # With 1, goals two lanes away were rare in training: on wide roads of real maps it passed them, and backed up.
            "goal_lane_changes": 4,
            "on_route_done": "new_route",
            "max_steps": 400,
            # A light run has to cost more than the wait: 20 s at 0.995 cost 28 % of a value of 15 to 20. With 1 to 3 the
            # driver ran 1.4 lights a km, with 4 to 8 it ran 0.5 where lights stand close together.
            "stop_line": [10.0, 14.0],
            "lights_off": 0.05,
            "light_groups_removed": 0.05,
            "lights_removed": 0.05,
            "inattentive": 0.02,
            "phantom": 0.05,
            "variant_scale": [0.9, 1.15],
            "variant_shear": [-0.1, 0.1],
            "variant_flip": 0.5,
            "variant_turn": [-math.pi, math.pi],
        },
        discount=0.995,  # 88.6 % of the routes on unseen towns after 4 M samples; 77.4 % with 0.99, 83.8 % with 0.998
        set_widths=(64, 64),
        vector_width=128,
        trunk_widths=(256, 256),
        eval_maps=("random:101-104",),
        keep=5,
    )


PRESETS = {"laptop": laptop, "generalist": generalist, "paper": paper}
