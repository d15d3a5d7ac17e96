"""Nothing nonsensical, whatever a user sets: arguments of make, reset, restore and the command line. Refused arguments
change nothing, and each gives one error that names the value and what would be right."""

import math

import gymnasium
import numpy as np
import pytest
from conftest import crossing, ring

from gigaflow_env import GigaflowVectorEnv, __version__, cli, roads
from gigaflow_env.bench import throughput
from gigaflow_env.config import CONDITIONING, laptop
from gigaflow_env.memory import fitting
from gigaflow_env.simulator import Simulator, drivers_of
from gigaflow_env.single import GigaflowEnv

ROWS = 4
SMALL = {"lane_count": 3, "boundary_count": 3, "agents_per_world": 2}


def make(**arguments):
    given = {"num_envs": ROWS, "map": ring(), "preset": "laptop", "config": SMALL, "threads": 1, **arguments}
    return GigaflowVectorEnv(given.pop("num_envs"), **given)


def everything(env):
    """All that a reset or restore could change, as bytes."""
    simulator = env.simulator
    arrays = [array for group in simulator.state for array in group]
    arrays += [simulator.observations, simulator.final_observations, simulator.chosen]
    return [array.tobytes() for array in arrays], env.np_random.bit_generator.state


# make


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": -3}, r"num_envs=-3: must be a whole number, 1 to 16,777,216"),
        ({"num_envs": 10**15}, r"num_envs=1000000000000000: must be a whole number, 1 to 16,777,216"),
        ({"num_envs": "4"}, r"num_envs='4': must be a whole number"),
        ({"num_envs": math.nan}, r"num_envs=nan: must be a whole number"),
        ({"threads": 10_000}, r"threads=10000: must be a whole number, 1 to 1,024, or None for all processors"),
        ({"threads": -1}, r"threads=-1: must be"),
        ({"threads": True}, r"threads=True: must be a whole number"),
        ({"threads": 1.5}, r"threads=1\.5: must be a whole number"),
        ({"threads": "all"}, r"threads='all': must be a whole number"),
        ({"preset": "papr"}, r"preset='papr': choose one of 'paper', 'laptop', 'longform'"),
        ({"preset": ["laptop"]}, r"preset=\['laptop'\]: choose one of"),
        (
            {"config": "laptop"},
            r"config='laptop': expected a dict of names and values, or a Config; did you mean preset='lap",
        ),
        ({"config": "fast"}, r"config='fast': expected a dict of names and values, or a Config$"),
        ({"config": [("dt", 0.1)]}, r"config=\[\('dt', 0\.1\)\]: expected a dict"),
        ({"config": {1: 2}}, r"unknown configuration 1: names are words"),
        ({"config": {"wheelbase": 0}}, r"wheelbase=0: must be 0\.1 to 1 lengths"),
        ({"agents_per_world": 2.0}, r"agents_per_world=2\.0: must be a whole number, or a range"),
        ({"max_episode_steps": 2**40}, r"max_steps=1099511627776: must be a whole number, 1 to"),
        ({"map_shares": (1, 1)}, r"map_shares=\(1, 1\): must be 1 numbers of at least 0, one for each map"),
        ({"map_shares": (math.nan,)}, r"map_shares=\(nan,\): must be 1 numbers"),
        ({"map_shares": (math.inf,)}, r"map_shares=\(inf,\): must be 1 numbers"),
        ({"map_shares": (-1,)}, r"map_shares=\(-1,\): must be 1 numbers"),
        ({"map_shares": (0,)}, r"map_shares=\(0,\): must be 1 numbers"),
        ({"map_shares": "a"}, r"map_shares='a': must be 1 numbers"),
        ({"map_shares": ("1",)}, r"map_shares=\('1',\): must be 1 numbers"),
        ({"map_shares": 1.0}, r"map_shares=1\.0: must be 1 numbers"),
        ({"drivers": "human"}, r"drivers='human': choose of 'policy', 'idm'"),
        ({"drivers": 3}, r"drivers=3: choose of"),
        ({"drivers": {}}, r"drivers=\{\}: choose of"),
        ({"drivers": ["idm", 3, "idm", "idm"]}, r"drivers=\['idm', 3, 'idm', 'idm'\]: choose of"),
        ({"drivers": ["idm", []]}, r"drivers=\['idm', \[\]\]: choose of"),
        ({"drivers": ["idm"]}, r"drivers has 1 names: expected one per row, 4"),
        ({"drivers": {"idm": 0.5}}, r"drivers=\{'idm': 0\.5\}: shares must add up to 1, these to 0\.5"),
        ({"drivers": {"idm": math.nan, "policy": 1.0}}, r"drivers\['idm'\]=nan: must be 0 to 1"),
        ({"drivers": {"idm": 1.5, "policy": -0.5}}, r"drivers\['idm'\]=1\.5: must be 0 to 1"),
        ({"drivers": {"idm": "1"}}, r"drivers\['idm'\]='1': must be a number, 0 to 1"),
        ({"action": None}, r"action=None: choose one of 'discrete', 'continuous'"),
        ({"action": []}, r"action=\[\]: choose one of"),
        ({"output": "jax"}, r"output='jax': choose one of 'numpy', 'torch'"),
        ({"backend": None}, r"backend=None: choose one of 'cpu', 'cuda'"),
        ({"obs_dtype": "float64"}, r"obs_dtype='float64': choose one of 'float32', 'float16', 'bfloat16'"),
        ({"obs_dtype": np.float32}, r"obs_dtype=<class 'numpy\.float32'>: choose one of"),
        ({"obs_dtype": "bfloat16"}, r"obs_dtype='bfloat16' needs output='torch'"),
        ({"device": "cuda:0"}, r"device='cuda:0' does not fit backend='cpu'"),
        ({"device": 0}, r"device=0 does not fit backend='cpu'"),
        ({"device": -1, "backend": "cuda"}, r"device=-1 does not fit backend='cuda': it is 'cuda:0' and the like"),
        ({"device": True, "backend": "cuda"}, r"device=True does not fit"),
        ({"device": "gpu", "backend": "cuda"}, r"device='gpu' does not fit"),
        ({"device": "cuda:999", "backend": "cuda"}, r"device=999: must be a whole number, 0 to 63"),
        ({"copy": "False"}, r"copy='False': must be True or False"),
        ({"record_stats": 1}, r"record_stats=1: must be True or False"),
        ({"events": None}, r"events=None: must be True or False"),
        ({"render_mode": []}, r"render_mode=\[\]: choose one of None, 'rgb_array'"),
        ({"autoreset_mode": 3}, r"autoreset_mode=3: choose one of"),
        ({"conditioning": {"collision": -1}}, r"conditioning 'collision': -1 must be 0 to 100"),
        ({"conditioning": {"length": 1000}}, r"conditioning 'length': 1000 must be 0\.5 to 25 m"),
    ],
    ids=str,
)
def test_making(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**arguments)


