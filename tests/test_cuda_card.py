"""The CUDA backend on a real card: equal to the CPU stage by stage, the same twice, without waiting, in a graph, as tensors.

Skipped without one. `make gpu-check` runs these, the benchmark and compute-sanitizer.
"""

import copy
import importlib.util

import numpy as np
import pytest
import torch
from conftest import key
from cuda_scenes import differing, put

from gigaflow_env import GigaflowVectorEnv
from gigaflow_env.backend import world_step
from gigaflow_env.config import laptop, paper
from gigaflow_env.event_log import COLLISION, OFFROAD, EventLog
from gigaflow_env.simulator import MissingDevice, Simulator
from gigaflow_env.snapshot import OBSERVED, WORKSPACE


def absent() -> str:
    """Why these tests can't run here; empty where they can."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        Simulator("loop", 1, laptop(), backend="cuda").close()
    except MissingDevice as error:
        return str(error)
    return ""


REASON = absent()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

TOWNS = ("loop", "downtown", "highway")

# A number that decides something (inside or outside, nearer or farther) may fall on the other side where the card's
# multiply-add rounds once and the CPU twice: so many rows in a million may differ in what follows from one step.
MARGIN = 200e-6


def pair(name, rows=4096, **changes):
    config = (laptop() if name == "loop" else paper()).replace(agents_per_world=32, **changes)
    return [Simulator(name, rows, config, backend=backend) for backend in ("cpu", "cuda")]


@pytest.mark.parametrize("name", TOWNS)
@pytest.mark.parametrize("mode", [world_step.SAME_STEP, world_step.NEXT_STEP])
def test_a_step_equals_that_of_the_cpu(name, mode):
    cpu, cuda = pair(name)
    cpu.mode = cuda.mode = mode
    if mode != world_step.SAME_STEP:
        cpu.final_observations = np.zeros((0, 0, 0), np.float32)
    cpu.reset(key(3))
    cuda.reset(key(3))
    assert max(differing(cpu, cuda).values(), default=0.0) <= MARGIN
    rng = np.random.default_rng(0)
    for _ in range(40):
        put(cpu, cuda)
        actions = rng.choice([1, 4, 6, 7, 8, 9, 10, 10, 11], cpu.rows)
        cpu.step(actions)
        cuda.step(actions)
        assert max(differing(cpu, cuda).values(), default=0.0) <= MARGIN, differing(cpu, cuda)
        apart = np.abs(cpu.observations - cuda.host(cuda.observations)).max(axis=-1) > 1e-4
        assert apart.mean() <= MARGIN


@pytest.mark.parametrize("name", TOWNS)
def test_a_thousand_steps_have_the_same_statistics(name):
    """Shares of agent-steps with each event, within five standard errors; the streams of chance are the same."""
    counts = {}
    for sim in pair(name, rows=2048):
        sim.reset(key(5))
        rng = np.random.default_rng(1)
        sums = dict.fromkeys(sim.state.events._fields, 0)
        for _ in range(1000):
            sim.step(rng.choice([6, 7, 8, 9, 10, 10, 11], sim.rows))
            for event, array in sim.state.events._asdict().items():
                sums[event] += int(sim.host(array).sum())
        counts[sim.backend] = sums
    for event, here in counts["cpu"].items():
        there = counts["cuda"][event]
        assert abs(here - there) <= 5 * np.sqrt(here + there + 1), (event, counts)


def test_the_same_seed_gives_the_same_bits():
    runs = []
    for _ in range(2):
        sim = pair("downtown", rows=8192)[1]
        sim.reset(key(9))
        rng = np.random.default_rng(2)
        for _ in range(100):
            sim.step(rng.choice([6, 7, 8, 10, 10, 11], sim.rows))
        kept = [sim.observations]
        for group, arrays in sim.state._asdict().items():
            kept += [array for name, array in arrays._asdict().items() if f"{group}.{name}" not in WORKSPACE]
        runs.append([sim.host(array).copy() for array in kept])
    assert all(np.array_equal(one, other) for one, other in zip(*runs, strict=True))


def make(**arguments):
    return GigaflowVectorEnv(
        1024,
        **{"map": "loop", "preset": "laptop", "backend": "cuda", "output": "torch", "record_stats": True, **arguments},
    )


def test_tensors_lie_on_the_card_and_share_its_memory():
    env = make(copy=False)
    obs, info = env.reset(seed=0)
    assert obs.is_cuda and all(value.is_cuda for value in info.values())
    before = obs.clone()
    step = env.step(torch.full((1024,), 10, device="cuda"))
    assert step[0].data_ptr() == obs.data_ptr() and not torch.equal(obs, before)
    assert make().reset(seed=0)[0].data_ptr() != obs.data_ptr()
    assert np.allclose(before.cpu(), GigaflowVectorEnv(1024, map="loop", preset="laptop").reset(seed=0)[0], atol=1e-4)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision(name):
    full, half = make(), make(obs_dtype=name)
    assert torch.equal(half.reset(seed=1)[0], full.reset(seed=1)[0].to(getattr(torch, name)))


def test_a_graph_replays_what_eager_steps_do():
    eager, recorded = make(), make()
    recorded.capture()
    for env in (eager, recorded):
        env.reset(seed=4)
    generator = torch.Generator("cuda").manual_seed(0)
    for k in range(60):
        actions = torch.randint(12, (1024,), generator=generator, device="cuda")
        *here, _ = eager.step(actions)
        *there, _ = recorded.step(actions)
        assert all(torch.equal(one, other) for one, other in zip(here, there, strict=True)), k
    assert recorded.simulator.replay is not None


def test_the_caller_may_record_the_step():
    env, other = make(copy=False), make(copy=False)
    actions = torch.full((1024,), 10, device="cuda")
    for one in (env, other):
        one.reset(seed=4)
        one.step(actions)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        obs, *_ = env.step(actions)
    for _ in range(20):
        graph.replay()
        expected, *_ = other.step(actions)
        assert torch.equal(obs, expected)


def test_the_event_log_is_that_of_the_cpu():
    """Entry by entry from the CPU's states: kinds, rows and faults, but for what falls on the other side."""
    cpu, cuda = pair("downtown", rows=8192, on_crash="continue")
    logs = []
    for sim in (cpu, cuda):
        logs.append(EventLog(sim))
        sim.contacts = logs[-1].notes
        sim.reset(key(3))
    rng = np.random.default_rng(0)
    for _ in range(60):
        put(cpu, cuda)
        actions = rng.choice([7, 10, 10, 9, 11], cpu.rows)
        for sim, log in zip((cpu, cuda), logs, strict=True):
            sim.step(actions)
            log.add(sim)
    names = ["tick", "world", "kind", "row", "other", "fault", "other_fault", "side", "other_side"]
    here, there = (set(log.array[names].tolist()) for log in logs)
    assert len(here) > 500 and {event[2] for event in here} >= {COLLISION, OFFROAD}
    assert len(here ^ there) <= 60 * cpu.rows * MARGIN


