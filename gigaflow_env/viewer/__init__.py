"""The live viewer: a page in the browser on which a world drives, and a seat in one of its cars."""

from gigaflow_env.viewer.server import serve
from gigaflow_env.viewer.world import LiveWorld, Settings

__all__ = ["LiveWorld", "Settings", "serve"]
