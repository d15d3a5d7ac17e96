"""Scenes: recorded traffic with its map, made here, kept, and checked."""
