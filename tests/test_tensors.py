"""Torch tensors as output: the same numbers as numpy's, in the simulator's memory."""

import contextlib
import subprocess
import sys
import types

import gymnasium
import numpy as np
import pytest
import torch

from gigaflow_env import GigaflowVectorEnv
from gigaflow_env.output.tensors import Tensors


def make(**arguments):
    return GigaflowVectorEnv(48, map="loop", preset="laptop", record_stats=True, **arguments)


def flat(info):
    return {**{k: v for k, v in info.items() if k != "episode"}, **{f"episode.{k}": v for k, v in info["episode"].items()}}


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
@pytest.mark.parametrize("copy", [True, False])
def test_the_numbers_are_those_of_numpy(mode, copy):
    arrays, tensors = (make(autoreset_mode=mode, output=output, copy=copy) for output in ("numpy", "torch"))
    first, _ = arrays.reset(seed=3)
    second, info = tensors.reset(seed=3)
    assert all(isinstance(value, torch.Tensor) for value in info.values())
    assert np.array_equal(first, second.numpy())
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(40):
        actions = rng.choice([6, 7, 8, 10, 10], 48)
        *here, info = arrays.step(actions)
        *there, tensor_info = tensors.step(torch.from_numpy(actions))
        for array, tensor in zip([*here, *flat(info).values()], [*there, *flat(tensor_info).values()], strict=True):
            assert isinstance(tensor, torch.Tensor) and np.array_equal(array, tensor.numpy())
        ended += int((here[2] | here[3]).sum())
    assert ended > 5
    for env in (arrays, tensors):
        env.close()


def test_tensors_share_the_memory_unless_copied():
    shared, copied = make(output="torch", copy=False), make(output="torch")
    for env in (shared, copied):
        obs, _ = env.reset(seed=0)
        kept = obs.clone()
        env.step(torch.full((48,), 10))
        assert torch.equal(obs, kept) == (env is copied)
    assert obs.data_ptr() != shared.step(torch.full((48,), 7))[0].data_ptr()
    assert shared.step(torch.full((48,), 7))[0].data_ptr() == shared.simulator.observations.ctypes.data


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_is_rounded_from_float32(name):
    full, half = make(output="torch"), make(output="torch", obs_dtype=name)
    seen, rounded = full.reset(seed=1)[0], half.reset(seed=1)[0]
    dtype = getattr(torch, name)
    assert rounded.dtype == dtype and torch.equal(rounded, seen.to(dtype))
    ended = 0
    for _ in range(40):
        actions = torch.full((48,), 10)
        seen, *_, info = full.step(actions)
        rounded, *_, half_info = half.step(actions)
        assert torch.equal(rounded, seen.to(dtype))
        assert torch.equal(half_info["final_obs"], info["final_obs"].to(dtype))
        ended += int(info["final_obs"].any(axis=1).sum())
    assert ended > 5 and rounded.any()
    assert half.simulator.nbytes()["observations"] * 2 == full.simulator.nbytes()["observations"]


def test_float16_as_numpy():
    env = make(obs_dtype="float16")
    obs, _ = env.reset(seed=1)
    assert obs.dtype == np.float16 == env.single_observation_space.dtype and env.observation_space.contains(obs)
    assert np.array_equal(obs, make().reset(seed=1)[0].astype(np.float16))


def test_a_mask_may_be_a_tensor():
    env = make(output="torch", autoreset_mode="Disabled")
    env.reset(seed=0)
    before = env.simulator.state.rows.episode.copy()
    mask = torch.arange(48) % 3 == 0
    env.reset(options={"reset_mask": mask})
    begun = env.simulator.per_row(env.simulator.state.rows.episode - before)
    assert np.array_equal(begun, mask.numpy().astype(begun.dtype))
    with pytest.raises(ValueError, match="reset_mask is int64"):
        env.reset(options={"reset_mask": mask.long()})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "jax"}, "output='jax': choose one of 'numpy', 'torch'"),
        ({"obs_dtype": "float64"}, "obs_dtype='float64': choose one of 'float32', 'float16', 'bfloat16'"),
        ({"obs_dtype": "bfloat16"}, "obs_dtype='bfloat16' needs output='torch'"),
        ({"backend": "gpu"}, "backend='gpu': choose one of 'cpu', 'cuda'"),
        ({"device": "cuda:1"}, "device='cuda:1' does not fit backend='cpu'"),
        ({"device": "mps", "backend": "cuda"}, "device='mps' does not fit backend='cuda'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_capture_needs_a_device():
    for output in ("numpy", "torch"):
        env = make(output=output)
        env.reset(seed=0)
        with pytest.raises(RuntimeError, match="backend='cuda' and output='torch'"):
            env.capture()


def test_a_recorded_step_is_replayed_on_the_callers_stream(monkeypatch):
    """On a card that isn't there: the simulator goes back to the caller's stream after the recording."""
    done, stream = [], [1]

    @contextlib.contextmanager
    def recording(graph):
        stream[0] = 2
        yield
        stream[0] = 1

    simulator = types.SimpleNamespace(
        backend="cuda", actions=None, wanted=None, stream=0, contacts=None, replay=None, page=None
    )

    def step(actions):
        if simulator.replay is not None:
            return simulator.replay()
        return done.append(("step", simulator.stream))

    simulator.step = step
    graph = types.SimpleNamespace(replay=lambda: done.append(("replay", simulator.stream)))
    capturing = False
    for name, stand_in in {
        "CUDAGraph": lambda: graph,
        "graph": recording,
        "device": contextlib.nullcontext,
        "current_stream": lambda device: types.SimpleNamespace(cuda_stream=stream[0]),
        "is_current_stream_capturing": lambda: capturing,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    tensors = Tensors(simulator, True, 0)
    tensors.capture()
    for _ in range(3):
        tensors._record()
        simulator.step(simulator.actions)
    assert done == [("step", 1), ("step", 2), ("replay", 1), ("replay", 1)]
    capturing, simulator.contacts = True, ()
    with pytest.raises(RuntimeError, match="events=True can't be recorded, as the host reads it"):
        tensors.actions(None)


def test_make_vec_takes_them():
    env = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=16, preset="laptop", output="torch", obs_dtype="bfloat16")
    assert env.reset(seed=0)[0].dtype == torch.bfloat16


def test_torch_is_imported_for_tensors_only():
    program = "import sys, gigaflow_env; env = gigaflow_env.GigaflowVectorEnv(4); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
