"""nuPlan logs for tests: an SQLite database with the tables and columns of nuplan-devkit's schema."""

import math
import sqlite3
from pathlib import Path
from typing import Any

TABLES = {
    "log": "token BLOB PRIMARY KEY, vehicle_name TEXT, date TEXT, timestamp INTEGER, logfile TEXT, location TEXT, "
    "map_version TEXT",
    "ego_pose": "token BLOB PRIMARY KEY, timestamp INTEGER, x FLOAT, y FLOAT, z FLOAT, qw FLOAT, qx FLOAT, qy FLOAT, "
    "qz FLOAT, vx FLOAT, vy FLOAT, vz FLOAT, angular_rate_z FLOAT, epsg INTEGER, log_token BLOB",
    "lidar_pc": "token BLOB PRIMARY KEY, next_token BLOB, prev_token BLOB, ego_pose_token BLOB, lidar_token BLOB, "
    "scene_token BLOB, filename TEXT, timestamp INTEGER",
    "lidar_box": "token BLOB PRIMARY KEY, lidar_pc_token BLOB, track_token BLOB, x FLOAT, y FLOAT, z FLOAT, width FLOAT, "
    "length FLOAT, height FLOAT, vx FLOAT, vy FLOAT, vz FLOAT, yaw FLOAT, confidence FLOAT",
    "track": "token BLOB PRIMARY KEY, category_token BLOB, width FLOAT, length FLOAT, height FLOAT",
    "category": "token BLOB PRIMARY KEY, name TEXT, description TEXT",
    "scene": "token BLOB PRIMARY KEY, log_token BLOB, name TEXT, goal_ego_pose_token BLOB, roadblock_ids TEXT",
    "scenario_tag": "token BLOB PRIMARY KEY, lidar_pc_token BLOB, type TEXT, agent_track_token BLOB",
    "traffic_light_status": "token BLOB PRIMARY KEY, lidar_pc_token BLOB, lane_connector_id INTEGER, status TEXT",
}
Rows = dict[str, list[dict[str, Any]]]


def token(kind: int, number: int) -> bytes:
    return kind.to_bytes(2, "big") + number.to_bytes(6, "big")


def log(sweeps: int = 41, scenes: int = 1, location: str = "map", period: int = 50_000) -> Rows:
    """The car drives at 10 m/s along x from (0, 0) on, a car ahead of it, and a walker stands who is seen in the first half.

    A connector with the id 3 has a light that is red first and green from the middle on. Sweeps are 50 ms apart.
    """
    rows: Rows = {name: [] for name in TABLES}
    rows["log"] = [{"token": token(1, 0), "location": location, "map_version": location, "logfile": "hand"}]
    rows["category"] = [{"token": token(2, k), "name": name} for k, name in enumerate(("vehicle", "pedestrian", "barrier"))]
    rows["track"] = [{"token": token(3, k), "category_token": token(2, k)} for k in range(2)]
    rows["scene"] = [{"token": token(4, k), "log_token": token(1, 0), "name": f"scene-{k:03d}"} for k in range(scenes)]
    rows["scenario_tag"] = [{"token": token(5, 0), "lidar_pc_token": token(7, 0), "type": "starting_left_turn"}]
    for k in range(sweeps):
        time, x = 1_600_000_000_000_000 + k * period, 10.0 * k * period / 1e6
        pose = {
            "x": x,
            "y": 0.0,
            "z": 600.0,
            "qw": 1.0,
            "qx": 0.0,
            "qy": 0.0,
            "qz": 0.0,
            "vx": 10.0,
            "vy": 0.0,
            "angular_rate_z": 0.0,
        }
        rows["ego_pose"].append({"token": token(6, k), "timestamp": time + 7} | pose)
        place = {"ego_pose_token": token(6, k), "scene_token": token(4, k * scenes // sweeps), "timestamp": time}
        rows["lidar_pc"].append({"token": token(7, k)} | place)
        boxes = [(0, x + 15.0, 0.0, 4.5, 2.0, 10.0)] + ([(1, 20.0, 5.0, 0.6, 0.7, 0.0)] if k <= sweeps // 2 else [])
        for number, at, y, length, width, speed in boxes:
            box = {
                "x": at,
                "y": y,
                "z": 601.0,
                "yaw": 0.25,
                "vx": speed,
                "vy": 0.0,
                "length": length,
                "width": width,
                "height": 1.5,
            }
            rows["lidar_box"].append(
                {"token": token(8, 2 * k + number), "lidar_pc_token": token(7, k), "track_token": token(3, number)} | box
            )
        status = {"lane_connector_id": 3, "status": "red" if k < sweeps // 2 else "green"}
        rows["traffic_light_status"].append({"token": token(9, k), "lidar_pc_token": token(7, k)} | status)
    return rows


def turned(rows: Rows, angle: float) -> Rows:
    """The same with the recording car's pose turned by an angle [rad]."""
    for row in rows["ego_pose"]:
        row["qw"], row["qz"] = math.cos(angle / 2), math.sin(angle / 2)
    return rows


def write(path: Path, rows: Rows, without: tuple[str, ...] = ()) -> Path:
    """A log with these rows. without: tables to leave out."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    for name, columns in TABLES.items():
        if name in without:
            continue
        connection.execute(f"CREATE TABLE {name} ({columns})")
        for row in rows.get(name, ()):
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    connection.commit()
    connection.close()
    return path
