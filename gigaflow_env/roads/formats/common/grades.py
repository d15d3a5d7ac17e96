"""Slopes too steep for what tells a bridge from the road below it."""

import numpy as np

from gigaflow_env.roads.import_report import note
from gigaflow_env.roads.road_map import RoadMap

STEEP = 0.25
"""[m/m] Ours: the steepest streets of the world rise by 0.35; within a car's surroundings of 10 m, heights on one road then
differ by as much as those of two levels (`levels.LEVEL_GAP`)."""


def note_grades(road_map: RoadMap) -> None:
    """Report driving lanes that rise or fall by more than STEEP."""
    for lane in road_map.lanes.values():
        if lane.kind != "driving":
            continue
        steps = np.diff(lane.line[:, :3], axis=0)
        grades = np.abs(steps[:, 2]) / np.hypot(steps[:, 0], steps[:, 1])
        if grades.max() > STEEP:
            k = int(grades.argmax())
            note(
                "grade",
                lane.id,
                f"a slope of {100 * grades[k]:.0f} %: levels can't be told apart there, agents may count as off the road",
                place=(float(lane.line[k, 0]), float(lane.line[k, 1])),
                amount=round(100 * float(grades[k]), 1),
                unit="%",
            )
