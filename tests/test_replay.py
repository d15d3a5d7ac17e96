"""Recordings: what is kept is what happened, pages hold it in few bytes and play it, and tables say the same."""

import base64
import csv
import json
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from conftest import crossing, ring
from lxml import etree
from tiny_driver import write

from gigaflow_env import driver
from gigaflow_env.config import laptop
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.replay.frame import FLAGS, frame_of
from gigaflow_env.replay.insight import TERMS, reward_terms, seen_of
from gigaflow_env.replay.page import Blob
from gigaflow_env.state import LIVE

ROWS = 6


def make(road_map: Any = None, **options: Any) -> GigaflowVectorEnv:
    changes = options.pop("changes", {})
    config = laptop().replace(agents_per_world=ROWS, lights_off=0.0, **changes)
    return GigaflowVectorEnv(ROWS, map=road_map or crossing(lights=True), config=config, **{"drivers": "idm", **options})


def unpacked(data: bytes, at: list[int]) -> np.ndarray:
    """A table as the page reads it, from the description in page.py."""
    start, moments, columns = at
    planes = np.frombuffer(data[start : start + 4 * moments * columns], np.uint8).reshape(4, -1).astype(np.int64)
    zigzag = sum(plane << (8 * k) for k, plane in enumerate(planes))
    steps = (zigzag >> 1) ^ -(zigzag & 1)
    return np.cumsum(steps.reshape(columns, moments), axis=1).T


def inside(text: str) -> tuple[dict[str, Any], bytes]:
    (head,) = re.findall(r'<script id="head" type="application/json">(.*?)</script>', text, re.DOTALL)
    (blob,) = re.findall(r'<script id="blob" type="text/plain">(.*?)</script>', text, re.DOTALL)
    return json.loads(head), zlib.decompress(base64.b64decode(blob))


def test_tables_come_back() -> None:
    blob, generator = Blob(), np.random.default_rng(0)
    blob.text("before")
    values = generator.integers(-(2**30), 2**30, (7, 5))
    at = blob.table(values)
    data = zlib.decompress(base64.b64decode(blob.packed()))
    np.testing.assert_array_equal(unpacked(data, at), values)


def test_the_terms_add_up_to_the_reward() -> None:
    env = make(changes={"center_bias": (-0.5, 0.5), "velocity_align": (0.0, 1.0), "comfort": (0.0, 0.1)})
    env.reset(seed=2)
    seen = np.zeros(len(TERMS))
    for _ in range(150):
        _, reward, *_ = env.step(np.zeros(ROWS, int))
        terms = reward_terms(env.simulator, 0)
        drives = ~np.isnan(terms[:, 0])
        np.testing.assert_allclose(terms[drives].sum(axis=1), reward[drives], atol=2e-6)
        seen += np.abs(terms[drives]).sum(axis=0)
    assert drives.any() and (seen[[TERMS.index(n) for n in ("goal", "progress", "lane_align", "lane_center")]] > 0).all()


def test_sight_is_where_things_are() -> None:
    env = make()
    obs, _ = env.reset(seed=1)
    for _ in range(10):
        obs, *_ = env.step(np.zeros(ROWS, int))
    state, sight = env.simulator.state, seen_of(env.simulator, 0, obs)
    live = np.flatnonzero(state.rows.status[0] == LIVE)
    assert len(live) > 2
    colours, origin = set(), env.simulator.roads.origins[0]
    for a in live:
        assert set(sight.others[a][sight.others[a] >= 0]) <= set(range(ROWS)) - {a}
        near = np.hypot(sight.lanes[a, :, 0] - state.pose.x[0, a], sight.lanes[a, :, 1] - state.pose.y[0, a])
        assert near.min() < 12.0 and (np.isfinite(sight.lanes[a, :, 2]).any())
        for x, y, colour in sight.stops[a]:
            if colour:
                colours.add(int(colour))
                far = math.hypot(x + origin[0], y + origin[1])
                assert abs(far - math.hypot(12.0, 1.75)) < 0.1, "stop lines lie 12 m from the middle"
    assert colours


