"""PPO of TorchRL learns to drive. Needs `pip install "gigaflow-env[torchrl]"`.

Transitions of rows that nobody drives are left out of the loss: the adapter declares `active`, `traffic` and `erratic`.
"""

import argparse
import time

import gymnasium
import numpy as np
import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.adapters.torchrl import torchrl_env
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
rows, length = 128, 32

torch.manual_seed(args.seed)
torch.set_num_threads(1)
env = torchrl_env(
    gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map=MAP, config=CONFIG, autoreset_mode="Disabled", output="torch")
)
env.set_seed(args.seed)
columns = env.observation_spec["observation"].shape[-1]


def network(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(columns, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


logits = network(env.action_spec.space.n)
actor = ProbabilisticActor(
    TensorDictModule(logits, ["observation"], ["logits"]), in_keys=["logits"], spec=env.action_spec,
    distribution_class=Categorical, return_log_prob=True,
)  # fmt: skip
critic = ValueOperator(network(1), in_keys=["observation"])
loss = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.005, critic_coeff=0.5, normalize_advantage=True)
advantage = GAE(gamma=0.97, lmbda=0.95, value_network=critic)
optimizer = torch.optim.Adam(loss.parameters(), lr=5e-4, eps=1e-5)


@torch.no_grad()
def act(observations: np.ndarray) -> np.ndarray:
    return Categorical(logits=logits(torch.from_numpy(observations))).sample().numpy()


before, began, steps = rates(act), time.perf_counter(), 0
collector = Collector(
    env, actor, frames_per_batch=rows * length, total_frames=args.steps // (rows * length) * rows * length,
    auto_register_policy_transforms=False,
)  # fmt: skip
for batch in collector:
    steps += batch.numel()
    with torch.no_grad():
        advantage(batch)
    flat = batch.reshape(-1)
    flat = flat[flat["active"] & ~flat["traffic"] & ~flat["erratic"]]
    for _ in range(8):
        for part in torch.randperm(len(flat)).split(512):
            losses = loss(flat[part])
            optimizer.zero_grad()
            (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
            optimizer.step()
collector.shutdown()

seconds = time.perf_counter() - began
print(f"{steps} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
