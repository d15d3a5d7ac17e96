"""The whole simulator in one number: four scenes give the same bits for any number of threads, and the bits of last time.

The hashes change with every deliberate change of the simulation; such a change has a line in CHANGELOG.md. Kernels use only
operations that IEEE 754 defines to the last bit, and no multiply-add is contracted, so the width of the machine's vectors
doesn't matter. Maps are compiled with numpy's sine and cosine, whose last bits differ between processors: here the tables
are rounded, so that this does not decide. The road's edges are united by GEOS, so hashes are for one version of it.
"""

import hashlib

import numpy as np
import pytest
import shapely
from conftest import crossing, key, motorway

from gigaflow_env.bench.throughput import SCENES
from gigaflow_env.config import PRESETS, laptop
from gigaflow_env.simulator import Simulator

STEPS = 60
GEOS = "3.14.1"
GOLDEN = {
    "loop": "40fadc50804904ee",
    "downtown": "3f55f4a38d639d87",
    "crowd": "698be68729948403",
    "two maps": "590c766cf9ceef22",
}


def scene(name, threads):
    if name in SCENES:
        measured = SCENES[name]
        config = PRESETS[measured["preset"]]().replace(agents_per_world=measured["agents_per_world"])
        return Simulator(measured["map"], 6 * measured["agents_per_world"] - 16, config, threads=threads)
    maps = [motorway(), crossing(lights=True)]
    return Simulator(maps, 48, laptop().replace(agents_per_world=6, world_steps=40), threads=threads)


def rounded(table):
    """A table whose numbers are multiples of 2^-12 (lengths: 0.2 mm)."""
    for name in table.dtype.names or ():
        table[name] = rounded(table[name])
    if table.dtype == np.float32:
        return np.round(table * np.float32(4096)) / np.float32(4096)
    return table


def fingerprint(name, threads):
    sim = scene(name, threads)
    sim.roads = sim.roads._replace(
        **{
            group: type(tables)(*(rounded(table.copy()) for table in tables))
            for group, tables in zip(("network", "grid", "nearby"), sim.roads[:3], strict=True)
        }
    )
    digest = hashlib.sha256()
    sim.reset(key(12345))
    for step in range(STEPS):
        # Actions that need no generator, with more throttle than brake.
        mixed = (np.arange(sim.rows) * 2654435761 + step * 40503) >> 7
        sim.step(np.array([10, 7, 8, 6, 10, 4, 11, 7, 9, 10, 2, 7])[mixed % 12])
        digest.update(sim.observations.tobytes())
        digest.update(sim.final_observations.tobytes())
        for group_name, group in sim.state._asdict().items():
            for array_name, array in group._asdict().items():
                # Not workspace, nor what never changes, what users choose, and what other drivers say.
                left_out = (
                    "scratch", "key", "place", "near", "ordered", "seen", "next_lane", "next_boundary", "twice", "who",
                    "driver", "number",
                )  # fmt: skip
                if group_name not in ("overrides", "traffic") and array_name not in left_out:
                    digest.update(array.tobytes())
    assert sim.state.outcome.episode_length.any(), "the scene should see episodes end"
    sim.close()
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", GOLDEN)
def test_threads_and_last_time(name):
    found = {threads: fingerprint(name, threads) for threads in (1, 2, 5)}
    assert len(set(found.values())) == 1, f"results depend on the number of threads: {found}"
    if shapely.geos_version_string != GEOS:
        pytest.skip(f"the hashes are for GEOS {GEOS}, this is {shapely.geos_version_string}: edges of the road may differ")
    assert found[1] == GOLDEN[name], f"the simulation gives other results: if that's meant, the hash is {found[1]!r}"


def test_the_seed_matters():
    sims = [scene("loop", 1) for _ in range(2)]
    for number, sim in enumerate(sims):
        sim.reset(key(number))
    assert not np.array_equal(sims[0].observations, sims[1].observations)
