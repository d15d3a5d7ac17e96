"""Waymo Open Motion Dataset and its relatives."""

from gigaflow_env.roads.formats.waymo.load import count, read, read_both, read_scenario

__all__ = ["count", "read", "read_both", "read_scenario"]
