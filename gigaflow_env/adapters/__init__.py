"""Adapters to trainers that do not take a Gymnasium VectorEnv. Each imports its trainer only when it is itself imported."""
