"""The command benchmark: what it refuses, what it writes, what goes on and adds up, and the page in a browser."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser

from gigaflow_env import GigaflowVectorEnv
from gigaflow_env.config import laptop
from gigaflow_env.layout import NO_JERK
from gigaflow_train.benchmark import bundles, compare, counter, drivers, published, results, run, table, town_suites
from gigaflow_train.benchmark.request import BASELINES, SUITES, Request, word
from gigaflow_train.cli import main
from gigaflow_train.evaluate import longform, robustness
from gigaflow_train.evaluate.metrics import Estimate

TOWN = ["--map", "loop", "--num-envs", "32", "--threads", "1"]
REPOSITORY = Path(__file__).parents[1]


def nothing(share):
    pass


# What is refused


@pytest.mark.parametrize(
    "words, said",
    [
        (["longfrom", "idm"], "SUITE='longfrom'"),
        (["longform", "nobody"], "policy 'nobody' is neither"),
        (["longform", "replay"], "replay is the recorded expert"),
        (["longform", "nowhere:policy"], "there is no module 'nowhere'"),
        (["longform", "json:"], "write module:callable"),
        (["longform", "idm", "--baselines", "idm,nobody"], "--baselines='nobody'"),
        (["longform", "idm", "--data", "scenes"], "has no place in longform"),
        (["waymax", "idm"], "waymax needs scenes: --data"),
        (["waymax", "idm", "--data", "nowhere"], "--data nowhere: there is no such"),
        (["carla-routes", "idm", "--data", "nowhere"], "carla-routes needs routes and their towns"),
        (["wosac", "idm", "--data", ".", "--year", "2022"], "--year 2022"),
        (["nuplan", "idm", "--data", ".", "--others", "nobody"], "--others='nobody'"),
        (["longform", "idm", "--steps", "0"], "--steps"),
        (["longform", "idm", "--map", "nowhere"], "nowhere"),
        (["longform", "idm", "--minutes", "-1"], "--minutes"),
    ],
)
def test_bad_words_are_answered_in_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_torch_is_not_loaded_for_bad_words(tmp_path):
    code = (
        "import sys; from gigaflow_train.cli import main; main(['benchmark', 'waymax', 'pretrained']); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "False"


def test_every_suite_has_baselines_that_it_can_drive():
    for suite in SUITES:
        for name in BASELINES[suite]:
            drivers.check(name, suite)


# Long form


@pytest.fixture(scope="module")
def longform_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("longform")
    words = ["benchmark", "longform", "random", *TOWN, "--out", str(out), "--baselines", "idm", "--keep", "3"]
    assert main([*words, "--steps", "60"]) == 0
    return out, words


def test_long_form_writes_all_its_files(longform_run):
    out, _ = longform_run
    content = results.read(out)
    assert content["suite"] == "longform" and content["policy"]["name"] == "random"
    assert content["settings"]["rows"] == 32 and content["config"]["dt"] == 0.3
    assert content["figures"]["km_between_incidents"]["n"] > 0  # who drives at random crashes
    assert list(content["baselines"]) == ["idm"]
    assert content["baselines"]["idm"]["figures"]["mean_speed_mps"]["value"] > 0
    assert {one["note"] for one in content["published"]} == {"published, other simulator"}
    (row,) = content["scenes"]
    assert row["scene"] == "loop" and row["steps"] <= 60 * 32 and row["collision"] + row["start_collision"] > 0
    rows = (out / "scenes.csv").read_text().splitlines()
    assert rows[0].startswith("policy,scene,type,steps") and len(rows) == 3


def test_a_second_call_adds_to_the_first(longform_run):
    out, words = longform_run
    before = json.loads((out / "counts-random.json").read_text())
    failures = sorted((out / "failures").glob("*.npz"))
    worst = [bundles.load(path).about["weight"] for path in failures]
    assert len(worst) == 3 and worst == sorted(worst, reverse=True)
    assert main([*words, "--steps", "30"]) == 0
    # The worst of both calls are kept.
    again = [bundles.load(path).about["weight"] for path in sorted((out / "failures").glob("*.npz"))]
    assert len(again) == 3 and again[0] >= worst[0] and again == sorted(again, reverse=True)
    after = json.loads((out / "counts-random.json").read_text())
    assert after["segments"] == before["segments"] + 1
    for name, count in before["counts"]["loop"].items():
        assert after["counts"]["loop"][name] >= count
    assert after["counts"]["loop"]["steps"] > before["counts"]["loop"]["steps"]
    content = results.read(out)
    assert content["seeds"] == [1, 1001]
    assert content["scenes"][0]["steps"] == after["counts"]["loop"]["steps"]


def test_a_short_call_keeps_the_failures_of_the_first(longform_run):
    out, words = longform_run
    before = [bundles.load(path).about["weight"] for path in sorted((out / "failures").glob("*.npz"))]
    assert main([*words, "--steps", "1"]) == 0
    paths = sorted((out / "failures").glob("*.npz"))
    assert [bundles.load(path).about["weight"] for path in paths] == before
    bundle = bundles.load(paths[0])
    env = bundles.make(bundle, threads=1)
    assert bundles.happen(bundle, env)
    env.close()


def test_counts_of_something_else_are_not_added_to(longform_run, capsys):
    out, words = longform_run
    assert main([*words, "--seed", "2", "--steps", "5"]) == 2
    assert "has counts of another policy, config, maps or seed" in capsys.readouterr().err
    kept = (out / "counts-random.json").read_text()
    (out / "counts-random.json").write_text("{}")
    assert main([*words, "--steps", "5"]) == 2
    assert "is no file of counts" in capsys.readouterr().err
    (out / "counts-random.json").write_text(kept)


def test_the_same_seed_counts_the_same(tmp_path):
    found = []
    for name in "ab":
        request = Request("longform", "random", maps=("loop",), out=tmp_path / name, rows=32, steps=25, threads=1, keep=0)
        found.append(town_suites.run_longform(request, "random", nothing).scenes)
    assert found[0] == found[1]


def test_ctrl_c_keeps_what_was_counted(tmp_path):
    request = Request("longform", "random", maps=("loop",), out=tmp_path, rows=32, steps=10_000, threads=1, keep=0)
    calls = []

    def advance(share):
        calls.append(share)
        if len(calls) == 12:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    found = town_suites.run_longform(request, "random", advance)
    assert signal.getsignal(signal.SIGINT) is before
    kept = json.loads((tmp_path / "counts-random.json").read_text())
    assert 0 < kept["counts"]["loop"]["steps"] == found.scenes[0]["steps"] <= 14 * 32
    assert kept["segments"] == 1 and found.figures["km"].value > 0.0


def test_a_failure_happens_again_and_is_shown(longform_run, capsys):
    out, _ = longform_run
    paths = sorted((out / "failures").glob("*.npz"))
    assert 0 < len(paths) <= 3
    bundle = bundles.load(paths[0])
    env = bundles.make(bundle, threads=1)
    assert bundles.happen(bundle, env)
    env.close()
    assert bundle.about["kind"] in ("collision", "offroad")
    page = out / "again.html"
    assert main(["failure", str(paths[0]), "--out", str(page), "--threads", "1"]) == 0
    assert "happened again" in capsys.readouterr().out
    assert page.stat().st_size > 10_000


def test_what_is_no_bundle_is_refused(tmp_path, capsys):
    assert main(["failure", str(tmp_path / "none.npz")]) == 2
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(3))
    assert main(["failure", str(other)]) == 2
    (tmp_path / "broken.npz").write_bytes(b"PK")
    assert main(["failure", str(tmp_path / "broken.npz")]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_trouble_of_a_step():
    events = np.zeros(
        2, [("kind", "i1"), ("row", "i4"), ("other", "i4"), ("age", "i4"), ("fault", "?"), ("other_fault", "?")]
    )
    events["row"], events["other"], events["age"], events["fault"] = [4, 5], [7, -1], [20, 3], [True, False]
    events["kind"] = [0, 1]
    found = counter.troubles(events, np.array([False, True]), np.array([True, False]), np.array([9, 400]), 0.1)
    assert [(one.kind, one.agents, one.age, one.at_fault) for one in found] == [
        ("collision", (4, 7), 2.0, 1), ("offroad", (5,), pytest.approx(0.3), 0), ("stuck", (1,), 40.0, 0),
        ("wrong_way", (0,), pytest.approx(0.9), 0),
    ]  # fmt: skip


def test_the_end_of_a_world_is_nobody_s_being_stuck():
    """Episodes end with their world, and with a new route after each one nobody has failed by that."""
    config = laptop().replace(agents_per_world=4, on_route_done="new_route", max_steps=20, world_steps=20, world_stagger=0.0)
    env = GigaflowVectorEnv(8, map="loop", config=config, events=True, threads=1)
    _, info = env.reset(seed=1)
    active, counts, timeouts = info["active"].copy(), longform.Counts(), 0
    seen = counter.Counter(env, np.ones(8, bool))
    for _ in range(45):
        _, _, terminated, truncated, info = env.step(np.full(8, NO_JERK))
        timeouts += int(info["timeout"].sum())
        counts = longform.total([counts, *seen.add(active, terminated | truncated, info).values()])
        active = info["active"].copy()
    assert timeouts > 0 and counts.stuck == counts.start_stuck == 0 and counts.metres > 0
    env.close()


# Own policies


def test_a_callable_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "mine_for_test.py").write_text(
        "import numpy as np\n\n\ndef brake(env, seed):\n    return lambda obs: np.ones(len(obs), int)\n\n\n"
        "def nothing(env, seed):\n    return None\n\n\nNUMBER = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    drivers.check("mine_for_test:brake", "longform")
    assert drivers.acting("mine_for_test:brake", None, 0)(np.zeros((2, 3))).tolist() == [1, 1]
    for name, message in (("nothing", "it returned NoneType"), ("NUMBER", "can't be called"), ("none", "has no 'none'")):
        with pytest.raises(ValueError, match=message):
            drivers.acting(f"mine_for_test:{name}", None, 0)
    assert drivers.identity("mine_for_test:brake") == drivers.Identity("mine_for_test:brake")


def test_a_checkpoint_is_known_by_its_hash():
    found = drivers.identity("pretrained")
    assert found.file == "pretrained.safetensors" and len(found.sha256) == 64
    assert word("runs/my run.1") == "my-run-1"


# Robustness


def test_robustness_drives_every_check(tmp_path, monkeypatch):
    some = [
        check for check in robustness.CHECKS if check.name in ("as it is", "actions one step late", "30% erratic drivers")
    ]
    monkeypatch.setattr(robustness, "CHECKS", some)
    request = Request("robustness", "idm", maps=("loop",), out=tmp_path, rows=16, steps=40, threads=1)
    shares = []
    found = town_suites.run_robustness(request, "idm", shares.append)
    assert [row["scene"] for row in found.scenes] == [check.name for check in some]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert found.scenes[0]["loss"] in (0.0, None)


@pytest.mark.parametrize("delay, got", [(0, [10, 11, 12, 13, 14]), (2, [10, 10, 10, 11, 12])])
def test_actions_that_come_late(delay, got):
    act = town_suites.late(lambda obs: np.array([10 + int(obs[0, 0])]), delay)
    assert [int(act(np.full((1, 1), step))[0]) for step in range(5)] == got


# Results and comparisons


def content(scores, suite="waymax", **more):
    rows = [
        {
            "scene": f"s{k}",
            "type": "left" if k % 2 else "right",
            "score": score,
            "overlap": score < 0.5,
            "badness": 1 - score,
        }
        for k, score in enumerate(scores)
    ]
    figures = {"score": Estimate(float(np.mean(scores)), 0.1, 0.9, len(scores)), "km": Estimate(None, 3.0, None, 0)}
    outcome = results.Outcome(figures, rows, [{"scene": "bad", "reason": "torn"}], {"dt": 0.1}, [1], 2.0)
    made = results.document(
        suite, {"name": "me", "file": "", "sha256": ""}, {}, outcome, {"idm": outcome}, published.of(suite)
    )
    return made | more


def test_results_come_back(tmp_path):
    made = content([0.25, 1.0, float("nan")])
    paths = results.write(tmp_path, made)
    assert results.read(tmp_path) == made == results.read(paths[0])
    assert made["scenes"][2]["score"] is None
    assert made["program"]["command"].startswith("gigaflow-train")
    assert results.estimates(made["figures"])["km"] == Estimate(None, 3.0, None, 0)
    assert len(paths[1].read_text().splitlines()) == 1 + 2 * 3


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "no readable results"),
        ("[]", "no 'schema'"),
        ('{"schema": 99}', "schema 99"),
        ('{"schema": 1}', "lack 'program'"),
    ],
)
def test_other_files_are_no_results(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        results.read(path)
    with pytest.raises(FileNotFoundError, match="there are no results"):
        results.read(tmp_path / "none.json")


def test_differences_of_the_scenes_that_both_have():
    found = compare.compare(content([0.1, 0.2, 0.3, 0.4]), content([0.3, 0.4, 0.5]))
    score = next(one for one in found if one.figure == "score")
    assert (score.n, score.difference) == (3, pytest.approx(0.2))
    assert score.low == pytest.approx(0.2) and score.clear
    assert not next(one for one in found if one.figure == "overlap").clear
    with pytest.raises(ValueError, match="two suites, waymax and nuplan"):
        compare.compare(content([0.1]), content([0.1], suite="nuplan"))
    with pytest.raises(ValueError, match="no scene in common"):
        compare.compare(content([0.1]), content([0.1], scenes=[{"scene": "other"}]))


def test_the_bootstrap_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    found = [compare.bootstrap(generator.normal(1.0, 2.0, 60), samples=500) for _ in range(400)]
    assert 365 <= sum(low < 1.0 < high for low, high in found) <= 393  # a bootstrap of 60 is a little too narrow
    assert compare.bootstrap(np.ones(1)) == (None, None)


def test_the_command_compare(tmp_path, capsys):
    for name, scores in (("a", [0.9, 0.8, 0.7]), ("b", [0.5, 0.4, 0.3])):
        results.write(tmp_path / name, content(scores))
    a, b = str(tmp_path / "a"), str(tmp_path / "b" / "results.json")
    assert main(["compare", a, b]) == 0
    assert "-0.4" in capsys.readouterr().out
    assert main(["compare", a, b, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["difference"] == pytest.approx(-0.4)
    assert main(["compare", a, b, "--fail-below", "score=-0.1"]) == 1
    assert main(["compare", a, b, "--fail-below", "score=-0.5"]) == 0
    assert main(["compare", a, b, "--fail-below", "scores=0"]) == 2
    assert main(["compare", a, b, "--fail-below", "score=x"]) == 2
    assert main(["compare", a, str(tmp_path / "c")]) == 2


def test_numbers_for_people():
    assert table.shown("score", 0.987) == "98.7%"
    assert table.shown("km", 12345.6) == "12,346"
    assert table.shown("years", None) == "-"
    assert table.cell("km_between_incidents", Estimate(None, 3.3, None, 0)).startswith("> 3.3")


# The page

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in the path")


@needs_chromium
def test_the_report_plays_scenes_in_a_browser(longform_run):
    out, _ = longform_run
    with Browser((1200, 800)) as browser:
        browser.open(out / "report.html")
        text = browser.run("document.body.innerText")
        assert "longform: random" in text and "published, other simulator" in text
        assert browser.run("getComputedStyle(document.querySelector('td.published')).color") != browser.run(
            "getComputedStyle(document.querySelector('#figures td')).color"
        )
        assert browser.run("document.getElementById('stage').hidden") is True
        browser.run("document.querySelector('button.play').click()")
        browser.until("report.frame?.contentWindow?.started?.()")
        assert browser.run("document.getElementById('stage').hidden") is False
        inside = "report.frame.contentWindow"
        before = browser.run(f"{inside}.document.getElementById('clock').textContent")
        browser.until(f"{inside}.document.getElementById('clock').textContent !== {json.dumps(before)}")
        assert "reward terms" in browser.run(f"{inside}.document.getElementById('inspect').innerText")
        browser.run(f"{inside}.document.getElementById('play').click()")
        still = browser.run(f"{inside}.document.getElementById('clock').textContent")
        browser.settle()
        assert browser.run(f"{inside}.document.getElementById('clock').textContent") == still
        browser.press("#back")
        assert browser.run("document.getElementById('stage').hidden") is True
        buttons = browser.run("document.querySelectorAll('button.play').length")
        if buttons > 1:
            browser.run("document.querySelectorAll('button.play')[1].click()")
            assert browser.run("report.open") == 1
            assert browser.run(f"{inside}.document.getElementById('name').textContent") != ""
        assert browser.errors == []
        assert all(url.startswith(("file:", "about:")) for url in browser.requests)


@needs_chromium
def test_the_report_sorts_and_finds(tmp_path):
    from gigaflow_train.benchmark import report_page

    path = report_page.write(tmp_path, content([1.0, 0.25, 0.75, 0.9]))
    with Browser((1000, 700)) as browser:
        browser.open(path)
        names = "[...document.querySelectorAll('details.type tbody td:first-child')].map((cell) => cell.innerText)"
        assert browser.run(names) == ["s1", "s3", "s2", "s0"]  # the type with the worst scene first, in it the worst first
        browser.run("document.getElementById('bad').click()")
        assert browser.run(names) == ["s1", "s3", "s2"]
        browser.run("(byId('find').value = 's3', byId('find').oninput())")
        assert browser.run(names) == ["s3"]
        assert "torn" in browser.run("document.getElementById('left').innerText")
        assert browser.errors == []


def test_a_name_cannot_end_the_page(tmp_path):
    from gigaflow_train.benchmark import report_page

    made = content([0.5])
    made["scenes"][0]["scene"] = "</script><script>alert(1)</script>{{SCRIPT}}"
    page = report_page.page(made)
    assert "</script><script>alert" not in page
    assert page.count("function begin()") == 1


def test_settings_are_json():
    json.dumps(run.settings(Request("longform", "idm")))
