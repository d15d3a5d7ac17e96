"""Small maps of several formats as text: what tests of imperfect and of damaged files begin with."""

CORNERS = "".join(f'<cornerLocal u="{u}" v="{v}" z="0"/>' for u, v in ((-5, -2), (5, -2), (5, 2), (-5, 2)))


def crosswalk(attributes: str, outline: str) -> str:
    element = f'<object id="2" s="10" t="0" zOffset="0" hdg="0" {attributes}><outline>{outline}</outline></object>'
    return f"<objects>{element}</objects>"


def sumo(index: int = 1, extra: str = "", to: int = 0, more: str = "") -> str:
    def lanes(edge: str, x: float, index: int = 1, shift: int = 0) -> str:
        return "".join(
            f'<lane id="{edge}_{k + shift}" index="{k * index + shift}" speed="13.9" '
            f'shape="{x},{3.2 * k} {x + 10},{3.2 * k}"/>'
            for k in (0, 1)
        )

    connections = "".join(
        f'<connection from="a" to="b" fromLane="{k}" toLane="{k + to}" via=":c_0_{k}" dir="s" state="M"/>'
        f'<connection from=":c_0" to="b" fromLane="{k}" toLane="{k + to}" dir="s" state="M"/>'
        for k in (0, 1)
    )
    return (
        f'<net version="1.20"><edge id=":c_0" function="internal">{lanes(":c_0", 10, index)}</edge>'
        f'<edge id="a" from="w" to="c">{lanes("a", 0)}</edge>'
        f'<edge id="b" from="c" to="e">{extra}{lanes("b", 20, shift=to)}</edge>{connections}{more}</net>'
    )


def commonroad(limit: str = "13.9", ref: str = "7") -> str:
    def bound(side: str, y: float) -> str:
        points = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x in (0, 25, 50))
        return f"<{side}Bound>{points}</{side}Bound>"

    sign = f"<trafficSignID>274</trafficSignID><additionalValue>{limit}</additionalValue>"
    sign = f"<trafficSignElement>{sign}</trafficSignElement>"
    return (
        '<commonRoad commonRoadVersion="2020a" benchmarkID="ZAM_Hand-1_1_T-1" timeStepSize="0.1"><lanelet id="1">'
        f'{bound("left", 3.5)}{bound("right", 0)}<laneletType>urban</laneletType><trafficSignRef ref="{ref}"/></lanelet>'
        f'<trafficSign id="7">{sign}</trafficSign></commonRoad>'
    )
