"""Eclipse SUMO networks (*.net.xml), and OpenStreetMap by its netconvert."""

from gigaflow_env.roads.formats.sumo.load import read

__all__ = ["read"]
