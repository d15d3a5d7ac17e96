"""An own network for `gigaflow-train`: attention over all elements in view instead of a maximum over each set.

    gigaflow-train run --policy examples.attention_policy:Attention

From the checkout, with the extra `train`: pip install "gigaflow-env[train]"
The contract is in gigaflow_train/networks.py: `forward(obs) -> (logits, value)`, and `measure(obs)` if it wants to see what
observations are like before training.
"""

import torch
from torch import Tensor, nn

from gigaflow_env import ACTIONS, FEATURES

SETS = ("lanes", "boundaries", "stops", "agents")
VECTORS = ("ego", "conditioning", "goals")


class Attention(nn.Module):
    def __init__(self, layout, config, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.split = layout.split
        self.sets = [name for name in SETS if getattr(layout.counts, name) > 0]
        vector = sum(getattr(layout.counts, name) * len(getattr(FEATURES, name)._fields) for name in VECTORS)
        self.ask = nn.Linear(vector, width)  # the car's own state says what to look for
        self.tell = nn.ModuleDict({name: nn.Linear(len(getattr(FEATURES, name)._fields), width) for name in self.sets})
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        self.trunk = nn.Sequential(nn.Linear(2 * width, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.actor, self.critic = nn.Linear(128, ACTIONS), nn.Linear(128, 1)
        nn.init.orthogonal_(self.actor.weight, 0.01)  # nearly uniform at first
        nn.init.zeros_(self.actor.bias)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        blocks = self.split(obs)
        own = self.ask(torch.cat([getattr(blocks, name).flatten(1) for name in VECTORS], dim=1)).relu()  # (rows, width)
        seen = torch.cat([self.tell[name](getattr(blocks, name)).relu() for name in self.sets], dim=1)  # (rows, E, width)
        found, _ = self.look(own[:, None], seen, seen, need_weights=False)  # (rows, 1, width)
        x = self.trunk(torch.cat([own, found.squeeze(1)], dim=1))
        return self.actor(x), self.critic(x).squeeze(1)
