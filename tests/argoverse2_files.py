"""Lane segments of Argoverse 2, made by hand."""

from typing import Any


def line(*places: tuple[float, ...]) -> list[dict[str, float]]:
    return [dict(zip("xyz", (*place, 0.0)[:3], strict=True)) for place in places]


def segment(left: list, right: list, **more: Any) -> dict[str, Any]:
    return {
        "is_intersection": False, "lane_type": "VEHICLE",
        "left_lane_boundary": left, "left_lane_mark_type": "DASHED_WHITE", "left_neighbor_id": None,
        "right_lane_boundary": right, "right_lane_mark_type": "DASHED_WHITE", "right_neighbor_id": None,
        "predecessors": [], "successors": [], **more,
    }  # fmt: skip


def straight(x: float, length: float, y: float = 0.0, **more: Any) -> dict[str, Any]:
    """A lane 4 m wide along x, its center at y; the borders have different numbers of points."""
    left = line((x, y + 2), (x + length / 3, y + 2), (x + length, y + 2))
    return segment(left, line((x, y - 2), (x + length, y - 2)), **more)
