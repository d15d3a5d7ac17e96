"""Lanelet2 (*.osm)."""
