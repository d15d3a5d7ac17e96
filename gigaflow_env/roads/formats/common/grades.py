"""Slopes too steep for what tells a bridge from the road below it."""

import numpy as np

from gigaflow_env.roads.import_report import note
from gigaflow_env.roads.levels import LEVEL_GAP
from gigaflow_env.roads.road_map import RoadMap

AROUND = 10.0
"""[m] Ours: so far around a car, heights of one road must not differ by as much as those of two levels."""
LIMIT = LEVEL_GAP / AROUND
"""[m/m] of a slope on which levels can be told apart. The steepest streets of the world rise by 0.35."""


def note_grades(road_map: RoadMap) -> None:
    """Report driving lanes that rise or fall by more than LIMIT."""
    for lane in road_map.lanes.values():
        if lane.kind != "driving":
            continue
        steps = np.diff(lane.line[:, :3], axis=0)
        grades = np.abs(steps[:, 2]) / np.hypot(steps[:, 0], steps[:, 1])
        if grades.max() > LIMIT:
            k = int(grades.argmax())
            note(
                "grade",
                lane.id,
                f"a slope of {100 * grades[k]:.0f} %: levels can't be told apart there, agents may count as off the road",
                place=(float(lane.line[k, 0]), float(lane.line[k, 1])),
                amount=round(100 * float(grades[k]), 1),
                unit="%",
            )
