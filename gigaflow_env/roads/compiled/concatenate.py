"""Several maps in one set of tables: one lies after the other, and what points into a table is shifted."""

from collections.abc import Sequence

import numpy as np

from gigaflow_env.roads.compiled.tables import Grid, Nearby, Network, Roads

_POINTERS = {
    ("network", "maps", "lanes_at"): ("network", "lanes"),
    ("network", "maps", "starts_at"): ("network", "starts"),
    ("network", "maps", "route_at"): ("network", "route"),
    ("network", "maps", "leads_at"): ("network", "leads"),
    ("network", "maps", "blocks_at"): ("network", "route_blocks"),
    ("network", "maps", "stops_at"): ("network", "stops"),
    ("network", "maps", "lights_at"): ("network", "light_group"),
    ("network", "maps", "cells_at"): ("grid", "quads_at"),
    ("network", "maps", "edge_cells_at"): ("grid", "edges_at"),
    ("network", "programs", "phases_at"): ("network", "phases"),
    ("network", "sections", "lane"): ("network", "lanes"),
    ("network", "lanes", "first"): ("network", "sections"),
    ("network", "lanes", "left"): ("network", "lanes"),
    ("network", "lanes", "right"): ("network", "lanes"),
    ("network", "lanes", "bundle"): ("network", "lanes"),  # there are at most as many bundles as lanes
    ("network", "lanes", "successors_at"): ("network", "successors"),
    ("network", "lanes", "nearby_at"): ("nearby", "samples"),
    ("network", "samples", "bundle"): ("network", "lanes"),
    ("network", "successors", None): ("network", "lanes"),
    ("network", "starts", None): ("network", "sections"),
    ("grid", "quads_at", None): ("grid", "quads"),
    ("grid", "quads", None): ("network", "sections"),
    ("grid", "edges_at", None): ("grid", "edges"),
    ("nearby", "samples", None): ("network", "samples"),
    ("nearby", "stops", None): ("network", "stops"),
}
"""(group, table, field of its rows) -> (group, table) whose rows it counts. -1 means none and stays."""


def join(parts: Sequence[Roads]) -> Roads:
    """The maps of all parts, in order. A single part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    groups = {}
    for group, kind in (("network", Network), ("grid", Grid), ("nearby", Nearby)):
        tables = {table: [getattr(getattr(part, group), table) for part in parts] for table in kind._fields}
        groups[group] = {table: np.concatenate(rows) for table, rows in tables.items()}
    for (group, table, field), (target_group, target) in _POINTERS.items():
        sizes = [len(getattr(getattr(part, target_group), target)) for part in parts]
        rows = [len(getattr(getattr(part, group), table)) for part in parts]
        joined = groups[group][table]
        pointer = joined if field is None else joined[field]
        shift = np.repeat(np.cumsum(sizes) - sizes, rows).reshape(-1, *[1] * (pointer.ndim - 1))
        pointer += np.where(pointer >= 0, shift, 0).astype(pointer.dtype)
    return Roads(
        Network(**groups["network"]),
        Grid(**groups["grid"]),
        Nearby(**groups["nearby"]),
        tuple(name for part in parts for name in part.names),
        np.concatenate([part.origins for part in parts]),
    )
