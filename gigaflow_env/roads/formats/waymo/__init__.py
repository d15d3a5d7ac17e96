"""Waymo Open Motion Dataset and its relatives."""