def test_what_is_right_is_taken():
    shares = np.array([0.2, 3])
    env = make(
        num_envs=np.int64(4), map=[ring(), crossing()], map_shares=shares, threads=np.int32(1), copy=np.bool_(True),
        device="cpu", drivers={"idm": np.float32(0.5), "policy": 0.5},
    )  # fmt: skip
    env.reset(seed=np.int64(3))
    assert env.num_envs == 4 and env.simulator.drivers.tolist() == [0, 1, 0, 1]
    assert drivers_of(("idm", "policy"), 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agents_per_world": 0}, r"agents_per_world=0: must be a whole number, 1 to 256 agents"),
        ({"agents_per_world": 2.5}, r"agents_per_world=2\.5: must be a whole number"),
        ({"traffic": "idn"}, r"traffic='idn' is neither 'idm', nor"),
        ({"traffic": None}, r"traffic=None: expected 'idm', a callable"),
        ({"config": "laptop"}, r"config='laptop': expected a dict"),
        ({"render_mode": "ansi"}, r"render_mode='ansi': choose one of None, 'rgb_array', 'human'"),
        ({"conditioning": {"collision": (1, 2, 3)}}, r"conditioning 'collision' has shape \(3,\)"),
        ({"conditioning": {"offroad": (-3, -3)}}, r"conditioning 'offroad': -3 must be 0 to 100"),
    ],
    ids=str,
)
def test_making_a_single_car(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        GigaflowEnv(**{"map": ring(), "preset": "laptop", "config": SMALL, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, r"rows=0: must be a whole number, 1 to"),
        ({"rows": 2.0}, r"rows=2\.0: must be a whole number"),
        ({"config": {"dt": 0.1}}, r"config=\{'dt': 0\.1\}: expected a Config"),
        ({"mode": 7}, r"mode=7: choose one of SAME_STEP"),
        ({"continuous": "yes"}, r"continuous='yes': must be True or False"),
        ({"device": -1}, r"device=-1: must be a whole number, 0 to 63"),
    ],
    ids=str,
)
def test_the_simulator_checks_the_same(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Simulator(**{"maps": ring(), "rows": 2, "config": laptop(), "threads": 1, **arguments})


# reset and restore


MASK = np.array([True, False, False, False])
FINE = {"reset_mask": MASK, "conditioning": {"collision": 5.0}}
REFUSED = [
    ({"seed": -1}, r"seed=-1: must be a whole number, at least 0, or None"),
    ({"seed": 1.0}, r"seed=1\.0: must be a whole number"),
    ({"seed": True}, r"seed=True: must be a whole number"),
    ({"seed": "7"}, r"seed='7': must be a whole number"),
    ({"options": "reset_mask"}, r"options='reset_mask': expected a dict"),
    ({"options": {1: 2, "x": 3}}, r"unknown reset option 1: there is"),
    ({"options": {"conditioning": {"collision": math.nan}}}, r"conditioning 'collision': nan is no number"),
    ({"options": {"conditioning": {"collision": (1.0, math.inf)}}}, r"conditioning 'collision': inf must be 0 to 100"),
    ({"options": {"conditioning": {"collision": -1}}}, r"conditioning 'collision': -1 must be 0 to 100"),
    ({"options": {"conditioning": {"comfort": True}}}, r"conditioning 'comfort': True is neither a number"),
    ({"options": {"conditioning": {"comfort": (False, True)}}}, r"conditioning 'comfort': \(False, True\) is neither"),
    ({"options": {"conditioning": {"comfort": [[1], [1, 2]]}}}, r"conditioning 'comfort': \[\[1\], \[1, 2\]\] is neither"),
    ({"options": {"conditioning": {"c_vel": 1e9}}}, r"conditioning 'c_vel': 1e\+09 must be 0\.05 to 10"),
    ({"options": {"conditioning": {"width": 10**400}}}, r"conditioning 'width'"),
    ({"options": {"conditioning": {"length": 0}}}, r"conditioning 'length': 0 must be 0\.5 to 25 m"),
    ({"options": {"conditioning": {3: 1.0}}}, r"unknown conditioning 3"),
    ({"options": {"conditioning": "collision"}}, r"conditioning='collision': expected a dict"),
    ({"options": {"conditioning": {"goal_radius": np.array([1, 1, -1, 1.0])}}}, r"'goal_radius' of row 2: -1 must be 0\.1"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=str)
def test_a_refused_reset_changes_nothing(arguments, message):
    """Whatever else is right in the same call: seed, mask and conditioning are read before any of them is applied."""
    env = make(autoreset_mode="Disabled")
    env.reset(seed=3)
    before = everything(env)
    options = arguments.get("options")
    calls = [arguments, {"seed": 4, "options": FINE, **arguments}]
    if isinstance(options, dict):
        calls.append({"seed": 4, "options": {**FINE, **options}})
    for call in calls:
        with pytest.raises((ValueError, TypeError), match=message):
            env.reset(**call)
        assert everything(env) == before


def test_a_wrong_mask_leaves_the_conditioning_and_the_seed_alone():
    env = make()
    env.reset(seed=3)
    before = everything(env)
    for mask in (np.zeros(ROWS, bool), np.ones(3, bool), [1, 0, 0, 0], None, "all"):
        with pytest.raises(ValueError, match="reset_mask"):
            env.reset(seed=4, options={**FINE, "reset_mask": mask})
        assert everything(env) == before
    env.reset(options={"reset_mask": MASK.tolist()})


def test_a_mask_before_the_first_reset_changes_nothing():
    env = make()
    with pytest.raises(RuntimeError, match="before the first reset"):
        env.reset(options=FINE)
    assert np.isnan(env.simulator.state.overrides.low).all()


@pytest.mark.parametrize(("arguments", "message"), [one for one in REFUSED if "goal_radius" not in str(one)], ids=str)
def test_a_refused_reset_of_a_single_car_changes_nothing(arguments, message):
    env = GigaflowEnv(map=ring(), preset="laptop", config=SMALL)
    env.reset(seed=3)
    before, own = everything(env.vector), env.np_random.bit_generator.state
    with pytest.raises((ValueError, TypeError), match=message.replace("there is", "there is 'conditioning'$")):
        env.reset(**{"seed": 4, **arguments})
    assert everything(env.vector) == before and env.np_random.bit_generator.state == own


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda kept: 3, r"state=3: expected what snapshot\(\) returns"),
        (lambda kept: {}, r"this is no snapshot"),
        (lambda kept: {**kept, "declaration": np.array("{")}, r"its declaration can't be read"),
        (lambda kept: {**kept, "declaration": np.array("3")}, r"its declaration can't be read"),
        (lambda kept: {**kept, "worlds": np.array([0.0, 1.0])}, r"its worlds are"),
        (lambda kept: {**kept, "worlds": np.array([0, 0])}, r"its worlds are"),
        (lambda kept: {**kept, "worlds": np.array([0, 2])}, r"its worlds are"),
        (lambda kept: {**kept, "pose.x": [1.0]}, r"pose\.x is float64 \(1,\), expected float32"),
        (lambda kept: {**kept, "pose.x": kept["pose.x"] * np.float32(math.nan)}, r"pose\.x has numbers that are not finite"),
        (lambda kept: {**kept, "np_random": np.array("nonsense")}, r"np_random is no state of a generator"),
        (lambda kept: {**kept, "np_random": np.array('{"state": 1}')}, r"np_random is no state of a generator"),
    ],
)
def test_a_refused_snapshot_changes_nothing(damage, message):
    env = make()
    env.reset(seed=3)
    kept = env.snapshot()
    for _ in range(3):
        env.step(np.full(ROWS, 10))
    before = everything(env)
    with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
        env.restore(damage(kept))
    assert everything(env) == before
    env.restore(kept)
    assert everything(env) != before


