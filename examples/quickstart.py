"""Rule-based traffic drives through a town for a minute: a picture, and with --video a film.

Needs `pip install "gigaflow-env[render]"`, in a checkout `pip install ".[render]"`.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import matplotlib.image

from gigaflow_env.render import write_video

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--map", default="downtown", help="a shipped town (gigaflow-env maps), random:SEED, or a map file")
parser.add_argument("--seconds", type=float, default=60.0, help="of simulated time")
parser.add_argument("--video", type=Path, help="also write a film of the last ten seconds, .mp4 or .gif")
args = parser.parse_args()

DT, AGENTS = 0.1, 80
env = gymnasium.make_vec(
    "gigaflow_env:GigaFlow-v0", num_envs=AGENTS, agents_per_world=AGENTS, map=args.map, preset="laptop", drivers="idm",
    config={"dt": DT, "max_steps": 10_000, "world_steps": 10_000, "world_stagger": 0.0},
).unwrapped  # fmt: skip
env.reset(seed=0)
began = time.perf_counter()
metres = goals = crashes = 0.0
actions, frames = env.action_space.sample(), []  # actions are ignored: rules drive every row
steps = max(round(args.seconds / DT), 1)
for step in range(steps):
    _, _, _, _, info = env.step(actions)
    metres += info["distance"].sum()
    goals += info["goal"].sum()
    crashes += (info["collision"] | info["offroad"]).sum()
    if args.video and step >= steps - round(10 / DT):
        frames.append(env.render_world(world=0, agent=0, width=160.0))
took = time.perf_counter() - began
print(f"{AGENTS} drivers, {metres / 1000:.1f} km, {goals:.0f} goals reached, {crashes:.0f} crashes; took {took:.1f} s")

picture = Path("traffic.png")
matplotlib.image.imsave(picture, env.render_world(world=0, agent=0, size=900, width=160.0))
print(f"wrote {picture.resolve()}")
if args.video:
    print(f"wrote {args.video.resolve()}: {write_video(args.video, frames, fps=1 / DT)} frames")
env.close()
if sys.platform == "linux" and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    subprocess.run(["xdg-open", str(picture)], check=False)
