"""The moving picture of the viewer, docs/media/watch.webp, from the pretrained driver: `python -m docs_tools.watch`.

With `--failures PAGE`, a page of `gigaflow-train evaluate --failures`, instead pictures of its worst clips:
docs/media/failure_1.png, ... Needs Chromium, and pillow of the extra `render`.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from docs_tools.tables import ROOT
from gigaflow_env import driver
from gigaflow_env.replay import Recorder, write_replay
from gigaflow_env.roads.loading import find
from gigaflow_env.viewer import LiveWorld, Settings

SIZE = (960, 600)
FRAMES = 10
"""Pictures a second."""
SECONDS = 12.0
NEAR = 40.0
"""[m] Others so close are in the picture."""


def record(town: str, policy: str, agents: int, seed: int, path: Path) -> int:
    """A replay of a live world; returns the car to follow: one that comes far, turns, and has others around it."""
    world = LiveWorld(find(town), policy, Settings(agents=agents), seed)
    simulator: Any = world.env.simulator  # type: ignore[union-attr]
    for _ in range(60):
        world.step()
    recorder = Recorder(simulator, 0, policy=world.trained)
    way, first = np.zeros(agents), simulator.state.rows.episode[0].copy()
    heading = np.arctan2(simulator.state.pose.sin[0], simulator.state.pose.cos[0])
    turned, company = np.zeros(agents), np.zeros(agents)
    for _ in range(round((SECONDS + 2.0) / world.dt)):
        world.step()
        recorder.add()
        way += simulator.state.motion.distance[0]
        now = np.arctan2(simulator.state.pose.sin[0], simulator.state.pose.cos[0])
        turned += np.abs(np.angle(np.exp(1j * (now - heading))))
        heading = now
        place = simulator.state.pose.x[0] + 1j * simulator.state.pose.y[0]
        company += (np.abs(place[:, None] - place[None, :]) < NEAR).sum(axis=1) - 1
    way[simulator.state.rows.episode[0] != first] = 0.0
    chosen = int(np.argmax(way * (0.3 + np.minimum(turned, 2.0)) * company))
    write_replay([recorder.clip("gigaflow-env watch", focus=chosen)], path)
    world.close()
    return chosen


def draw(page: Path, out: Path, dark: bool) -> None:
    """Play the page in Chromium, moment by moment, and write what it shows."""
    from PIL import Image

    sys.path.insert(0, str(ROOT / "tests"))
    from browser import Browser

    pictures = []
    with Browser(SIZE) as browser:
        browser.open(page)
        browser.until("watch.tape && watch.frames > 0")
        browser.run(f"setPlaying(false); setTheme({str(dark).lower()}); watch.view.scale = 5")
        for k in range(round(SECONDS * FRAMES)):
            # Several pictures for each that is kept: the view follows smoothly.
            browser.run(f"watch.at = {k / FRAMES} / watch.tape.dt; watch.dirty = true; for (let n = 0; n < 12; n++) draw()")
            browser.settle()
            pictures.append(Image.open(io.BytesIO(browser.screenshot())).convert("RGB"))
    pictures[0].save(
        out, save_all=True, append_images=pictures[1:], duration=round(1000 / FRAMES), loop=0, quality=60, method=4
    )
    print(f"{out.relative_to(ROOT) if out.is_relative_to(ROOT) else out}: {out.stat().st_size / 1e6:.2f} MB")


def draw_failures(page: Path, folder: Path, number: int) -> None:
    """The moment of each of the first clips of a page of failures, with the car's trail and what it saw."""
    sys.path.insert(0, str(ROOT / "tests"))
    from browser import Browser

    with Browser((760, 520)) as browser:
        browser.open(page)
        browser.until("watch.tape && watch.frames > 0")
        browser.run("globalThis.shown = ['collision', 'offroad', 'red_light']; 1")
        hidden = "#inspect, #transport, nav {display: none !important}"
        browser.run(f"setPlaying(false); fold(); document.head.append(make('style', {{textContent: {hidden!r}}})); 1")
        for k in range(min(number, browser.run("watch.head.clips.length"))):
            # The last moment before it, as its car begins anew at once.
            browser.run(
                f"openClip({k}); byId('name').textContent = watch.tape.title; watch.view.scale = 7;"
                "watch.at = Math.max(0, watch.tape.events.filter(e => e.row === watch.chosen && shown.includes(e.kind) && "
                "e.frame * watch.tape.dt >= watch.tape.start).map(e => e.frame)[0] - 1); for (let n = 0; n < 40; n++) draw()"
            )
            browser.settle()
            path = folder / f"failure_{k + 1}.png"
            path.write_bytes(browser.screenshot())
            print(f"{path}: {browser.run('watch.tape.title')}")


def main() -> None:
    """Record, play, write."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--policy", default=driver.PRETRAINED)
    words.add_argument("--map", default="downtown")
    words.add_argument("--agents", type=int, default=60)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--dark", action="store_true")
    words.add_argument("--out", type=Path, default=ROOT / "docs" / "media" / "watch.webp")
    words.add_argument("--failures", type=Path)
    words.add_argument("--number", type=int, default=3)
    given = words.parse_args()
    if given.failures is not None:
        draw_failures(given.failures, given.out.parent, given.number)
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "watch.html"
        record(given.map, given.policy, given.agents, given.seed, page)
        draw(page, given.out, given.dark)


if __name__ == "__main__":
    main()
