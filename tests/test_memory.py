"""The benchmark of the environment's memory in short, and that it would notice what it looks for."""

import json
import mmap
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import memory

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")

SHORT = ["--steps", "8000", "--rows", "16", "--agents", "8", "--maps", "loop", "lefthand", "--reset-every", "500"]


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    argv = [*SHORT, "--disturb-every", "20", "--json", str(tmp_path / "memory.json")]
    assert memory.main(argv) == 0
    result = json.loads((tmp_path / "memory.json").read_text(encoding="utf-8"))
    assert len(result["resident_mb"]) == 10 and min(result["resident_mb"]) > 10
    assert result["resets"] == 16 and min(result[name] for name in ("resets_of_some", "snapshots", "restores")) > 100
    assert result["events"] > 200 and result["ended"] > 400
    assert {"commit", "processor", "command", "settings"} <= result.keys()


def test_a_leak_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 KB a step: 30 MB in the nine tenths of 2,000 steps that count. Pages of their own: the allocator might still have
    what other tests left."""
    make, kept = memory.make, []

    def leaky(settings: memory.Memory) -> Any:
        env = make(settings)
        step = env.step

        def keeping(actions: Any) -> Any:
            kept.append(mmap.mmap(-1, 16384))
            kept[-1].write(bytes(16384))
            return step(actions)

        monkeypatch.setattr(env, "step", keeping)
        return env

    monkeypatch.setattr(memory, "make", leaky)
    assert memory.main([*SHORT, "--steps", "2000"]) == 1
