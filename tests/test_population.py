"""Who is on the road: kinds and their shares, how many agents a world has, and room for every body."""

import numpy as np
import pytest
import shapely
from agent_boxes import boxes, overlaps
from conftest import SMALL, call, crossing, key, reals, ring, simulator
from distributions import uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env.config import CONDITIONING, Config, laptop, longform, paper
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.population import ROAD_USERS, shares
from gigaflow_env.roads import load, shipped
from gigaflow_env.sim.new_world import kind_of
from gigaflow_env.state import ABSENT, LIVE, Kinds


@given(st.lists(reals(0, 5), min_size=1, max_size=6).filter(any), reals(0, 0.9999))
def test_a_draw_means_the_kind_in_whose_share_it_lies(parts, u):
    until = np.cumsum(parts, dtype=np.float32) / np.sum(parts, dtype=np.float32)
    until[-1] = 1
    none = np.zeros(0, np.float32)
    kind = call(kind_of)(u, Kinds(until, *[none] * 6))
    assert kind == np.searchsorted(until, np.float32(u), side="right")
    assert until[kind] > (until[kind - 1] if kind else 0), "of no share, no kind"


def alone(population, rows=3000, **changes):
    """Agents that start alone in their world, on lanes of 3.5 m."""
    return simulator(ring(), rows, Config(**SMALL, agents_per_world=1, population=population, **changes))


def test_the_papers_population():
    body = alone("paper").state.body
    assert uniform(body.length, 0.8, 7.0)
    # The width is drawn in 0.8 to 3 m and cut at the length: of those longer than 3 m it is uniform.
    assert uniform(body.width[body.length > 3.0], 0.8, 3.0)
    assert (body.width <= body.length).all() and (body.width == body.length)[body.length < 2.0].mean() > 0.3


def test_cars_are_the_kind_car():
    sim = alone("cars", 500)
    assert (sim.state.body.kind == list(ROAD_USERS).index("car")).all()
    assert sim.state.body.length.min() >= 3.6 and sim.state.body.length.max() <= 5.4


def test_shares_of_kinds():
    mixed = {"car": 0.5, "truck": 0.2, "cyclist": 0.2, "pedestrian": 0.1}
    body = alone(mixed).state.body
    for number, (name, kind) in enumerate(ROAD_USERS.items()):
        found = body.kind == number
        share = mixed.get(name, 0)
        assert abs(found.mean() - share) < 4 * np.sqrt(share * (1 - share) / 3000) + 1e-9, name
        if share:
            assert uniform(body.length[found], *kind.length), name
            low, high = kind.width
            assert low - 1e-6 <= body.width[found].min() and body.width[found].max() <= high + 1e-6
            for values, factor in ((body.c_vel, kind.speed), (body.c_acc, kind.acceleration)):
                assert factor / 1.5 - 1e-5 <= values[found].min() and values[found].max() <= factor * 1.5 + 1e-5


@given(
    st.dictionaries(st.sampled_from(list(ROAD_USERS)), st.floats(0, 1e6), min_size=1).filter(lambda d: sum(d.values()) > 0)
)
def test_shares_are_kept(population):
    total = sum(population.values())
    scaled = {kind: share / total for kind, share in population.items()}
    found = shares(scaled)
    assert list(found) == list(ROAD_USERS) and {kind: found[kind] for kind in scaled} == scaled
    assert not any(found[kind] for kind in ROAD_USERS if kind not in scaled)


@pytest.mark.parametrize(
    ("population", "message"),
    [
        ("trucks", "population='trucks': choose one of 'paper', 'cars', or shares of any, car, truck"),
        ({"lorry": 1}, "population has 'lorry': the kinds are 'any', 'car', 'truck', 'cyclist', 'pedestrian'"),
        ({"car": -1}, r"population\['car'\]=-1: must be 0 to 1"),
        ({"car": 0}, "shares must add up to 1, these to 0"),
        ({"car": 5, "truck": 2}, r"population\['car'\]=5: must be 0 to 1"),
    ],
)
def test_bad_populations(population, message):
    with pytest.raises(ValueError, match=message):
        laptop().replace(population=population)


@pytest.mark.parametrize("given_", [(3, 2), (1, 2, 3), (1.5, 2), "many", (True, 2)])
def test_bad_agents(given_):
    with pytest.raises(ValueError, match="must be a whole number, or a range"):
        laptop().replace(agents_per_world=given_)


def test_agents_out_of_bounds():
    for given_ in (0, (0, 5), 257, (1, 257)):
        with pytest.raises(ValueError, match="agents_per_world=.*: must be 1 to 256 agents"):
            laptop().replace(agents_per_world=given_)


# How many


def test_worlds_draw_how_many():
    """1 to 5 agents in 800 worlds of 5 rows, each as likely; the rows beyond are empty."""
    sim = simulator(ring(), 4000, Config(**SMALL, agents_per_world=(1, 5)))
    live, count = sim.state.rows.status == LIVE, sim.state.clock.agents
    assert ((sim.state.rows.status != ABSENT).sum(axis=1) == count).all() and live.sum() > 0.95 * count.sum()
    assert (sim.state.rows.status != ABSENT)[:, 0].all() and not (
        np.diff(sim.state.rows.status != ABSENT) & live[:, 1:]
    ).any()
    many = np.bincount(count, minlength=6)
    assert many[0] == 0 and abs(many[1:] - 160).max() < 5 * np.sqrt(160)


