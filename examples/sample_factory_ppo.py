"""APPO of Sample Factory learns to drive. Needs `pip install "gigaflow-env[train]"`, and the library without its pins.

Sample Factory asks for Gymnasium below 1.0, and works with the one that the environment needs: docs/guide/adapters.md says
how to install both. Only its wrapper for environments of one agent has to be told to pass on what it wraps.
"""

import argparse
import tempfile
import time
from typing import Any

import gymnasium
import numpy as np
import torch
from sample_factory.algo.learning.learner import Learner
from sample_factory.algo.utils import make_env
from sample_factory.algo.utils.rl_utils import prepare_and_normalize_obs
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.model.actor_critic import create_actor_critic
from sample_factory.train import run_rl

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.bench.easy import CONFIG, MAP, Rates, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

rows, length = 128, 32
torch.set_num_threads(1)
# Since Gymnasium 1.0 wrappers don't pass on attributes, and Sample Factory would see one agent.
for name in ("num_agents", "is_multiagent"):
    setattr(make_env.BatchedListToDictWrapper, name, property(lambda self, name=name: getattr(self.env, name)))


class Rows(gymnasium.Env):
    """The rows as the agents of one environment; steps are tensors."""

    num_agents, is_multiagent, render_mode = rows, True, None

    def __init__(self) -> None:
        self.envs = gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map=MAP, config=CONFIG, output="torch")
        self.observation_space = gymnasium.spaces.Dict({"obs": self.envs.single_observation_space})
        self.action_space = self.envs.single_action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, torch.Tensor], dict]:
        obs, _ = self.envs.reset(seed=args.seed if seed is None else seed)
        return {"obs": obs}, {}

    def step(self, action: torch.Tensor) -> tuple:
        obs, *rest, _ = self.envs.step(action)
        return {"obs": obs}, *rest, {}

    def close(self) -> None:
        self.envs.close()


def config(folder: str) -> Any:
    """Sample Factory's own settings: everything in this process, batches of tensors."""
    given = {
        "algo": "APPO", "env": "gigaflow", "experiment": "easy", "train_dir": folder, "device": "cpu", "seed": args.seed,
        "serial_mode": True, "async_rl": False, "batched_sampling": True, "num_workers": 1, "num_envs_per_worker": 1,
        "worker_num_splits": 1, "use_rnn": False, "recurrence": 1, "rollout": length, "batch_size": 512,
        "num_batches_per_epoch": rows * length // 512, "num_epochs": 8, "learning_rate": 1e-3, "gamma": 0.97,
        "exploration_loss_coeff": 0.005, "normalize_input": False, "train_for_env_steps": args.steps,
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in given.items()]
    found, _ = parse_sf_args([*words, "--encoder_mlp_layers", "128", "128"])
    return parse_full_cfg(found, [*words, "--encoder_mlp_layers", "128", "128"])


def measured(model: Any) -> Rates:
    """What its policy does on the easy task."""

    def act(observations: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            seen = prepare_and_normalize_obs(model, {"obs": torch.from_numpy(observations.copy())})
            return model(seen, torch.zeros(len(observations), 1))["actions"].numpy()

    return rates(act)


def make_rows(full_env_name: str, cfg: Any, env_config: Any, render_mode: str | None = None) -> Rows:
    return Rows()


register_env("gigaflow", make_rows)
if __name__ == "__main__":  # Sample Factory asks an environment of another process for its spaces
    with tempfile.TemporaryDirectory() as folder:
        settings, spaces = config(folder), Rows()
        torch.manual_seed(args.seed)
        model = create_actor_critic(settings, spaces.observation_space, spaces.action_space)
        before, began = measured(model), time.perf_counter()
        run_rl(settings)
        seconds = time.perf_counter() - began
        # Its own loader fails since torch 2.6, which takes nothing but weights; this file was written a moment ago.
        kept = torch.load(Learner.get_checkpoints(Learner.checkpoint_dir(settings, 0))[-1], weights_only=False)
        model.load_state_dict(kept["model"])
    print(f"{kept['env_steps']} steps in {seconds:.0f} s; before: {before}; after: {measured(model)}")
