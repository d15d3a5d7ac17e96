"""Lanelet2 (*.osm)."""

from gigaflow_env.roads.formats.lanelet2.load import read, recognises

__all__ = ["read", "recognises"]
