"""Road maps: readable source, importers, the town generator and the compiler to kernel tables."""

from gigaflow_env.roads.cut import cut
from gigaflow_env.roads.formats.lanes_json import save
from gigaflow_env.roads.formats.scene_npz import save as save_scene
from gigaflow_env.roads.loading import check_name, check_random, find, load, load_scenario, load_scene, records, shipped
from gigaflow_env.roads.road_map import (
    Crosswalk,
    Entry,
    Lane,
    MapError,
    MapWarning,
    Phase,
    Program,
    RoadMap,
    Signal,
    validate,
)
from gigaflow_env.roads.scenario import Scenario
from gigaflow_env.roads.summary import summary

__all__ = [
    "Crosswalk",
    "Entry",
    "Lane",
    "MapError",
    "MapWarning",
    "Phase",
    "Program",
    "RoadMap",
    "Scenario",
    "Signal",
    "check_name",
    "check_random",
    "cut",
    "find",
    "load",
    "load_scenario",
    "load_scene",
    "records",
    "save",
    "save_scene",
    "shipped",
    "summary",
    "validate",
]
