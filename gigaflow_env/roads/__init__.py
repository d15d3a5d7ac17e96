"""Road maps: readable source, importers, the town generator and the compiler to kernel tables."""

from gigaflow_env.roads.source import (
    Crosswalk,
    Lane,
    MapError,
    RoadMap,
    Signal,
    load,
    save,
    shipped,
    summary,
    validate,
)

__all__ = ["Crosswalk", "Lane", "MapError", "RoadMap", "Signal", "load", "save", "shipped", "summary", "validate"]
