"""The page of a live world and the line to it: this machine only, with a token in the address, for pages of its own only."""

import asyncio
import hmac
import json
import secrets
import socket
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from gigaflow_env.extras import remedy
from gigaflow_env.render.extra import MissingExtra
from gigaflow_env.render.page import given_map
from gigaflow_env.replay.page import Blob, about, page
from gigaflow_env.viewer.world import LiveWorld, clip_of

try:
    from aiohttp import WSMsgType, web
except ModuleNotFoundError as error:
    if error.name != "aiohttp":
        raise
    raise MissingExtra(f"the live viewer needs aiohttp: {remedy('viewer')}") from None

HOST = "127.0.0.1"
PACES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Times real time."""
LONGEST = 4096
"""[bytes] of a message of a viewer."""
LATE = 0.5
"""[s] So late, the clock is set anew instead of hurrying."""

HEADERS = {"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
           "X-Content-Type-Options": "nosniff"}  # fmt: skip


class Viewer:
    """One viewer's line, and the car that it looks at."""

    def __init__(self, line: Any) -> None:
        self.line, self.row = line, -1


class Server:
    """A live world and its viewers. `run` until it is cancelled."""

    def __init__(self, world: LiveWorld, *, drive: bool = False, title: str = "") -> None:
        self.world, self.drive, self.title = world, drive, title
        self.token = secrets.token_urlsafe(24)
        self.viewers: list[Viewer] = []
        self.driving: Viewer | None = None  # who sits at the wheel
        self.paused, self.pace, self.single = False, 1.0, False
        # One thread: the world is never touched by two at once.
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="live-world")
        self.port = 0

    async def run(self, port: int, ready: Callable[[str], None]) -> None:
        """Serve, and call ready(address) once the page can be opened. Raises OSError where the port is taken."""
        app = web.Application()
        app.router.add_get("/", self.show)
        app.router.add_get("/live", self.live)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        listening = socket.create_server((HOST, port))
        self.port = listening.getsockname()[1]
        await web.SockSite(runner, listening).start()
        ready(f"http://{HOST}:{self.port}/?token={self.token}")
        try:
            await self.turn()
        finally:
            for viewer in list(self.viewers):
                await viewer.line.close()
            await runner.cleanup()
            self.pool.shutdown()
            self.world.close()

    def refused(self, request: Any, *, origin: bool) -> str | None:
        """Why a request is refused: for another host than this machine's own, from another page, or without the token."""
        here = {f"{HOST}:{self.port}", f"localhost:{self.port}"}
        if request.headers.get("Host") not in here:  # a name that was bent to this machine
            return "this is not its address"
        sent = request.headers.get("Origin")
        if (origin and sent is None) or (sent is not None and sent.removeprefix("http://") not in here):
            return "another page may not use it"
        if not hmac.compare_digest(request.query.get("token", "").encode(), self.token.encode()):
            return "the address lacks the right token: take the one that gigaflow-env watch printed"
        return None

    async def show(self, request: Any) -> Any:
        """The page."""
        if reason := self.refused(request, origin=False):
            return web.Response(status=403, text=f"Refused: {reason}.\n", headers=HEADERS)
        text = await self.do(self.text)
        return web.Response(text=text, content_type="text/html", headers=HEADERS)

    def text(self) -> str:
        """The page's text."""
        blob, world = Blob(), self.world
        head = about() | {
            "kind": "live",
            "title": world.road_map.name,
            "about": self.title,
            "drive": self.drive,
            "ranges": {name: list(ends) for name, ends in world.ranges.items()},
            "maps": [blob.text(json.dumps(given_map(world.road_map), separators=(",", ":"), allow_nan=False))],
            "clips": [clip_of(world)],
        }
        return page(head, blob, f"'self' ws://{HOST}:{self.port} ws://localhost:{self.port}")

    async def live(self, request: Any) -> Any:
        """A viewer's line: moments go out, wishes come in."""
        if reason := self.refused(request, origin=True):
            return web.Response(status=403, text=f"Refused: {reason}.\n", headers=HEADERS)
        line = web.WebSocketResponse(heartbeat=20.0, max_msg_size=LONGEST)
        await line.prepare(request)
        viewer = Viewer(line)
        try:
            # The state before any moment, and then a moment that tells all bodies.
            await self.tell_state(viewer)
            self.viewers.append(viewer)
            await self.do(self.world.everything)
            await self.tell(await self.do(self.world.moment))
            async for message in line:
                if message.type == WSMsgType.TEXT:
                    await self.obey(viewer, message.data)
        finally:
            if viewer in self.viewers:
                self.viewers.remove(viewer)
            if viewer is self.driving or not self.viewers:
                # A car without anybody at its wheel drives by itself again.
                self.driving = None
                await self.do(self.world.release)
                await self.tell_state()
        return line

    async def do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Work on the world, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)

    async def obey(self, viewer: Viewer, text: str) -> None:
        """Do what a viewer wishes; tell it where that is not possible."""
        try:
            given = json.loads(text)
            if not isinstance(given, dict):
                raise ValueError("a wish is an object")
            name, changed = given.get("do"), True
            if name == "wheel":
                await self.do(self.world.wheel, given.get("gas"), given.get("brake"), given.get("steer"))
                changed = False
            elif name == "select":
                viewer.row = int(given.get("row", -1))
                await self.tell_insight(viewer)
                changed = False
            elif name in ("pause", "play"):
                self.paused = name == "pause"
            elif name == "step":
                self.paused, self.single = True, True
            elif name == "pace":
                if given.get("pace") not in PACES:
                    raise ValueError(f"pace {given.get('pace')}: choose one of {', '.join(map(str, PACES))}")
                self.pace = float(given["pace"])
            elif name == "drive":
                row = given.get("row")
                await self.do(*((self.world.release,) if row is None else (self.world.take, row)))
                self.driving = None if row is None else viewer
                self.paused = self.paused and row is None
            elif name == "conditioning":
                values = given.get("values")
                if not isinstance(values, dict):
                    raise ValueError("conditioning needs values: an object of names and numbers")
                await self.do(self.world.condition, values)
            elif name == "world":
                await self.do(self.world.change, given)
            elif name == "again":
                await self.do(self.world.again)
            else:
                raise ValueError(f"unknown wish {name!r}")
            if changed:
                if name in ("conditioning", "world", "again"):
                    await self.do(self.world.everything)
                await self.tell_state()
                if name in ("world", "again"):
                    await self.tell(await self.do(self.world.moment))
        except (ValueError, TypeError, OverflowError) as error:
            await self.send(viewer, {"kind": "error", "text": " ".join(str(error).split())})
            await self.tell_state()

    async def turn(self) -> None:
        """Let the world go on at its pace, as long as somebody looks."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if not self.viewers or (self.paused and not self.single):
                await asyncio.sleep(0.02)
                due = loop.time()
                continue
            self.single = False
            message = await self.do(self.go_on)
            await self.tell(message)
            for viewer in list(self.viewers):
                await self.tell_insight(viewer)
            due += self.world.dt / self.pace
            if due < loop.time() - LATE:
                due = loop.time()
            await asyncio.sleep(max(0.0, due - loop.time()))

    def go_on(self) -> dict[str, Any]:
        """One step, and what is new."""
        self.world.step()
        return self.world.moment()

    async def tell(self, message: dict[str, Any]) -> None:
        """Send to all viewers."""
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
        for viewer in list(self.viewers):
            await self.send(viewer, text)

    async def tell_state(self, viewer: Viewer | None = None) -> None:
        """Send settings and choices to one viewer, or to all."""
        state = await self.do(self.world.state)
        state |= {"paused": self.paused, "pace": int(self.pace) if self.pace >= 1 else self.pace}
        if viewer is None:
            await self.tell(state)
        else:
            await self.send(viewer, state)

    async def tell_insight(self, viewer: Viewer) -> None:
        """Send what the viewer's chosen car sees."""
        if viewer.row >= 0 and (found := await self.do(self.world.insight, viewer.row)):
            await self.send(viewer, found)

    async def send(self, viewer: Viewer, message: Any) -> None:
        """Send to one viewer; one that has gone is not minded."""
        text = message if isinstance(message, str) else json.dumps(message, separators=(",", ":"), allow_nan=False)
        with suppress(ConnectionError, RuntimeError):
            await viewer.line.send_str(text)


def serve(
    world: LiveWorld, *, port: int = 0, drive: bool = False, title: str = "", browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Show a world in the browser until Ctrl-C. Raises OSError where the port is taken."""
    server = Server(world, drive=drive, title=title)

    def ready(address: str) -> None:
        say(f"watch at {address}\nCtrl-C ends it")
        if browser:
            webbrowser.open(address)

    with suppress(KeyboardInterrupt):
        asyncio.run(server.run(port, ready))
