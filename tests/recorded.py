"""Scenes as the Waymo Open Motion Dataset and its descendants record them, and writers of their formats."""

import json
import math
import pickle
import struct
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.roads import RoadMap
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.formats.waymo.tfrecord import masked_crc32c


class RecordedLane(NamedTuple):
    points: np.ndarray  # (n, 3)
    kind: int = 2  # surface street
    mph: float = 30.0
    exits: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()


def polyline(*points: tuple[float, ...], step: float = 0.5) -> np.ndarray:
    """Points every `step` metres along straight lines, (n, 3)."""
    made = [np.array([*points[0], 0.0])[None, :3]]
    for a, b in zip(points, points[1:], strict=False):
        count = max(1, round(math.dist(a, b) / step))
        made.append(np.linspace([*a, 0.0][:3], [*b, 0.0][:3], count + 1)[1:])
    return np.concatenate(made)


def parked(agents: int = 1, steps: int = 11) -> np.ndarray:
    """Tracks of cars that stand at (10 k, 0)."""
    tracks = np.zeros((agents, steps, 8))
    tracks[..., 0] = 10.0 * np.arange(agents)[:, None]
    tracks[..., 3], tracks[..., 4] = 4.5, 2.0
    return tracks


class Scene(NamedTuple):
    lanes: dict[int, RecordedLane]
    lines: list[tuple[int, np.ndarray]] = []  # number of the map element as in tf.Examples: 5-13 lines, 14-16 edges
    crosswalks: list[np.ndarray] = []
    stops: list[tuple[tuple[int, ...], np.ndarray]] = []
    lights: dict[int, tuple[np.ndarray, list[int]]] = {}  # lane -> stop point, states from the first step on
    tracks: np.ndarray = parked()  # (agents, steps): x, y, z, length, width, heading, velocity x, velocity y
    valid: np.ndarray = np.ones((1, 11), bool)
    kinds: tuple[int, ...] = (1,)
    ego: int = 0
    predict: tuple[int, ...] = ()
    name: str = "a1b2"


def of_town(town: RoadMap) -> tuple[Scene, dict[str, int]]:
    """A town as a scene: center lines, and its lanes' borders as broken lines. And the numbers of its lanes."""
    driving = [lane for lane in town.lanes.values() if lane.kind == "driving"]
    number = {lane.id: 100 + k for k, lane in enumerate(driving)}
    lanes, lines = {}, []
    for lane in driving:
        points = sample(lane.line, 0.5)
        beside = [tuple(number[other] for other in (side,) if other is not None) for side in (lane.left, lane.right)]
        exits = tuple(number[other] for other in lane.successors)
        lanes[number[lane.id]] = RecordedLane(points[:, :3], 2, lane.speed / 0.44704, exits, *beside)
        if lane.junction is None:
            across = np.column_stack([-np.sin(points[:, 3]), np.cos(points[:, 3])]) * points[:, [4]] / 2
            for sign in (1, -1):
                lines.append((6, np.column_stack([points[:, :2] + sign * across, points[:, 2]])))
    lights = {}
    for lane in driving:
        if lane.signal is not None and town.signals[lane.signal].kind == "light":
            lights[number[lane.id]] = (lane.line[0, :3], [4, 4, 4, 4, 4, 6, 6, 6, 6, 5, 4])
    tracks = parked()
    tracks[0, :, :3] = lanes[100].points[0]
    outlines = [crosswalk.outline for crosswalk in town.crosswalks.values()]
    return Scene(lanes, lines, outlines, lights=lights, tracks=tracks), number


# Protocol buffers


def varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def field(number: int, value: Any) -> bytes:
    """A field of a message: whole numbers and bools, doubles, texts, messages, or a float given as np.float32."""
    if isinstance(value, np.float32):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, (int, np.integer)):
        return varint(number << 3) + varint(int(value))
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields: tuple[int, Any]) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


def point(place: np.ndarray) -> bytes:
    return message(*enumerate(map(float, place), 1))


