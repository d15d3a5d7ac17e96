"""The compiler: RoadMap -> Roads, the tables which the kernels read."""

import math
import os
import warnings
from collections.abc import Sequence

import numpy as np

from gigaflow_env.declare import row_type
from gigaflow_env.progress import slow
from gigaflow_env.roads import signal_phases
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.compiled.cache import fetch, keep, path_for
from gigaflow_env.roads.compiled.concatenate import join
from gigaflow_env.roads.compiled.grid import Cells, compress, touched
from gigaflow_env.roads.compiled.neighbour_lists import Sizes, lists
from gigaflow_env.roads.compiled.own_side import own_side
from gigaflow_env.roads.compiled.road_edges import Strips, trace
from gigaflow_env.roads.compiled.routes import DENSE_LANES, ROUTE_REACH, routes
from gigaflow_env.roads.compiled.tables import (
    CELL,
    EDGE_CELL,
    ROUTE_BLOCK,
    ROW_QUADS,
    SAME_LINE,
    START_WIDTH,
    STOP_SIGN,
    YIELD_SIGN,
    Grid,
    LaneRow,
    MapRow,
    Network,
    PhaseRow,
    ProgramRow,
    Roads,
    Section,
    StopRow,
)
from gigaflow_env.roads.road_map import COLOURS, HEADING, WIDTH, Lane, MapError, RoadMap, X, Y, Z, validate

SECTION_SPACING = 1.0
"""[m] Length of a quad. Source: arXiv 2502.03349 (A)."""
MARGIN = 2.0
"""[m] A cell lists the quads that come so near to it: what stands beside the road finds its lane, too."""
START_LENGTH = 4.0
"""[m] of lane that is left where an agent may start. Ours."""
WAY_LEAST = 20.0
"""[m] that a start has ahead of it, at least, before all ways end: the paper's least distance of a goal. With less it is a
trap: no goal could be reached from there."""
START_SHARE = 10.0
"""[m] of start places per agent: the longest body, and the gap to the next one. Ours: with 8 m, small maps were so full that
many queued for a place for more than 50 steps."""

_CELLS = round(EDGE_CELL / CELL)  # along each side of a cell of edges

ABREAST = 10.0
"""[m] Lanes between which one may change run side by side: places at the same share of both lengths differ by less than this
along the road, and across it by half to one and a half times the distance of neighbours. Ours: in real maps it's 6 m at
most, and some 50 m where a lane begins beside the middle of the other one."""

MEMORY_SHARE = 0.5
"""Of the machine's memory that the tables of a map may take. Ours: they are made in a part of the time in twice the room."""
LANE_MEMORY = 1.5
"""Lanes of a large map within ROUTE_REACH of each other, and what their blocks hold besides, times this. Ours, measured."""

CURVATURE, S = 5, 6
"""Columns that `sample` gives besides those of Lane.line."""


def compile_roads(
    maps: RoadMap | Sequence[RoadMap],
    *,
    lane_spacing: float = 40.0,
    lane_count: int = 80,
    boundary_count: int = 80,
    stop_count: int = 5,
    shuffled: bool = False,
    yields: bool = False,
    programs: bool = False,
    cache: bool = True,
) -> Roads:
    """Kernel tables of one or several maps, in the order given.

    lane_spacing: distance of lane samples [m]; the counts are the lengths of the neighbour lists, nearest first; `shuffled`:
    lane samples and boundary points in an order of chance, of which `sim/observe.py` shows a window. yields: lines of yield
    signs are among the stop lines. programs: lights have programs, the file's or made ones. With `cache` each map's tables
    are kept in the user's cache directory (see `files.cache_directory`), and found there the next time.

    Raises MapError where a map is not consistent, is too large, or has no place to start from, ValueError for arguments out
    of range.
    """
    maps = [maps] if isinstance(maps, RoadMap) else list(maps)
    if not maps:
        raise ValueError("maps is empty: compile needs at least one RoadMap")
    if not (lane_spacing > 0 and math.isfinite(lane_spacing)):
        raise ValueError(f"lane_spacing={lane_spacing}: must be above 0")
    sizes = Sizes(
        float(lane_spacing),
        int(lane_count),
        int(boundary_count),
        int(stop_count),
        bool(shuffled),
        bool(yields),
        bool(programs),
    )
    for name, low in (("lane_count", 1), ("boundary_count", 1), ("stop_count", 0)):
        if getattr(sizes, name) < low:
            raise ValueError(f"{name}={getattr(sizes, name)}: must be at least {low}")
    return join([_cached(road_map, sizes) if cache else _compile(road_map, sizes) for road_map in maps])