def test_a_page_holds_what_happened(tmp_path: Path) -> None:
    policy = str(write(tmp_path / "one.safetensors", laptop()))
    env = make(drivers={"policy": 0.5, "idm": 0.5}, events=True)
    frames = []
    env.reset(seed=3)
    with env.record(tmp_path / "out.html", policy=policy, title="<b>&amp;") as recording:
        frames.append(frame_of(env.simulator, 0))
        for _ in range(60):
            env.step(np.full(ROWS, 10))
            frames.append(frame_of(env.simulator, 0))
    assert recording.closed and recording.close() == 0
    text = (tmp_path / "out.html").read_text()
    head, data = inside(text)
    assert "<b>" not in text and not re.search(r"https?:|@import|url\(|\bfetch\b|\bsrc=|\bhref=", text)
    (clip,) = head["clips"]
    assert clip["title"] == "<b>&amp;" and clip["rows"] == ROWS and clip["lights"] == sorted(env.simulator.maps[0].signals)
    flags = unpacked(data, clip["tables"]["flags"])
    np.testing.assert_array_equal(flags, [frame.flags for frame in frames])
    x = unpacked(data, clip["tables"]["x"]) * head["steps"]["x"]
    np.testing.assert_allclose(x, [frame.x for frame in frames], atol=0.0051)
    probabilities = unpacked(data, clip["tables"]["p"]).reshape(61, ROWS, 12) / 255
    np.testing.assert_allclose(probabilities.sum(axis=2), 1.0, atol=0.03)
    crashes = [event for event in clip["events"] if event["kind"] in ("collision", "offroad")]
    assert len(crashes) == sum(bin(f & 12).count("1") for frame in frames for f in frame.flags.tolist()) > 0
    bodies = json.loads(data[clip["bodies"][0] : sum(clip["bodies"])])
    used = unpacked(data, clip["tables"]["body"])
    assert {str(k) for k in np.unique(used[used >= 0])} == set(bodies)
    assert all(set(body["conditioning"]) == set(head["coefficients"]) for body in bodies.values())


def test_a_minute_of_fifty_cars_is_below_a_megabyte(tmp_path: Path) -> None:
    policy = str(write(tmp_path / "one.safetensors", laptop()))
    config = laptop().replace(agents_per_world=50, on_route_done="new_route")
    env = GigaflowVectorEnv(50, map="downtown", config=config, drivers="idm", events=True)
    env.reset(seed=3)
    with env.record(tmp_path / "out.html", policy=policy) as recording:
        for _ in range(50):  # 15 s: what is kept of a moment is as much in each
            env.step(np.zeros(50, int))
    moving = recording.path.stat().st_size
    again = GigaflowVectorEnv(50, map="downtown", config=config, drivers="idm")
    again.reset(seed=3)
    with again.record(tmp_path / "start.html") as recording:
        pass
    ground = recording.path.stat().st_size
    assert ground + 4 * (moving - ground) < 1_000_000