def test_the_last_world_may_have_fewer_rows():
    sim = simulator(ring(), 12, laptop().replace(agents_per_world=5))
    assert sim.state.clock.agents.tolist() == [5, 5, 2] and (sim.state.rows.status[2, 2:] == ABSENT).all()
    for _ in range(20):
        sim.step(np.full(12, 7))
    assert (sim.state.rows.status[2, 2:] == ABSENT).all()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_a_new_world_draws_anew(mode):
    """A world of 10 steps; who is not there earns nothing and ends nothing, and his row may get an agent later."""
    config = laptop().replace(agents_per_world=(1, 6), world_steps=10, world_stagger=0.0)
    env = GigaflowVectorEnv(60, map=crossing(), config=config, autoreset_mode=mode, threads=1)
    obs, info = env.reset(seed=3)
    counts = []
    for _ in range(45):
        before = info["active"]
        obs, reward, terminated, truncated, info = env.step(np.full(60, 7))
        done = terminated | truncated
        assert not (done & ~before).any() and not reward[~before].any()
        if mode == "Disabled" and done.any():
            obs, info = env.reset(options={"reset_mask": done})
        state = env.simulator.state
        assert ((state.rows.status != ABSENT) == (np.arange(6) < state.clock.agents[:, None])).all()
        assert not obs[~info["active"] & (mode != "NextStep" or ~done)].any()
        counts.append(state.clock.agents.copy())
    assert len({count.tobytes() for count in counts}) == 5
    assert env.simulator.state.clock.agents.min() >= 1 and np.max(counts) == 6


def test_mask_on_an_empty_row_does_nothing():
    env = GigaflowVectorEnv(40, map=ring(), config=laptop().replace(agents_per_world=(1, 8)), autoreset_mode="Disabled")
    _, info = env.reset(seed=0)
    absent = env.simulator.per_row(env.simulator.state.rows.status == ABSENT)
    assert absent.any()
    _, info = env.reset(options={"reset_mask": absent})
    assert not info["active"][absent].any()


# Room


def edges(sim, number=0):
    """Road edges of a map as shapely lines, in the coordinates of the tables, and their heights."""
    table = sim.roads.grid.edges
    return shapely.linestrings(np.stack([table["x1"], table["y1"], table["x2"], table["y2"]], 1).reshape(-1, 2, 2)), table[
        "z"
    ]


@pytest.mark.parametrize("name", ["loop", "lots", "arterial"])
def test_everybody_starts_on_the_road_and_clear_of_others(name):
    town = load(shipped()[name])
    config = Config(**SMALL, population="paper", agents_per_world=100)
    sim = simulator(town, 400, config, seed=5)
    lines, heights = edges(sim)
    tree = shapely.STRtree(lines)
    assert (sim.state.rows.status == LIVE).mean() > 0.8
    assert overlaps(sim.state) == 0
    for w in range(4):
        shapes, z = boxes(sim.state, w)
        body, line = tree.query(shapes, predicate="intersects")
        assert (abs(heights[line] - z[body]) > 2.5).all()


def test_long_bodies_do_not_start_in_a_bend():
    """In a bend of 10 m with a lane of 3.5 m, a truck of 5.5 m x 2.2 m fits in, and one of 7 m x 2.6 m does not."""
    sim = alone({"truck": 1}, 3000)
    state, sections = sim.state, sim.roads.network.sections
    bend = (abs(sections["curvature"][state.lane_position.section]) > 0.09) & (state.rows.status == LIVE)
    corner = np.hypot(10 + state.body.width[bend] / 2, state.body.length[bend] / 2)
    assert bend.sum() > 50 and corner.max() < 11.75
    assert state.body.length[bend].max() < 6.8 < 6.95 < state.body.length.max()


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 1000))
def test_start_is_no_crash(seed):
    """Nobody who just stands where he started has collided or left the road one step later."""
    config = laptop().replace(population="paper", agents_per_world=30, spawn_speed=0.0)
    sim = simulator(load(shipped()["lots"]), 60, config, seed=seed)
    sim.reset(key(seed))
    sim.step(np.full(60, 7))
    assert not sim.state.events.collision.any() and not sim.state.events.offroad.any()


# Presets


def test_longform_is_the_papers_evaluation():
    """50 agents for 9000 steps of 0.066 s, ten minutes; 40 others in view; cautious; nothing random but who drives where."""
    config = longform()
    assert config.world_steps * config.dt == pytest.approx(594) and config.agents == (50, 50) and config.agent_count == 40
    assert (config.collision, config.offroad, config.stop_line) == ((3.0, 3.0), (3.0, 3.0), (1.0, 1.0))
    for name in (
        "lane_dropout",
        "boundary_dropout",
        "noise_position",
        "noise_speed",
        "inattentive",
        "phantom",
        "variant_flip",
    ):
        assert getattr(config, name) == 0, name
    sim = simulator(load(shipped()["downtown"]), 100, config)
    assert (sim.state.lights.red[:, :38] == 2).all() and sim.state.body.c_vel == pytest.approx(1)
    for low, name in zip(sim.state.reward_weights.coefficients[0, 0], CONDITIONING, strict=True):
        assert low == pytest.approx(getattr(config, name)[0]) and getattr(config, name)[0] == getattr(config, name)[1]
    for _ in range(5):
        sim.step(np.full(100, 7))
    assert sim.state.perceived.x.tolist() == sim.state.pose.x.tolist()


def test_paper_is_the_papers_training():
    config = paper()
    assert (config.population, config.agents, config.inattentive, config.phantom) == ("paper", (1, 150), 0.05, 0.1)
    assert (config.lane_dropout, config.boundary_dropout) == (0.5, 0.4)
    sim = simulator(load(shipped()["downtown"]), 300, config)
    counts = sim.state.clock.agents
    sim.step(np.full(300, 7))
    assert ((sim.state.rows.status != ABSENT).sum(axis=1) == counts).all() and not sim.state.variant.plain.any()
    assert np.isfinite(sim.observations).all() and abs(sim.observations).max() <= 1
