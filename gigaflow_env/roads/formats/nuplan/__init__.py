"""nuPlan maps (*.gpkg)."""

from gigaflow_env.roads.formats.nuplan.load import read

__all__ = ["read"]
