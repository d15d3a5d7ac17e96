"""Several processes that train one policy: the same as one process with the worlds of all of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from train_stub import Stub

from gigaflow_train import checkpoint, journal
from gigaflow_train.config import TrainConfig
from gigaflow_train.noise import exponential
from gigaflow_train.train import APART, train

TESTS = Path(__file__).parent
CONFIG = TrainConfig(
    num_envs=32, rollout=8, epochs=2, minibatch=100_000, steps=5 * 2 * 32 * 8, discount=0.5, learning_rate=3e-3, seed=3,
    checkpoint_every=2, set_widths=(8,), vector_width=16, trunk_widths=(16,), separate=False, threads=1,
)  # fmt: skip
"""One minibatch an epoch: its samples are then the same, whatever their order."""

WORKER = """
    import json, sys
    sys.path.insert(0, {tests!r})
    from train_stub import Stub
    from gigaflow_train import ranks
    from gigaflow_train.config import from_json
    from gigaflow_train.train import train

    out, config, resume, breaks = sys.argv[1], from_json(json.loads(sys.argv[2])), sys.argv[3] == "1", int(sys.argv[4])
    ranks.start("cpu")
    env = Stub(config.num_envs, breaks_at=breaks if ranks.rank() == 1 and breaks else None)
    say = print if ranks.rank() == 0 else lambda line: None
    train(env, config, __import__("pathlib").Path(out), resume=resume, say=say)
    ranks.stop()
"""


def together(count, out, config, *, resume=False, breaks=0, timeout=600):
    """Run WORKER in `count` processes as torchrun would; returns their exit statuses and what process 0 said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = textwrap.dedent(WORKER.format(tests=str(TESTS)))
    words = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        code,
        str(out),
        json.dumps(config.to_json()),
        str(int(resume)),
        str(breaks),
    ]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    started = [
        subprocess.Popen(
            words,
            env={**shared, "RANK": str(k), "LOCAL_RANK": str(k)},
            stdout=subprocess.DEVNULL if k else subprocess.PIPE,
            text=True,
        )
        for k in range(count)
    ]
    said = started[0].communicate(timeout=timeout)[0]
    return [process.wait(timeout=timeout) for process in started], said


class SideBySide:
    """The environments of two processes as one."""

    def __init__(self, rows):
        self.both = Stub(rows), Stub(rows)
        self.config, self.layout = self.both[0].config, self.both[0].layout
        self.num_envs, self.agents_per_world = 2 * rows, 4

    def reset(self, *, seed):
        found = [env.reset(seed=seed + APART * k) for k, env in enumerate(self.both)]
        return self.joined([obs for obs, _ in found]), self.infos([info for _, info in found])

    def step(self, actions):
        found = [env.step(part) for env, part in zip(self.both, np.split(actions, 2), strict=True)]
        *arrays, infos = zip(*found, strict=True)
        return *map(self.joined, arrays), self.infos(infos)

    @staticmethod
    def joined(arrays):
        return np.concatenate(list(arrays))

    def infos(self, infos):
        def of(values):
            return {k: of([v[k] for v in values]) for k in values[0]} if isinstance(values[0], dict) else self.joined(values)

        return of(list(infos))


def weights(directory):
    return load_file(directory / checkpoint.WEIGHTS)


@pytest.mark.parametrize("fixed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_processes_are_one_with_both_their_worlds(fixed, tmp_path):
    statuses, _ = together(2, tmp_path / "two", CONFIG.replace(fixed=fixed))
    assert statuses == [0, 0]
    train(SideBySide(32), CONFIG.replace(num_envs=64), tmp_path / "one")
    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    start = weights_at_start(tmp_path)
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=0)
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 1e-3  # and they have learned
    rows = [journal.read(tmp_path / which / "metrics.jsonl") for which in ("two", "one")]
    assert len(rows[0]) == len(rows[1]) >= 5
    for two_, one_ in zip(*rows, strict=True):
        for name in ("step", "kept", "routes", "goal_rate", "largest_advantage"):
            assert two_.get(name) == pytest.approx(one_.get(name), rel=1e-5)


def weights_at_start(tmp_path):
    train(SideBySide(32), CONFIG.replace(num_envs=64, steps=1, learning_rate=1e-9), tmp_path / "start")
    return weights(tmp_path / "start")


