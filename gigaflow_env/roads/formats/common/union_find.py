"""Things that belong together, directly or by way of others."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def groups(pairs: Iterable[tuple[T, T]]) -> list[list[T]]:
    """Groups of what the pairs join, in the order of their first appearance."""
    root: dict[T, T] = {}

    def find(item: T) -> T:
        while root.setdefault(item, item) != item:
            root[item] = root[root[item]]  # halve the way for the next one
            item = root[item]
        return item

    for one, other in pairs:
        first, second = find(one), find(other)
        root[second] = first
    found: dict[T, list[T]] = {}
    for item in root:
        found.setdefault(find(item), []).append(item)
    return list(found.values())
