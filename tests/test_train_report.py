"""What a run shows and leaves for people: report, curve, dashboard; and how Ctrl-C ends it."""

import io
import json
import signal

import pytest
from rich.console import Console
from train_stub import Stub

from gigaflow_train import curves, journal, report
from gigaflow_train.cli import main
from gigaflow_train.config import laptop
from gigaflow_train.dashboard import Dashboard
from gigaflow_train.evaluate.metrics import Estimate, proportion
from gigaflow_train.train import train

PNG = b"\x89PNG"


def test_a_report_compares_with_the_baselines_and_writes_three_files(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "VIDEO_SECONDS", 0.9)
    tiny = ["--num-envs", "32", "--set", "rollout=8", "set_widths=[8]", "trunk_widths=[16]"]
    assert main(["run", "--steps", "1000", "--threads", "1", "--out", str(tmp_path), *tiny]) == 0
    output = io.StringIO()
    found = report.write(tmp_path, num_envs=32, steps=40, seed=1, console=Console(file=output, width=120))
    assert list(found) == ["trained", "frozen", "random", "reverse"]
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["policies"]["frozen"]["km"] == found["frozen"]["km"]._asdict()
    assert saved["settings"]["steps"] == 40 and saved["settings"]["maps"] == ["loop"]
    assert "mean speed [m/s]" in output.getvalue() and "driven [km]" in output.getvalue()  # no markup
    assert (tmp_path / "curve.png").read_bytes().startswith(PNG)
    assert (tmp_path / "video.mp4").stat().st_size > 1000
    assert all(name in output.getvalue() for name in ("trained", "frozen", "random", "reverse", "goal reached"))
    assert found["frozen"]["mean_speed_mps"].value < found["random"]["mean_speed_mps"].value


def test_cells_say_what_is_known():
    assert report.cell(proportion(1, 4), "{:.0%}") == "25%\n[dim]5% to 70%[/dim]"
    assert report.cell(Estimate(None, 0.0, 1.0, 0), "{:.0%}") == "-"
    assert report.cell(Estimate(2.0, None, None, 1), "{:.1f}") == "2.0"
    assert report.cell(Estimate(2.0, 2.0, 2.0, 9), "{:.1f}") == "2.0"


def test_a_curve_is_a_moving_mean_of_the_rows_that_have_the_metric():
    rows = [{"step": 1e6 * k, "goal_rate": float(k)} for k in range(100)] + [{"step": 1e8}]
    xs, ys = curves.series(rows, "goal_rate")
    assert xs[:3] == [0.0, 1.0, 2.0] and len(xs) == 100
    assert ys[:3] == [0.0, 0.5, 1.5]  # 2 % of the rows: two


def test_no_rows_no_curve(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="no rows"):
        curves.draw(tmp_path, tmp_path / "curve.png")


@pytest.mark.parametrize("terminal", [True, False])
def test_the_dashboard_shows_smoothed_figures(terminal):
    output = io.StringIO()
    row = {"iteration": 1, "step": 1000, "minutes": 0.5, "spent": 0.5, "goal_rate": 0.5, "samples_per_s": 20_000.0}
    with Dashboard(Console(file=output, force_terminal=terminal, width=100)) as dashboard:
        dashboard.show(row)
        dashboard.show(row | {"step": 2000, "goal_rate": 1.0, "spent": 1.0})
    text = output.getvalue()
    assert "50.0%" in text and "55.0%" in text  # a tenth of the way from the first to the second
    assert "2,000" in text and "20,000" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_a_run_with_a_checkpoint(tmp_path, number):
    config = laptop().replace(
        num_envs=32, rollout=8, minutes=None, steps=10**9, set_widths=(8,), trunk_widths=(8,), vector_width=8, threads=1
    )
    before = signal.getsignal(number)

    def show(row):
        if row["iteration"] == 3:
            signal.raise_signal(number)

    last = train(Stub(32), config, tmp_path, show=show)
    assert last["iteration"] in (3, 4), "the one that was under way is finished"
    assert len(journal.read(tmp_path / "metrics.jsonl")) == last["iteration"]
    assert (tmp_path / "checkpoint.safetensors").exists() and (tmp_path / "resume.pt").exists()
    assert signal.getsignal(number) is before
