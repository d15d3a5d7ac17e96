"""The live viewer: a page in the browser on which a world drives, and a seat in one of its cars. Its server: server.py."""

from gigaflow_env.viewer.world import LiveWorld, Settings

__all__ = ["LiveWorld", "Settings"]
