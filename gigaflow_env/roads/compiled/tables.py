"""Roads: the tables which the kernels read. Several maps lie one after the other; a world knows the number of its map.

All positions are float32 metres relative to the map's own origin (float64, `Roads.origins`), so that 1 km keeps 0.06 mm.
Tables that are read at random are records (array of structures): one row is one cache line.
"""

from typing import NamedTuple

import numpy as np

from gigaflow_env.declare import array, number

i32 = np.int32

CELL = 4.0
"""[m] Size of the cells in which quads are looked up: 9 quads a cell on average, 20 with the margin."""
EDGE_CELL = 2 * CELL
"""[m] Size of the cells in which road edges are looked up: 2-4 edges a cell."""
ROW_QUADS = 4
"""Quads that share one row of the Nearby tables: lists are for a point at most 2 m away, in a quarter of the memory."""
NO_WAY_BACK = 1e5
"""[m] Back to where others can pass, in a dead end: farther than any way, and a centimetre more still counts."""
LANE_CHANGE_COST = 5.0
"""[m] Route distance that a lane change adds. Ours: routes shall not change lanes without reason."""
ROUTE_BLOCK = 32
"""Lanes, by LaneRow.local, that share an entry of Network.route_blocks: neighbours, so that most of a block is reached."""
LEAD_UNIT = 16384
"""Unit of Network.leads: 1 is 1 / 16384."""
UNREACHABLE = 1e9
"""[m] Route distance to a lane to which no route leads."""
START_WIDTH = 2.4
"""[m] Width of lane where an agent may start. Ours: 0.3 m more than the widest car."""
SAME_LINE = 0.5
"""[m] Lanes whose starts are nearer to each other share a stop line."""
STOP_SIGN, YIELD_SIGN = -1, -2
"""What controls a stop line that has no light."""


class Section(NamedTuple):
    """A cross-section of a lane, about every metre.

    Quad k lies between sections k and k + 1 of one lane: the convex quadrilateral of the paper. The section line is normal
    to (cos, sin).
    """

    x: float = number("m", "lane center")
    y: float = number("m", "lane center")
    cos: float = number("", "lane direction, x")
    sin: float = number("", "lane direction, y")
    curvature: float = number("1/m", "of the center line, left positive")
    z: float = number("m", "height")
    half_width: float = number("m", "half of the lane width")
    lane: int = number("", "its lane", i32)


class LaneRow(NamedTuple):
    """A driving lane."""

    first: int = number("", "its first section; its sections are first .. first + quads", i32)
    quads: int = number("", "number of quads, at least 1", i32)
    step: float = number("m", "distance of two sections")
    length: float = number("m", "quads * step")
    speed: float = number("m/s", "speed limit")
    left: int = number("", "lane to which a change to the left is permitted, -1: none", i32)
    right: int = number("", "lane to which a change to the right is permitted, -1: none", i32)
    bundle: int = number("", "lanes joined by permitted lane changes share this number", i32)
    order: int = number("", "position in the bundle, counted from the right", i32)
    successors_at: int = number("", "first of its successors in Network.successors", i32)
    successors: int = number("", "number of successors", i32)
    junction: int = number("", "1 for a connector inside a junction", i32)
    local: int = number("", "its index in the rows and columns of Network.route: close for lanes that are close", i32)
    nearby_at: int = number("", "row of its first quads in the Nearby tables; every 4 quads have one row", i32)
    cos2: float = number("", "mean of cos 2t along it, t the direction: for its length in a map variant")
    sin2: float = number("", "mean of sin 2t along it")


class MapRow(NamedTuple):
    """Where the parts of one map lie in the shared tables."""

    lanes_at: int = number("", "first lane", i32)
    lanes: int = number("", "number of driving lanes", i32)
    starts_at: int = number("", "first entry of Network.starts", i32)
    starts: int = number("", "number of entries", i32)
    route_at: int = number("", "first entry of Network.route", np.int64)
    leads_at: int = number("", "first entry of Network.leads, as many as of `route`; -1: all are 1", np.int64)
    blocks_at: int = number("", "first entry of Network.route_blocks; -1: the map has all routes", np.int64)
    stops_at: int = number("", "first stop line", i32)
    lights_at: int = number("", "first light in Network.light_group", i32)
    lights: int = number("", "number of lights", i32)
    x: float = number("m", "lower left corner of the grids")
    y: float = number("m", "lower left corner of the grids")
    columns: int = number("", "cells of 4 m along x; edge cells of 8 m: half as many, rounded up", i32)
    rows: int = number("", "cells of 4 m along y", i32)
    cells_at: int = number("", "first entry of Grid.quads_at; the map has columns * rows + 1", i32)
    edge_cells_at: int = number("", "first entry of Grid.edges_at; the map has ceil(columns/2) * ceil(rows/2) + 1", i32)
    until: float = number("", "upper end of its range of unit draws, which begins at that of the map before; 0: no draws")


class StopRow(NamedTuple):
    """A stop line across the start of a lane that a light or a sign controls."""

    x: float = number("m", "middle of the line")
    y: float = number("m", "middle of the line")
    z: float = number("m", "height")
    cos: float = number("", "direction of the traffic it stops, x")
    sin: float = number("", "direction of the traffic it stops, y")
    half_width: float = number("m", "half of its length")
    light: int = number("", "number of its light inside the map, -1: a stop sign, -2: a yield sign", i32)


