"""Two trees in turns: the means, and what the committed result says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from against import CASES, Machine, cases_of, summary  # noqa: E402
from turns import Worker, quartiles, unpack  # noqa: E402

ECHO = """
import json, sys
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        break
    print(json.dumps({"said": line.strip(), "words": sys.argv[1:]}), flush=True)
"""


def test_a_worker_waits_for_its_turn(tmp_path):
    with Worker(tmp_path, ECHO, ["one", 2]) as worker:
        worker.wait()
        assert worker.turn() == {"said": "go", "words": ["one", "2"]}
        assert worker.turn("kernels")["said"] == "kernels"
        assert worker.turn("end") is None


def test_a_worker_that_does_not_start_is_an_error(tmp_path):
    with Worker(tmp_path, "import sys; sys.exit(3)", []) as worker, pytest.raises(RuntimeError, match="did not start"):
        worker.wait()


def test_a_revision_is_unpacked(tmp_path):
    inside = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, check=False).returncode == 0
    if not inside:
        pytest.skip("no checkout")
    assert (unpack("HEAD", tmp_path) / "gigaflow_env" / "env.py").exists()


def test_ratios_are_those_of_pairs():
    pairs = [({"ns": one, "wall_ns": 1.0}, {"ns": 2 * one, "wall_ns": 3.0}) for one in (1.0, 5.0, 9.0)]
    found = summary(pairs, [{"read_ns": 1.0, "store_ns": 2.0}])
    assert found["faster"] == {"median": 2.0, "quartiles": [2.0, 2.0]} and found["faster_by_wall"]["median"] == 3.0
    assert (found["ns"], found["other_ns"], found["memory"]) == (5.0, 10.0, {"read_ns": 1.0, "store_ns": 2.0})
    assert quartiles([1, 2, 3, 4, 5, 6, 7])["quartiles"] == [2.0, 6.0]


def test_a_map_has_a_case_of_many_rows_and_one_of_few():
    found = cases_of(["there/Town99.xodr"])
    assert found.keys() - CASES.keys() == {"Town99-64", "Town99-64-small"}
    assert found["Town99-64-small"].rows == 128 and found["Town99-64"].rows == 4096


def test_the_memory_is_measured():
    assert all(0 < ns < 1e6 for ns in Machine().measure().values())


def test_the_result_is_of_all_cases():
    result = json.loads((ROOT / "benchmarks" / "results" / "against.json").read_text(encoding="utf-8"))
    assert result["against"] == "163c8ce" and result["cases"].keys() >= {*CASES, "Town02-64", "Town02-64-small"}
    for case in result["cases"].values():
        low, high = case["faster"]["quartiles"]
        assert low <= case["faster"]["median"] <= high and case["kernels"].keys() == case["other_kernels"].keys()
