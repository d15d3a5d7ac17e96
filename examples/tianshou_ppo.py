"""PPO of Tianshou learns to drive. Needs `pip install "gigaflow-env[tianshou]"`.

Tianshou has vector environments of its own kind: `Rows` shows ours as one. It begins the rows that ended by itself, which is
mode Disabled. Its infos are an object a row; they stay empty.
"""

import argparse
import time
from typing import Any

import gymnasium
import numpy as np
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.algorithm_base import policy_within_training_step
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env.venvs import BaseVectorEnv
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic
from torch import nn

import gigaflow_env
from gigaflow_env.bench.easy import CONFIG, MAP, rates


class Rows(BaseVectorEnv):
    """A GigaFlow vector environment in mode Disabled as Tianshou's."""

    def __init__(self, env: gymnasium.vector.VectorEnv) -> None:
        self.env, self.env_num = env, env.num_envs
        self.is_async, self.is_closed, self.workers = False, False, []
        self.ready_id = list(range(env.num_envs))

    def __len__(self) -> int:
        return self.env_num

    def get_env_attr(self, key: str, id: Any = None) -> list[Any]:
        """The spaces, one a row: these two are all that a collector asks for."""
        return [getattr(self.env, f"single_{key}")] * self.env_num

    def infos(self, number: int) -> np.ndarray:
        return np.array([{} for _ in range(number)], dtype=object)

    def reset(self, env_id: Any = None, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """All rows, or those that ended."""
        if env_id is None:
            return self.env.reset()[0], self.infos(self.env_num)
        mask = np.zeros(self.env_num, bool)
        mask[env_id] = True
        return self.env.reset(options={"reset_mask": mask})[0][mask], self.infos(mask.sum())

    def step(self, action: np.ndarray, id: Any = None) -> tuple[np.ndarray, ...]:
        """All rows at once: a part of them can't be stepped alone."""
        return (*self.env.step(action)[:4], self.infos(self.env_num))

    def seed(self, seed: int | None = None) -> list[int | None]:
        return [seed] * self.env_num

    def close(self) -> None:
        self.env.close()


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

rows, length = 128, 32
torch.set_num_threads(1)
torch.manual_seed(args.seed)
np.random.seed(args.seed)
mode = gymnasium.vector.AutoresetMode.DISABLED
envs = Rows(gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map=MAP, config=CONFIG, autoreset_mode=mode))
envs.env.reset(seed=args.seed)
size = envs.env.single_observation_space.shape


def body() -> Net:
    return Net(state_shape=size, hidden_sizes=[128, 128], activation=nn.Tanh)


actor = DiscreteActor(preprocess_net=body(), action_shape=gigaflow_env.ACTIONS, softmax_output=False)
policy = ProbabilisticActorPolicy(
    actor=actor, dist_fn=lambda logits: torch.distributions.Categorical(logits=logits),
    action_space=envs.env.single_action_space, deterministic_eval=False, action_scaling=False, action_bound_method=None,
)  # fmt: skip
ppo = PPO(
    policy=policy, critic=DiscreteCritic(preprocess_net=body()), optim=AdamOptimizerFactory(lr=1e-3), gamma=0.97,
    gae_lambda=0.95, ent_coef=0.005, vf_coef=0.5, max_grad_norm=0.5, eps_clip=0.2, advantage_normalization=True,
)  # fmt: skip
memory = VectorReplayBuffer(rows * length, rows)
collector = Collector(ppo, envs, memory)
collector.reset()


@torch.no_grad()
def act(observations: np.ndarray) -> np.ndarray:
    return torch.distributions.Categorical(logits=actor(observations)[0]).sample().numpy()


before, began = rates(act), time.perf_counter()
turns = max(1, args.steps // (rows * length))
for _ in range(turns):
    with policy_within_training_step(policy):
        collector.collect(n_step=rows * length)
        ppo.update(buffer=memory, batch_size=512, repeat=8)
    collector.reset_buffer(keep_statistics=True)
envs.close()

seconds = time.perf_counter() - began
print(f"{turns * rows * length} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
