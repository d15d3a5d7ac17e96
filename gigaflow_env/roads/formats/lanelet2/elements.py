"""The elements of a Lanelet2 file: points, ways and relations with their tags, and where the points lie."""

import math
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE
from gigaflow_env.roads.formats.common.tangent_plane import Place, middle, tangent_plane
from gigaflow_env.roads.import_report import left_out
from gigaflow_env.roads.road_map import MapError


class Way(NamedTuple):
    """A line of nodes."""

    nodes: tuple[str, ...]  # ids
    points: np.ndarray  # (nodes, 3) x, y, z [m]
    tags: dict[str, str]


class Relation(NamedTuple):
    """A relation of ways, nodes and other relations."""

    id: str
    element: etree._Element
    tags: dict[str, str]

    def members(self, role: str, kind: str = "way") -> list[str]:
        """Ids of the members of a kind (node, way or relation) that have a role."""
        found = (m for m in self.element.iterfind("member") if m.get("role") == role and m.get("type") == kind)
        return [m.get("ref", "") for m in found]  # without one it leads nowhere, which is reported where it is looked up


class Elements(NamedTuple):
    """What the file declares, by id."""

    ways: dict[str, Way]
    relations: dict[str, Relation]
    origin: Place | None  # where x = y = 0 lies; None: the file says where points lie in metres


def read_elements(root: etree._Element) -> Elements:
    """Ways with at least two nodes, and relations. Raises MapError for what is deleted and yet used, or given twice."""
    nodes = _by_id(root, "node")
    points, origin, place = _positions(nodes)
    ways = {}
    for way, element in _by_id(root, "way").items():
        used = xml.references(element.iterfind("nd"), "ref", place, "node", f"node of way {way}")
        if len(used) >= 2:
            ways[way] = Way(tuple(used), points[[place[node] for node in used]], _tags(element))
    relations = {key: Relation(key, element, _tags(element)) for key, element in _by_id(root, "relation").items()}
    return Elements(ways, relations, origin)


def _by_id(root: etree._Element, tag: str) -> dict[str, etree._Element]:
    """Elements of a kind by id, without those that an editor has marked as deleted."""
    found: dict[str, etree._Element] = {}
    for element in root.iterfind(tag):
        with left_out(tag, element.get("id") or ""):
            key = xml.text(element, "id")
            if key in found:
                raise xml.wrong(element, f"id {key!r} is used twice")
            if element.get("action") != "delete" and element.get("visible") != "false":
                found[key] = element
    return found


def _tags(element: etree._Element) -> dict[str, str]:
    found = {}
    for tag in element.iterfind("tag"):
        key, given = tag.get("k"), tag.get("v")
        if key and given is not None:
            found[key] = given
            continue
        with left_out("tag", element.get("id") or "", line=tag.sourceline):
            if not xml.text(tag, "k"):
                raise xml.wrong(tag, "a tag without a key")
            xml.text(tag, "v")
    return found


def _positions(nodes: dict[str, etree._Element]) -> tuple[np.ndarray, Place | None, dict[str, int]]:
    """Where nodes lie (n, 3) [m], where x = y = 0 is on the earth, and the row of each node that has a place.

    They lie by their tags local_x and local_y if there are any, else by latitude and longitude.
    """
    tags = {name: _tags(node) for name, node in nodes.items()}
    local = any("local_x" in given and "local_y" in given for given in tags.values())
    rows: dict[str, int] = {}
    found: list[tuple[float, float, float]] = []
    for name, node in nodes.items():
        with left_out("node", name):
            found.append(_coordinates(node, tags[name], local))
            rows[name] = len(rows)
    if not found:
        raise MapError("the map has no nodes")
    points = np.array(found)
    if local:
        return points, None, rows
    latitude, longitude, height = points.T
    origin = middle(latitude, longitude, height)
    return np.column_stack([tangent_plane(latitude, longitude, origin), height]), origin, rows


def _coordinates(node: etree._Element, tags: dict[str, str], local: bool) -> tuple[float, float, float]:
    """Both coordinates of a node, local [m] or latitude and longitude [deg], and its height [m]."""
    height = _number(node, tags, "ele", 0.0)
    if local or "local_x" in tags or "local_y" in tags:
        if not ("local_x" in tags and "local_y" in tags):
            raise xml.wrong(node, "tags local_x and local_y are missing: other nodes have them, so all must")
        return _number(node, tags, "local_x"), _number(node, tags, "local_y"), height
    latitude, longitude = xml.number(node, "lat"), xml.number(node, "lon")
    for name, degrees, most in (("lat", latitude, 90.0), ("lon", longitude, 180.0)):
        if abs(degrees) > most:
            raise xml.wrong(node, f"{name}={degrees} is no place on earth")
    return latitude, longitude, height


def _number(node: etree._Element, tags: dict[str, str], name: str, default: float | None = None) -> float:
    """A tag of a node that is a coordinate [m]; a missing one is `default`."""
    given = tags.get(name)
    if given is None and default is not None:
        return default
    try:
        read = float(given or "")
    except ValueError:
        read = xml.with_comma(node, f"tag {name}", given or "")
    if not math.isfinite(read):
        raise xml.wrong(node, f"tag {name}={given!r} is not a finite number")
    if abs(read) > MAX_COORDINATE:
        raise xml.wrong(node, f"tag {name}={given!r} is no place on a map: coordinates lie within {MAX_COORDINATE:.0e} m")
    return read
