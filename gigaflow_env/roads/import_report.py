"""What an importer repaired, assumed or left out: one list for all formats, kept as `RoadMap.report`.

An importer says what it does by `fault` and `note`; `left_out` guards the reading of one element. `collecting` opens the
list: `roads.load` does it once for every file. Lenient reading writes down the faults of a file, strict reading raises the
first one. A note is no fault: the file is right, but something in it is not read.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from gigaflow_env.roads.road_map import Entry, MapError

NAMED = 4
"""Entries that a warning names; `RoadMap.report` has them all."""


class _Open(NamedTuple):
    entries: list[Entry]
    said: set[Entry]  # what is looked at twice is said once
    strict: bool


_OPEN: ContextVar[_Open | None] = ContextVar("import report", default=None)


@contextmanager
def collecting(strict: bool = False) -> Iterator[list[Entry]]:
    """Collect what is said inside, in the order of reading; the first fault is a MapError where strict."""
    opened = _Open([], set(), strict)
    token = _OPEN.set(opened)
    try:
        yield opened.entries
    finally:
        _OPEN.reset(token)


def note(kind: str, element: str, done: str, **more: Any) -> None:
    """Write down what is left out though the file is right. more: `line`, `place`, `amount`, `unit` of the Entry."""
    opened = _OPEN.get()
    entry = Entry(kind, element, done, **more)
    if opened is not None and entry not in opened.said:
        opened.said.add(entry)
        opened.entries.append(entry)


def note_closed(lane: str, line: int | None = None) -> None:
    """Write down that a lane is not for cars but for buses, taxis or others: no driving lane, but paved."""
    note("access", lane, "closed to cars: drivable area only", line=line)


def fault(kind: str, element: str, wrong: str, done: str, **more: Any) -> None:
    """Write down what is wrong in the file and what is done about it. Raises MapError where reading is strict."""
    entry = Entry(kind, element, f"{wrong}: {done}", **more)
    if is_strict():
        raise MapError(str(entry._replace(done=wrong)))
    note(*entry[:3], **more)


def is_strict() -> bool:
    """Whether a fault of the file is an error. Outside of `collecting` it is: nobody would hear of it."""
    opened = _OPEN.get()
    return opened is None or opened.strict


@contextmanager
def left_out(kind: str, element: str, **more: Any) -> Iterator[None]:
    """Leave out one element whose reading raises a MapError, and say so; where reading is strict the error goes on."""
    try:
        yield
    except MapError as error:
        if is_strict():
            raise
        line = more.pop("line", None) or error.line
        note(kind, element, f"{error.reason}: left out", line=line, **more)


def counts(report: Sequence[Entry]) -> dict[str, int]:
    """Number of entries of each kind."""
    return dict(Counter(entry.kind for entry in report))


def summarised(report: Sequence[Entry]) -> str:
    """One line for a warning: how many of each kind, the largest amounts, and the first entries."""
    largest: dict[tuple[str, str], float] = {}
    for entry in report:
        if entry.amount is not None and entry.unit:
            key = entry.kind, entry.unit
            largest[key] = max(largest.get(key, 0.0), abs(entry.amount))
    said = []
    for kind, number in counts(report).items():
        most = ", ".join(f"{amount:.3g} {unit}" for (of, unit), amount in largest.items() if of == kind)
        said.append(f"{number} {kind}" + (f" (up to {most})" if most else ""))
    named = [str(entry) for entry in report[:NAMED]] + ["..."] * (len(report) > NAMED)
    return f"imported with {', '.join(said)} repaired or left out: {'; '.join(named)}"


def records(report: Sequence[Entry]) -> list[dict[str, Any]]:
    """The entries as plain dicts, ready for JSON."""
    return [entry._asdict() for entry in report]
