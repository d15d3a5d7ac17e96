"""ASAM OpenDRIVE (*.xodr)."""
