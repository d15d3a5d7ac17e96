"""A row that 32 workers share is the row that one worker makes: what a warp does on CUDA, one lane after the other."""

import numpy as np
import pytest
from conftest import key, run

from gigaflow_env.config import laptop, paper
from gigaflow_env.jit import kernel
from gigaflow_env.sim.observe import observe
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import LIVE

LANES = 32


@kernel
def shared(agents, w, out, *groups):
    for a in agents:
        for lane in range(LANES):
            observe(w, a, lane, LANES, out[w, a], *groups)


@pytest.mark.parametrize("config", [laptop(), paper().replace(agents_per_world=16)], ids=["laptop", "paper"])
def test_every_lane_writes_its_share(config):
    sim = Simulator("downtown", 16, config, threads=1)
    sim.reset(key(3))
    for _ in range(5):
        sim.step(np.full(16, 10))
    agents = np.flatnonzero(sim.state.rows.status[0] == LIVE)
    made = []
    for launch in (None, shared):
        sim.observations[:] = np.nan
        run("observe", sim, agents, launch=launch)
        made.append(sim.observations[0, agents].copy())
    assert len(agents) > 8 and np.isfinite(made[0]).all()
    assert np.array_equal(*made)
