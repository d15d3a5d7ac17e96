"""PPO of RLlib's new stack learns to drive. Needs `pip install "gigaflow-env[rllib]"`.

RLlib keeps a Python object for each row's episode: it is at ease with some hundred rows in a runner, not with thousands.
"""

import argparse
import time

import numpy as np
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from torch.distributions import Categorical

from gigaflow_env.adapters.rllib import vectorized
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
rows, length = 128, 32

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
torch.set_num_threads(1)
config = (
    vectorized(PPOConfig(), rows, {"map": MAP, "config": CONFIG})
    .env_runners(num_env_runners=0, rollout_fragment_length=length)
    .training(
        train_batch_size_per_learner=rows * length, minibatch_size=512, num_epochs=8, lr=5e-4, gamma=0.97, lambda_=0.95,
        entropy_coeff=0.005, vf_loss_coeff=0.5, vf_clip_param=1e9, use_kl_loss=False, grad_clip=0.5, clip_param=0.2,
    )
    .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], fcnet_activation="tanh", vf_share_layers=False))
    .debugging(seed=args.seed)
)  # fmt: skip
algorithm = config.build_algo()


@torch.no_grad()
def act(observations: np.ndarray) -> np.ndarray:
    out = algorithm.get_module().forward_inference({"obs": torch.from_numpy(observations)})
    return Categorical(logits=out["action_dist_inputs"]).sample().numpy()


before, began, steps = rates(act), time.perf_counter(), 0
while steps < args.steps:
    steps = int(algorithm.train()["env_runners"]["num_env_steps_sampled_lifetime"])

seconds = time.perf_counter() - began
print(f"{steps} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
algorithm.stop()
ray.shutdown()
