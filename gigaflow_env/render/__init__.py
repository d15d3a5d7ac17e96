"""Pictures and pages of maps, pictures and videos of worlds. The drawing libraries load with the first picture."""

from gigaflow_env.render.extra import MissingExtra
from gigaflow_env.render.mapview import draw_map
from gigaflow_env.render.page import write_page
from gigaflow_env.render.picture import RoadPicture, road_picture, warped
from gigaflow_env.render.topview import Scene, View, draw
from gigaflow_env.render.video import write_video
from gigaflow_env.render.window import Window

__all__ = [
    "MissingExtra",
    "RoadPicture",
    "Scene",
    "View",
    "Window",
    "draw",
    "draw_map",
    "road_picture",
    "warped",
    "write_page",
    "write_video",
]