def scenario_message(scene: Scene) -> bytes:
    """The scene as a Scenario message."""
    agents, steps = scene.valid.shape
    parts = [(1, 0.1 * step) for step in range(steps)]
    for agent in range(agents):
        states = []
        for step in range(steps):
            x, y, z, *rest = map(float, scene.tracks[agent, step])
            numbers = [(k, np.float32(n)) for k, n in zip((5, 6, 8, 9, 10), rest, strict=True)]
            seen = [(2, x), (3, y), (4, z), *numbers, (11, True)]
            states.append((3, message(*(seen if scene.valid[agent, step] else [(11, False)]))))
        parts.append((2, message((1, 7 + agent), (2, scene.kinds[agent]), *states)))
    parts += [(5, scene.name), (6, scene.ego), (10, steps // 10)]
    for step in range(steps):
        seen = [(lane, at, states[step]) for lane, (at, states) in scene.lights.items() if step < len(states)]
        parts.append((7, message(*((1, message((1, lane), (2, state), (3, point(at)))) for lane, at, state in seen))))
    parts += [(8, feature) for feature in features(scene)]
    parts += [(11, message((1, agent), (2, 1))) for agent in scene.predict]
    return message(*parts)


def features(scene: Scene) -> list[bytes]:
    """The map features of a scene."""
    made = []
    for number, lane in scene.lanes.items():
        body = [(1, lane.mph), (2, lane.kind), (3, False), *((8, point(p)) for p in lane.points)]
        entries = [other for other, before in scene.lanes.items() if number in before.exits]
        body.append((9, b"".join(varint(other) for other in entries)))
        body.append((10, b"".join(varint(other) for other in lane.exits)))
        body += [(11, message((1, other))) for other in lane.left] + [(12, message((1, other))) for other in lane.right]
        made.append(message((1, number), (3, message(*body))))
    for k, (kind, points) in enumerate(scene.lines):
        key, own = (5, kind - 14) if kind >= 14 else (4, kind - 5)
        made.append(message((1, 10_000 + k), (key, message((1, own), *((2, point(p)) for p in points)))))
    for k, outline in enumerate(scene.crosswalks):
        made.append(message((1, 20_000 + k), (8, message(*((1, point(p)) for p in outline)))))
    for k, (lanes, at) in enumerate(scene.stops):
        made.append(message((1, 30_000 + k), (7, message(*((1, lane) for lane in lanes), (2, point(at))))))
    return made


def example_message(scene: Scene) -> bytes:
    """The scene as a tf.Example: lists filled up, past, current and future apart."""
    agents, steps = scene.valid.shape
    room, now = agents + 2, min(10, steps - 1)
    periods = {"past": slice(0, now), "current": slice(now, now + 1), "future": slice(now + 1, steps)}
    made: dict[str, Any] = {"scenario/id": scene.name}

    def filled(given: np.ndarray) -> np.ndarray:
        full = np.full((room, *given.shape[1:]), -1, given.dtype)
        full[:agents] = given
        return full

    for period, part in periods.items():
        names = ("x", "y", "z", "length", "width", "bbox_yaw", "velocity_x", "velocity_y")
        for k, name in enumerate(names):
            made[f"state/{period}/{name}"] = filled(scene.tracks[:, part, k]).astype(np.float32)
        made[f"state/{period}/valid"] = np.maximum(filled(scene.valid[:, part].astype(np.int64)), 0)
    made["state/id"] = filled(7.0 + np.arange(agents)).astype(np.float32)
    made["state/type"] = filled(np.array(scene.kinds, float)).astype(np.float32)
    made["state/is_sdc"] = filled((np.arange(agents) == scene.ego).astype(np.int64))
    made["state/tracks_to_predict"] = filled(np.isin(np.arange(agents), scene.predict).astype(np.int64))

    points = [(number, lane.kind, lane.points) for number, lane in scene.lanes.items()]
    points += [(10_000 + k, kind, line) for k, (kind, line) in enumerate(scene.lines)]
    points += [(20_000 + k, 18, outline) for k, outline in enumerate(scene.crosswalks)]
    points += [(30_000 + k, 17, at[None]) for k, (_, at) in enumerate(scene.stops)]
    points.append((-1, -1, np.full((5, 3), -1.0)))
    sizes = [len(given) for *_, given in points]
    made["roadgraph_samples/xyz"] = np.concatenate([given for *_, given in points]).astype(np.float32)
    made["roadgraph_samples/id"] = np.repeat([number for number, *_ in points], sizes)
    made["roadgraph_samples/type"] = np.repeat([kind for _, kind, _ in points], sizes)
    made["roadgraph_samples/valid"] = np.repeat([1] * (len(points) - 1) + [0], sizes)

    lights, states = sorted(scene.lights), np.zeros((16, steps), np.int64)
    for k, light in enumerate(lights[:16]):
        states[k, : len(scene.lights[light][1])] = scene.lights[light][1][:steps]
    for period in ("past", "current"):
        length, group = periods[period].stop - periods[period].start, f"traffic_light_state/{period}"
        for name, axis in (("x", 0), ("y", 1), ("z", 2)):
            column = [scene.lights[light][0][axis] for light in lights[:16]] + [-1.0] * (16 - len(lights))
            made[f"{group}/{name}"] = np.tile(column, (length, 1)).astype(np.float32)
        made[f"{group}/id"] = np.tile([*lights[:16], *[-1] * (16 - len(lights))], (length, 1))
        made[f"{group}/valid"] = np.tile([1] * len(lights[:16]) + [0] * (16 - len(lights)), (length, 1))
        made[f"{group}/state"] = states[:, periods[period]].T
    return message((1, message(*((1, message((1, name), (2, feature(given)))) for name, given in made.items()))))


def feature(given: Any) -> bytes:
    """A feature of a tf.Example."""
    if isinstance(given, str):
        return message((1, message((1, given))))
    if given.dtype == np.float32:
        return message((2, message((1, given.astype("<f4").tobytes()))))
    return message((3, message((1, b"".join(varint(int(n)) for n in given.ravel())))))


def tfrecord(*records: bytes) -> bytes:
    made = b""
    for data in records:
        head = struct.pack("<Q", len(data))
        made += head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data))
    return made


