"""Road maps: readable source, importers, the town generator and the compiler to kernel tables."""

from gigaflow_env.roads.facts import summary
from gigaflow_env.roads.lanes_json import save
from gigaflow_env.roads.mapfiles import load, shipped
from gigaflow_env.roads.scenario import Scenario, load_scenario
from gigaflow_env.roads.source import Crosswalk, Lane, MapError, RoadMap, Signal, validate

__all__ = [
    "Crosswalk",
    "Lane",
    "MapError",
    "RoadMap",
    "Scenario",
    "Signal",
    "load",
    "load_scenario",
    "save",
    "shipped",
    "summary",
    "validate",
]
