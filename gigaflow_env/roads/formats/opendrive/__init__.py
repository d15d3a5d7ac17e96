"""ASAM OpenDRIVE (*.xodr)."""

from gigaflow_env.roads.formats.opendrive.load import read

__all__ = ["read"]
