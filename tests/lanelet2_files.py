"""Parts of Lanelet2 files as text, and a street of two lanes made of them."""


def node(number: int, x: float, y: float, ele: float = 0.0) -> str:
    tags = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in (("local_x", x), ("local_y", y), ("ele", ele)))
    return f'<node id="{number}" lat="0" lon="0">{tags}</node>\n'


def tags(**given: str) -> str:
    return "".join(f'<tag k="{k}" v="{v}"/>' for k, v in given.items())


def way(number: int, *nodes: int, **given: str) -> str:
    refs = "".join(f'<nd ref="{n}"/>' for n in nodes)
    return f'<way id="{number}">{refs}{tags(**given)}</way>\n'


def member(kind: str, number: int, role: str) -> str:
    return f'<member type="{kind}" ref="{number}" role="{role}"/>'


def lanelet(number: int, left: int, right: int, *rules: int, **given: str) -> str:
    given = {"type": "lanelet", "subtype": "road", "location": "urban", "one_way": "yes"} | given
    members = member("way", left, "left") + member("way", right, "right")
    members += "".join(member("relation", rule, "regulatory_element") for rule in rules)
    return f'<relation id="{number}">{members}{"".join(tags(**{k: v}) for k, v in given.items() if v)}</relation>\n'


def rule(number: int, subtype: str, *members: str, **given: str) -> str:
    given = {"type": "regulatory_element", "subtype": subtype} | given
    return f'<relation id="{number}">{"".join(members)}{tags(**given)}</relation>\n'


def grid() -> str:
    """Nodes 10 * column + row at x = 40, 80, ... m and y = 0, 3.5, 7, ... m: columns and rows count from 1 and 0."""
    return "".join(node(10 * column + row, 40.0 * column, 3.5 * row) for column in range(1, 5) for row in range(4))


def row_ways(row: int, **given: str) -> str:
    """Ways 100 * row + 1, 2, 3 along a row of the grid from one column to the next; the second one runs backwards."""
    ends = [(10 * k + row, 10 * (k + 1) + row) for k in (1, 2, 3)]
    return "".join(way(100 * row + k, *(pair if k != 2 else pair[::-1]), **given) for k, pair in enumerate(ends, start=1))


def two_lanes(*more: str, middle: str = "dashed") -> str:
    """Lanelets 91, 92, 93 along x below y = 3.5, and 94, 95, 96 above them."""
    ways = row_ways(0, type="road_border") + row_ways(1, type="line_thin", subtype=middle) + row_ways(2, type="curbstone")
    lower = "".join(lanelet(90 + k, 100 + k, k) for k in (1, 2, 3))
    upper = "".join(lanelet(93 + k, 200 + k, 100 + k) for k in (1, 2, 3))
    return grid() + ways + lower + upper + "".join(more)
