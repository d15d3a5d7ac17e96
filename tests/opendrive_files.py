"""Parts of OpenDRIVE files as text, and a junction made of them."""

import math


def geometry(shape: str, s: float, x: float, y: float, heading: float, length: float) -> str:
    return f'<geometry s="{s}" x="{x}" y="{y}" hdg="{heading}" length="{length}">{shape}</geometry>'


def cubic(tag: str, start: str, at: float, a: float, b: float = 0.0, c: float = 0.0, d: float = 0.0) -> str:
    return f'<{tag} {start}="{at}" a="{a}" b="{b}" c="{c}" d="{d}"/>'


def width(a: float, b: float = 0.0, c: float = 0.0, d: float = 0.0, at: float = 0.0) -> str:
    return cubic("width", "sOffset", at, a, b, c, d)


def lane(number: int, inside: str = "", link: tuple[int | None, int | None] = (None, None), **attributes: str) -> str:
    """A lane, 3.5 m wide if `inside` doesn't say otherwise; `link` gives predecessor and successor."""
    kind = attributes.pop("kind", "driving")
    links = "".join(f'<{tag} id="{n}"/>' for tag, n in zip(("predecessor", "successor"), link, strict=True) if n is not None)
    more = "".join(f' {name}="{given}"' for name, given in attributes.items())
    inside = inside if "<width" in inside or "<border" in inside else width(3.5) + inside
    return f'<lane id="{number}" type="{kind}"{more}><link>{links}</link>{inside}</lane>'


def section(s: float, right: str = "", left: str = "", center: str = "") -> str:
    sides = "".join(f"<{side}>{lanes}</{side}>" for side, lanes in (("left", left), ("right", right)) if lanes)
    return f'<laneSection s="{s}">{sides}<center><lane id="0" type="none">{center}</lane></center></laneSection>'


def road(
    number: int,
    length: float,
    plan: str = "",
    lanes: str = "",
    link: str = "",
    more: str = "",
    junction: int = -1,
    place: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rule: str = "RHT",
) -> str:
    """A road, straight and with one lane to the right if not said otherwise."""
    plan = plan or geometry("<line/>", 0, *place, length)
    lanes = lanes or section(0, lane(-1))
    return (
        f'<road id="{number}" length="{length}" junction="{junction}" rule="{rule}"><link>{link}</link>'
        f"<planView>{plan}</planView>{more}<lanes>{lanes}</lanes></road>"
    )


def linked(tag: str, number: int, contact: str = "start", kind: str = "road") -> str:
    at = f' contactPoint="{contact}"' if kind == "road" else ""
    return f'<{tag} elementType="{kind}" elementId="{number}"{at}/>'


def crossing(signals: str = "", connector: str = "", speed: str = "", first: str = "") -> tuple[str, ...]:
    """Road 1 leads into junction 9; there connecting road 3 leads straight on and road 4, drawn backwards, to the right."""
    to_junction, lanes = linked("successor", 9, kind="junction"), section(0, lane(-1))
    turn = geometry('<arc curvature="0.1"/>', 0, 60, -10, math.pi / 2, 5 * math.pi)
    return (
        road(1, 50, lanes=lanes, link=to_junction, more=speed + first),
        road(2, 50, place=(70, 0, 0), lanes=lanes, link=linked("predecessor", 9, kind="junction")),
        road(3, 20, place=(50, 0, 0), junction=9, lanes=section(0, lane(-1, "", (-1, -1))), more=signals,
             link=linked("predecessor", 1, "end") + linked("successor", 2)),
        road(4, 5 * math.pi, turn, section(0, "", lane(1, "", (-1, -1))), junction=9, more=connector,
             link=linked("predecessor", 5, "start") + linked("successor", 1, "end")),
        road(5, 50, place=(60, -10, -math.pi / 2), lanes=lanes, link=linked("predecessor", 9, kind="junction")),
        '<junction id="9"><connection id="0" incomingRoad="1" connectingRoad="3" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection>'
        '<connection id="1" incomingRoad="1" connectingRoad="4" contactPoint="end"><laneLink from="-1" to="1"/></connection>'
        "</junction>",
    )  # fmt: skip


def light(number: int, s: float = 0, kind: str = "1000001", validity: str = '<validity fromLane="0" toLane="0"/>') -> str:
    return f'<signal id="{number}" s="{s}" t="3" orientation="+" type="{kind}" dynamic="yes">{validity}</signal>'


def reference(number: int, number_of_lane: int) -> str:
    validity = f'<validity fromLane="{number_of_lane}" toLane="{number_of_lane}"/>'
    return f'<signals><signalReference id="{number}" s="1" t="0" orientation="-">{validity}</signalReference></signals>'