# JSON


def json_scene(scene: Scene, **more: Any) -> dict[str, Any]:
    """The scene as GPUDrive and PufferDrive keep it."""
    names = {1: "vehicle", 2: "pedestrian", 3: "cyclist", 4: "other"}
    colours = (
        "unknown",
        "arrow_stop",
        "arrow_caution",
        "arrow_go",
        "stop",
        "caution",
        "go",
        "flashing_stop",
        "flashing_caution",
    )
    objects = []
    for agent, (track, valid) in enumerate(zip(scene.tracks, scene.valid, strict=True)):
        shown = np.where(valid[:, None], track, -10_000.0).tolist()
        objects.append(
            {
                "id": 7 + agent,
                "type": names[scene.kinds[agent]],
                "position": [dict(zip("xyz", row, strict=False)) for row in shown],
                "velocity": [{"x": row[6], "y": row[7]} for row in shown],
                "heading": [row[5] for row in shown],
                "length": float(track[valid, 3].max(initial=0.0)),
                "width": float(track[valid, 4].max(initial=0.0)),
                "height": 1.5,
                "valid": valid.tolist(),
                "goalPosition": {"x": 0.0, "y": 0.0, "z": 0.0},
                "mark_as_expert": False,
            }
        )
    roads = [(number, "lane", lane.kind, lane.points) for number, lane in scene.lanes.items()]
    roads += [(10_000 + k, "road_edge" if n >= 14 else "road_line", n, line) for k, (n, line) in enumerate(scene.lines)]
    roads += [(20_000 + k, "crosswalk", 18, outline) for k, outline in enumerate(scene.crosswalks)]
    roads += [(30_000 + k, "stop_sign", 17, at[None]) for k, (_, at) in enumerate(scene.stops)]
    lights = {
        str(lane): {
            "state": [colours[state] for state in states],
            "time_index": list(range(len(states))),
            **{axis: [float(at[k])] * len(states) for k, axis in enumerate("xyz")},
        }
        for lane, (at, states) in scene.lights.items()
    }
    return {
        "name": f"{scene.name}.json",
        "scenario_id": scene.name,
        "objects": objects,
        "roads": [
            {
                "geometry": [dict(zip("xyz", p, strict=True)) for p in points.tolist()],
                "type": kind,
                "map_element_id": n,
                "id": k,
            }
            for k, kind, n, points in roads
        ],
        "tl_states": lights,
        "metadata": {
            "sdc_track_index": scene.ego,
            "objects_of_interest": [],
            "tracks_to_predict": [{"track_index": agent, "difficulty": 0} for agent in scene.predict],
        },
    } | more


