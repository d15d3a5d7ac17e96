"""Nothing nonsensical: every number of Config has bounds, outside of which it is refused by name and inside of which the
simulator stays finite; and so has all else that a user can set."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import call, crossing, key, ring
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env import finite
from gigaflow_env.bounds import Bounds
from gigaflow_env.config import CONDITIONING, PRESETS, Config, laptop
from gigaflow_env.layout import BFLOAT16, FLOAT16, as_floats
from gigaflow_env.sim.precision import half_bits
from gigaflow_env.simulator import Simulator

FIELDS = {field.name: field for field in dataclasses.fields(Config)}
NUMBERS = {name: field for name, field in FIELDS.items() if "bounds" in field.metadata}
WORDS = {name: field for name, field in FIELDS.items() if "choices" in field.metadata}
NEXT = {"low": lambda x: np.nextafter(x, -math.inf), "high": lambda x: np.nextafter(x, math.inf)}


def is_range(name):
    return isinstance(FIELDS[name].default, tuple)


def is_whole(name):
    return isinstance(FIELDS[name].default, int)


def inside(name):
    """What a field may be: a number, a range, or the whole numbers."""
    bounds = NUMBERS[name].metadata["bounds"]
    if is_whole(name):
        ends = st.integers(int(bounds.low), int(bounds.high))
    else:
        open_ends = {"exclude_min": bounds.open_low, "exclude_max": bounds.open_high}
        ends = st.floats(float(bounds.low), float(bounds.high), **open_ends)
    pairs = st.tuples(ends, ends).map(sorted).map(tuple)
    if name == "agents_per_world":
        return ends | pairs
    return pairs if is_range(name) else ends


def outside(name):
    """Numbers just or far outside, not finite, and what is no number."""
    bounds = NUMBERS[name].metadata["bounds"]
    step = 1 if is_whole(name) else 0
    low = math.floor(bounds.low) - 1 if step else float(bounds.low if bounds.open_low else NEXT["low"](bounds.low))
    high = math.ceil(bounds.high) + 1 if step else float(bounds.high if bounds.open_high else NEXT["high"](bounds.high))
    numbers = st.sampled_from([low, high, math.nan, math.inf, -math.inf, -(2**70), 2**70, 10**400, 1e30, -1e30])
    numbers |= st.floats(max_value=low) | st.floats(min_value=high)
    no_number = st.sampled_from([True, None, "1", 1j, [], {}, np.ones(1), (1,), (1, 2, 3), b"1", Ellipsis])
    if is_range(name):
        fine = float(bounds.low + bounds.high) / 2
        pairs = st.tuples(numbers, st.just(fine)) | st.tuples(st.just(fine), numbers) | st.tuples(numbers, numbers)
        reversed_ = st.just((float(bounds.high), float(bounds.low)))
        words = st.sampled_from([("a", "b"), (True, True), ("1", "2"), "12", (None, None)])
        return pairs | reversed_ | words | no_number | numbers
    if is_whole(name):
        no_number |= st.sampled_from([float(bounds.high), 1.5, math.nan])
    return numbers | no_number


# Config


def test_every_field_declares_what_it_may_be():
    assert set(NUMBERS) | set(WORDS) == set(FIELDS)
    for name, field in NUMBERS.items():
        bounds = field.metadata["bounds"]
        assert isinstance(bounds, Bounds) and -math.inf < bounds.low < bounds.high < math.inf, name


@pytest.mark.parametrize("name", NUMBERS)
@settings(max_examples=30)
@given(data=st.data())
def test_what_lies_outside_is_refused_by_name(name, data):
    given_ = data.draw(outside(name))
    with pytest.raises(ValueError) as refused:
        laptop().replace(**{name: given_})
    assert str(refused.value).startswith(f"{name}="), "the value comes first"
    declared = NUMBERS[name].metadata
    assert declared["bounds"].text() in str(refused.value), "and then what would be right"


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("given_", ["", "Respawn", None, 0, True, [], b"respawn"])
def test_other_words_are_refused_by_name(name, given_):
    with pytest.raises(ValueError, match=rf"^{name}=.*choose one of '"):
        laptop().replace(**{name: given_})


@pytest.mark.parametrize("name", NUMBERS)
def test_both_ends_are_inside_or_declared_open(name):
    bounds = NUMBERS[name].metadata["bounds"]
    low, high = (int(bounds.low), int(bounds.high)) if is_whole(name) else (float(bounds.low), float(bounds.high))
    more = {"dt": 0.001} if name == "world_steps" else {}
    for end, is_open in ((low, bounds.open_low), (high, bounds.open_high)):
        if not is_open:
            kept = getattr(laptop().replace(**{name: (end, end) if is_range(name) else end}, **more), name)
            assert kept == ((end, end) if is_range(name) else end)


def test_messages_name_value_bound_and_unit():
    for changes, message in (
        ({"wheelbase": 0}, "wheelbase=0: must be 0.1 to 1 lengths"),
        ({"spawn_speed": math.nan}, "spawn_speed=nan: must be 0 to 100 m/s"),
        ({"dt": True}, "dt=True: must be a number, 0.001 to 3 s"),
        ({"max_steps": 2**40}, "max_steps=1099511627776: must be a whole number, 1 to 1,000,000,000 steps"),
        ({"lane_dropout": 1.0}, "lane_dropout=1.0: must be at least 0 and below 1 (a share)"),
        ({"phantom_time": np.float32(0)}, "phantom_time=0.0: must be above 0 and at most 1,000 s"),
        ({"offroad": (-3, -3)}, "offroad=(-3, -3): both ends must be 0 to 100"),
        ({"collision": (3, 1)}, "collision=(3, 1): a range is (low, high) with low <= high, 0 to 100"),
        ({"agents_per_world": (1, 300)}, "agents_per_world=(1, 300): must be 1 to 256 agents"),
        (
            {"agents_per_world": (5, 1)},
            "agents_per_world=(5, 1): must be a whole number, or a range (low, high) of two with low <= high, "
            "1 to 256 agents",
        ),
        (
            {"world_steps": 10**6},
            "world_steps=1000000: with dt=0.3 worlds would become 300000 s old, and must be at most 100000 s, or lights "
            "keep no time: lower one of them",
        ),
        ({"population": {"car": 1.5}}, "population['car']=1.5: must be 0 to 1 (a share)"),
    ):
        with pytest.raises(ValueError) as refused:
            laptop().replace(**changes)
        assert str(refused.value) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"wheelbase": 0}, {"wheelbase": -1}, {"spawn_speed": math.nan}, {"spawn_speed": -1}, {"vel_spread": 0},
        {"throttle_spread": 0.5}, {"brake_max": -5}, {"brake_max": 0}, {"throttle_max": 0}, {"lateral_max": 0},
        {"steer_rate": -1}, {"steer_max": 1.5}, {"speed_min": 1}, {"speed_max": 0}, {"speed_max": -20},
        {"goal_radius": (-1, -1)}, {"goal_radius": (0, 0)}, {"goal_distance": (-10, -5)}, {"goal_distance": (0, 0)},
        {"goal_speed": 0}, {"light_green": (0, 0)}, {"light_red": (0, 0)}, {"light_red": (-1, 3)},
        {"light_yellow": (-2, -1)},
        {"lights_off": 7}, {"lights_green": -0.1}, {"world_stagger": 3}, {"max_steps": 2**40}, {"max_steps": 0},
        {"world_steps": 2**31}, {"dt": True}, {"dt": 0}, {"dt": 1e-12}, {"dt": math.inf}, {"dt": "0.3"},
        {"offroad": (-3, -3)}, {"collision": (-1, 0)}, {"stop_line": (-1, 0)}, {"comfort": (-1, 0)}, {"reverse": (-1, 0)},
        {"timestep": (-1, 0)}, {"lane_center": (-1, 0)}, {"progress": (-1, 0)}, {"goal_reward": -1}, {"collision_speed": -1},
        {"view_range": 1e-9}, {"view_range": 0}, {"route_range": math.nan}, {"lane_count": 1e6}, {"lane_count": 10**6},
        {"boundary_count": 10**6}, {"stop_count": -1}, {"agent_count": 256}, {"lane_spacing": 1e-3},
        {"goal_radius": ("a", "b")}, {"variant_turn": "ab"}, {"variant_turn": (0, math.inf)}, {"variant_scale": (0, 1)},
        {"variant_shear": (-9, 9)}, {"noise_heading": 9}, {"noise_position": math.inf}, {"freeze_time": math.nan},
        {"phantom_jerk": 15}, {"phantom_jerk": math.nan}, {"inattentive": 1.1}, {"inattentive_time": 0},
        {"stop_sign_distance": 0}, {"stop_sign_speed": 0}, {"spawn_attempts": 0}, {"spawn_attempts": 10**6},
        {"spawn_gap": -1}, {"center_gate": 2}, {"center_bias": (-100, 100)}, {"comfort_jerk": math.nan},
        {"idm_headway": -1}, {"idm_gap": 0}, {"idm_acceleration": 0}, {"idm_deceleration": math.inf}, {"idm_lateral": -1},
        {"waypoints_max": 4}, {"waypoints_max": 1.0}, {"population": {"car": 0.5}}, {"population": {"car": math.nan}},
        {"population": {"car": "1"}}, {"population": {"car": True}}, {"population": {}}, {"population": {"lorry": 1}},
        {"population": {"car": 1.5, "truck": -0.5}}, {"population": 3}, {"population": ["car"]}, {"population": None},
        {"agents_per_world": (5, 3)}, {"agents_per_world": True}, {"agents_per_world": "16"}, {"agents_per_world": 1e9},
        {"world_steps": 10**6, "world_stagger": 0.0}, {"world_steps": 10**8}, {"world_steps": 50_000, "dt": 3},
    ],
    ids=str,
)  # fmt: skip
def test_the_nonsense_of_before(changes):
    """All of these were once taken without a word."""
    with pytest.raises(ValueError, match=next(iter(changes))):
        laptop().replace(**changes)


def test_numbers_of_other_types_are_taken_as_they_are_meant():
    config = laptop().replace(
        dt=np.float32(0.25), speed_max=Fraction(41, 2), lane_count=np.int64(7), collision=[np.float64(1), 2],
        agents_per_world=[np.int8(2), 5], population={"car": np.float32(0.5), "truck": 0.5},
    )  # fmt: skip
    assert (config.dt, config.speed_max, config.lane_count, config.collision) == (0.25, 20.5, 7, (1.0, 2.0))
    assert config.agents_per_world == (2, 5) and config.population == {"car": 0.5, "truck": 0.5}
    assert all(type(end) is float for end in config.collision) and type(config.lane_count) is int


def test_presets_are_inside():
    for preset in PRESETS.values():
        assert dataclasses.replace(preset()) == preset()


# Inside, the simulator stays finite

TINY = laptop().replace(
    agents_per_world=3, lane_count=3, boundary_count=3, stop_count=1, agent_count=2, world_steps=20, world_stagger=0.5
)
COSTLY = {"lane_count": 40, "boundary_count": 40, "spawn_attempts": 30}
"""What costs time where it's large: at most so much here. Its ends are tested above."""