def test_conditioning_has_the_bounds_of_the_config():
    env = make()
    for name in CONDITIONING:
        declared = laptop().__dataclass_fields__[name].metadata["bounds"]
        for end in declared.low, declared.high:
            env.reset(seed=0, options={"conditioning": {name: end}})
        for beyond in declared.low - 1, declared.high + 1:
            with pytest.raises(ValueError, match=f"conditioning '{name}': .* must be {declared.text()}"):
                env.reset(seed=0, options={"conditioning": {name: beyond}})


# Pictures


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, r"size=0: must be a whole number, 16 to 8,192 pixels"),
        ({"size": 10**9}, r"size=1000000000: must be"),
        ({"width": math.nan}, r"width=nan: must be 1 to 100,000 m"),
        ({"world": 0.5}, r"world=0\.5, agent=0: there are 2 worlds of 2 agents"),
        ({"agent": True}, r"world=0, agent=True: there are"),
    ],
)
def test_pictures(arguments, message):
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.render_world(**arguments)


# The command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--steps", "0"], "steps=0: must be a whole number, 1 to 1,000,000"),
        (["bench", "--steps", "-5"], "steps=-5: must be"),
        (["bench", "--num-envs", "0"], "num_envs=0: must be a whole number, 1 to 16,777,216"),
        (["bench", "--num-envs", str(10**30)], "must be a whole number, 1 to 16,777,216"),
        (["bench", "--threads", "0"], "threads=0: must be a whole number, 1 to 1,024, or None"),
        (["bench", "--threads", "10000"], "threads=10000: must be"),
        (["bench", "--agents-per-world", "0"], "agents_per_world=0: must be 1 to 256 agents"),
        (["bench", "--agents-per-world", "999"], "agents_per_world=999: must be 1 to 256 agents"),
        (["bench", "--preset", "papre"], "preset='papre': choose one of 'paper', 'laptop', 'longform'"),
        (["bench", "--map", "lopp"], "map='lopp' is neither a shipped town"),
        (["bench", "--backend", "tpu"], "backend='tpu': choose one of 'cpu', 'cuda'"),
        (["bench", "--backend", "cuda", "--num-envs", "64"], "--num-envs 64 has no meaning with --backend cuda"),
        (["bench", "--backend", "cuda", "--threads", "2"], "--threads 2 has no meaning with --backend cuda"),
        (["map", "inspect", "random:-1"], "map='random:-1': a random town is named by a whole number"),
        (["map", "inspect", ""], "map='' is neither a shipped town"),
        (["map", "inspect", "/"], "map='/' is a directory: name one of the map files in it"),
        (["map", "inspect", "loop", "--program", "foo"], "program='foo': only SUMO networks have several programs"),
        (["map", "inspect", "random:3", "--strict"], "--strict and --program are for map files: random:3 has none"),
        (["map", "cut", "loop", "--around", "nan,0", "--radius", "9", "-o", "x"], "around=nan: must be finite m"),
        (["watch", "--agents", "0", "--no-browser"], "--agents=0: must be a whole number, 1 to 150 agents"),
        (["map", "inspect", "random:1e3"], "map='random:1e3': a random town is named by a whole number"),
    ],
)
def test_command_lines(arguments, message, capsys):
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("gigaflow-env: error: ") and message in printed.err