def json_bytes(scene: Scene) -> bytes:
    return json.dumps(json_scene(scene)).encode()


# ScenarioNet

LINE_NAMES = (
    "UNKNOWN", "BROKEN_SINGLE_WHITE", "SOLID_SINGLE_WHITE", "SOLID_DOUBLE_WHITE", "BROKEN_SINGLE_YELLOW",
    "BROKEN_DOUBLE_YELLOW", "SOLID_SINGLE_YELLOW", "SOLID_DOUBLE_YELLOW", "PASSING_DOUBLE_YELLOW",
)  # fmt: skip
LIGHT_NAMES = (
    "UNKNOWN", "ARROW_STOP", "ARROW_CAUTION", "ARROW_GO", "STOP", "CAUTION", "GO", "FLASHING_STOP", "FLASHING_CAUTION",
)  # fmt: skip


def scenarionet_scene(scene: Scene) -> dict[str, Any]:
    """The scene as ScenarioNet keeps it."""
    agents, steps = scene.valid.shape
    kinds = {0: "LANE_UNKNOWN", 1: "LANE_FREEWAY", 2: "LANE_SURFACE_STREET", 3: "LANE_BIKE_LANE"}
    tracks = {}
    for agent in range(agents):
        state = {
            name: np.where(scene.valid[agent].reshape(-1, *[1] * (given.ndim - 1)), given, 0).astype(np.float32)
            for name, given in (
                ("position", scene.tracks[agent, :, :3]), ("velocity", scene.tracks[agent, :, 6:8]),
                ("heading", scene.tracks[agent, :, 5]), ("length", scene.tracks[agent, :, 3]),
                ("width", scene.tracks[agent, :, 4]),
            )
        }  # fmt: skip
        kind = {1: "VEHICLE", 2: "PEDESTRIAN", 3: "CYCLIST"}.get(scene.kinds[agent], "OTHER")
        about = {"type": kind, "object_id": str(7 + agent), "track_length": steps}
        tracks[str(7 + agent)] = {"type": kind, "state": state | {"valid": scene.valid[agent]}, "metadata": about}
    features: dict[str, Any] = {}
    for number, lane in scene.lanes.items():
        beside = {
            f"{name}_neighbor": [{"feature_id": str(other), "boundaries": []} for other in others]
            for name, others in (("left", lane.left), ("right", lane.right))
        }
        features[str(number)] = {
            "type": kinds[lane.kind], "polyline": lane.points.astype(np.float32), "speed_limit_kmh": lane.mph * 1.609344,
            "entry_lanes": [], "exit_lanes": list(lane.exits), **beside,
        }  # fmt: skip
    for k, (kind, line) in enumerate(scene.lines):
        name = f"ROAD_LINE_{LINE_NAMES[kind - 5]}" if kind < 14 else "ROAD_EDGE_BOUNDARY"
        features[str(10_000 + k)] = {"type": name, "polyline": line.astype(np.float32)}
    for k, outline in enumerate(scene.crosswalks):
        features[str(20_000 + k)] = {"type": "CROSSWALK", "polygon": outline.astype(np.float32)}
    for k, (controlled, at) in enumerate(scene.stops):
        features[str(30_000 + k)] = {"type": "STOP_SIGN", "lane": list(controlled), "position": at.astype(np.float32)}
    lights = {
        str(lane): {
            "type": "TRAFFIC_LIGHT", "lane": lane, "stop_point": at.astype(np.float32),
            "state": {"object_state": [f"LANE_STATE_{LIGHT_NAMES[state]}" for state in states[:steps]]},
        }
        for lane, (at, states) in scene.lights.items()
    }  # fmt: skip
    about = {
        "ts": (np.arange(steps) * 0.1).astype(np.float32), "dataset": "waymo", "scenario_id": scene.name,
        "sdc_id": str(7 + scene.ego), "sdc_track_index": scene.ego,
        "tracks_to_predict": {str(7 + agent): {"track_id": str(7 + agent)} for agent in scene.predict},
    }  # fmt: skip
    return {"id": scene.name, "version": "v1.2", "length": steps, "tracks": tracks, "dynamic_map_states": lights,
            "map_features": features, "metadata": about}  # fmt: skip


def pickle_bytes(scene: Scene) -> bytes:
    return pickle.dumps(scenarionet_scene(scene))