def test_tables_of_trajectories(tmp_path: Path) -> None:
    env = make()
    env.reset(seed=3)
    names = ["one.csv", "one.xml"]
    try:
        from pyarrow import parquet

        names.append("one.parquet")
    except ModuleNotFoundError:
        parquet = None
    recordings = [env.record(tmp_path / name) for name in names]
    for _ in range(12):
        env.step(np.zeros(ROWS, int))
    frame = frame_of(env.simulator, 0)
    origin = env.simulator.roads.origins[0]
    env.close()  # writes what is open
    assert all(recording.closed for recording in recordings)
    lines = list(csv.DictReader((tmp_path / "one.csv").read_text().splitlines()))
    last = [line for line in lines if int(line["tick"]) == frame.tick]
    there = np.flatnonzero(frame.flags & 3)
    assert [int(line["row"]) for line in last] == there.tolist()
    np.testing.assert_allclose([float(line["x_m"]) for line in last], frame.x[there] + origin[0], atol=1e-3)
    assert set(FLAGS) <= set(lines[0]) and {line["live"] for line in last} <= {"0", "1"}
    steps = etree.parse(tmp_path / "one.xml").getroot().findall("timestep")
    assert len(steps) == 13
    row = int(there[0])
    vehicle = next(one for one in steps[-1] if one.get("id").startswith(f"{row}."))
    heading = math.radians(90.0 - float(vehicle.get("angle")))
    assert math.cos(heading - frame.heading[row]) > 0.9999
    half = float(next(line for line in last if int(line["row"]) == row)["length_m"]) / 2
    assert float(vehicle.get("x")) == pytest.approx(frame.x[row] + origin[0] + half * math.cos(frame.heading[row]), abs=0.02)
    if parquet is not None:
        table = parquet.read_table(tmp_path / "one.parquet")
        assert table.num_rows == len(lines) and table.column("row").to_pylist() == [int(line["row"]) for line in lines]


def test_a_recording_ends_with_its_map(tmp_path: Path) -> None:
    env = make([ring(), crossing(lights=True)], map_shares=[0.5, 0.5], changes={"world_steps": 20, "world_stagger": 0.0})
    env.reset(seed=1)
    recording = env.record(tmp_path / "one.html")
    first = int(env.simulator.state.clock.map[0])
    for _ in range(300):
        env.step(np.zeros(ROWS, int))
        if int(env.simulator.state.clock.map[0]) != first:
            break
    else:
        pytest.fail("the map never changed")
    assert recording.recorder.over and len(recording.recorder.moments) % 20 == 0
    env.reset(seed=1)
    assert len(recording.recorder.moments) == 1 and not recording.recorder.over, "a new reset begins a new recording"


def test_a_variant_is_recorded(tmp_path: Path) -> None:
    env = make(changes={"variant_turn": (1.0, 1.0)})
    env.reset(seed=1)
    with env.record(tmp_path / "one.html") as recording:
        env.step(np.zeros(ROWS, int))
    head, _ = inside(recording.path.read_text())
    np.testing.assert_allclose(head["clips"][0]["warp"], [math.cos(1), -math.sin(1), math.sin(1), math.cos(1)], atol=1e-5)


def test_what_can_not_be_recorded(tmp_path: Path) -> None:
    env = make()
    with pytest.raises(ValueError, match=r"one.mp4: recordings are written as .html, .csv, .parquet, .xml"):
        env.record(tmp_path / "one.mp4")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        env.record(tmp_path / "nowhere" / "one.html")
    with pytest.raises(ValueError, match="world=1: must be a whole number, 0 to 0"):
        env.record(tmp_path / "one.html", world=1)
    other = write(tmp_path / "other.safetensors", laptop().replace(view_range=99.0))
    with pytest.raises(driver.CheckpointError, match="view_range is 99.0 there and 60.0 here"):
        env.record(tmp_path / "one.html", policy=other)
    with pytest.raises(ValueError, match="nothing was recorded"):
        env.record(tmp_path / "one.html").close()
    with pytest.raises(ZeroDivisionError), env.record(tmp_path / "two.html"):
        raise ZeroDivisionError
    assert not (tmp_path / "two.html").exists(), "after an error nothing is written"


