"""The live viewer: a world that obeys, a seat at the wheel, a server that refuses strangers, and the page in a browser."""

import asyncio
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, PATIENCE, Browser
from conftest import crossing, place, ring
from tiny_driver import write

from gigaflow_env import cli
from gigaflow_env.config import CONDITIONING, laptop
from gigaflow_env.state import LIVE

pytest.importorskip("aiohttp", reason="needs the extra viewer")

from gigaflow_env.viewer.server import Server
from gigaflow_env.viewer.world import SUBSTEPS, LiveWorld, Settings


@pytest.fixture
def policy(tmp_path: Path) -> str:
    return str(write(tmp_path / "one.safetensors", laptop()))


def test_a_policy_decides_as_often_as_in_training(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = LiveWorld(ring(), policy, Settings(agents=4))
    asked = []
    act = world.trained.act
    monkeypatch.setattr(world.trained, "act", lambda *given: asked.append(world.steps) or act(*given))
    for _ in range(3 * SUBSTEPS):
        world.step()
    assert asked == [0, SUBSTEPS, 2 * SUBSTEPS] and world.dt == pytest.approx(laptop().dt / SUBSTEPS)
    world.close()


def test_a_world_obeys(policy: str) -> None:
    world = LiveWorld(crossing(lights=True), policy, Settings(agents=4))
    world.step()
    assert {len(world.moment()[name]) for name in ("x", "y", "h", "v", "flags", "body")} == {4}
    world.condition({"collision": 2.5, "stop_line": None})
    column = CONDITIONING.index("collision")
    assert (world.env.simulator.state.reward_weights.coefficients[0, :, column] == 2.5).all()
    assert world.state()["conditioning"]["collision"] == 2.5 and world.state()["conditioning"]["stop_line"] is None
    world.change({"agents": 6, "erratic": 0.5, "drivers": "mixed"})
    world.step()
    assert world.settings == Settings(6, 0.5, "on", "mixed") and world.number == 2
    assert (world.env.simulator.drivers == 1).sum() == 3
    assert world.chosen == {"collision": 2.5}, "it holds in the next world, too"
    world.change({"lights": "off"})
    assert not world.frame.lights.any()
    for changes, message in [
        ({"agents": 0}, "agents=0: must be a whole number, 1 to 150"),
        ({"agents": "many"}, "agents='many'"),
        ({"agents": 150}, "do not fit map 'lights': it has room for"),
        ({"erratic": 2}, "erratic=2: must be 0 to 1"),
        ({"lights": "blue"}, "lights='blue': choose one of 'on', 'off'"),
        ({"gravity": 3}, "unknown setting gravity"),
    ]:
        with pytest.raises(ValueError, match=message):
            world.change(changes)
    with pytest.raises(ValueError, match="unknown conditioning 'colision'"):
        world.condition({"colision": 1.0})
    world.step()
    assert world.settings.agents == 6, "what is refused changes nothing"
    world.close()


def test_at_the_wheel(policy: str) -> None:
    world = LiveWorld(ring(), policy, Settings(agents=3))
    world.take(-1)
    row, state = world.human, world.env.simulator.state
    assert state.rows.status[0, row] == LIVE
    place(world.env.simulator, row, 20.0, -10.0)
    state.rows.status[0, [a for a in range(3) if a != row]] = 0  # alone on the road
    world.wheel(1.0, 0.0, 0.0)
    for _ in range(20):
        world.step()
    assert 3.0 < state.motion.speed[0, row] <= 5.1 and abs(state.motion.steer[0, row]) < 1e-6
    world.wheel(0.0, 0.0, 1.0)
    before = np.arctan2(state.pose.sin[0, row], state.pose.cos[0, row])
    for _ in range(3):
        world.step()
    after = np.arctan2(state.pose.sin[0, row], state.pose.cos[0, row])
    assert state.motion.steer[0, row] > 0.05 and after - before > 0.02, "to the left"
    world.wheel(0.0, 1.0, 0.0)
    for _ in range(15):
        world.step()
    assert state.motion.speed[0, row] == 0.0, "a pedal that is held does not reverse"
    world.wheel(0.0, 0.0, 0.0)
    world.step()
    world.wheel(0.0, 1.0, 0.0)
    for _ in range(10):
        world.step()
    assert state.motion.speed[0, row] < -0.5, "pressed again, it does"
    score = world.scored()
    assert score["metres"] > 5.0 and score["crashes"] == 0 and 0.0 <= score["comfort"] < 1.0
    with pytest.raises(ValueError, match="gas=2"):
        world.wheel(2, 0, 0)
    with pytest.raises(ValueError, match="car=9"):
        world.take(9)
    world.release()
    assert world.human == -1 and "score" not in world.moment()
    world.change({"drivers": "idm"})
    with pytest.raises(ValueError, match="no car is free"):
        world.take(-1)
    world.close()


def test_insight_is_of_a_car_on_the_road(policy: str) -> None:
    world = LiveWorld(crossing(lights=True), policy, Settings(agents=3))
    world.step()
    row = int(np.flatnonzero(world.frame.flags & 1)[0])
    found = world.insight(row)
    assert sum(found["p"]) == pytest.approx(1.0, abs=0.01) and len(found["seen"]["lanes"]) == laptop().lane_count
    json.dumps(found, allow_nan=False)
    assert world.insight(99) is None and world.insight(-1) is None
    world.close()


def test_rules_need_no_policy() -> None:
    world = LiveWorld(ring(), "idm", Settings(agents=3))
    for _ in range(30):
        world.step()
    assert world.state()["choices"] == [["idm", "rules"]] and world.frame.speed.max() > 1.0
    with pytest.raises(ValueError, match="drivers='policy': choose one of 'idm'"):
        world.change({"drivers": "policy"})
    world.close()


# The server


class Running:
    """A server in a thread of its own."""

    def __init__(self, world: LiveWorld, **options: Any) -> None:
        self.server, self.started = Server(world, **options), threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.main()))
        self.thread.start()
        assert self.started.wait(60)

    async def main(self) -> None:
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()

        def ready(address: str) -> None:
            self.address = address
            self.started.set()

        try:
            await self.server.run(0, ready)
        except asyncio.CancelledError:
            pass

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.task.cancel)
            self.thread.join(60)


