"""Figures that others have published: beside ours in grey, as they are of other simulators and other data."""

from typing import NamedTuple

WORDS = "published, other simulator"


class Published(NamedTuple):
    """One figure."""

    suite: str
    figure: str  # name in our tables
    who: str
    value: float
    source: str


_PAPER = "arXiv 2502.03349"
_LIST = (
    Published("longform", "km_between_incidents", "GIGAFLOW", 3.0e6, _PAPER + ", section 8.5"),
    Published("longform", "years_between_incidents", "GIGAFLOW", 17.5, _PAPER + ", section 8.5"),
    Published("waymax", "score", "GIGAFLOW", 0.9916, _PAPER + ", Table A7, 44,097 scenes, IDM others"),
    Published("waymax", "collision", "GIGAFLOW", 0.0043, _PAPER + ", Table A7"),
    Published("waymax", "offroad", "GIGAFLOW", 0.0043, _PAPER + ", Table A7"),
    Published("waymax", "score", "expert replay", 0.9907, _PAPER + ", Table A7, upper bound"),
    Published("waymax", "score", "BC", 0.943, _PAPER + ", Table A7, upper bound"),
    Published("nuplan", "score", "GIGAFLOW, reactive", 0.938, _PAPER + ", Table A5, Val14"),
    Published("nuplan", "score", "IDM, reactive", 0.773, "Val14"),
    Published("nuplan", "score", "log replay, not reactive", 0.935, "Val14"),
    Published("wosac", "composite_2023", "GIGAFLOW", 0.6190, _PAPER + ", Table A8, the metric of 2023"),
    Published("wosac", "composite_2023", "log oracle", 0.7220, _PAPER + ", Table A8, the metric of 2023"),
    Published("carla-routes", "driving_score", "GIGAFLOW, Longest6", 92.0, _PAPER + ", Table A6"),
    Published("carla-routes", "driving_score", "GIGAFLOW, LAV", 99.0, _PAPER + ", Table A6"),
    Published("carla-routes", "driving_score", "expert of Jaeger 2023, Longest6", 81.0, _PAPER + ", Table A6"),
)


def of(suite: str) -> list[dict[str, object]]:
    """The published figures of a suite, each with the words that say what they are not."""
    return [{**one._asdict(), "note": WORDS} for one in _LIST if one.suite == suite]
