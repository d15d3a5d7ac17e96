"""Files for other benchmarks: what Waymax and the Sim Agents Challenge read, told from stubs of their types."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_scenes import placed, scenario

from gigaflow_env.roads.formats.waymo import protobuf
from gigaflow_train.evaluate.exporters import waymax, wosac
from gigaflow_train.evaluate.trajectories import Trajectories, from_scenario

# Waymax


@dataclass
class WaymaxTrajectory:
    """A stub with the fields of waymax.datatypes.Trajectory, which all have the shape (objects, timesteps)."""

    x: Any
    y: Any
    z: Any
    vel_x: Any
    vel_y: Any
    yaw: Any
    valid: Any
    timestamp_micros: Any
    length: Any
    width: Any
    height: Any


def test_waymax_gets_its_fields(tmp_path: Path) -> None:
    waymax.write(from_scenario(scenario()), tmp_path / "a.npz", "a1b2")
    with np.load(tmp_path / "a.npz") as file:
        found = {name: file[name] for name in file.files}
    assert found.pop("ids").tolist() == ["car", "walker"] and found.pop("scenario_id") == "a1b2"
    made = WaymaxTrajectory(**found)
    types = {name: np.float32 for name in found} | {"valid": np.bool_, "timestamp_micros": np.int32}
    for field in fields(made):
        array = getattr(made, field.name)
        assert array.shape == (2, 6) and array.dtype == types[field.name], field.name
    np.testing.assert_array_equal(made.valid, scenario().valid)
    np.testing.assert_array_equal(made.x[0], np.float32([10, 11, 12, 13, 14, 15]))
    np.testing.assert_array_equal(made.x[1], np.float32([-1, 1 / 3, 1 / 3, 1 / 3, -1, -1]))
    assert made.timestamp_micros[0].tolist() == [0, 100_000, 200_000, 300_000, 400_000, 500_000]
    assert (made.vel_x[0, 0], made.height[1, 1], made.yaw[0, 0]) == (10.0, 1.75, 0.0)


def test_waymax_refuses_another_name_and_broken_trajectories(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv: a file for Waymax ends in \.npz"):
        waymax.write(from_scenario(scenario()), tmp_path / "a.csv")
    with pytest.raises(ValueError, match="must be finite"):
        waymax.write(from_scenario(scenario())._replace(x=np.full((2, 6), np.nan)), tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


# Sim Agents


def driven(ids: tuple[str, ...] = ("7", "-12")) -> Trajectories:
    """Two agents on 80 steps: the first drives along x at 5 m/s, the second stands."""
    base = from_scenario(placed((0, 0, 0.5), (3, 4, 1.5)))
    made = {name: np.repeat(getattr(base, name)[:, :1], 80, axis=1) for name in Trajectories._fields[3:]}
    made["x"][0] = 0.5 * np.arange(80) + 8000.25
    return base._replace(dt=0.1, ids=ids, **made)


def test_the_challenge_gets_its_message(tmp_path: Path) -> None:
    wosac.write("a1b2", [driven()] * 32, tmp_path / "a1b2.binproto")
    message = protobuf.decode((tmp_path / "a1b2.binproto").read_bytes())
    assert set(message) == {1, 2} and protobuf.text(message, 1) == "a1b2"
    scenes = [protobuf.decode(data) for data in protobuf.parts(message, 2)]
    assert len(scenes) == 32 and all(set(scene) == {1} for scene in scenes)
    first, second = (protobuf.decode(data) for data in protobuf.parts(scenes[31], 1))
    assert set(first) == {2, 3, 4, 5, 6} and (protobuf.whole(first, 6), protobuf.whole(second, 6)) == (7, -12)
    np.testing.assert_array_equal(protobuf.floats(first, 2, "<f4"), np.float32(0.5 * np.arange(80) + 8000.25))
    np.testing.assert_array_equal(protobuf.floats(second, 3, "<f4"), np.full(80, 4.0))
    np.testing.assert_array_equal(protobuf.floats(second, 5, "<f4"), np.full(80, 1.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[:-1], "scene 'x' has 31 rollouts: the challenge takes 32"),
        (lambda r: [r[0]._replace(dt=0.2), *r[1:]], r"rollout 0 has 80 steps of 0\.2 s: the challenge takes 80 of 0\.1 s"),
        (lambda r: [*r[:-1], driven(("7", "8"))], "rollout 31 has other agents than rollout 0"),
        (lambda r: [driven(("7", "car"))] * 32, "rollout 0: agent 'car': ids of the data set are whole numbers"),
        (lambda r: [without(r[0], 1, 5)] * 32, "rollout 0: agent -12 is not there at step 5"),
    ],
)
def test_the_challenge_takes_whole_rollouts_only(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wosac.rollouts("x", change([driven()] * 32))


def without(one: Trajectories, agent: int, step: int) -> Trajectories:
    valid = one.valid.copy()
    valid[agent, step] = False
    return one._replace(valid=valid, **{n: np.where(valid, getattr(one, n), np.nan) for n in Trajectories._fields[4:]})


# Protocol buffers


VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.booleans(),
)


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), VALUES), max_size=8))
def test_what_is_encoded_is_decoded(given_fields: list[tuple[int, Any]]) -> None:
    found = protobuf.decode(protobuf.encode(given_fields))
    expected: dict[int, list[Any]] = {}
    for key, value in given_fields:
        expected.setdefault(key, []).append(value.encode() if isinstance(value, str) else value)
    assert found == expected


def test_bytes_are_those_of_the_standard() -> None:
    """Examples of protobuf.dev, "Encoding"."""
    assert protobuf.encode([(1, 150)]) == bytes.fromhex("089601")
    assert protobuf.encode([(2, "testing")]) == bytes.fromhex("120774657374696e67")
    assert protobuf.encode([(3, protobuf.encode([(1, 150)]))]) == bytes.fromhex("1a03089601")
    assert protobuf.encode([(1, -2)]) == bytes.fromhex("08feffffffffffffffff01")
    assert protobuf.encode([(4, np.float32([1.0, -2.5]))]) == bytes.fromhex("22080000803f000020c0")


@pytest.mark.parametrize("value", [None, [1.0], np.zeros(2), np.zeros((2, 2), np.float32), 1j])
def test_what_is_no_field_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="field 1 is"):
        protobuf.encode([(1, value)])
    with pytest.raises(ValueError, match="has more than 64 bits"):
        protobuf.encode([(1, 2**64)])