@pytest.fixture
def running(policy: str) -> Iterator[Running]:
    started = Running(LiveWorld(crossing(lights=True), policy, Settings(agents=6)), title="live · test")
    yield started
    started.stop()


def asked(running: Running, path: str, **headers: str) -> tuple[int, str]:
    line = http.client.HTTPConnection("127.0.0.1", running.server.port, timeout=60)
    line.request("GET", path, headers=headers)
    answer = line.getresponse()
    text = answer.read().decode()
    line.close()
    return answer.status, text


UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip


def test_strangers_are_refused(running: Running) -> None:
    token, port = running.server.token, running.server.port
    here = f"http://127.0.0.1:{port}"
    assert asked(running, f"/?token={token}")[0] == 200
    for path in ("/", "/?token=", "/?token=wrong", f"/?token={token}x", f"/?token={token[:-1]}"):
        status, text = asked(running, path)
        assert status == 403 and "lacks the right token" in text and token not in text
    assert asked(running, f"/?token={token}", Host="evil.example")[0] == 403, "a name that was bent to this machine"
    assert asked(running, f"/?token={token}", Origin="http://evil.example")[0] == 403
    assert asked(running, "/live?token=wrong", Origin=here, **UPGRADE)[0] == 403
    assert asked(running, f"/live?token={token}", Origin="http://evil.example", **UPGRADE)[0] == 403
    assert asked(running, f"/live?token={token}", Origin=f"{here}.evil.example", **UPGRADE)[0] == 403
    assert asked(running, f"/live?token={token}", **UPGRADE)[0] == 403, "whoever does not say where from"
    assert asked(running, f"/etc?token={token}")[0] == 404
    assert len(token) >= 32 and Server(running.server.world).token != token


def test_what_viewers_send_is_checked(running: Running) -> None:
    from aiohttp import ClientSession

    async def talk() -> list[str]:
        here = running.address.split("/?")[0]
        said = []
        wishes = (
            "no json", "[1]", '{"do": "fly"}', '{"do": "pace", "pace": 99}', '{"do": "wheel", "gas": 7}',
            '{"do": "select", "row": 1e999}', '{"do": "conditioning", "values": [3]}',
            '{"do": "world", "agents": 1e9}', '{"do": "conditioning", "values": {"collision": "x"}}',
        )  # fmt: skip
        async with ClientSession() as session:
            async with session.ws_connect(running.address.replace("/?", "/live?"), headers={"Origin": here}) as line:
                for text in wishes:
                    await line.send_str(text)
                    while (message := await line.receive_json(timeout=60))["kind"] != "error":
                        pass
                    said.append(message["text"])
                await line.send_str(json.dumps({"do": "step"}))
                while not (message := await line.receive_json(timeout=60)).get("paused"):
                    pass
                await line.send_str(json.dumps({"do": "drive", "row": -1}))
                while (message := await line.receive_json(timeout=60)).get("human", -1) < 0:
                    pass
        return said

    said = asyncio.run(talk())
    for _ in range(200):
        if running.server.world.human < 0:
            break
        time.sleep(0.1)
    assert running.server.world.human == -1, "whoever leaves gives the wheel back"
    assert len(said) == 9 and "unknown wish 'fly'" in said[2] and "choose one of 0.25" in said[3] and "gas=7" in said[4]


# The page


