"""CommonRoad (*.xml)."""

from gigaflow_env.roads.formats.commonroad.load import read, read_scenario

__all__ = ["read", "read_scenario"]