def test_too_much_memory_is_one_line(monkeypatch, capsys):
    def run(**arguments):
        raise MemoryError

    monkeypatch.setattr(throughput, "run", run)
    assert cli.main(["bench"]) == 2
    assert capsys.readouterr().err == "gigaflow-env: error: there is not enough memory\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "there is not enough memory"),
        (MemoryError("Unable to allocate 88 GiB"), "Unable to allocate 88 GiB"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "DefaultCPUAllocator"),
    ],
)
def test_what_did_not_fit_is_named(monkeypatch, error, said):
    def new_state(*arguments):
        raise error

    monkeypatch.setattr(Simulator, "new_state", new_state)
    with pytest.raises(MemoryError, match=f"^4 rows do not fit into memory: {said}"):
        make()


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="^the machine crashed$"), fitting("4 rows"):
        raise RuntimeError("the machine crashed")


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"gigaflow-env {__version__}\n"


def test_gymnasium_s_front_door_says_the_same():
    with pytest.raises(ValueError, match="wheelbase=0"):
        gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=2, config={"wheelbase": 0})


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"around": "ab", "radius": 5}, "around='ab': must be two numbers, x and y in m"),
        ({"around": (1, 2, 3), "radius": 5}, "around=.1, 2, 3.: must be two numbers"),
        ({"around": (True, 0), "radius": 5}, "around=True: must be a number, finite m"),
        ({"around": (0, math.inf), "radius": 5}, "around=inf: must be finite m"),
        ({"around": (0, 0), "radius": True}, "radius=True: must be a number, above 0 m"),
        ({"around": (0, 0), "radius": 0}, "radius=0: must be above 0 m"),
        ({"around": (0, 0)}, "a part of a map needs both"),
    ],
)
def test_parts_of_maps(tmp_path, part, message):
    """Before the file is read, which may take minutes: here there is none."""
    with pytest.raises(ValueError, match=message):
        roads.load(tmp_path / "none.xodr", **part)
    if len(part) == 2:
        with pytest.raises(ValueError, match=message):
            roads.cut(ring(), *part.values())


def test_a_directory_is_no_map(tmp_path):
    for name in ("", tmp_path):
        with pytest.raises(ValueError, match="map="):
            roads.find(name)
    for load in (roads.load, roads.load_scenario):
        with pytest.raises(roads.MapError, match="is a directory, expected a map file"):
            load(tmp_path)
