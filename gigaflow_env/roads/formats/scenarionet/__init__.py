"""ScenarioNet scenes (*.pkl)."""

from gigaflow_env.roads.formats.scenarionet.load import read, read_both, read_scenario

__all__ = ["read", "read_both", "read_scenario"]
