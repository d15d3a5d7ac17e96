"""Towns: a graph of nodes and roads (`spec`) becomes a RoadMap.

Each road keeps clear of its junctions by what they need, each kind of junction in a file of its own; connectors lead from
lane to lane across them. The same spec gives the same map to the last bit on every machine: nothing is drawn at random,
positions are rounded.
"""

import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from gigaflow_env.roads.road_map import Crosswalk, Lane, MapError, RoadMap, Signal, validate
from gigaflow_env.roads.towns import bridge, streets
from gigaflow_env.roads.towns.junctions import bulb, crossing, joint, midblock, roundabout
from gigaflow_env.roads.towns.mirror import mirrored, mirrored_spec
from gigaflow_env.roads.towns.parts import Arm, Built, Direction, Ends, Link
from gigaflow_env.roads.towns.spec import Node, Road, parse


def generate(spec: dict[str, Any] | str | os.PathLike[str]) -> RoadMap:
    """The town of a spec, given as a dict or as the path of a TOML file. Raises MapError for a spec that makes no town."""
    if isinstance(spec, dict):
        return _town(spec)
    path = Path(spec)
    try:
        return _town(tomllib.loads(path.read_text(encoding="utf-8")))
    except (MapError, tomllib.TOMLDecodeError) as error:
        raise MapError(f"{path}: {error}") from error


def _town(spec: dict[str, Any]) -> RoadMap:
    nodes, roads = parse(spec)
    left_hand = spec.get("left_hand", False)
    if left_hand:
        nodes, roads = mirrored_spec(nodes, roads)
    lanes, links, crosswalks = _parts(nodes, roads)
    successors: dict[str, list[str]] = {lane.id: [] for lane in lanes}
    for lane, following in links:
        successors[lane].append(following)
    signals = {
        lane.signal: Signal(lane.signal, nodes[lane.junction].control, lane.junction)
        for lane in lanes
        if lane.signal is not None and lane.junction is not None
    }
    town = RoadMap(
        name=spec["name"],
        lanes={lane.id: replace(lane, successors=tuple(successors[lane.id])) for lane in lanes},
        signals=signals,
        crosswalks={crosswalk.id: crosswalk for crosswalk in crosswalks},
        source=f"generated from {spec['name']}.toml",
        licence=spec.get("licence", ""),
        attribution=spec.get("attribution", ""),
    )
    town = mirrored(town) if left_hand else town
    validate(town)
    return town


def _parts(nodes: dict[str, Node], roads: list[Road]) -> tuple[list[Lane], list[Link], list[Crosswalk]]:
    """The lanes of all roads and then of all junctions, with their links, and the crosswalks."""
    axes = streets.axes(nodes, roads)
    arms = streets.arms_of(nodes, roads, axes)
    clear: dict[Direction, float] = {}
    for name, node in nodes.items():
        clear |= _clearances(name, node, arms[name], roads)

    lanes: list[Lane] = []
    links: list[Link] = []
    starts: Ends = {}
    ends: Ends = {}
    for road in roads:
        axis = streets.between_junctions(road, axes[road.between], clear)
        here: list[Lane] = []
        for direction, count, pocket, edge in streets.directions(road, axis):
            more_lanes, more_links, starts[direction], ends[direction] = streets.lanes_of(
                road, direction, count, pocket, edge
            )
            here += more_lanes
            links += more_links
        if road.bridge[2]:
            middle = bridge.crest(road, axis)
            here = [replace(lane, line=bridge.raised(lane.line, middle, road.bridge[2])) for lane in here]
        lanes += here
        lanes += streets.gores(road, nodes, roads, axes)

    crosswalks: list[Crosswalk] = []
    for name, node in nodes.items():
        built = _build(name, node, arms[name], roads, clear, starts, ends)
        lanes += built.lanes
        links += built.links
        crosswalks += built.crosswalks
    return lanes, links, crosswalks


def _clearances(name: str, node: Node, arms: list[Arm], roads: list[Road]) -> dict[Direction, float]:
    match node.kind:
        case "roundabout":
            return roundabout.clearances(name, node, arms)
        case "bulb":
            return bulb.clearances(name, node, arms)
        case "joint":
            return joint.clearances(name, node, arms, roads)
        case "midblock":
            return midblock.clearances(name, arms)
        case _:
            return crossing.clearances(name, node, arms)


def _build(
    name: str, node: Node, arms: list[Arm], roads: list[Road], clear: dict[Direction, float], starts: Ends, ends: Ends
) -> Built:
    match node.kind:
        case "roundabout":
            return roundabout.build(name, node, arms, clear, starts, ends)
        case "bulb":
            return bulb.build(name, node, arms, clear, starts, ends)
        case "joint":
            return joint.build(name, arms, roads, starts, ends)
        case "midblock":
            return midblock.build(name, node, arms, starts, ends)
        case _:
            return crossing.build(name, node, arms, clear, starts, ends)
