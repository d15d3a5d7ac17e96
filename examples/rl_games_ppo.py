"""PPO of rl_games learns to drive. Needs `pip install "gigaflow-env[rl-games]"`."""

import argparse
import os
import tempfile
import time

import gymnasium
import numpy as np
import torch
from rl_games.torch_runner import Runner
from torch.distributions import Categorical

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.adapters.rl_games import register
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
rows, length = 128, 32

torch.set_num_threads(1)
register(lambda rows: gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map=MAP, config=CONFIG, output="torch"))
network = {
    "name": "actor_critic", "separate": True, "space": {"discrete": {}},
    "mlp": {"units": [64, 64], "activation": "tanh", "initializer": {"name": "default"}, "regularizer": {"name": "None"}},
}  # fmt: skip
config = {
    "name": "easy", "env_name": "gigaflow", "device": "cpu", "device_name": "cpu", "ppo": True, "reward_shaper": {},
    "num_actors": rows, "horizon_length": length, "minibatch_size": 512, "mini_epochs": 8, "normalize_advantage": True,
    "gamma": 0.97, "tau": 0.95, "learning_rate": 5e-4, "lr_schedule": None, "kl_threshold": 0.01, "entropy_coef": 0.005,
    "critic_coef": 1.0, "e_clip": 0.2, "clip_value": False, "truncate_grads": True, "grad_norm": 0.5,
    "normalize_input": False, "normalize_value": False, "value_bootstrap": True, "score_to_win": 1e9,
    "max_epochs": args.steps // (rows * length), "save_best_after": 10**9, "save_frequency": 0, "print_stats": False,
    "torch_compile": False,
}  # fmt: skip
params = {
    "seed": args.seed, "torch_threads": 1, "algo": {"name": "a2c_discrete"}, "model": {"name": "discrete_a2c"},
    "network": network, "config": config,
}  # fmt: skip
os.chdir(tempfile.mkdtemp())  # it writes into runs/
runner = Runner()
runner.load({"params": params})
runner.reset()
agent = runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)


@torch.no_grad()
def act(observations: np.ndarray) -> np.ndarray:
    logits = agent.model({"is_train": False, "obs": torch.from_numpy(observations), "rnn_states": None})["logits"]
    return Categorical(logits=logits).sample().numpy()


before, began = rates(act), time.perf_counter()
agent.train()

steps, seconds = config["max_epochs"] * rows * length, time.perf_counter() - began
print(f"{steps} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