def until(true: Callable[[], bool]) -> None:
    """Wait for something that the page's keys do to the server's world."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "never true"
        time.sleep(0.02)


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_the_page(running: Running) -> None:
    world = running.server.world
    with Browser() as browser:
        browser.go(running.address)
        browser.until("watch.state && watch.frames > 3")
        tick = browser.run("watch.tape.last")
        browser.until(f"watch.tape.last > {tick} + 5")
        # It moves.
        row = browser.run("(() => { nextCar(); return watch.chosen; })()")
        start = browser.run("placeOf(watch.tape, watch.tape.last, 0, watch.chosen) ? 1 : 0")
        assert row >= 0 and start == 1
        browser.until("watch.seen && watch.insight && document.querySelectorAll('#inspect output').length > 10")
        # Pause, one step.
        browser.press("#play")
        browser.until("watch.paused")
        tick = browser.run("watch.tape.last")
        browser.press("#step")
        browser.until(f"watch.tape.last === {tick} + 1")
        browser.press("#play")
        browser.until("!watch.paused")
        # A slider begins another world.
        browser.run("(s => { s.value = 3; s.oninput(); s.onchange(); })(document.querySelector('input[name=cars]'))")
        browser.until("watch.state.settings.agents === 3 && watch.tape.rows === 3 && watch.tape.last > 3")
        assert world.settings.agents == 3
        # One of conditioning changes what the cars see of themselves.
        browser.run("(s => { s.value = 3; s.oninput(); s.onchange(); })(document.querySelector('input[name=collision]'))")
        browser.until("watch.state.conditioning.collision === 3")
        assert (world.env.simulator.state.reward_weights.coefficients[0, :, CONDITIONING.index("collision")] == 3.0).all()
        # Another tab sees the same world, and keys drive a car of it.
        first = browser.another()
        browser.go(running.address)
        browser.until("watch.state && watch.tape.last > 2")
        assert browser.run("watch.state.world") == world.number
        browser.press("#take")
        browser.until("watch.human >= 0 || (drive(-1), false)")  # again where all three had just crashed
        browser.until("watch.chosen === watch.human && watch.following")
        browser.key("keyDown", "ArrowUp", "ArrowUp")
        until(lambda: world.pedals["gas"] == 1.0)  # a car may roll already: that it moves comes too early
        browser.until("!byId('score').hidden && parseFloat(byId('score').textContent) > 3")
        browser.key("keyUp", "ArrowUp", "ArrowUp")
        browser.key("keyDown", "KeyS", "s")
        browser.until("!byId('score').hidden && parseFloat(byId('score').textContent) < 3")
        browser.key("keyUp", "KeyS", "s")
        second, browser.session = browser.session, first
        browser.until("watch.human >= 0")
        # Another address is refused, and a server that is gone is told.
        browser.session = second
        browser.press("#take")
        browser.until("watch.human === -1")
        running.stop()
        browser.until("!byId('notice').hidden && byId('notice').textContent.includes('The server is gone')")
        assert browser.errors == [], browser.errors
        here = f"http://127.0.0.1:{running.server.port}/"
        assert all(url.startswith((here, here.replace("http", "ws"), "about:")) for url in browser.requests)


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_a_wrong_token_shows_why(running: Running) -> None:
    with Browser((390, 800)) as browser:
        browser.go(f"http://127.0.0.1:{running.server.port}/?token=wrong")
        assert "Refused: the address lacks the right token" in browser.run("document.body.innerText")
        browser.errors.clear()
        # On a phone the panel is folded, and nothing is wider than the screen.
        browser.go(running.address)
        browser.until("watch.state && watch.frames > 2")
        assert browser.run("byId('panel').classList.contains('folded')")
        assert browser.run("document.documentElement.scrollWidth") <= 390
        browser.until("watch.human >= 0 || (drive(-1), false)")
        browser.until("!byId('pads').hidden")
        x, y = browser.run("(b => [b.x + b.width / 2, b.y + b.height / 2])(byId('gas').getBoundingClientRect())")
        browser.mouse("mousePressed", x, y, button="left", clickCount=1)
        browser.until("parseFloat(byId('score').textContent) > 2")
        browser.mouse("mouseReleased", x, y, button="left", clickCount=1)
        assert browser.errors == []


# The command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lop"], "map='lop'"),
        (["loop", "--policy", "nobody"], "nobody is neither a run directory nor a .safetensors file"),
        (["loop", "--policy", "idm", "--agents", "0"], "--agents=0: must be a whole number, 1 to 150"),
        (["loop", "--policy", "idm", "--port", "70000"], "--port=70000: must be a whole number, 0 to 65,535"),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["watch", *words]) == 2
    assert message in capsys.readouterr().err


def test_without_its_server_there_is_a_replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "gigaflow_env.viewer.server")
    monkeypatch.setattr(cli, "REPLAYED", 2.0)
    words = ["watch", "loop", "--policy", "idm", "--agents", "5", "--no-browser"]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    assert 'the live viewer needs aiohttp: pip install "gigaflow-env[viewer]"' in printed.err
    path = Path(printed.out.removeprefix("open ").strip())
    assert '"kind":"replay"' in path.read_text() and "loop, rules" in path.read_text()
    assert cli.main([*words, "--drive"]) == 2
