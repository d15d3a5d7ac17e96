"""A policy for other programs: one ONNX file that needs neither torch nor this package."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gigaflow_env import FEATURES
from gigaflow_env.extras import remedy
from gigaflow_train import checkpoint
from gigaflow_train.actions import mean_and_spread
from gigaflow_train.files import replacing

OPSET = 17


class _Network(nn.Module):
    """The policy with the outputs of the file; the set encoders by torch, whose operations ONNX knows."""

    def __init__(self, policy: Any, action: str) -> None:
        super().__init__()
        self.policy = policy
        self.action = action

    def forward(self, obs: Tensor) -> tuple[Tensor, ...]:
        outputs, value = self.policy(obs)
        if self.action == "discrete":
            return outputs, value
        mean, spread = mean_and_spread(outputs)
        return mean, spread.exp(), value


def to_onnx(run: str | Path, path: Path, env: Any) -> None:
    """Write the policy of a run directory or checkpoint file as ONNX.

    Input `obs` float32 (rows, columns); outputs `logits` (rows, 12) and `value` (rows,); with continuous actions `mean` and
    `spread` (rows, 2), to be clipped to the box, instead of logits. The normaliser is part of the network. The metadata say
    as JSON where each block lies in a row (`layout`), by what its features are divided (`features`), in what environment it
    was trained (`environment`) and how far (`step`).
    Raises ValueError where onnx is missing, CheckpointError.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise ValueError(f"an export needs onnx: {remedy('onnx')}") from None
    facts = checkpoint.read_facts(run)
    policy = checkpoint.load_policy(run, env)
    example = torch.zeros(2, env.layout.size)
    names = ["logits", "value"] if facts.config.action == "discrete" else ["mean", "spread", "value"]
    with replacing(path) as temporary, torch.no_grad(), warnings.catch_warnings():
        # By tracing: it needs one package less than torch's new way, which it warns about, and shapes are plain here.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            _Network(policy, facts.config.action).eval(),
            (example,),
            str(temporary),
            input_names=["obs"],
            output_names=names,
            dynamic_axes={name: {0: "rows"} for name in ("obs", *names)},
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(str(temporary))
        for key, about in described(env, facts).items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, json.dumps(about)
        onnx.save(model, str(temporary))


def described(env: Any, facts: checkpoint.Facts) -> dict[str, Any]:
    """What a file says about its input."""
    layout = env.layout
    blocks = {}
    for name, block in FEATURES._asdict().items():
        count, start = getattr(layout.counts, name), int(getattr(layout.starts, name))
        blocks[name] = {"start": start, "elements": count, "features": len(block._fields)}
    features = {
        name: {feature: field.unit for feature, field in block._field_defaults.items()}
        for name, block in FEATURES._asdict().items()
    }
    return {"layout": blocks, "features": features, "environment": facts.environment, "step": facts.step}
