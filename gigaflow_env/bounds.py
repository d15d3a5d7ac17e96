"""What a number may be, declared beside it, and the checks of what users give.

Each check raises one ValueError that names the value, its place and what would be right.
"""

import math
import numbers
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Bounds", "choice", "flag", "real", "shown", "whole"]


class Bounds(NamedTuple):
    """The numbers from `low` to `high`; an open end does not belong to them."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def hold(self, number: Any) -> bool:
        """Whether a number, of Python or NumPy and of any size, lies inside. NaN does not."""
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        return bool(above and below)

    def text(self, unit: str = "") -> str:
        """In words, for messages and tables: "0.1 to 1 m", "above 0 and at most 1 m"."""
        low, high = _short(self.low), _short(self.high)
        if self.low == -math.inf and self.high == math.inf:
            said = "finite"
        elif self.high == math.inf:
            said = f"above {low}" if self.open_low else f"at least {low}"
        elif self.low == -math.inf:
            said = f"below {high}" if self.open_high else f"at most {high}"
        elif not self.open_low and not self.open_high:
            said = f"{low} to {high}"
        else:
            said = f"{'above' if self.open_low else 'at least'} {low} and {'below' if self.open_high else 'at most'} {high}"
        if unit == "share":
            return f"{said} (a share)"
        return f"{said} {unit}" if unit else said


SHARE = Bounds(0, 1)

SEED = Bounds(0, math.inf)


def real(name: str, given: Any, bounds: Bounds, unit: str = "") -> float:
    """A finite number inside of its bounds."""
    if not _is_real(given) or not _is_finite(given) or not bounds.hold(given):
        raise ValueError(f"{name}={shown(given)}: must be {_number(given)}{bounds.text(unit)}")
    return float(given)


def whole(name: str, given: Any, bounds: Bounds, unit: str = "", instead: str = "") -> int:
    """A whole number inside of its bounds. instead: what else would be right, for the message."""
    if not _is_whole(given) or not bounds.hold(given):
        raise ValueError(f"{name}={shown(given)}: must be a whole number, {bounds.text(unit)}{instead}")
    return int(given)


def span(name: str, given: Any, bounds: Bounds, unit: str = "") -> tuple[float, float]:
    """A range (low, high) with low <= high, both inside of the bounds."""
    ends = tuple(given) if isinstance(given, (tuple, list)) else ()
    if len(ends) != 2 or not all(_is_real(end) for end in ends) or ends[0] > ends[1]:
        raise ValueError(f"{name}={shown(given)}: a range is (low, high) with low <= high, {bounds.text(unit)}")
    if not all(_is_finite(end) and bounds.hold(end) for end in ends):
        raise ValueError(f"{name}={shown(given)}: both ends must be {bounds.text(unit)}")
    return float(ends[0]), float(ends[1])


def whole_or_span(name: str, given: Any, bounds: Bounds, unit: str = "") -> int | tuple[int, int]:
    """A whole number, or a range (low, high) of two with low <= high, inside of the bounds."""
    several = isinstance(given, (tuple, list))
    ends = tuple(given) if several else (given, given)
    if len(ends) != 2 or not all(_is_whole(end) for end in ends) or ends[0] > ends[1]:
        raise ValueError(
            f"{name}={shown(given)}: must be a whole number, or a range (low, high) of two with low <= high, "
            f"{bounds.text(unit)}"
        )
    if not all(bounds.hold(end) for end in ends):
        raise ValueError(f"{name}={shown(given)}: must be {bounds.text(unit)}")
    return (int(ends[0]), int(ends[1])) if several else int(given)


def choice(name: str, given: Any, choices: Iterable[str | None]) -> Any:
    """One of some words, or None where that is among them."""
    known = tuple(choices)
    if not (given is None or isinstance(given, str)) or given not in known:
        raise ValueError(f"{name}={shown(given)}: choose one of {', '.join(map(repr, known))}")
    return given


def flag(name: str, given: Any) -> bool:
    """True or False. Not a word: "False" would count as true."""
    if not isinstance(given, bool) and type(given).__name__ not in ("bool", "bool_"):
        raise ValueError(f"{name}={shown(given)}: must be True or False")
    return bool(given)


def switch(variable: str) -> bool:
    """Whether a variable of the environment is on: "1" is, "0", "" and none are not. Raises ValueError for other words."""
    given = os.environ.get(variable, "")
    if given not in ("", "0", "1"):
        raise ValueError(f"{variable}={shown(given)}: must be 1 or 0")
    return given == "1"


def seed(given: Any) -> int | None:
    """A seed: a whole number of at least 0, or None."""
    return None if given is None else whole("seed", given, SEED, instead=", or None")


def shares(name: str, given: dict[str, Any]) -> dict[str, float]:
    """Shares by name, each 0 to 1, that add up to 1."""
    found = {key: real(f"{name}[{key!r}]", share, SHARE, "share") for key, share in given.items()}
    total = sum(found.values())
    if abs(total - 1) > 1e-6:
        raise ValueError(f"{name}={shown(given)}: shares must add up to 1, these to {total:g}")
    return found


def shown(given: Any) -> str:
    """A value as a message shows it: NumPy's numbers as Python's, and nothing longer than a line."""
    if type(given).__module__ == "numpy" and getattr(given, "shape", None) == () and hasattr(given, "item"):
        given = given.item()
    try:
        text = " ".join(repr(given).split())
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        text = f"<{type(given).__name__} too long to print>"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _short(bound: float) -> str:
    """1,000,000 rather than 1e+06."""
    return f"{bound:,.0f}" if abs(bound) < math.inf and bound == int(bound) else f"{bound:g}"


def _is_real(given: Any) -> bool:
    return isinstance(given, numbers.Real) and not isinstance(given, bool)


def _is_whole(given: Any) -> bool:
    return isinstance(given, numbers.Integral) and not isinstance(given, bool)


def _is_finite(given: Any) -> bool:
    try:
        return isinstance(given, numbers.Integral) or math.isfinite(given)
    except OverflowError:  # a fraction that is larger than any float
        return False


def _number(given: Any) -> str:
    """The word that says what was expected, where something else came than a number."""
    return "" if _is_real(given) else "a number, "
