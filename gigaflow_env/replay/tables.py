"""Trajectories as tables for other programs: CSV, parquet, and SUMO's floating car data."""

import csv
import io
import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from gigaflow_env.extras import remedy
from gigaflow_env.files import replacing, write_text
from gigaflow_env.replay.clip import Clip
from gigaflow_env.replay.frame import FLAGS, ON_ROAD

COLUMNS = (
    "tick", "time_s", "row", "episode", "kind", "x_m", "y_m", "heading_rad", "speed_mps", "steer_rad", "length_m", "width_m",
    "goal_x_m", "goal_y_m", "goals_left", *FLAGS,
)  # fmt: skip
"""One line for each agent on the road at each moment. Places are the map's own coordinates, but for map variants, whose
coordinates are those of the warped map; flags are 0 or 1."""


def columns(clip: Clip) -> dict[str, list[Any]]:
    """The table by columns."""
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    first = clip.moments[0].frame.tick
    for moment in clip.moments:
        frame = moment.frame
        for row in np.flatnonzero(frame.flags & ON_ROAD).tolist():
            body = clip.bodies[moment.bodies[row]]
            line = (
                frame.tick, round((frame.tick - first) * clip.dt, 4), row, int(frame.episode[row]), body["kind"],
                round(float(frame.x[row]) + clip.origin[0], 3), round(float(frame.y[row]) + clip.origin[1], 3),
                round(float(frame.heading[row]), 4), round(float(frame.speed[row]), 3), round(float(frame.steer[row]), 4),
                round(body["length"], 2), round(body["width"], 2),
                round(float(frame.goal_x[row]) + clip.origin[0], 2), round(float(frame.goal_y[row]) + clip.origin[1], 2),
                int(frame.goals_left[row]), *(int(frame.flags[row]) >> k & 1 for k in range(len(FLAGS))),
            )  # fmt: skip
            for name, value in zip(COLUMNS, line, strict=True):
                found[name].append(value)
    return found


def write_csv(clip: Clip, path: Path) -> None:
    """Write the table as CSV with a head."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows(zip(*columns(clip).values(), strict=True))
    write_text(path, text.getvalue())


def write_parquet(clip: Clip, path: Path) -> None:
    """Write the table as parquet. Raises ValueError where pyarrow is missing."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ValueError(f"{path}: parquet needs pyarrow: {remedy('viewer')}") from None
    with replacing(path) as temporary:
        parquet.write_table(pyarrow.table(columns(clip)), temporary)


def write_fcd(clip: Clip, path: Path) -> None:
    """Write SUMO's floating car data: https://sumo.dlr.de/docs/Simulation/Output/FCDOutput.html.

    A vehicle's place is the middle of its front bumper, and its angle is in degrees from north, clockwise.
    """
    table = columns(clip)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<fcd-export>"]
    now = None
    for k, time in enumerate(table["time_s"]):
        if time != now:
            lines += ["    </timestep>"] * (now is not None) + [f'    <timestep time="{time:.2f}">']
            now = time
        heading, half = table["heading_rad"][k], table["length_m"][k] / 2
        x, y = table["x_m"][k] + half * math.cos(heading), table["y_m"][k] + half * math.sin(heading)
        name = quoteattr(f"{table['row'][k]}.{table['episode'][k]}")
        angle = (90.0 - math.degrees(heading)) % 360.0
        lines.append(
            f'        <vehicle id={name} x="{x:.2f}" y="{y:.2f}" angle="{angle:.2f}" type={quoteattr(table["kind"][k])} '
            f'speed="{table["speed_mps"][k]:.2f}"/>'
        )
    write_text(path, "\n".join([*lines, "    </timestep>", "</fcd-export>"]) + "\n")
