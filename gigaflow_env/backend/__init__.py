"""Backends: the loops around the stages."""
