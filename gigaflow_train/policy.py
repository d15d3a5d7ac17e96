"""The policy: Deep Sets over the blocks of an observation, an actor over the actions and a scalar critic.

Source: arXiv 2502.03349, section on the policy: per-element encoder, channel-wise maximum, multi-layer trunk, orthogonal
initialisation. Ours: the widths, and a per-feature normaliser.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gigaflow_env import FEATURES, LATERAL_JERKS, LONGITUDINAL_JERKS
from gigaflow_train.actions import JERKS, KINDS, START_MEAN, START_SPREAD
from gigaflow_train.config import TrainConfig
from gigaflow_train.set_encoder import SetShape, encode, usable

SETS = ("lanes", "boundaries", "stops", "agents")
VECTORS = ("ego", "conditioning", "goals")

SPREAD_LEAST = 0.1
"""Standard deviation a feature is taken to have at least. Ours: features lie in [-1, 1], and one which hardly moved in the
measurement (the conditioning, where a preset fixes it) must not drown the others once it does."""
MEASURED_AT_ONCE = 1 << 16
"""Samples whose sums are taken in float64 at once: bounds the memory."""


class NormalisedLinear(nn.Linear):
    """Linear layer on (x - mean) / spread, folded into the weights: it costs nothing per sample."""

    mean: Tensor  # (features,)
    spread: Tensor  # (features,)
    sums: Tensor  # (3, features): number, sum and sum of squares of what was measured

    def __init__(self, features: int, width: int) -> None:
        super().__init__(features, width)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))

        self.register_buffer("sums", torch.zeros(3, features, dtype=torch.float64), persistent=False)

    def measure(self, x: Tensor) -> None:
        """Take mean and spread from samples (..., features), and those of earlier calls."""
        flat = x.reshape(-1, x.shape[-1])
        for part in flat.split(MEASURED_AT_ONCE):
            part = part.double()
            self.sums += torch.stack([torch.full_like(part.sum(0), len(part)), part.sum(0), part.square().sum(0)])
        self.fit()

    def fit(self) -> None:
        """Mean and spread from the sums as they are."""
        count, mean, square = self.sums[0], self.sums[1] / self.sums[0], self.sums[2] / self.sums[0]
        if not bool((count > 0).all()):
            return
        self.mean.copy_(mean)
        self.spread.copy_((square - mean.square()).clamp_min(0.0).sqrt().clamp_min(SPREAD_LEAST))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (width, features) and bias (width,) of the same layer on x itself."""
        weight = self.weight / self.spread
        return weight, self.bias - weight @ self.mean

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., features) as the layout gives them."""
        return functional.linear(x, *self.folded())


class SetEncoder(nn.Module):
    """(rows, elements, features) -> (rows, width), the same for any order of the elements."""

    def __init__(self, features: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.first = NormalisedLinear(features, widths[0])
        self.rest = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """x: (rows, elements, features) to (rows, width): the maximum over the elements."""
        rows, elements, features = x.shape
        # As one matrix: on a strided stack of them, linear falls back to slow ways.
        x = self.first(x.reshape(rows * elements, features))  # (rows * elements, width)
        for layer in self.rest:
            x = layer(x.relu_())
        x = x.view(rows, elements, x.shape[1])
        # max keeps the index, which makes its backward pass cheap; amax does without, and is three times faster forwards.
        x = x.max(dim=1).values if torch.is_grad_enabled() else x.amax(dim=1)
        return x.relu_()  # after the maximum: both are monotone, and there is less to do


class Body(nn.Module):
    """Encoders and trunk: (rows, observation) -> (rows, last trunk width)."""

    def __init__(self, layout: Any, config: TrainConfig) -> None:
        super().__init__()
        self.split = layout.split
        seen = [name for name in SETS if getattr(layout.counts, name) > 0]
        encoders = {name: SetEncoder(len(getattr(FEATURES, name)._fields), config.set_widths) for name in seen}
        self.sets: Mapping[str, SetEncoder] = nn.ModuleDict(encoders)  # type: ignore[assignment]
        vector = sum(getattr(layout.counts, name) * len(getattr(FEATURES, name)._fields) for name in VECTORS)
        self.vector = NormalisedLinear(vector, config.vector_width)
        width = config.vector_width + len(self.sets) * config.set_widths[-1]
        self.fused = True  # the sets in one fused operation, where it can be
        self.shapes: tuple[SetShape, ...] = ()
        if len(config.set_widths) == 2:
            self.shapes = tuple(
                SetShape(
                    int(getattr(layout.starts, name)),
                    getattr(layout.counts, name),
                    len(getattr(FEATURES, name)._fields),
                    *config.set_widths,
                )
                for name in seen
            )
        self.trunk = nn.ModuleList()
        for wider in config.trunk_widths:
            self.trunk.append(nn.Linear(width, wider))
            width = wider

    def forward(self, obs: Tensor) -> Tensor:
        """obs: (rows, layout.size) to (rows, width of the last trunk layer)."""
        x = torch.cat([self.vector(self.vectors(self.split(obs))).relu_(), self.encoded(obs)], dim=1)
        for layer in self.trunk:
            x = layer(x).relu_()
        return x

    def encoded(self, obs: Tensor) -> Tensor:
        """(rows, observation) -> (rows, sets * set width): in fused kernels where these can, by torch elsewhere.

        Without gradients torch is as fast: nothing has to be kept.
        """
        if not (self.fused and torch.is_grad_enabled() and usable(obs, self.shapes)):
            blocks = self.split(obs)
            parts = [encoder(getattr(blocks, name)) for name, encoder in self.sets.items()]
            return torch.cat(parts, dim=1) if parts else obs[:, :0]
        weights: list[Tensor] = []
        for encoder in self.sets.values():
            second = encoder.rest[0]
            weights += [*encoder.first.folded(), second.weight, second.bias]  # type: ignore[list-item]
        return encode(obs, self.shapes, weights)

    def vectors(self, blocks: Any) -> Tensor:
        """Ego, conditioning and goals side by side: (rows, features)."""
        return torch.cat([getattr(blocks, name).flatten(1) for name in VECTORS], dim=1)

    def measure(self, obs: Tensor) -> None:
        """Fit the normalisers to observations (rows, layout.size)."""
        blocks = self.split(obs)
        self.vector.measure(self.vectors(blocks))
        for name, encoder in self.sets.items():
            encoder.first.measure(getattr(blocks, name))


class Policy(nn.Module):
    """`policy(obs)` gives the outputs of actions.py and values (rows,) for float32 observations (rows, layout.size).

    layout: an environment's `layout`. With `config.separate`, actor and critic have a body each.
    """

    stateless = True

    def __init__(self, layout: Any, config: TrainConfig) -> None:
        super().__init__()
        bodies = [Body(layout, config) for _ in range(1 + config.separate)]
        self.bodies: Sequence[Body] = nn.ModuleList(bodies)  # type: ignore[assignment]
        self.actor = nn.Linear(config.trunk_widths[-1], KINDS[config.action].outputs)
        self.critic = nn.Linear(config.trunk_widths[-1], 1)
        self._start(config)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """obs: (rows, layout.size) to what KINDS[config.action] takes and value (rows,)."""
        acting = self.bodies[0](obs)
        judging = self.bodies[-1](obs) if len(self.bodies) > 1 else acting
        return self.actor(acting), self.critic(judging).squeeze(1)

    def value(self, obs: Tensor) -> Tensor:
        """Values (rows,) alone: the actor does not run."""
        return self.critic(self.bodies[-1](obs)).squeeze(1)

    def halves(self) -> list[list[nn.Parameter]]:
        """Parameters that share a gradient norm: those of actor and critic where they are separate, else all."""
        if len(self.bodies) == 1:
            return [list(self.parameters())]
        acting, judging = ([*body.parameters()] for body in self.bodies)
        return [[*acting, *self.actor.parameters()], [*judging, *self.critic.parameters()]]

    def measure(self, obs: Tensor) -> None:
        """Fit the normaliser to observations (rows, layout.size), besides those of earlier calls.

        Before training only: it would move under the policy.
        """
        for body in self.bodies:
            body.measure(obs)

    def _start(self, config: TrainConfig) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.orthogonal_(module.weight, math.sqrt(2.0))
                nn.init.zeros_(module.bias)
        nn.init.orthogonal_(self.actor.weight, 0.01)  # nearly uniform: explore everything at first
        nn.init.orthogonal_(self.critic.weight, 1.0)
        with torch.no_grad():
            if config.action == "continuous":
                self.actor.bias[0], self.actor.bias[JERKS:] = START_MEAN, START_SPREAD
                return
            hardest = LONGITUDINAL_JERKS.index(min(LONGITUDINAL_JERKS)) * len(LATERAL_JERKS)
            self.actor.bias[hardest : hardest + len(LATERAL_JERKS)] -= config.brake_bias