def capacity(roads: Roads, map_index: int) -> int:
    """How many agents can start on a map: one every START_SHARE metres of the lanes where agents may start."""
    row, network = roads.network.maps[map_index], roads.network
    starts = network.starts[row["starts_at"] : row["starts_at"] + row["starts"]]
    total = network.lanes["step"][network.sections["lane"][starts]].sum(dtype=np.float64)
    return max(int(total / START_SHARE), 1)  # a map without any start does not compile


def _cached(road_map: RoadMap, sizes: Sizes) -> Roads:
    path = path_for(road_map, sizes)
    roads = fetch(path)
    if roads is None:
        with slow(f"preparing the map {road_map.name!r}"):
            roads = _compile(road_map, sizes)
        keep(roads, path)
    return roads


def _compile(road_map: RoadMap, sizes: Sizes) -> Roads:
    """Tables of one map."""
    validate(road_map)  # again: it may not come from `load`, but be made in Python
    _limit(road_map, sizes)
    kinds = sorted(road_map.lanes.values(), key=lambda lane: lane.kind != "driving")  # stable: driving lanes first
    driving = [lane for lane in kinds if lane.kind == "driving"]
    lines = [sample(lane.line, SECTION_SPACING) for lane in kinds]
    knots = np.concatenate(lines)[:, [X, Y, Z]]
    origin = np.round((knots.min(axis=0) + knots.max(axis=0)) / 2)
    for line in lines:
        line[:, [X, Y, Z]] -= origin

    driven = own_side(driving, lines[: len(driving)], road_map.left_hand)
    sections = _sections(driven)
    lanes, successors = _lanes(road_map, driving, driven)
    starts = _starts(sections, lanes, np.array([_turning_lane(lane) for lane in driving]), ways_beyond(lanes, successors))
    if len(starts) == 0:
        raise MapError(
            f"map {road_map.name!r} has no place to start from: outside junctions no driving lane is at least "
            f"{START_LENGTH} m long and {START_WIDTH} m wide"
        )
    lights = sorted(signal.id for signal in road_map.signals.values() if signal.kind == "light")
    shown = {"stop": STOP_SIGN, "yield": YIELD_SIGN} if sizes.yields else {"stop": STOP_SIGN}
    signs = {signal.id: shown[signal.kind] for signal in road_map.signals.values() if signal.kind in shown}
    stops = _stops(driving, sections, lanes, lights, signs)
    strips = _strips(lines)
    links = np.repeat(np.arange(len(lanes)), lanes["successors"])
    border = trace(strips, np.column_stack([links, successors]))

    corners = np.concatenate([strips.left, strips.right])[:, :2]
    low = np.floor(corners.min(axis=0) - 2 * MARGIN)
    columns, rows = np.ceil((corners.max(axis=0) + 2 * MARGIN - low) / CELL).astype(int).tolist()
    cells = Cells(float(low[0]), float(low[1]), CELL, columns, rows)
    grid = _grid(sections, lanes, border.edges, cells)

    maps = np.zeros(1, row_type(MapRow))
    maps["lanes"], maps["starts"], maps["lights"] = len(lanes), len(starts), len(lights)
    maps["x"], maps["y"], maps["columns"], maps["rows"] = cells.x, cells.y, cells.columns, cells.rows
    nearby, samples = lists(sections, lanes, stops, border.points, sizes)
    found = routes(lanes, successors)
    maps["leads_at"] = 0 if len(found.leads) else -1
    maps["blocks_at"] = 0 if len(found.route_blocks) else -1
    network = Network(
        maps,
        sections,
        lanes,
        successors,
        starts,
        *found,
        samples,
        stops,
        _groups(road_map, lights),
        *_programs(road_map, lights if sizes.programs else []),
        np.array([lane.signal is not None and road_map.signals[lane.signal].kind == "yield" for lane in driving]),
    )
    return Roads(network, grid, nearby, (road_map.name,), origin[None])