def test_failures_are_sorted(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the trainer needs torch")
    from gigaflow_train.evaluate.failures import Failures

    env = make(drivers="policy", events=True)
    env.reset(seed=1)
    failures = Failures(env)
    for step in range(150):
        env.step(np.full(ROWS, 9 + step % 3))
        failures.add()
    weights = [failure.weight for failure, _ in failures.found]
    assert len(weights) > 2 and weights == sorted(weights, reverse=True)
    assert failures.write(tmp_path / "worst.html") == len(weights)
    head, _ = inside((tmp_path / "worst.html").read_text())
    assert [clip["title"].split(".")[0] for clip in head["clips"]] == [str(k + 1) for k in range(len(weights))]
    assert len(head["maps"]) == 1
    for (failure, _), clip in zip(failures.found, head["clips"], strict=True):
        shown = [event for event in clip["events"] if event["row"] == failure.row and event["kind"] == failure.kind]
        assert any(clip["tick"] + event["frame"] == failure.tick for event in shown)


def test_an_evaluation_writes_replays(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("torch", reason="the trainer needs torch")
    from gigaflow_train.cli import main

    words = ["evaluate", "constant", "--map", "loop", "--num-envs", "8", "--agents-per-world", "4", "--threads", "1"]
    pages = ["--replay", str(tmp_path / "minute.html"), "--failures", str(tmp_path / "worst.html")]
    assert main([*words, "--steps", "60", *pages]) == 0
    said = capsys.readouterr().err
    assert "minute.html: 0." in said and "clips in" in said
    head, _ = inside((tmp_path / "minute.html").read_text())
    assert head["clips"][0]["tables"]["x"][1] == 61, "from the reset on"
    assert len(inside((tmp_path / "worst.html").read_text())[0]["clips"]) > 1
    assert main([*words, "--failures", str(tmp_path / "worst.csv")]) == 2
    assert main([*words, "--replay", str(tmp_path / "nowhere" / "one.html")]) == 2
    said = capsys.readouterr().err
    assert "worst.csv: it is written as .html" in said and "nowhere does not exist" in said


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_the_replay_plays(tmp_path: Path) -> None:
    policy = str(write(tmp_path / "one.safetensors", laptop()))
    env = make(drivers={"policy": 0.5, "idm": 0.5}, events=True)
    env.reset(seed=3)
    with env.record(tmp_path / "out.html", policy=policy) as recording:
        for _ in range(60):
            env.step(np.full(ROWS, 10))
    with Browser() as browser:
        browser.open(recording.path)
        browser.until("watch.tape && watch.frames > 2")
        first = browser.run("watch.at")
        browser.until(f"watch.at > {first} + 1")
        browser.press("#play")
        assert browser.run("watch.playing") is False
        browser.run("byId('seek').value = 0; byId('seek').oninput({target: byId('seek')})")
        browser.settle()
        assert browser.run("byId('clock').textContent") == "0:00.0"
        # The next crash: the car is chosen, and the inspector shows what it would have done.
        browser.run("jump('collision', false); jump('offroad', false)")
        browser.settle()
        browser.press("#play")
        assert browser.run("watch.chosen >= 0 && !byId('inspect').hidden")
        at = browser.run("watch.at")
        shown = browser.run("document.querySelectorAll('#inspect .grid > span:not(.side)').length")
        assert shown == 13, "twelve actions and a corner"
        browser.press("#step")
        assert browser.run("watch.at") == math.floor(at) + 1
        # A click on the place of a car chooses it, Escape lets go.
        browser.run("choose(-1); fit(); watch.at = 0; watch.dirty = true")
        browser.settle()
        place = "watch.view.toScreen({x: p.x + watch.offset.x, y: p.y + watch.offset.y})"
        x, y = browser.run(f"(p => (s => [s.x, s.y])({place}))(watch.places[1])")
        browser.click(x, y)
        assert browser.run("watch.chosen") == browser.run("watch.places[1].row")
        browser.run("document.activeElement.blur()")
        browser.key("keyDown", "Escape", "Escape")
        assert browser.run("watch.chosen") == -1
        before = browser.run("document.documentElement.dataset.theme")
        browser.press("#theme")
        assert browser.run("document.documentElement.dataset.theme") != before
        assert browser.errors == [] and all(url.startswith("file:") for url in browser.requests)
