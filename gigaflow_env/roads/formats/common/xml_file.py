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

_ENCODINGS = re.compile(
    r"utf-?(8|16|32)([-_]?[lb]e)?|(us-)?ascii|iso-?8859-\d+|latin-?\d+|(windows-?|cp|ibm)\d+|gb2312|gbk|gb18030|big5(-hkscs)?"
    r"|shift[-_]?jis|sjis|euc-?(jp|kr)|koi8-[rut]|mac-?roman|macintosh",
    re.IGNORECASE,
)
"""Of files in use; there are others that take for ever."""
_DECLARED = re.compile(rb"""(<\?xml[^>]*?)\s+encoding\s*=\s*["']([^"'>]*)["']""")
_UTF16 = b"\xff\xfe", b"\xfe\xff"
"""What text in UTF-16 begins with, as in `file_format`, which does without lxml."""
_UTF8 = b"\xef\xbb\xbf"
_MARKED = (*((mark, "utf-16") for mark in _UTF16), (_UTF8, "utf-8"))
"""What a file begins with that says its encoding itself."""


def parse(path: Path, root_tag: str, what: str) -> etree._Element:
    """The root element, all tags without their namespace. Raises MapError for anything but `what`, which has that root."""
    data = _as_utf8(path.read_bytes(), path.name)
    if b"<!ENTITY" in data:
        raise MapError("the file declares XML entities; a map has none")
    try:
        root = _root(data)
    except etree.XMLSyntaxError as error:
        mended, count = _without_odd_characters(data)
        try:
            root = _root(mended)
        except etree.XMLSyntaxError:
            raise MapError(f"not well-formed XML: {error.msg}") from error
        import_report.fault("text", path.name, f"not well-formed XML: {error.msg}", f"{count} characters are replaced")
    for element in root.iter(etree.Element) if b"xmlns" in data else ():  # to visit all of a large file takes seconds
        if element.tag.startswith("{"):
            element.tag = etree.QName(element).localname
    if root.tag != root_tag:
        raise wrong(root, f"the root element of {what} is <{root_tag}>")
    return root


def _root(data: bytes) -> etree._Element:
    options = {"resolve_entities": False, "load_dtd": False, "no_network": True, "huge_tree": True}
    return etree.fromstring(data, etree.XMLParser(remove_comments=True, remove_pis=True, **options))


def _without_odd_characters(data: bytes) -> tuple[bytes, int]:
    """The text with what names may hold that XML does not: an ampersand by itself, control characters; how many."""
    data, bare = re.subn(rb"&(?!(#\d+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)", b"&amp;", data)
    data, control = re.subn(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]|&#(x?0*([0-8bcBC]|1[0-9]|2[0-9]|30|31));", b" ", data)
    return data, bare + control


def _as_utf8(data: bytes, name: str) -> bytes:
    """The text of a file as UTF-8, in which entities mean what they say.

    Characters that its encoding does not have are in names, as a rule, which nobody needs to drive: they are replaced, and
    that is reported. Raises MapError for encodings that are not known, and for what is no text.
    """
    if not data.startswith(_UTF16):
        data = data.strip(b" \t\r\n\0")  # some programs write an empty line first, some a zero last
    declared = _DECLARED.match(data.removeprefix(_UTF8))
    given = declared[2].decode("ascii", "replace") if declared else "utf-8"
    marked = next((encoding for mark, encoding in _MARKED if data.startswith(mark)), None)
    if marked is None and re.match(r"utf-?(16|32)", given, re.IGNORECASE) and b"\0" not in data[:64]:
        import_report.fault("text", name, f"encoding={given!r}, which it is not", "read as UTF-8")
        marked = "utf-8"
    encoding = marked or given
    encoding = "gb18030" if encoding.lower() in ("gb2312", "gbk") else encoding  # it has all that those have, and more
    if not _ENCODINGS.fullmatch(encoding):
        raise MapError(f"not well-formed XML: encoding={given!r} is none that is known; UTF-8 is best")
    try:
        text = data.decode(encoding)
    except LookupError as error:
        raise MapError(f"not well-formed XML: encoding={given!r} is none that is known; UTF-8 is best") from error
    except UnicodeDecodeError as error:
        text = data.decode(encoding, "replace")
        place = f"byte {error.start} is no {encoding.upper()}"
        import_report.fault(
            "text", name, place, f"{text.count(chr(0xFFFD))} characters are read as \N{REPLACEMENT CHARACTER}"
        )
    if "\0" in text:
        raise MapError("not well-formed XML: it has zeros between its characters, and does not begin as UTF-16 does")
    if encoding.lower() in ("utf-8", "utf8") and "\N{REPLACEMENT CHARACTER}" not in text and not marked:
        return data
    plain = text.removeprefix("\N{BYTE ORDER MARK}").encode()
    return _DECLARED.sub(rb"\1", plain, count=1) if plain.startswith(b"<?xml") else plain


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
        read = with_comma(element, name, given)
    if -LARGEST <= read <= LARGEST:  # first: files have tens of thousands of numbers
        return read
    if not math.isfinite(read):
        raise wrong(element, f"{name}={given!r} is not a finite number")
    raise wrong(element, f"{name}={given!r} is too large: at most {LARGEST:.0e}")


def with_comma(element: etree._Element, name: str, given: str) -> float:
    """A number with a decimal comma, as programs write it in countries that do, reported; NaN for anything else."""
    if not re.fullmatch(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*", given):
        return math.nan
    read = float(given.replace(",", "."))
    fault(element, "value", f"{name}={given!r} has a decimal comma", f"{read} taken")
    return read


def integer(element: etree._Element, name: str) -> int:
    """An attribute that must be a whole number."""
    given = text(element, name)
    try:
        return int(given)
    except ValueError as error:
        if not re.fullmatch(r"\s*[-+]?\d+[.,]0*\s*", given):
            raise wrong(element, f"{name}={given!r} is not a whole number") from error
        read = int(re.split("[.,]", given)[0])
        fault(element, "value", f"{name}={given!r} is written with a fraction", f"{read} taken")
        return read
