"""PPO by self-play for gigaflow_env: a trainer that uses nothing but the environment's public names.

Where things are: `config.TrainConfig`, `policy.Policy`, `train.train`, `checkpoint.load_policy`, `evaluate.run.evaluate`.
On the command line: `gigaflow-train run`, `gigaflow-train evaluate`, `gigaflow-train report`.
"""
