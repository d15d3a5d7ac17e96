"""The page of a map: what is inside, that nothing in a map can break it, and, where there is a Chromium, that it works."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser

from gigaflow_env import cli, files
from gigaflow_env.render import page as pages
from gigaflow_env.render import write_page
from gigaflow_env.replay import page as replays
from gigaflow_env.roads import Crosswalk, Entry, Lane, MapError, Phase, Program, RoadMap, Signal, load, shipped, summary
from gigaflow_env.roads.formats.lanes_json import document

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps"
HOSTILE = '</script><b id="broken">&amp;\u2028"\\ \U0001f697'


def lane(id: str, *knots: tuple[float, ...], **more: object) -> Lane:
    return Lane(id, np.array(knots, float), **more)


def town(origin: float = 0.0) -> RoadMap:
    """East-west road with a shoulder and a signalised connector, a crosswalk, and a bridge over it; 100 m x 100 m."""
    o = origin
    lanes = [
        lane("east", (o - 50, -2, 0, 0, 4), (o + 10, -2, 0, 0, 4), successors=("through", "constructor")),
        lane("through", (o + 10, -2, 0, 0, 4), (o + 20, -2, 0, 0, 4), junction="j", signal="s1", successors=("on",)),
        lane("constructor", (o + 10, -2, 0, 0, 4), (o + 20, -12, 0, -np.pi / 2, 4), junction="j", signal="s1"),
        lane("on", (o + 20, -2, 0, 0, 4), (o + 50, -2, 0, 0, 3.5), left="fast", speed=10.0),
        lane("fast", (o + 20, 2, 0, 0, 4), (o + 50, 2, 0, 0, 4), right="on"),
        lane("shoulder", (o - 50, -5, 0, 0, 2), (o + 50, -5, 0, 0, 2), kind="shoulder"),
        lane("bridge", (o + 35, -50, 6, np.pi / 2, 4), (o + 35, 50, 6, np.pi / 2, 4)),
    ]
    zebra = Crosswalk("zebra", np.array([(o - 10.0, -8, 0), (o - 4, -8, 0), (o - 4, 4, 0), (o - 10, 4, 0)]))
    signals = {"s1": Signal("s1", group="g"), "s2": Signal("s2", kind="stop", group="g")}
    return RoadMap("village", {item.id: item for item in lanes}, signals, {"zebra": zebra}, licence="CC0")


def data(text: str) -> dict:
    (given,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert given.isascii()
    return json.loads(given)


@pytest.mark.parametrize("name", ["made here", "lefthand", "highway"])
def test_the_page_holds_the_map(name: str) -> None:
    road_map = load(shipped()[name]) if name in shipped() else town()
    given = data(pages.page(road_map))
    assert given["map"] == json.loads(json.dumps(document(road_map)))
    assert given["facts"] == json.loads(json.dumps(summary(road_map)))


def test_levels_and_edges() -> None:
    given = data(pages.page(town()))
    ((start, low, first), (_, high, second), (_, end, third)) = given["levels"].pop("bridge")
    assert (start, end) == (0, 100) and (first, second, third) == (0, 1, 0)
    assert 30 <= low < 45 and 55 <= high < 65, "the part over the road, to 10 m and a verge"
    assert not given["levels"] and not given["crosswalk_levels"]
    ground, deck = ([np.cumsum(np.reshape(steps, (-1, 2)), axis=0) / 100 for steps in lines] for lines in given["edges"])
    assert {tuple(np.round(np.unique(line[:, 0])).tolist()) for line in deck} == {(33,), (37,)}, (
        "parapets along the deck only"
    )
    assert any((abs(line[:, 1] + 6.0) < 0.03).any() for line in ground), "the shoulder's outer side"


def test_a_crosswalk_lies_on_the_road_that_it_crosses() -> None:
    on_deck = Crosswalk("high", np.array([(33.0, -2, 6), (37, -2, 6), (37, 2, 6), (33, 2, 6)]))
    below = replace(on_deck, id="low", outline=on_deck.outline * (1, 1, 0))
    given = data(pages.page(replace(town(), crosswalks={"high": on_deck, "low": below})))
    assert given["crosswalk_levels"] == {"high": 1}


def hostile() -> RoadMap:
    """Names that would end the script, open tags, or hit what objects inherit."""
    a, b = HOSTILE, "__proto__"
    lanes = [
        lane(a, (0, 0, 0, 0, 4), (50, 0, 0, 0, 4), successors=(b,)),
        lane(b, (50, 0, 0, 0, 4), (90, 0, 0, 0, 4), junction=a, signal=a),
    ]
    return RoadMap(
        a, {x.id: x for x in lanes}, {a: Signal(a, group=a)}, source=a, licence="{{SCRIPT}}{{DATA}}", attribution=a
    )


def test_hostile_names_stay_inside_of_the_data() -> None:
    text, plain = pages.page(hostile()), pages.page(town())
    for part in ("<b", "</script", "<script", "<!--", "{{"):
        assert text.count(part) == plain.count(part) + 4 * (part == "{{"), part
    assert data(text)["map"]["name"] == HOSTILE
    assert data(text)["map"]["licence"] == "{{SCRIPT}}{{DATA}}"


def test_the_page_needs_nothing_else() -> None:
    text = pages.page(town())
    assert not re.search(r"https?:|//[a-z]|@import|url\(|\bfetch\b|XMLHttpRequest|\bsrc=|\bhref=|\bimport\b", text)
    assert "default-src 'none'" in text


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "village.html"
    write_page(town(), path)
    assert path.read_text(encoding="utf-8") == pages.page(town())
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_page(town(), path)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("village.html", "old")]


def test_a_page_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"village.htm: pages are written as .html"):
        write_page(town(), tmp_path / "village.htm")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        write_page(town(), tmp_path / "nowhere" / "village.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder.html: is a directory"):
        write_page(town(), tmp_path / "folder.html")
    with pytest.raises(MapError, match="no driving lane"):
        write_page(RoadMap("empty", {}), tmp_path / "village.html")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]


def test_a_folder_that_can_not_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)  # whoever runs the tests may write anywhere
    with pytest.raises(PermissionError, match=f"village.html: the directory {tmp_path} can't be written to"):
        write_page(town(), tmp_path / "village.html")


def test_a_page_needs_no_drawing_library(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('matplotlib', 'pygame', 'imageio_ffmpeg'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing)\n"
        "from gigaflow_env import cli\n"
        f"assert cli.main(['map', 'inspect', 'loop', '--html', {str(tmp_path / 'loop.html')!r}]) == 0\n"
        f"sys.exit(cli.main(['map', 'inspect', 'loop', '--png', {str(tmp_path / 'loop.png')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert 'error: drawing needs matplotlib: pip install "gigaflow-env[render]"' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["loop.html"]


REPORT = ("report.css", "report.html", "report.js")
"""Of gigaflow_train/benchmark/report_page.py."""


def test_the_page_is_made_of_all_files_in_its_folder() -> None:
    """What the wheel holds of them is for test_packaging.py."""
    web = Path(pages.__file__).parent / "web"
    used = {*pages.SCRIPTS, "page.css", "page.html", *replays.SCRIPTS, "watch.css", "watch.html", *REPORT}
    assert {path.name for path in web.iterdir()} == used


def test_inspect_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["map", "inspect", "loop", "--html", str(tmp_path / "loop.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "loop", "nothing but JSON on stdout"
    assert data((tmp_path / "loop.html").read_text(encoding="utf-8"))["map"]["name"] == "loop"
    assert cli.main(["map", "inspect", "loop", "--html", str(tmp_path / "loop.pdf")]) == 2
    assert capsys.readouterr().err.endswith("loop.pdf: pages are written as .html\n")


@pytest.mark.slow
def test_the_largest_town_makes_a_small_page() -> None:
    path = SHARED / "carla" / "Town04.xodr"
    if not path.is_file():
        pytest.skip(f"the shared map {path.name} is not here")
    assert len(pages.page(load(path)).encode()) < 500_000


# In a browser

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in the path")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser((1200, 800)) as opened:
        yield opened


def shown(browser: Browser, tmp_path: Path, road_map: RoadMap) -> Browser:
    path = tmp_path / "map.html"
    write_page(road_map, path)
    browser.errors.clear()
    browser.requests.clear()
    browser.open(path)
    assert browser.errors == [] and [url for url in browser.requests if not url.startswith("file:")] == []
    return browser


def place(browser: Browser, x: float, y: float) -> tuple[float, float]:
    """Pixel of a place of the map [m]."""
    found = browser.run(f"view.toScreen({{x: {x} - map.origin.x, y: {y} - map.origin.y}})")
    return found["x"], found["y"]


def colour(browser: Browser, x: float, y: float) -> str:
    """Colour of the canvas at a place of the map, by its name in the style."""
    column, row = place(browser, x, y)
    pixel = browser.run(f"[...ctx.getImageData({round(column)}, {round(row)}, 1, 1).data].slice(0, 3)")
    names = browser.run("Object.entries(settings.colours)")
    hexed = "#" + bytes(pixel).hex()
    return next((name for name, value in names if value == hexed), hexed)


def details(browser: Browser) -> dict[str, str]:
    rows = browser.run("[...document.querySelectorAll('#details tr')].map(r => [...r.children].map(c => c.innerText))")
    return {"title": browser.run("document.querySelector('#details h2')?.innerText ?? ''"), **dict(rows)}


@needs_chromium
def test_a_click_shows_the_facts_of_a_lane(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, town())
    assert browser.run("document.title") == "village - road map"
    browser.click(*place(browser, 45, -2.5))
    found = details(browser)
    assert found["title"] == "lane on"
    assert found["length"] == "30.0 m" and found["width"] == "3.50 to 4.00 m"
    assert found["speed limit"] == "36 km/h (10.0 m/s)" and found["junction"] == "none" and found["obeys"] == "no signal"
    assert found["predecessors"] == "through" and found["successors"] == "none"
    assert found["change left"] == "fast" and found["change right"] == "none" and found["level"] == "ground"
    # From one to the next by its links.
    browser.run("[...document.querySelectorAll('#details td button')].find(b => b.innerText === 'through').click()")
    assert details(browser)["title"] == "lane through"
    assert (details(browser)["junction"], details(browser)["obeys"]) == ("j", "s1")
    browser.run("[...document.querySelectorAll('#details td button')].find(b => b.innerText === 's1').click()")
    found = details(browser)
    assert (found["title"], found["kind"], found["group"], found["same group"]) == ("signal s1", "traffic light", "g", "s2")
    assert found["lanes"] == "throughconstructor"


@needs_chromium
def test_things_above_each_other_are_reached_by_clicking_again(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, town())
    titles = []
    for _ in range(3):
        browser.click(*place(browser, 35, -1.0))
        titles.append(details(browser)["title"])
    assert titles == ["lane bridge", "lane on", "lane bridge"]
    assert details(browser)["height"] == "6.00 m" and details(browser)["level"] == "ground, bridge"
    browser.click(*place(browser, 10, -2.0))
    assert details(browser)["title"] == "signal s1"
    browser.click(*place(browser, -7, 3.0))
    assert details(browser)["title"] == "crosswalk zebra"
    browser.click(*place(browser, -30, 30.0))
    assert details(browser)["title"] == "", "nothing is there"


@needs_chromium
def test_mouse_and_keys_move_the_view(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, town())
    scale = browser.run("view.scale")
    x, y = place(browser, 20, 10)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300)
    browser.settle()
    assert browser.run("view.scale") == pytest.approx(scale * np.exp(0.45))
    assert place(browser, 20, 10) == pytest.approx((x, y), abs=0.01), "what is under the pointer stays there"
    browser.drag((x, y), (x + 100, y - 50))
    assert place(browser, 20, 10) == pytest.approx((x + 100, y - 50), abs=0.01)
    assert details(browser)["title"] == "", "moving is no click"
    browser.press("#fit")
    assert browser.run("view.scale") == pytest.approx(scale)
    browser.press("#in")
    assert browser.run("view.scale") == pytest.approx(1.6 * scale)
    browser.press("#out")
    assert browser.run("view.scale") == pytest.approx(scale)
    browser.mouse("mouseMoved", *place(browser, 45, -2.0))
    assert browser.run("document.querySelector('#cursor').value").endswith("lane on")


@needs_chromium
def test_two_fingers_zoom(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, town())
    scale = browser.run("view.scale")

    def touch(kind: str, *points: tuple[float, float]) -> None:
        given = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)]
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=given)

    touch("touchStart", (700, 400))
    touch("touchStart", (700, 400), (800, 400))
    for reach in (20, 40, 50):
        touch("touchMove", (700 - reach, 400), (800 + reach, 400))
    touch("touchEnd")
    browser.settle()
    assert browser.run("view.scale") == pytest.approx(2 * scale, rel=0.02)


@needs_chromium
def test_layers_and_levels(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, town())
    for spot, name in (
        ((-25, -2.8), "driving"),
        ((-25, -5.0), "shoulder"),
        ((13, -3.2), "junction"),
        ((35.5, -2.0), "driving"),
        ((0, 30), "paper"),
        ((10, -3.5), "light"),
    ):
        assert colour(browser, *spot) == name, spot
    browser.press("#legend input[name=shoulder]")
    assert colour(browser, -25, -5.0) == "paper"
    browser.press("#legend input[name=shoulder]")
    assert colour(browser, -25, -5.0) == "shoulder"
    for value, road, deck in (("0", "driving", "ghost"), ("1", "ghost", "driving"), ("-1", "driving", "driving")):
        browser.run(f"(s => (s.value = '{value}', s.dispatchEvent(new Event('change'))))(document.querySelector('#level'))")
        browser.settle()
        assert (colour(browser, -25, -2.8), colour(browser, 35.8, 6.0)) == (road, deck), value


@needs_chromium
def test_search_finds_a_lane_and_goes_there(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, town())
    browser.run("(view.zoom(20), redraw())")
    browser.press("#search")
    browser.type("FAST")
    assert browser.run("document.querySelector('#found').innerText") == "lane fast"
    browser.type("er than light")
    assert browser.run("document.querySelector('#found').innerText") == "no match"
    browser.run("(f => (f.value = 'fast', f.dispatchEvent(new Event('input'))))(document.querySelector('#search'))")
    browser.press("#found button")
    assert details(browser)["title"] == "lane fast"
    x, y = place(browser, 35, 2)
    assert 300 < x < 1200 and 0 < y < 800


@needs_chromium
def test_on_a_phone_the_panel_is_folded_until_something_is_chosen(browser: Browser, tmp_path: Path) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=780, deviceScaleFactor=2, mobile=False)
    try:
        shown(browser, tmp_path, town())
        assert browser.run("document.querySelector('#panel').getBoundingClientRect().height") < 80
        browser.click(*place(browser, -25, -2.5))
        assert details(browser)["title"] == "lane east"
        assert browser.run("document.querySelector('#details').getBoundingClientRect().height") > 100
    finally:
        width, height = browser.size
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)


@needs_chromium
def test_colours_follow_the_system_and_the_button(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, town())
    light = browser.run("settings.colours.paper")
    browser.press("#theme")
    dark = browser.run("settings.colours.paper")
    assert light != dark and colour(browser, 0, 30) == "paper"
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    try:
        shown(browser, tmp_path, town())
        assert browser.run("settings.colours.paper") == dark
    finally:
        browser.call("Emulation.setEmulatedMedia", features=[])


@needs_chromium
def test_hostile_names_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, hostile())
    assert browser.run("document.querySelector('#broken')") is None
    assert browser.run("document.querySelector('h1').textContent") == HOSTILE
    browser.click(*place(browser, 75, 0))
    assert details(browser)["title"] == "lane __proto__"
    assert browser.run("document.querySelector('#details td button').textContent") == HOSTILE
    assert browser.run("[...document.querySelectorAll('#about td')].some(c => c.textContent === '{{SCRIPT}}{{DATA}}')")
    assert browser.run("document.querySelector('#broken')") is None and browser.errors == []


@needs_chromium
def test_far_coordinates_are_drawn_as_exactly(browser: Browser, tmp_path: Path) -> None:
    """UTM-like numbers: float32 would shift them by decimetres."""
    shown(browser, tmp_path, town(4_500_000.0))
    browser.run("(view.fit(map.bounds), view.zoom(50), redraw())")
    browser.run("(view.x = 4500010.0 - map.origin.x, view.y = -2 - map.origin.y, redraw())")
    browser.settle()
    pixels = 0.2 * browser.run("view.scale")
    assert pixels > 10
    assert colour(browser, 4_500_010.1, -2.8) == "light" and colour(browser, 4_500_010.4, -2.8) == "junction"


@pytest.mark.slow
@needs_chromium
def test_a_large_town_is_fluid(browser: Browser, tmp_path: Path) -> None:
    """10 frames a second of the whole town without a graphics card; here half of that, as machines are shared."""
    path = SHARED / "carla" / "Town04.xodr"
    if not path.is_file():
        pytest.skip(f"the shared map {path.name} is not here")
    shown(browser, tmp_path, load(path))
    frame = (
        "(t => (paint(ctx, map, view, settings), ctx.getImageData(0, 0, 1, 1), performance.now() - t))(performance.now())"
    )
    assert min(browser.run(frame) for _ in range(8)) < 1000  # 60 ms on an idle machine; a hang has no end


# The import report and problems


def reported() -> RoadMap:
    """The town, with what an import did: one entry with a place, one about a lane, one about nothing that is there."""
    report = (
        Entry("link", "east to gone", "0.41 m between the ends: left out", 12, (-20.0, 2.0), 0.41, "m"),
        Entry("width", "on", "2 lanes <b>made</b>"),
        Entry("reference", "controller 7", "left out", 99),
    )
    return replace(town(), report=report)


def test_the_page_holds_the_import_report_and_the_problems() -> None:
    given = data(pages.page(reported()))
    assert [(entry["kind"], entry["line"], entry["place"], entry["amount"]) for entry in given["report"]] == [
        ("link", 12, [-20, 2], 0.41), ("width", None, None, None), ("reference", 99, None, None),
    ]  # fmt: skip
    found = {(problem["kind"], problem["lane"]) for problem in given["problems"]}
    ends = {("dead end", name) for name in ("constructor", "bridge", "on", "fast")}
    assert found == ends | {("unreachable", "east"), ("unreachable", "bridge")}


def listed(browser: Browser) -> list[str]:
    return browser.run("[...document.querySelectorAll('#listed button')].map(b => b.innerText)")


@needs_chromium
def test_the_report_is_a_layer_to_click_through(browser: Browser, tmp_path: Path) -> None:
    shown(browser, tmp_path, reported())
    assert browser.run("document.querySelector('#counted').innerText") == "Import report (3), problems (6)"
    assert colour(browser, -20, 2) == "report" and colour(browser, -50, -2) == "problem"
    # A click on the map, as for everything else.
    browser.click(*place(browser, -20, 2))
    found = details(browser)
    assert found["title"] == "report link east to gone" and found["line"] == "12" and found["amount"] == "0.41 m"
    assert found["done"] == "0.41 m between the ends: left out" and found["place"] == "-20.0, 2.0 m"
    # From one to the next, to an entry that is about a lane, to one without a place, and around.
    browser.run("document.querySelector('#marks').open = true")
    assert browser.run("document.querySelector('#at').value") == "1 of 9"
    browser.press("#after")
    assert details(browser)["title"] == "report width on" and details(browser)["about"] == "on"
    assert details(browser)["done"] == "2 lanes <b>made</b>"
    x, y = place(browser, 20, -2)
    assert 300 < x < 1200 and 0 < y < 800, "the lane's start"
    browser.press("#after")
    assert details(browser)["title"] == "report reference controller 7" and details(browser)["place"] == "none"
    for _ in range(7):
        browser.press("#after")
    assert details(browser)["title"] == "report link east to gone"
    browser.press("#before")
    assert browser.run("document.querySelector('#at').value") == "9 of 9"
    # Only the ones of a kind.
    browser.run(
        "(s => (s.value = 'problem dead end', s.dispatchEvent(new Event('change'))))(document.querySelector('#kinds'))"
    )
    assert sorted(listed(browser)) == [f"dead end: {name}" for name in ("bridge", "constructor", "fast", "on")]
    browser.press("#listed button")
    assert details(browser)["title"].startswith("problem dead end: ")
    browser.press("#fit")
    browser.press("#legend input[name=report]")
    assert colour(browser, -20, 2) != "report"
    assert browser.errors == []


@needs_chromium
def test_a_map_without_entries_has_no_list_of_them(browser: Browser, tmp_path: Path) -> None:
    ring = [lane("a", (0, 0, 0, 0, 4), (0, 40, 0, np.pi, 4), successors=("b",)),
            lane("b", (0, 40, 0, np.pi, 4), (0, 0, 0, 2 * np.pi, 4), successors=("a",))]  # fmt: skip
    shown(browser, tmp_path, RoadMap("ring", {item.id: item for item in ring}))
    assert browser.run("document.querySelector('#marks').hidden")
    assert browser.run("document.querySelector('#legend input[name=report]')") is None


@needs_chromium
def test_a_light_shows_its_program(browser: Browser, tmp_path: Path) -> None:
    program = Program((Phase("green", 12.0), Phase("yellow", 3.0), Phase("red", 20.0)))
    signals = {"s1": Signal("s1", group="g", program=program), "s2": Signal("s2", kind="stop", group="g")}
    shown(browser, tmp_path, replace(town(), signals=signals))
    browser.run("go(['signal', map.signals.get('s1')])")
    assert details(browser)["program"] == "green 12 s, yellow 3 s, red 20 s"