def test_a_graph_keeps_the_log_of_eager_steps():
    eager, recorded = make(events=True), make(events=True)
    recorded.capture()
    for env in (eager, recorded):
        env.reset(seed=4)
    for _ in range(40):
        for env in (eager, recorded):
            env.step(torch.full((1024,), 10, device="cuda"))
    assert recorded.simulator.replay is not None
    assert len(eager.event_log) > 10 and np.array_equal(eager.event_log, recorded.event_log)


def test_the_caller_can_not_record_a_step_with_a_log():
    env = make(events=True)
    env.reset(seed=4)
    actions = torch.full((1024,), 10, device="cuda")
    env.step(actions)
    with pytest.raises(RuntimeError, match="events=True can't be recorded"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        env.step(actions)


@pytest.mark.parametrize("graph", [False, True])
def test_observations_follow_from_what_is_kept(graph):
    env = make(preset="paper", agents_per_world=16)
    if graph:
        env.capture()
    seen, states = [env.reset(seed=3)[0]], [env.observation_state()]
    generator = torch.Generator("cuda").manual_seed(0)
    for _ in range(10):
        seen.append(env.step(torch.randint(12, (1024,), generator=generator, device="cuda"))[0])
        states.append(env.observation_state())
    stacked = {name: np.stack([state[name] for state in states]) for name in OBSERVED}
    found = torch.from_numpy(env.observe(stacked).reshape(len(seen), 1024, -1))
    assert torch.equal(found, torch.stack(seen).cpu())


def test_a_step_does_not_wait_for_the_card():
    env = make(copy=False)
    env.reset(seed=0)
    actions = torch.full((1024,), 10, device="cuda")
    env.step(actions)
    torch.cuda.synchronize()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    ) as seen:
        for _ in range(5):
            env.step(actions)
    names = {event.key for event in seen.key_averages()}
    assert any("aunch" in name for name in names)
    # The profiler itself waits at its end.
    assert not [
        name
        for name in names
        if "StreamSynchronize" in name or "EventSynchronize" in name or "DtoH" in name or "HtoD" in name
    ]


def test_a_mask_on_the_card():
    env = make(autoreset_mode="Disabled")
    env.reset(seed=0)
    before = env.simulator.host(env.simulator.state.rows.episode).copy()
    mask = torch.arange(1024, device="cuda") % 3 == 0
    env.reset(options={"reset_mask": mask})
    begun = (env.simulator.host(env.simulator.state.rows.episode) - before).ravel()
    assert np.array_equal(begun, mask.cpu().numpy().astype(begun.dtype))


def test_actions_by_dlpack():
    class Foreign:
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **arguments):
            return self.tensor.__dlpack__(**arguments)

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

    env, other = make(), make()
    for one in (env, other):
        one.reset(seed=0)
    actions = torch.randint(12, (1024,), device="cuda")
    assert torch.equal(env.step(Foreign(actions))[0], other.step(actions.cpu().numpy())[0])


def test_more_than_one_card():
    if torch.cuda.device_count() < 2:
        pytest.skip("one card")
    first, second = make(device="cuda:0"), make(device="cuda:1")
    here, there = first.reset(seed=0)[0], second.reset(seed=0)[0]
    assert there.device.index == 1 and torch.equal(here.cpu(), there.cpu())


def test_it_trains(tmp_path):
    from gigaflow_train.cli import main

    assert main(["run", "--backend", "cuda", "--steps", "300000", "--out", str(tmp_path / "run")]) == 0


def test_an_environment_on_a_card_is_not_copied():
    with pytest.raises(TypeError, match="can't be pickled or copied"):
        copy.deepcopy(make())
