"""PPO of PufferLib learns to drive. Needs `pip install "gigaflow-env[puffer]"`, for which see docs/guide/adapters.md."""

import argparse
import tempfile
import time

import numpy as np
import pufferlib.models
import torch
from pufferlib.pufferl import PuffeRL
from torch.distributions import Categorical

from gigaflow_env.adapters.puffer import PufferGigaflow
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
rows, length = 128, 32

torch.manual_seed(args.seed)
torch.set_num_threads(1)
env = PufferGigaflow(rows, map=MAP, config=CONFIG, seed=args.seed)
policy = pufferlib.models.Default(env, hidden_size=64)
steps = args.steps // (rows * length) * rows * length
config = {
    "env": "gigaflow", "seed": args.seed, "torch_deterministic": True, "cpu_offload": False, "device": "cpu",
    "precision": "float32", "compile": False, "use_rnn": False, "total_timesteps": steps, "batch_size": rows * length,
    "bptt_horizon": length, "minibatch_size": 512, "max_minibatch_size": 512, "update_epochs": 8, "optimizer": "adam",
    "learning_rate": 5e-4, "anneal_lr": False, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-5, "gamma": 0.97,
    "gae_lambda": 0.95, "clip_coef": 0.2, "vf_coef": 0.5, "vf_clip_coef": 0.2, "max_grad_norm": 0.5, "ent_coef": 0.001,
    "vtrace_rho_clip": 1.0, "vtrace_c_clip": 1.0, "prio_alpha": 0.0, "prio_beta0": 1.0, "checkpoint_interval": 10**9,
    "data_dir": tempfile.mkdtemp(),
}  # fmt: skip


@torch.no_grad()
def act(observations: np.ndarray) -> np.ndarray:
    logits, _ = policy.forward_eval(torch.from_numpy(observations))
    return Categorical(logits=logits).sample().numpy()


before, began = rates(act), time.perf_counter()
trainer = PuffeRL(config, env, policy)
trainer.print_dashboard = lambda *args, **options: None
while trainer.global_step < steps:
    trainer.evaluate()
    trainer.train()
trainer.utilization.stop()
env.close()

seconds = time.perf_counter() - began
print(f"{steps} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
