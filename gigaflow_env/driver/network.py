"""The trained network without torch: the same numbers, but for rounding.

Source: gigaflow_train/policy.py, which describes the network. Here the normaliser is folded into the weights once.
"""

from typing import NamedTuple

import numpy as np

from gigaflow_env.driver.checkpoint import SETS, VECTORS, CheckpointError
from gigaflow_env.jit import f32, kernel
from gigaflow_env.layout import FEATURES, Layout

_ZERO = f32(0.0)

AT_ONCE = 1024
"""Rows of one pass: what lies between the layers stays in the processor's cache."""


class Layer(NamedTuple):
    """A linear layer, transposed: x @ weight + bias."""

    weight: np.ndarray  # (inputs, outputs)
    bias: np.ndarray  # (outputs,)


class Body(NamedTuple):
    """Encoders and trunk."""

    vector: Layer
    sets: dict[str, list[Layer]]
    trunk: list[Layer]


class Network:
    """`network(obs)` gives logits (rows, actions) and values (rows,) for float32 observations (rows, layout.size).

    weights: those of a checkpoint, by name. Raises CheckpointError where they are of another network.
    """

    def __init__(self, weights: dict[str, np.ndarray], layout: Layout) -> None:
        self.layout = layout
        seen = [name for name in SETS if getattr(layout.counts, name) > 0]
        try:
            count = len({name.split(".")[1] for name in weights if name.startswith("bodies.")})
            self.bodies = [_body(weights, f"bodies.{k}", seen) for k in range(count)]
            if not self.bodies:
                raise ValueError("there are none")
            self.actor, self.critic = _layer(weights, "actor"), _layer(weights, "critic")
            inputs = {name: len(getattr(FEATURES, name)._fields) for name in seen}
            vector = sum(getattr(layout.counts, name) * len(getattr(FEATURES, name)._fields) for name in VECTORS)
            for body in self.bodies:
                found = {name: layers[0].weight.shape[0] for name, layers in body.sets.items()}
                if body.vector.weight.shape[0] != vector or found != inputs:
                    raise ValueError("its layers take other observations")
        except (KeyError, IndexError, ValueError) as error:
            raise CheckpointError(f"the weights are of another network than this version's: {error}") from None

    def __call__(self, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits float32 (rows, actions) and values float32 (rows,)."""
        logits = np.empty((len(obs), self.actor.bias.size), np.float32)
        values = np.empty(len(obs), np.float32)
        for start in range(0, len(obs), AT_ONCE):
            part = np.ascontiguousarray(obs[start : start + AT_ONCE], np.float32)
            acting = _run(self.bodies[0], part, self.layout)
            judging = acting if len(self.bodies) == 1 else _run(self.bodies[-1], part, self.layout)
            logits[start : start + AT_ONCE] = _linear(acting, self.actor, rectified=False)
            values[start : start + AT_ONCE] = _linear(judging, self.critic, rectified=False)[:, 0]
        return logits, values


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of the actions, float32 (rows, actions)."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _layer(weights: dict[str, np.ndarray], name: str) -> Layer:
    """A layer; where it has a normaliser, the same layer on what is not normalised."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if f"{name}.mean" in weights:
        weight = weight / weights[f"{name}.spread"]
        bias = bias - weight @ weights[f"{name}.mean"]
    return Layer(np.ascontiguousarray(weight.T), bias)


def _layers(weights: dict[str, np.ndarray], name: str) -> list[Layer]:
    """All layers NAME.0, NAME.1, ..."""
    found: list[Layer] = []
    while f"{name}.{len(found)}.weight" in weights:
        found.append(_layer(weights, f"{name}.{len(found)}"))
    return found


def _body(weights: dict[str, np.ndarray], name: str, seen: list[str]) -> Body:
    sets = {one: [_layer(weights, f"{name}.sets.{one}.first"), *_layers(weights, f"{name}.sets.{one}.rest")] for one in seen}
    return Body(_layer(weights, f"{name}.vector"), sets, _layers(weights, f"{name}.trunk"))


def _run(body: Body, obs: np.ndarray, layout: Layout) -> np.ndarray:
    """(rows, layout.size) to (rows, width of the last trunk layer)."""
    blocks, rows = layout.split(obs), len(obs)
    vectors = np.concatenate([getattr(blocks, name).reshape(rows, -1) for name in VECTORS], axis=1)
    parts = [_linear(vectors, body.vector)]
    for name, layers in body.sets.items():
        block = getattr(blocks, name)  # (rows, elements, features)
        x = np.ascontiguousarray(block).reshape(-1, block.shape[2])
        for layer in layers:
            x = _linear(x, layer)
        parts.append(x.reshape(rows, block.shape[1], -1).max(axis=1))  # the last layer's relu may come before the maximum
    x = np.concatenate(parts, axis=1)
    for layer in body.trunk:
        x = _linear(x, layer)
    return x


def _linear(x: np.ndarray, layer: Layer, *, rectified: bool = True) -> np.ndarray:
    """A layer and its relu: float32 (rows, outputs)."""
    out = np.empty((len(x), layer.bias.size), np.float32)
    linear(x, layer.weight, layer.bias, rectified, out)
    return out


@kernel
def linear(x, weight, bias, rectified, out):
    """Out = x @ weight + bias, at least 0 where it is rectified.

    Not by BLAS, whose threads wait for each other: beside anything else that computes, small products take a hundred times
    longer there.
    """
    for row in range(len(x)):
        for j in range(len(bias)):
            out[row, j] = bias[j]
        for i in range(weight.shape[0]):
            factor = x[row, i]
            if factor != _ZERO:  # half of what comes from a relu
                for j in range(len(bias)):
                    out[row, j] += factor * weight[i, j]
        if rectified:
            for j in range(len(bias)):
                out[row, j] = max(out[row, j], _ZERO)