def _limit(road_map: RoadMap, sizes: Sizes) -> None:
    """Raise MapError for a map whose tables would fill the memory, before any is made."""
    parts = needed_bytes(road_map, sizes)
    needed, have = sum(parts.values()), memory_bytes()
    if needed > MEMORY_SHARE * have:
        listed = ", ".join(f"{name} {value / 1e9:.3g} GB" for name, value in parts.items())
        raise MapError(
            f"map {road_map.name!r} is too large: its tables need {needed:.4g} bytes ({listed}), more than "
            f"{MEMORY_SHARE:g} of this machine's {have:.4g}: take a part of it (`gigaflow-env map cut`)"
        )


def needed_bytes(road_map: RoadMap, sizes: Sizes) -> dict[str, float]:
    """About how many bytes the tables of a map take: sections and lists, routes, grids. Only driving lanes count."""
    driving = [lane.line for lane in road_map.lanes.values() if lane.kind == "driving"]
    knots = np.concatenate(driving)[:, [X, Y]]
    wide, high = np.ptp(knots, axis=0) + 4 * MARGIN + max(line[:, WIDTH].max() for line in driving)
    length = sum(float(np.hypot(*np.diff(line[:, [X, Y]], axis=0).T).sum()) for line in driving)
    quads, lanes = length / SECTION_SPACING + len(driving), len(driving)
    row = 4 * sizes.lane_count + 8 * sizes.boundary_count + 4 * sizes.stop_count
    entry = 8  # bytes: distance, directions, lead
    if lanes <= DENSE_LANES:
        distances = entry * lanes**2
    else:  # those around each lane, if all of the map is as dense, and the numbers of the blocks
        near = min(1.0, math.pi * ROUTE_REACH**2 / (wide * high))
        distances = lanes * (entry * LANE_MEMORY * near * lanes + 4 * lanes / ROUTE_BLOCK)
    return {
        "sections and lists": quads * (32 + row / ROW_QUADS),
        "routes": float(distances),
        "grids": float(wide * high) / CELL**2 * 4 * (1 + 1 / _CELLS**2) + quads * 30,
    }


