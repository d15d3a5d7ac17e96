"""A row that 32 workers share is the row that one worker makes: what a warp does on CUDA, one lane after the other."""

import inspect

import numpy as np
import pytest
from conftest import key, plain, run_look

from gigaflow_env.config import laptop, paper
from gigaflow_env.jit import kernel
from gigaflow_env.sim.observe import look
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import LIVE

LANES = 32


@kernel
def run_shared(
    agents, w, obs, starts,
    pose, motion, body, place, goals, wishes, lights, near, ways, variant, seen, network, nearby, p,
):  # fmt: skip
    for a in agents:
        for lane in range(LANES):
            look(
                w, a, lane, LANES, obs[w, a], starts,
                pose, motion, body, place, goals, wishes, lights, near, ways, variant, seen, network, nearby, p,
            )  # fmt: skip


@pytest.mark.parametrize("config", [laptop(), paper().replace(agents_per_world=16)], ids=["laptop", "paper"])
def test_every_lane_writes_its_share(config):
    sim = Simulator("downtown", 16, config, threads=1)
    sim.reset(key(3))
    for _ in range(5):
        sim.step(np.full(16, 10))
    known = {**sim.state._asdict(), **sim.roads._asdict(), "p": sim._params, "starts": sim.layout.starts, "w": 0}
    known["agents"] = np.flatnonzero(sim.state.rows.status[0] == LIVE)
    made = []
    for launch in (run_look, run_shared):
        known["obs"] = np.full_like(sim.observations, np.nan)
        launch(*(known[name] for name in inspect.signature(plain(launch)).parameters))
        made.append(known["obs"][0, known["agents"]])
    assert len(known["agents"]) > 8 and np.isfinite(made[0]).all()
    assert np.array_equal(*made)
