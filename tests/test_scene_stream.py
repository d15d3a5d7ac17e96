"""Many scenes through few worlds: the order, what is left out, the cache, and memory that doesn't grow."""

import copy
import gc
import json
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import gymnasium
import numpy as np
import pytest
from conftest import crossing
from recorded import RecordedLane, Scene, json_scene, parked, polyline, scenario_message, tfrecord
from recorded_scenes import scene

from gigaflow_env.roads import MapError
from gigaflow_env.scenes import compiled, readers
from gigaflow_env.scenes.sources import sources
from gigaflow_env.tracks import Page

STEPS = 6


def recording(number=0, steps=STEPS):
    """A straight road with two cars, of which the ego drives; `number` tells scenes apart."""
    lanes = {1: RecordedLane(polyline((0, 0), (100, 0)))}
    edges = [(15, polyline((0, 1.75), (100, 1.75))), (15, polyline((0, -1.75), (100, -1.75)))]
    tracks = parked(2, steps)
    tracks[0, :, 0] = 30 + number + np.arange(steps)
    tracks[0, :, 6] = 10.0
    tracks[1, :, 0] = 80
    return Scene(lanes, edges, tracks=tracks, valid=np.ones((2, steps), bool), kinds=(1, 1), predict=(0,))


def write(folder, count, broken=()):
    """Files of a folder, in the order of their names."""
    for number in range(count):
        text = json.dumps(json_scene(recording(number)._replace(name=f"s{number}")))
        (folder / f"scene_{number:02d}.json").write_text(text[: len(text) // 2] if number in broken else text)
    return folder


def make(scenes, **arguments):
    given = {"preset": "laptop", "threads": 1, "scene_readers": 0, **arguments}
    env = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", scenes=scenes, **given)
    return env, env.unwrapped


def rounds_of(env, inner, pages):
    """Numbers of the scenes of so many pages, one after the other."""
    env.reset(seed=1)
    seen = [[one.number for one in inner.scenes]]
    while len(seen) < pages:
        env.step(np.full(env.num_envs, 7))
        now = [one.number for one in inner.scenes]
        if now != seen[-1]:
            seen.append(now)
    return seen


@pytest.mark.parametrize("readers", [0, 1])
def test_scenes_of_a_folder_in_their_order_without_the_broken_ones(tmp_path, readers):
    write(tmp_path, 8, broken=(0, 3, 6))
    env, inner = make(tmp_path, worlds=2, scene_readers=readers)
    with pytest.warns(RuntimeWarning, match="3 of 8 scenes are left out: .*scene_00.json: "):
        assert rounds_of(env, inner, 4) == [[1, 2], [4, 5], [7], [1, 2]]
    left_out = inner.scenes_left_out
    assert [one.source.path.name for one in left_out] == ["scene_00.json", "scene_03.json", "scene_06.json"]
    assert all("not a readable scene: Expecting" in one.reason for one in left_out)
    assert inner.scene_rounds == 1
    # Once it's known, nobody waits for them again, and nobody says so again.
    assert rounds_of(env, inner, 2) == [[1, 2], [4, 5]]
    env.close()


def test_a_pattern_a_list_and_a_file_of_many_records(tmp_path):
    write(tmp_path, 3)
    assert [one.path.name for one in sources(str(tmp_path / "*_0[12].json"), None)] == ["scene_01.json", "scene_02.json"]
    path = tmp_path / "three.tfrecord"
    path.write_bytes(tfrecord(*(scenario_message(recording(k)._replace(name=f"r{k}")) for k in range(3))))
    assert [one.record for one in sources([path], None)] == [0, 1, 2]
    env, inner = make([path, tmp_path / "scene_02.json"], worlds=4)
    env.reset(seed=1)
    assert [one.scenario.name for one in inner.scenes][:3] == ["r0", "r1", "r2"]
    assert [int(one.scenario.x[0, 0]) for one in inner.scenes] == [30, 31, 32, 32]
    env.close()


def test_a_scene_is_read_once(tmp_path, monkeypatch):
    write(tmp_path, 2)
    make(tmp_path)[0].close()

    def refuse(*args, **kwargs):
        raise AssertionError("it is in the cache")

    monkeypatch.setattr(compiled, "load_scene", refuse)
    env, inner = make(tmp_path)
    env.reset(seed=1)
    assert len(inner.scenes) == 2
    env.close()
    # A file that has changed is another scene.
    (tmp_path / "scene_00.json").write_text(json.dumps(json_scene(recording(5))))
    with pytest.raises(AssertionError, match="in the cache"):
        make(tmp_path)


def test_what_comes_from_the_cache_is_what_was_read(tmp_path):
    write(tmp_path, 1)
    (source,) = sources(tmp_path, None)
    options = {"lane_spacing": 20.0, "lane_count": 4, "boundary_count": 4, "stop_count": 1}
    made, kept = (compiled.read_scene(source, options) for _ in range(2))
    for name in ("valid", *compiled._TRACKS):
        assert np.array_equal(getattr(made.scenario, name), getattr(kept.scenario, name), equal_nan=True)
    assert len(made.scenario.road_edges) == len(kept.scenario.road_edges) == 2
    assert all(map(np.array_equal, made.scenario.road_edges, kept.scenario.road_edges))
    for name in compiled._FACTS:
        assert getattr(made.scenario, name) == getattr(kept.scenario, name)
    tables = compiled.tables_of(kept.roads)
    assert all(np.array_equal(rows, tables[name]) for name, rows in compiled.tables_of(made.roads).items())
    assert made.key == kept.key and made.lights == kept.lights
    assert all(np.array_equal(one, other) for one, other in zip(made.conflicts, kept.conflicts, strict=True))


def test_memory_holds_three_pages_at_most(tmp_path):
    write(tmp_path, 9)
    env, inner = make(tmp_path, worlds=1)
    assert rounds_of(env, inner, 8) == [[k] for k in range(8)]
    gc.collect()
    assert sum(type(one) is Page for one in gc.get_objects()) <= 3
    env.close()


def test_all_broken_is_an_error_that_names_them(tmp_path):
    write(tmp_path, 2, broken=(0, 1))
    with pytest.raises(ValueError, match=r"none of the 2 scenes can be driven: .*scene_00.json: .*scene_01.json: "):
        make(tmp_path)
    with pytest.raises(ValueError, match="neither a file, nor a folder, nor a pattern"):
        make(str(tmp_path / "none*.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="the folder holds no scenes"):
        make(tmp_path / "empty")
    with pytest.raises(TypeError, match="expected paths, Scenarios, or pairs"):
        make([7])


def test_scenes_that_do_not_fit_are_left_out():
    road_map, slow = scene(dt=0.2)
    with pytest.warns(RuntimeWarning, match=r"1 of 2 scenes are left out: .*its steps are 0.2 s apart"):
        env, inner = make([scene(), (road_map, slow)], worlds=2)
    env.reset(seed=1)
    assert len(inner.scenes) == 1 and len(inner.scenes_left_out) == 1
    env.step(np.full(2, 7))
    env.close()


def test_who_has_no_row_is_counted_and_follows_the_record():
    env, inner = make(scene(), control="all", rows_per_world=2)
    env.reset(seed=1)
    (one,) = inner.scenes
    assert one.uncontrolled == 3 and one.controlled.tolist() == [True, True] and one.left_out == 0
    assert (one.agents >= 0).sum() == one.scenario.agents and one.source.given is not None
    env.close()


def test_too_many_agents_are_cut_and_counted():
    env, inner = make(scene(), agents_per_world=3)
    env.reset(seed=1)
    # The ego and the two nearest of those that are there when it starts.
    (one,) = inner.scenes
    assert one.agents.tolist() == [0, 5, 1] and one.left_out == 3
    env.close()


def test_a_snapshot_goes_back_to_its_page(tmp_path):
    write(tmp_path, 3)
    env, inner = make(tmp_path, worlds=1)
    env.reset(seed=1)
    for _ in range(STEPS):
        env.step(np.array([7]))
    kept = inner.snapshot()
    assert inner.scenes[0].number == 1 and inner.scenes[0].step == 1

    def go_on():
        found = [env.step(np.array([(4 * k) % 12]))[0].tobytes() for k in range(2 * STEPS)]
        return found, [one.number for one in inner.scenes]

    expected = go_on()
    assert inner.scenes[0].number != 1
    inner.restore(kept)
    assert inner.scenes[0].number == 1 and inner.scenes[0].step == 1
    assert go_on() == expected
    other, other_inner = make(scene())
    other.reset(seed=1)
    with pytest.raises(ValueError, match="belongs to another environment"):
        other_inner.restore(kept)
    other.close()
    env.close()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda inner: pickle.loads(pickle.dumps(inner))])
@pytest.mark.parametrize("before", [1, STEPS + 1])
def test_a_copy_goes_on_as_the_original_does(tmp_path, duplicate, before):
    write(tmp_path, 4, broken=(2,))
    env, inner = make(tmp_path, worlds=1, others="idm", events=True)
    env.reset(seed=1)
    for k in range(before):
        env.step(np.array([k % 12]))
    other = duplicate(inner)

    def go_on(one):
        found = []
        for k in range(3 * STEPS):
            obs, reward, *_ = one.step(np.array([(5 * k) % 12]))
            (shown,) = one.scenes
            found.append((obs.tobytes(), reward.tobytes(), shown.number, shown.step))
        return found

    with pytest.warns(RuntimeWarning, match="1 of 4 scenes are left out"):
        expected = go_on(inner)
    with pytest.warns(RuntimeWarning, match="1 of 4 scenes are left out"):
        assert go_on(other) == expected
    assert len({number for _, _, number, _ in expected}) == 3 and other.scene_rounds == inner.scene_rounds
    assert other.simulator.page is other._stream.page and other.simulator.page is not inner.simulator.page
    other.close()
    env.close()


def test_the_time_step_is_that_of_the_first_scene_that_can_be_driven():
    road_map, slow = scene(dt=0.2, ego=None)
    with pytest.warns(RuntimeWarning, match=r"1 of 2 scenes are left out: .*names no ego"):
        env, inner = make([(road_map, slow), scene()], worlds=2)
    assert inner.config.dt == 0.1 and inner.scenes_left_out[0].dt is None
    env.close()


def test_what_has_another_time_step_can_be_driven_by_itself():
    road_map, slow = scene(dt=0.2)
    with pytest.warns(RuntimeWarning, match="1 of 2 scenes are left out"):
        env, inner = make([scene(), (road_map, slow)], worlds=2)
    (left,) = inner.scenes_left_out
    env.close()
    assert left.dt == 0.2
    env, inner = make([left.source])
    assert inner.config.dt == 0.2 and inner.scene_names == ["scenario 'by hand'"]
    env.close()


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    write(tmp_path, 1)
    (tmp_path / "gone.json").symlink_to(tmp_path / "nothing.json")
    with pytest.warns(RuntimeWarning, match=r"1 of 2 scenes are left out: .*gone.json: .*No such file"):
        env, _ = make(tmp_path)
    env.close()


def test_two_threads_do_not_take_each_others_warnings(tmp_path):
    """The next page is read while somebody looks at the maps of this one: the filters of the process are as before."""
    write(tmp_path, 1)
    (source,) = sources(tmp_path, None)
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        for one in [threads.submit(compiled.read, source) for _ in range(400)]:
            assert one.result()[1].agents == 2
    assert warnings.filters == before


def test_a_reader_prints_nothing_but_answers(tmp_path, monkeypatch, capsys):
    (source,) = sources(write(tmp_path, 1), None)

    def noisy(*given):
        print("a library says something")
        return compiled.read(source)

    monkeypatch.setattr(readers, "read_scene", noisy)
    monkeypatch.setattr("sys.stdin", [json.dumps({"path": str(source.path), "record": None, "options": {}})])
    monkeypatch.setattr("sys.stdout", sys.stdout)
    readers.main()
    told = capsys.readouterr()
    assert told.out == "null\n" and "a library says something" in told.err


def test_a_reader_that_fails_is_an_error_of_its_scene(tmp_path):
    (tmp_path / "scene.json").write_text('{"roads": [], "objects": 5}')
    source = sources(tmp_path, None)[0]
    with pytest.raises(MapError):
        compiled.read_scene(source, {})
    assert crossing(lights=True).name == "lights"