def memory_bytes() -> float:
    """Memory of this machine; 16 GB where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return 16e9


def _sections(lines: list[np.ndarray]) -> np.ndarray:
    every = np.concatenate(lines)
    sections = np.zeros(len(every), row_type(Section))
    sections["x"], sections["y"], sections["z"] = every[:, [X, Y, Z]].T
    sections["cos"], sections["sin"] = np.cos(every[:, HEADING]), np.sin(every[:, HEADING])
    sections["half_width"], sections["curvature"] = every[:, WIDTH] / 2, every[:, CURVATURE]
    sections["lane"] = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    return sections


def _strips(lines: list[np.ndarray]) -> Strips:
    every = np.concatenate(lines)
    heading, zero = every[:, HEADING], np.zeros(len(every))
    across = np.column_stack([-np.sin(heading), np.cos(heading), zero]) * every[:, [WIDTH]] / 2
    middle = every[:, [X, Y, Z]]
    return Strips(middle + across, middle - across, np.cumsum([0, *map(len, lines)]))


def _lanes(road_map: RoadMap, driving: list[Lane], lines: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """LaneRows and the successors that they point to."""
    number = {lane.id: k for k, lane in enumerate(driving)}
    sections = np.array([len(line) for line in lines[: len(driving)]])
    rows = np.zeros(len(driving), row_type(LaneRow))
    rows["first"] = np.cumsum(sections) - sections
    rows["quads"] = sections - 1
    rows["length"] = [line[-1, S] for line in lines[: len(driving)]]
    rows["step"] = rows["length"] / rows["quads"]
    rows["speed"] = [lane.speed for lane in driving]
    rows["left"], rows["right"] = _changes(road_map, driving, lines)
    rows["bundle"], rows["order"] = _bundles(road_map, driving, rows["left"], rows["right"])
    rows["successors"] = [len(lane.successors) for lane in driving]
    rows["successors_at"] = np.cumsum(rows["successors"]) - rows["successors"]
    rows["junction"] = [lane.junction is not None for lane in driving]
    rows["local"] = _numbers(np.array([line[len(line) // 2, :2] for line in lines[: len(driving)]]))
    rows["cos2"], rows["sin2"] = _bends(lines[: len(driving)])
    lists = -(-rows["quads"] // ROW_QUADS)
    rows["nearby_at"] = np.cumsum(lists) - lists
    return rows, np.array([number[other] for lane in driving for other in lane.successors], np.int32)


def _numbers(places: np.ndarray) -> np.ndarray:
    """Numbers of places (lanes, 2) [m] along a Z-order curve.

    What is near by has near numbers, mostly: an agent looks up the ways from all lanes around it, which then lie in a few
    cache lines of the goal lane's row.
    """
    cells = ((places - places.min(axis=0)) / CELL).astype(np.int64)
    code = np.zeros(len(places), np.int64)
    for bit in range(16):  # 260 km
        code |= ((cells[:, 0] >> bit & 1) << 2 * bit) | ((cells[:, 1] >> bit & 1) << 2 * bit + 1)
    numbers = np.empty(len(places), np.int32)
    numbers[np.argsort(code, kind="stable")] = np.arange(len(places))
    return numbers


def _bends(lines: list[np.ndarray]) -> np.ndarray:
    """Means of cos 2t and sin 2t along each line, t the direction: (2, lines)."""
    doubled = [line[1:, HEADING] + line[:-1, HEADING] for line in lines]  # headings run on, without jumps
    return np.array([[np.cos(angle).mean(), np.sin(angle).mean()] for angle in doubled]).T


def _changes(road_map: RoadMap, driving: list[Lane], lines: list[np.ndarray]) -> np.ndarray:
    """Lanes to the left and to the right into which one may change, -1 where there is none: (2, lanes).

    Warns of changes between lanes that are not side by side, and leaves them out: no route could count on them.
    """
    number = {lane.id: k for k, lane in enumerate(driving)}
    changes = np.full((2, len(driving)), -1)
    apart = []
    for a, lane in enumerate(driving):
        for side, (other, sign) in enumerate(((lane.left, 1), (lane.right, -1))):
            if other is None:
                continue
            if _side_by_side(lines[a], lines[number[other]], sign):
                changes[side, a] = number[other]
            else:
                apart.append(f"{lane.id!r} to {other!r}")
    if apart:
        warnings.warn(
            f"map {road_map.name!r}: {len(apart)} lane changes are left out, for their lanes are not side by side: "
            + ", ".join(apart[:4] + ["..."] * (len(apart) > 4)),
            stacklevel=2,
        )
    return changes


def _side_by_side(line: np.ndarray, other: np.ndarray, sign: int) -> bool:
    """Whether `other` runs along `line` on its left (sign 1) or right (-1), compared at their starts, middles and ends."""
    for share in (0.0, 0.5, 1.0):
        here, there = line[round(share * (len(line) - 1))], other[round(share * (len(other) - 1))]
        dx, dy = there[X] - here[X], there[Y] - here[Y]
        cos, sin = math.cos(here[HEADING]), math.sin(here[HEADING])
        ahead, left = dx * cos + dy * sin, dy * cos - dx * sin
        across = sign * left / ((here[WIDTH] + there[WIDTH]) / 2)
        turned = math.cos(there[HEADING] - here[HEADING])
        if not (0.5 < across < 1.5 and abs(ahead) < ABREAST and turned > 0.5):
            return False
    return True


def _bundles(road_map: RoadMap, driving: list[Lane], left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bundle of each lane and its place in it, counted from the right."""
    beside: list[list[tuple[int, int]]] = [[] for _ in driving]
    for others, step in ((left, 1), (right, -1)):
        for a in np.flatnonzero(others >= 0).tolist():
            beside[a].append((int(others[a]), step))
            beside[others[a]].append((a, -step))
    bundle, order, number = np.full(len(driving), -1), np.zeros(len(driving), int), 0
    for first in range(len(driving)):
        if bundle[first] >= 0:
            continue
        members = [first]
        bundle[first], number = number, number + 1
        for a in members:  # grows while we go
            for b, step in beside[a]:
                if bundle[b] < 0:
                    bundle[b], order[b] = bundle[first], order[a] + step
                    members.append(b)
                elif order[b] != order[a] + step:
                    raise MapError(
                        f"map {road_map.name!r}: the lane changes from {driving[first].id!r} on are contradictory: "
                        f"{driving[b].id!r} can't be both {order[b]} and {order[a] + step} lanes to the left of it"
                    )
        order[members] -= order[members].min()
    return bundle, order


