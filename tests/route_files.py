"""Route files of the CARLA leaderboard, in the layouts of Longest6, LAV and Bench2Drive, on a map."""

from pathlib import Path


def version1(
    path: Path, routes: dict[str, list[tuple[float, float]]], town: str = "Town01", attribute: str = "town"
) -> Path:
    """Longest6 (`town`) and older files, as LAV's (`map`). Points are the map's; CARLA's y is turned."""
    lines = ["<?xml version='1.0' encoding='UTF-8'?>", "<routes>"]
    for name, points in routes.items():
        lines.append(f'  <route id="{name}" {attribute}="{town}">')
        lines.append('    <weather cloudiness="5.0" sun_altitude_angle="70"/>')
        for x, y in points:
            lines.append(f'    <waypoint pitch="360.0" roll="0.0" x="{x}" y="{-y}" yaw="0.0" z="0.0"/>')
        lines.append("  </route>")
    path.write_text("\n".join([*lines, "</routes>"]))
    return path


def version2(path: Path, routes: dict[str, list[tuple[float, float]]], town: str = "Town12") -> Path:
    """Bench2Drive: way-points and scenarios in lists of their own."""
    lines = ["<routes>"]
    for name, points in routes.items():
        lines += [f'  <route id="{name}" town="{town}">', "    <weathers>", '      <weather route_percentage="0"/>',
                  "    </weathers>", "    <waypoints>"]  # fmt: skip
        lines += [f'      <position x="{x}" y="{-y}" z="1.5"/>' for x, y in points]
        lines += ["    </waypoints>", "    <scenarios>", '      <scenario name="Accident_1" type="Accident">',
                  '        <trigger_point x="0" y="0" yaw="0" z="0"/>', "      </scenario>", "    </scenarios>",
                  "  </route>"]  # fmt: skip
    path.write_text("\n".join([*lines, "</routes>"]))
    return path