@pytest.mark.slow
def test_a_process_that_dies_ends_the_job_which_goes_on_bit_equal(tmp_path):
    config = CONFIG.replace(minibatch=64)  # several minibatches, of which the processes have different numbers of samples
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert together(2, whole, config)[0] == [0, 0]
    assert all(together(2, broken, config, breaks=8 * 3 + 2)[0])  # both end, and not well
    assert 0 < checkpoint.read_facts(broken).step < config.steps
    statuses, said = together(2, broken, config, resume=True)
    assert statuses == [0, 0] and "anew" not in said
    ours, theirs = weights(broken), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert len(list(broken.glob("resume-*.pt"))) == 2

    said = []
    step = checkpoint.read_facts(broken).step
    last = train(Stub(32), config.replace(steps=step + 1000), broken, resume=True, say=said.append)
    assert "2 processes before, 1 now" in said[1] and last["step"] >= step + 1000
    assert not list(broken.glob("resume-*.pt"))


@pytest.mark.slow
def test_what_two_processes_send_is_as_computed():
    """The script exits with an error where a process has sent another amount."""
    script = TESTS.parent / "benchmarks" / "ranks.py"
    words = [sys.executable, "-W", "ignore", str(script), "--processes", "2", "--iterations", "2"]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=600, env={**os.environ, "PYTHONPATH": str(TESTS.parent)}
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout.splitlines()[-1])
    assert row["equal"] and row["minibatches"] >= row["iterations"] >= 2
    assert row["sent"]["all_reduce"] > row["minibatches"] * 4 * 50_000  # gradients of the laptop's network


def test_the_chance_of_an_action_depends_on_seed_step_and_row_alone():
    rows = torch.arange(1000)
    all_ = exponential(3, 7, rows, 12)
    assert torch.equal(exponential(3, 7, rows[500:], 12), all_[500:])
    for other in (exponential(4, 7, rows, 12), exponential(3, 8, rows, 12), exponential(3, 7, rows + 1000, 12)):
        assert not bool((other == all_).any())
    flat = exponential(0, 0, torch.arange(50_000), 12)
    assert float(flat.mean()) == pytest.approx(1.0, abs=0.01) and float(flat.var()) == pytest.approx(1.0, abs=0.02)
    assert float(flat.min()) > 0.0
    one, two = flat[:, 0], flat[:, 1]
    assert abs(float(torch.corrcoef(torch.stack([one, two]))[0, 1])) < 0.02
    assert abs(float(torch.corrcoef(torch.stack([one[1:], one[:-1]]))[0, 1])) < 0.02


KILLED = """
    import sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from train_stub import Stub
    from gigaflow_train.config import TrainConfig
    from gigaflow_train.train import train

    config = TrainConfig(
        num_envs=8, rollout=2, steps=10**9, minibatch=64, checkpoint_every=1, keep=3, set_widths=(8,), vector_width=8,
        trunk_widths=(8,), separate=False, threads=1, seed=1,
    )
    directory = Path(sys.argv[1])
    resume = (directory / "resume.pt").exists()
    train(Stub(8), config, directory, resume=resume, show=lambda row: print(int(row["iteration"]), flush=True))
"""


@pytest.mark.slow
def test_killed_at_any_moment_a_run_goes_on_from_its_last_checkpoint(tmp_path):
    """kill -9 at random moments of a run that does little but write checkpoints. GIGAFLOW_KILLS: how often."""
    generator = np.random.default_rng(0)
    code = textwrap.dedent(KILLED.format(tests=str(TESTS)))
    shown = 0
    for _ in range(int(os.environ.get("GIGAFLOW_KILLS", "3"))):
        run = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        first = int(run.stdout.readline())
        assert first >= shown  # at most the one iteration is lost that was under way
        time.sleep(float(generator.uniform(0.0, 0.3)))
        run.send_signal(signal.SIGKILL)
        lines = run.communicate()[0].split()
        shown = int(lines[-1]) if lines else first
        facts = checkpoint.read_facts(tmp_path)
        checkpoint.load_policy(tmp_path, Stub())
        saved = torch.load(tmp_path / checkpoint.RESUME, weights_only=True)["progress"]
        assert shown - 1 <= saved["iteration"] <= shown + 1 and abs(saved["step"] - facts.step) <= 16
        numbered = sorted(tmp_path.glob("checkpoint-*.safetensors"))
        assert 1 <= len(numbered) <= 4