def drive(changes, steps=12):
    """A tiny environment whose mixed drivers crash, arrive and start anew; in the check mode of the tests."""
    maps = [ring(), crossing(lights=True)]
    sim = Simulator(maps, 6, TINY.replace(**changes), threads=1, drivers=["policy", "policy", "idm"] * 2)
    sim.reset(key(5))
    for step in range(steps):
        sim.step((np.arange(6) * 7 + step * 5) % 12)
        for array in (sim.observations, sim.final_observations):
            assert np.isfinite(array).all() and np.abs(array).max() <= 1
        assert np.isfinite(sim.state.outcome.reward).all()
    sim.close()


def held(name, drawn):
    most = COSTLY.get(name)
    return min(drawn, most) if most else drawn


@pytest.mark.parametrize("name", NUMBERS)
def test_the_ends_of_each_number_simulate(name):
    bounds = NUMBERS[name].metadata["bounds"]
    if is_whole(name):
        ends = int(bounds.low), held(name, int(bounds.high))
    else:
        low = float(np.nextafter(np.float32(bounds.low), np.float32(math.inf)) if bounds.open_low else bounds.low)
        ends = low, float(np.nextafter(bounds.high, -math.inf) if bounds.open_high else bounds.high)
    for end in ends:
        more = {"dt": 0.001} if name == "world_steps" else {}
        drive({name: (end, end) if is_range(name) else end, **more}, steps=6)


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=6, unique=True),
    st.sampled_from(("respawn", "freeze", "leave", "continue")),
    st.data(),
)
def test_any_numbers_inside_simulate_together(names, on_crash, data):
    changes = {name: held(name, data.draw(inside(name), label=name)) for name in names}
    changes["world_steps"] = min(changes.get("world_steps", 20), 1000)
    drive({**changes, "on_crash": on_crash})


