"""PPO by self-play for gigaflow_env: a trainer that uses nothing but the environment's public names.

Where things are: `config.TrainConfig`, `policy.Policy`, `train.train`, `checkpoint.load_policy`, `evaluate.run.drive`.
On the command line: `gigaflow-train run`, `gigaflow-train evaluate`, `gigaflow-train report`.
"""

import os

# Before torch is loaded: OpenMP's threads otherwise spin while they wait, which on two cores that are shared with anything
# else makes an update three times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
