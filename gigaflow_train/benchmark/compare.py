"""Two results of one suite beside each other: differences of their scenes, with a paired bootstrap."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.markup import escape
from rich.table import Table

SAMPLES = 10_000
"""Times that scenes are drawn anew."""
SEED = 0
"""Of the draws: the same files give the same intervals."""
OF_NO_INTEREST = ("scene", "type", "policy", "bundle", "clip")


class Difference(NamedTuple):
    """Second less first, in the mean over the scenes that both have."""

    figure: str
    first: float
    second: float
    difference: float
    low: float | None  # 95 % interval of the difference; None: too few scenes
    high: float | None
    n: int  # scenes

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0.0 or self.high < 0.0)


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """Differences of all numbers that both files have of their common scenes. Raises ValueError for files of two suites."""
    if first["suite"] != second["suite"]:
        raise ValueError(f"the files are of two suites, {first['suite']} and {second['suite']}: compare two of the same")
    mine, theirs = ({row["scene"]: row for row in content["scenes"]} for content in (first, second))
    common = [scene for scene in mine if scene in theirs]
    if not common:
        raise ValueError("the files have no scene in common: compare results on the same scenes")
    names = [name for name in mine[common[0]] if name in theirs[common[0]] and name not in OF_NO_INTEREST]
    found = []
    for name in names:
        pairs = [
            (mine[scene][name], theirs[scene][name]) for scene in common if name in mine[scene] and name in theirs[scene]
        ]
        numbers = np.array([pair for pair in pairs if all(map(_is_number, pair))], np.float64)
        if len(numbers):
            found.append(_difference(name, numbers))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _difference(name: str, pairs: np.ndarray) -> Difference:
    apart = pairs[:, 1] - pairs[:, 0]
    low, high = bootstrap(apart)
    return Difference(name, float(pairs[:, 0].mean()), float(pairs[:, 1].mean()), float(apart.mean()), low, high, len(apart))


def bootstrap(values: np.ndarray, samples: int = SAMPLES) -> tuple[float | None, float | None]:
    """95 % interval of the mean of values (n,), see `bootstrap_of`."""
    return bootstrap_of(lambda chosen: values[chosen].mean(axis=-1), len(values), samples)


def bootstrap_of(
    statistic: Callable[[np.ndarray], np.ndarray], n: int, samples: int = SAMPLES
) -> tuple[float | None, float | None]:
    """95 % interval of a statistic of n scenes: percentiles of it over as many drawn with replacement; None below 2.

    statistic: numbers of scenes (samples, n) -> (samples,). Source: B. Efron, Annals of Statistics 7 (1979).
    """
    if n < 2:
        return None, None
    generator = np.random.default_rng(SEED)
    found = np.empty(samples)
    step = max(1, 2_000_000 // n)
    for start in range(0, samples, step):
        count = min(step, samples - start)
        found[start : start + count] = statistic(generator.integers(n, size=(count, n)))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def table(found: Sequence[Difference], first: str, second: str) -> Table:
    """The differences for a terminal; those whose interval leaves out 0 are bold."""
    columns = Table(title=escape(f"{second} less {first}"), caption="95 % intervals by a paired bootstrap over scenes")
    for name in ("", "first", "second", "difference", "95 % interval", "scenes"):
        columns.add_column(name, justify="left" if not name else "right")
    for one in found:
        interval = "-" if one.low is None else f"{one.low:+.4g} to {one.high:+.4g}"
        apart = f"{one.difference:+.4g}"
        columns.add_row(
            escape(one.figure.replace("_", " ")), f"{one.first:.4g}", f"{one.second:.4g}",
            f"[bold]{apart}[/bold]" if one.clear else apart, interval, f"{one.n:,}",
        )  # fmt: skip
    return columns
