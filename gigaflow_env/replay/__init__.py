"""What happened in a world, kept step by step: one page to look at, or tables of trajectories."""

from gigaflow_env.replay.clip import Clip
from gigaflow_env.replay.frame import BIT
from gigaflow_env.replay.page import write_replay
from gigaflow_env.replay.recording import SUFFIXES, Recorder, Recording

__all__ = ["BIT", "SUFFIXES", "Clip", "Recorder", "Recording", "write_replay"]
