"""The network that a config names: ours, or one of the user's own.

An own network is a torch module `Class(layout, config, **policy_arguments)` with

    forward(obs) -> (outputs, value)   obs float32 (rows, layout.size); value (rows,); outputs (rows, 12), logits, or with
                                       continuous actions (rows, 4): means and log spreads of the two jerks
    measure(obs)                       optional: called with observations of an untrained policy, before training
    value(obs) -> value                optional: the value alone, where that is cheaper
    halves() -> lists of parameters    optional: each list has a gradient norm of its own
    stateless                          optional: True where forward keeps nothing and draws nothing by chance; CPU threads
                                       then share the rows and not the operations, which is faster

examples/attention_policy.py is one. Name and arguments are part of the checkpoint, its source is not.
"""

import importlib
import os
import sys
from typing import Any

from torch import nn

from gigaflow_train.config import TrainConfig
from gigaflow_train.policy import Policy


def build(layout: Any, config: TrainConfig) -> nn.Module:
    """The network of a config, for observations of this layout. Raises ValueError where the user's can't be had."""
    if not config.policy:
        return Policy(layout, config)
    module, colon, name = config.policy.partition(":")
    if not (module and colon and name):
        raise ValueError(f"policy={config.policy!r}: write module:Class, for example my_networks:Attention")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as python -m does; a console script starts without
    try:
        kind = getattr(importlib.import_module(module), name)
        network = kind(layout, config, **config.policy_arguments)
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"policy={config.policy!r}: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"policy={config.policy!r} is {type(network).__name__}: expected a torch.nn.Module")
    return network
