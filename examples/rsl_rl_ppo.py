"""PPO of rsl_rl learns to drive, with continuous actions. Needs `pip install "gigaflow-env[rsl-rl]"`."""

import argparse
import time

import gymnasium
import numpy as np
import torch
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.adapters.rsl_rl import RslRlEnv
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=600_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
rows, length = 128, 32

torch.manual_seed(args.seed)
torch.set_num_threads(1)
made = gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map=MAP, config=CONFIG, output="torch", action="continuous")
env = RslRlEnv(made, seed=args.seed)
network = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "tanh"}
gaussian = {"class_name": "GaussianDistribution", "init_std": 0.7}
ppo = {
    "class_name": "PPO", "num_learning_epochs": 8, "num_mini_batches": 8, "learning_rate": 5e-4, "schedule": "fixed",
    "gamma": 0.97, "lam": 0.95, "entropy_coef": 0.002, "clip_param": 0.2, "value_loss_coef": 0.5,
    "use_clipped_value_loss": False, "desired_kl": None, "max_grad_norm": 0.5,
}  # fmt: skip
config = {
    "num_steps_per_env": length, "save_interval": 10**9, "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
    "algorithm": ppo, "actor": {**network, "distribution_cfg": gaussian}, "critic": network,
}  # fmt: skip
runner = OnPolicyRunner(env, config, device="cpu")
actor = runner.alg.get_policy()


@torch.no_grad()
def act(observations: np.ndarray) -> np.ndarray:
    seen = TensorDict({"policy": torch.from_numpy(observations)}, batch_size=[len(observations)])
    return actor(seen, stochastic_output=True).clamp(-1.0, 1.0).numpy()


before, began = rates(act, action="continuous"), time.perf_counter()
runner.learn(args.steps // (rows * length))
env.close()

steps, seconds = args.steps // (rows * length) * rows * length, time.perf_counter() - began
print(f"{steps} steps in {seconds:.0f} s; before: {before}; after: {rates(act, action='continuous')}")