# The check mode


def test_a_number_that_is_not_finite_is_named():
    sim = Simulator(ring(), 6, TINY, threads=1)
    sim.reset(key(1))
    sim.state.pose.x[1, 1] = math.nan
    with pytest.raises(FloatingPointError, match=r"pose\.x is nan after a step: world 1, agent 1 \(row 4\)"):
        sim.step(np.full(6, 7))


def test_an_observation_that_is_not_finite_is_named():
    """NaN comes through scaling and clipping."""
    sim = Simulator(ring(), 6, TINY, threads=1)
    sim.reset(key(1))
    sim.state.reward_weights.coefficients[0, 2, CONDITIONING.index("comfort")] = math.nan
    sim.observe()
    sim.state.reward_weights.coefficients[:] = 0
    with pytest.raises(
        FloatingPointError, match=r"observations is nan after a look: world 0, agent 2, column \d+ \(row 2\)"
    ):
        finite.check(sim, "look")


def test_off_it_says_nothing(monkeypatch):
    monkeypatch.setenv("GIGAFLOW_CHECK", "0")
    sim = Simulator(ring(), 3, TINY, threads=1)
    sim.reset(key(1))
    sim.state.pose.x[0, 1] = math.nan
    sim.step(np.full(3, 7))
    assert np.isnan(sim.state.pose.x[0, 1]) and np.isnan(sim.observations[0, 1]).any(), "it is not hidden as a number"


