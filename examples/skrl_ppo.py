"""PPO of skrl learns to drive. Needs `pip install "gigaflow-env[skrl]"`.

skrl needs no adapter: `wrap_env(env)` takes the environment by way of NumPy. `SkrlEnv` here passes its tensors as they are,
which saves the copies and, on a CUDA device, the way through the host.
"""

import argparse
import time

import gymnasium
import numpy as np
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from torch import nn
from torch.distributions import Categorical

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.adapters.skrl import SkrlEnv
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
rows, length = 128, 32

set_seed(args.seed)
torch.set_num_threads(1)
env = SkrlEnv(
    gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map=MAP, config=CONFIG, output="torch"),
    seed=args.seed,
)


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


class Policy(CategoricalMixin, Model):
    def __init__(self, **spaces) -> None:
        Model.__init__(self, **spaces)
        CategoricalMixin.__init__(self, unnormalized_log_prob=True)
        self.net = network(self.num_observations, self.num_actions)

    def compute(self, inputs, role=""):
        return self.net(inputs["observations"]), {}


class Value(DeterministicMixin, Model):
    def __init__(self, **spaces) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.net = network(self.num_observations, 1)

    def compute(self, inputs, role=""):
        return self.net(inputs["observations"]), {}


spaces = {
    "observation_space": env.observation_space, "state_space": None, "action_space": env.action_space, "device": env.device,
}  # fmt: skip
models = {"policy": Policy(**spaces), "value": Value(**spaces)}
cfg = PPO_CFG()
cfg.rollouts, cfg.learning_epochs, cfg.mini_batches = length, 8, 8
cfg.discount_factor, cfg.learning_rate = 0.97, 5e-4
cfg.entropy_loss_scale, cfg.value_loss_scale, cfg.grad_norm_clip = 0.005, 0.5, 0.5
cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
memory = RandomMemory(memory_size=length, num_envs=rows, device=env.device)
agent = PPO(models=models, memory=memory, cfg=cfg, **spaces)


@torch.no_grad()
def act(observations: np.ndarray) -> np.ndarray:
    return Categorical(logits=models["policy"].net(torch.from_numpy(observations))).sample().numpy()


before, began = rates(act), time.perf_counter()
steps = args.steps // (rows * length) * length
SequentialTrainer(
    cfg={"timesteps": steps, "headless": True, "disable_progressbar": True, "close_environment_at_exit": False},
    env=env, agents=agent,
).train()  # fmt: skip
env.close()

seconds = time.perf_counter() - began
print(f"{steps * rows} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