class ProgramRow(NamedTuple):
    """What a light shows, over and over."""

    phases_at: int = number("", "its first phase in Network.phases", i32)
    phases: int = number("", "number of phases", i32)
    cycle: float = number("s", "time of all phases")
    offset: float = number("s", "time in its cycle when a world begins")
    red: float = number("s", "red in a cycle")
    yellow: float = number("s", "the shortest yellow; 0 where none is between green and red")
    green: float = number("s", "green in a cycle")


class PhaseRow(NamedTuple):
    """A colour of a light."""

    until: float = number("s", "its end, from the start of the cycle")
    colour: int = number("", "OFF, GREEN, YELLOW or RED", i32)


class EdgeRow(NamedTuple):
    """A straight piece of the border of the drivable area."""

    x1: float = number("m", "")
    y1: float = number("m", "")
    x2: float = number("m", "")
    y2: float = number("m", "")
    z: float = number("m", "height of the road that it bounds")


class SampleRow(NamedTuple):
    """A point on a lane, every `lane_spacing` metres.

    For observations and route distances. There are few enough of them to stay in the L2 cache; the neighbour lists hold
    their numbers.
    """

    x: float = number("m", "lane center")
    y: float = number("m", "lane center")
    cos: float = number("", "lane direction, x")
    sin: float = number("", "lane direction, y")
    width: float = number("m", "lane width")
    s: float = number("m", "distance from the start of its lane")
    share: float = number("", "the same as a share of the lane's length")
    local: int = number("", "LaneRow.local of its lane; repeated here and below, so that one cache line is read", i32)
    bundle: int = number("", "LaneRow.bundle of its lane", i32)
    order: int = number("", "LaneRow.order of its lane", i32)
    cos2: float = number("", "LaneRow.cos2 of its lane")
    sin2: float = number("", "LaneRow.sin2 of its lane")


class BendRow(NamedTuple):
    """The directions of a route: means of cos 2t and sin 2t along it, in units of 1 / 127. Read only in a map variant."""

    cos2: int = number("1/127", "", np.int8)
    sin2: int = number("1/127", "", np.int8)


class PointRow(NamedTuple):
    """A point on the edge of the road."""

    x: float = number("m", "")
    y: float = number("m", "")


class Network(NamedTuple):
    """Lanes, routes and signals of all maps."""

    maps: np.ndarray = array("map", "", "MapRow")
    sections: np.ndarray = array("section", "", "Section")
    lanes: np.ndarray = array("lane", "", "LaneRow")
    successors: np.ndarray = array("successor", "", "lanes, see LaneRow.successors_at", i32)
    starts: np.ndarray = array("start", "", "first sections of the quads where agents may start: not in junctions", i32)
    route: np.ndarray = array(
        "entry",
        "m",
        "[goal lane, lane] per map, by LaneRow.local: route distance from the start of `lane` to that of `goal lane`, over "
        "at least one successor; on a large map only the blocks of lanes around each goal lane",
    )
    bends: np.ndarray = array("entry", "", "BendRow: the directions of each entry of `route`")
    leads: np.ndarray = array(
        "entry",
        "1/16384",
        "length of the lane that the route leaves, beside which it may begin, divided by that of `lane`",
        np.uint16,
    )
    route_blocks: np.ndarray = array(
        "entry", "", "[goal lane, block of lanes] of a large map: number of the block in `route`, -1: too far", i32
    )
    samples: np.ndarray = array("sample", "", "SampleRow: the points on each lane, in order")
    stops: np.ndarray = array("stop", "", "StopRow")
    light_group: np.ndarray = array("light", "", "group of each light, numbered inside its map", i32)
    programs: np.ndarray = array("program", "", "ProgramRow: of each light, where lights have programs; else none")
    phases: np.ndarray = array("phase", "", "PhaseRow")
    gives_way: np.ndarray = array("lane", "", "a yield sign stands at its start", np.bool_)


class Grid(NamedTuple):
    """What each cell of the maps holds."""

    quads_at: np.ndarray = array("cell", "", "first entry in `quads` of each 4 m cell, row-major", i32)
    quads: np.ndarray = array("entry", "", "first sections of the quads within 2 m of the cell", i32)
    edges_at: np.ndarray = array("edge_cell", "", "first entry in `edges` of each 8 m cell, row-major", i32)
    edges: np.ndarray = array("entry", "", "EdgeRow; an edge that crosses several cells is repeated")


class Nearby(NamedTuple):
    """Precomputed neighbour lists: what lies nearest to each row's point (arXiv 2502.03349, observation cache).

    Nearest first; with dropout in random order.
    """

    samples: np.ndarray = array("row lane_count", "", "nearest lane samples", i32)
    boundaries: np.ndarray = array("row boundary_count", "", "PointRow: points of the road's edges, 1 m apart")
    stops: np.ndarray = array("row stop_count", "", "stop lines, -1: none", i32)


class Roads(NamedTuple):
    """One or several compiled maps: the tables, names and origins."""

    network: Network
    grid: Grid
    nearby: Nearby
    names: tuple[str, ...]
    origins: np.ndarray  # (maps, 3) float64 [m]: add to a position to get the source's coordinates