@pytest.mark.parametrize(("kind", "name"), [(FLOAT16, "float16"), (BFLOAT16, "bfloat16")])
def test_nan_stays_nan_in_half_precision(kind, name):
    found = []
    for bits in (0x7FC00000, 0xFFC00000, 0x7FFFFFFF, 0x7F800001, 0x3F800000):
        found.append(call(half_bits)(np.uint32(bits), kind))
    numbers = as_floats(np.array(found, np.uint16), name)
    assert np.isnan(numbers[:4]).all() and numbers[4] == 1


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_is_checked(name):
    sim = Simulator(ring(), 6, TINY, threads=1, obs_dtype=name)
    sim.observations[1, 2, 3] = 0x7FC0
    with pytest.raises(FloatingPointError, match=r"observations is nan after a step: world 1, agent 2, column 3 \(row 5\)"):
        finite.check(sim, "step")


def test_nan_reaches_no_goal(monkeypatch):
    monkeypatch.setenv("GIGAFLOW_CHECK", "0")
    sim = Simulator(ring(), 3, TINY.replace(goal_radius=(100.0, 100.0), goal_speed=100.0), threads=1)
    sim.reset(key(1))
    sim.state.motion.speed[0, 1] = math.nan
    sim.step(np.full(3, 7))
    assert not sim.state.events.goal[0, 1] and not sim.state.events.route_done[0, 1]


def test_another_value_of_the_variable_is_refused(monkeypatch):
    monkeypatch.setenv("GIGAFLOW_CHECK", "yes")
    with pytest.raises(ValueError, match="GIGAFLOW_CHECK='yes': must be 1 or 0"):
        Simulator(ring(), 3, TINY, threads=1)
