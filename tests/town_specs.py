"""A town of one junction, as the generator's input."""

from typing import Any


def square(**changes: Any) -> dict[str, Any]:
    """Five nodes: a center with lights and crosswalks and four corners around it, each joined to its neighbours."""
    spec: dict[str, Any] = {
        "name": "square",
        "nodes": {"centre": {"at": [0, 0], "control": "light", "crosswalks": True}}
        | {name: {"at": at} for name, at in (("e", [100, 0]), ("n", [0, 100]), ("w", [-100, 0]), ("s", [0, -100]))},
        "roads": [{"between": ["centre", name]} for name in "enws"]
        + [{"between": list(pair), "bends": [bend]} for pair, bend in zip(("en", "nw", "ws", "se"), CORNERS, strict=True)],
    }
    return spec | changes


CORNERS = ([100, 100, 50], [-100, 100, 50], [-100, -100, 50], [100, -100, 50])
