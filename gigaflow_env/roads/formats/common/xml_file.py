"""Reading XML: elements and attributes, with errors that name the line."""

import math
import re
from collections.abc import Collection, Container, Iterable
from pathlib import Path
from typing import Any

from lxml import etree

from gigaflow_env.roads import import_report
from gigaflow_env.roads.road_map import MapError

LARGEST = 1e12
"""Ours: no number of a map is larger, and with larger ones sums and products would overflow."""

_LIKE_ASCII = re.compile(rb"(utf-?8|(us-)?ascii|iso-8859-\d+|windows-125\d)$", re.IGNORECASE)


def parse(path: Path, root_tag: str, what: str) -> etree._Element:
    """The root element, all tags without their namespace. Raises MapError for anything but `what`, which has that root."""
    data = path.read_bytes()
    declared = re.match(rb"""<\?xml[^>]*encoding\s*=\s*["']([^"']*)""", data)
    # Entities are looked for in the bytes: they must mean what they say.
    if b"\0" in data or (declared and not _LIKE_ASCII.match(declared[1])):
        raise MapError("not well-formed XML: the text must be encoded as UTF-8, ISO-8859 or Windows-125x")
    if b"<!ENTITY" in data:
        raise MapError("the file declares XML entities; a map has none")
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=True, remove_comments=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise MapError(f"not well-formed XML: {error.msg}") from error
    for element in root.iter(etree.Element) if b"xmlns" in data else ():  # to visit all of a large file takes seconds
        if element.tag.startswith("{"):
            element.tag = etree.QName(element).localname
    if root.tag != root_tag:
        raise wrong(root, f"the root element of {what} is <{root_tag}>")
    return root


def wrong(element: etree._Element, what: str) -> MapError:
    """The error to raise for an element."""
    reason = f"<{element.tag}>: {what}"
    return MapError(f"line {element.sourceline}: {reason}", line=element.sourceline, reason=reason)


def fault(element: etree._Element, kind: str, what: str, done: str, **more: Any) -> None:
    """Report what is wrong with an element and what is done about it, as `import_report.fault`; strictly it's an error."""
    if import_report.is_strict():
        raise wrong(element, what)
    name = element.get("id") or element.get("name") or f"<{element.tag}>"
    import_report.fault(kind, name, f"<{element.tag}>: {what}", done, line=element.sourceline, **more)


def number_or(element: etree._Element, name: str, default: float) -> float:
    """An attribute that is a finite number; what is missing is `default`, and so is, reported, what can't be read."""
    try:
        return number(element, name, default)
    except MapError as error:
        fault(element, "value", error.reason.partition(": ")[2], f"{default} taken")
        return default


def word(element: etree._Element, name: str, known: Collection[str], default: str) -> str:
    """An attribute that is one of some words; what is missing is `default`, and so is, reported, any other word."""
    given = element.get(name)
    if given is None or given in known:
        return default if given is None else given
    fault(element, "value", f"{name}={given!r} is none of {', '.join(map(repr, known))}", f"{default!r} taken")
    return default


def references(elements: Iterable[etree._Element], name: str, known: Container[str], what: str, of: str) -> list[str]:
    """What the attributes of some elements name, of `known`; those that are missing or name nothing are left out, reported.

    what: the kind of thing that is named, of: what the elements belong to; both for people.
    """
    found = []
    for element in elements:
        given = element.get(name)
        if given is not None and given in known:
            found.append(given)
            continue
        with import_report.left_out("reference", of, line=element.sourceline):
            raise wrong(element, f"{name}={text(element, name)!r}: there is no such {what}")
    return found


def text(element: etree._Element, name: str) -> str:
    """An attribute that must be there."""
    given = element.get(name)
    if given is None:
        raise wrong(element, f"attribute {name!r} is missing")
    return given


def number(element: etree._Element, name: str, default: float | None = None) -> float:
    """An attribute that is a finite number, at most LARGEST; a missing one is `default` or an error."""
    given = element.get(name)
    if given is None:
        if default is not None:
            return default
        given = text(element, name)
    try:
        read = float(given)
    except ValueError:
        read = math.nan
    if -LARGEST <= read <= LARGEST:  # first: files have tens of thousands of numbers
        return read
    if not math.isfinite(read):
        raise wrong(element, f"{name}={given!r} is not a finite number")
    raise wrong(element, f"{name}={given!r} is too large: at most {LARGEST:.0e}")


def integer(element: etree._Element, name: str) -> int:
    """An attribute that must be a whole number."""
    given = text(element, name)
    try:
        return int(given)
    except ValueError as error:
        raise wrong(element, f"{name}={given!r} is not a whole number") from error
