"""A headless Chromium for tests, steered over two pipes by its DevTools protocol: real mouse and fingers, no library."""

import base64
import fcntl
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 30.0  # s


def _raised(descriptor: int) -> int:
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return high


class Browser:
    """One page of `size` pixels; use as a context."""

    def __init__(self, size: tuple[int, int] = (1200, 800)) -> None:
        self.size, self.number = size, 0
        self.errors: list[str] = []  # uncaught ones and what the console shows as errors
        self.requests: list[str] = []  # everything that the page loads

    def __enter__(self) -> "Browser":
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # Above 9: none of them may be the 3 or 4 that the browser gets.
        theirs_in, self.write, self.read, theirs_out = (_raised(end) for end in (*os.pipe(), *os.pipe()))
        width, height = self.size
        command = [
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",  # it refuses to start as root with one
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={self.folder.name}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        # The browser reads descriptor 3 and writes descriptor 4.
        actions = [
            (os.POSIX_SPAWN_DUP2, theirs_in, 3),
            (os.POSIX_SPAWN_DUP2, theirs_out, 4),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        self.process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        os.close(theirs_in)
        os.close(theirs_out)
        os.set_blocking(self.read, False)
        self.rest, self.session = b"", None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        return self

    def __exit__(self, *error: object) -> None:
        self.session = None
        self.call("Browser.close")
        os.waitpid(self.process, 0)
        os.close(self.write)
        os.close(self.read)
        self.folder.cleanup()

    def call(self, method: str, **parameters: Any) -> Any:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            try:
                got = os.read(self.read, 1 << 20)
                if not got:
                    raise RuntimeError("the browser has ended")
                self.rest += got
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError("the browser doesn't answer") from None
                time.sleep(0.005)
        message, _, self.rest = self.rest.partition(b"\0")
        event = json.loads(message)
        given = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(given["exceptionDetails"].get("exception", {}).get("description", "error"))
        if event.get("method") == "Runtime.consoleAPICalled" and given["type"] == "error":
            self.errors.append(str(given["args"]))
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        return event

    def open(self, path: Path) -> None:
        self.go(path.resolve().as_uri())

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        while self._next().get("method") != "Page.loadEventFired":
            pass
        self.settle()

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"].get("exception", {}).get("description", str(done)))
        return done["result"].get("value")

    def until(self, script: str) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {script}")
            time.sleep(0.05)
        return value

    def another(self) -> Any:
        """A second tab, which gets what comes from now on; returns the session of the first."""
        before, self.session = self.session, None
        target = self.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")
        return before

    def key(self, kind: str, code: str, key: str) -> None:
        """kind: keyDown or keyUp."""
        self.call("Input.dispatchKeyEvent", type=kind, code=code, key=key)

    def settle(self) -> None:
        """Wait until two frames are drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)
        self.settle()

    def press(self, selector: str) -> None:
        """Click the middle of an element."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
        self.click(x, y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("mousePressed", *start, button="left", clickCount=1)
        for part in (0.3, 0.7, 1.0):
            x, y = (a + part * (b - a) for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)
        self.settle()

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)
        self.settle()

    def screenshot(self) -> bytes:
        """PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])