def _turning_lane(lane: Lane) -> bool:
    """Whether a lane is the middle lane of a street, from which both directions turn: it leads nowhere by itself."""
    return lane.twin is not None and not lane.successors


def ways_beyond(lanes: np.ndarray, successors: np.ndarray) -> np.ndarray:
    """Length [m] of the longest way beyond the end of each lane, or of one beside it, up to WAY_LEAST: (lanes,)."""
    before, length = np.repeat(np.arange(len(lanes)), lanes["successors"]), lanes["length"].astype(np.float64)
    every = np.arange(len(lanes))
    beside = [np.where(lanes[side] >= 0, lanes[side], every) for side in ("left", "right")]
    beyond = np.zeros(len(lanes))
    while True:  # it grows by a lane's length, or not at all
        longer = np.zeros(len(lanes))
        np.maximum.at(longer, before, np.minimum((length + beyond)[successors], WAY_LEAST))
        longer = np.maximum(longer, np.maximum(beyond[beside[0]], beyond[beside[1]]))
        if np.array_equal(longer, beyond):
            return beyond
        beyond = longer


def _starts(sections: np.ndarray, lanes: np.ndarray, closed: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """First sections of the quads where agents may start: on a map of short roads, with half of the longest way ahead.

    closed: (lanes,) lanes without any. beyond: (lanes,) see `ways_beyond`.
    """
    quads = _quads(lanes)
    lane = lanes[sections["lane"][quads]]
    left = (lane["first"] + lane["quads"] - quads) * lane["step"]
    onward = left + beyond[sections["lane"][quads]]
    width = 2 * np.minimum(sections["half_width"][quads], sections["half_width"][quads + 1])
    tolerance = 1e-4  # float32
    wide, long = width >= START_WIDTH - tolerance, left >= START_LENGTH - tolerance
    free = (lane["junction"] == 0) & ~closed[sections["lane"][quads]]
    may = wide & long & free
    if not may.any():  # a road of one lane for both directions, and nothing else
        may = wide & long & (lane["junction"] == 0)
    longest = onward[may].max(initial=0.0)
    least = WAY_LEAST if longest >= WAY_LEAST - tolerance else longest / 2
    return quads[may & (onward >= least - tolerance)].astype(np.int32)


def _quads(lanes: np.ndarray) -> np.ndarray:
    """First sections of all quads."""
    return np.concatenate([np.arange(row["first"], row["first"] + row["quads"]) for row in lanes])


def _stops(
    driving: list[Lane], sections: np.ndarray, lanes: np.ndarray, lights: list[str], signs: dict[str, int]
) -> np.ndarray:
    """StopRows: one per light and place, or sign, as wide as the widest lane that starts there."""
    number = {light: k for k, light in enumerate(lights)} | signs
    stops: list[tuple] = []
    near_by: dict[tuple, list[int]] = {}  # stops by light and cell of SAME_LINE
    for lane, row in zip(driving, lanes, strict=True):
        if lane.signal not in number:
            continue
        start, light = sections[row["first"]], number[lane.signal]
        column, line = int(start["x"] // SAME_LINE), int(start["y"] // SAME_LINE)
        around = [near_by.get((light, column + i, line + j), []) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        for k in sorted(sum(around, [])):
            stop = stops[k]
            near = math.hypot(stop[0] - start["x"], stop[1] - start["y"], stop[2] - start["z"]) < SAME_LINE
            if near and stop[6] == light and stop[3] * start["cos"] + stop[4] * start["sin"] > 0.9:
                stops[k] = (*stop[:5], max(stop[5], start["half_width"]), light)
                break
        else:
            near_by.setdefault((light, column, line), []).append(len(stops))
            stops.append((*(start[name] for name in ("x", "y", "z", "cos", "sin", "half_width")), light))
    return np.array(stops, row_type(StopRow))


def _programs(road_map: RoadMap, lights: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """ProgramRow of each light, and their PhaseRows."""
    found = signal_phases.programs(road_map) if lights else {}
    rows = np.zeros(len(lights), row_type(ProgramRow))
    phases: list[tuple[float, int]] = []
    for row, light in zip(rows, lights, strict=True):
        program = found[light]
        of = {colour: [phase.seconds for phase in program.phases if phase.colour == colour] for colour in COLOURS}
        row["phases_at"], row["phases"], row["cycle"] = len(phases), len(program.phases), program.cycle
        row["red"], row["yellow"], row["green"] = sum(of["red"]), min(of["yellow"], default=0.0), sum(of["green"])
        row["offset"] = program.offset % program.cycle
        ends = np.cumsum([phase.seconds for phase in program.phases])
        phases += [(end, COLOURS.index(phase.colour)) for end, phase in zip(ends, program.phases, strict=True)]
    return rows, np.array(phases, row_type(PhaseRow))


def _groups(road_map: RoadMap, lights: list[str]) -> np.ndarray:
    """Number of the group of each light. A light without group is a group of its own."""
    keys = [(road_map.signals[light].group, "" if road_map.signals[light].group else light) for light in lights]
    number = {key: k for k, key in enumerate(sorted(set(keys)))}
    return np.array([number[key] for key in keys], np.int32)


def _grid(sections: np.ndarray, lanes: np.ndarray, edges: np.ndarray, cells: Cells) -> Grid:
    middle = np.column_stack([sections["x"], sections["y"]]).astype(np.float64)
    across = np.column_stack([-sections["sin"], sections["cos"]]) * sections["half_width"][:, None]
    ends = np.stack([middle - across, middle + across])
    low, high = ends.min(axis=0), ends.max(axis=0)
    quads = _quads(lanes)
    item, cell = touched(
        cells, np.minimum(low[quads], low[quads + 1]) - MARGIN, np.maximum(high[quads], high[quads + 1]) + MARGIN
    )
    quads_at, entries = compress(cells, item, cell)

    large = Cells(cells.x, cells.y, EDGE_CELL, -(-cells.columns // _CELLS), -(-cells.rows // _CELLS))
    first = np.column_stack([edges["x1"], edges["y1"]]).astype(np.float64)
    last = np.column_stack([edges["x2"], edges["y2"]]).astype(np.float64)
    item, cell = touched(large, np.minimum(first, last), np.maximum(first, last))
    # Both boxes touch; segment and cell touch if the cell's center is no further from the line than its corners reach.
    center = np.column_stack([cell % large.columns, cell // large.columns]) * EDGE_CELL + EDGE_CELL / 2 + [large.x, large.y]
    along, to = (last - first)[item], center - first[item]
    reach = EDGE_CELL / 2 * abs(along).sum(axis=1)
    touch = abs(along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0]) <= reach
    edges_at, edge = compress(large, item[touch], cell[touch])
    return Grid(quads_at.astype(np.int32), quads[entries].astype(np.int32), edges_at.astype(np.int32), edges[edge])
