"""The training curve as a picture."""

from pathlib import Path

from gigaflow_train.files import replacing
from gigaflow_train.journal import METRICS, Row, read

WINDOW = 0.02
"""Share of the rows that a point of a curve is the mean of: a rollout holds few routes."""

PANELS = {
    "routes, share": {"goal_rate": "goal reached", "collision_rate": "collided", "offroad_rate": "left the road",
                      "timeout_rate": "timed out"},
    "episode return": {"episode_return": "return"},
    "mean speed [m/s]": {"mean_speed_mps": "speed"},
    "share": {"kept": "samples kept", "explained": "variance the critic explains"},
}  # fmt: skip


def draw(directory: Path, path: Path) -> None:
    """Draw the metrics of a run directory over its samples, as PNG. Raises ValueError where there are none."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here: half a second, and only drawing needs it
    from matplotlib.figure import Figure

    rows = read(directory / METRICS)
    if not rows:
        raise ValueError(f"{directory / METRICS} has no rows: there is no curve to draw")
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, lines) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for name, label in lines.items():
            axes.plot(*series(rows, name), label=label)
        axes.set(xlabel="million samples", title=title)
        axes.grid(alpha=0.3)
        axes.legend()
        if title.endswith("share"):
            axes.set_ylim(-0.02, 1.02)
    last = rows[-1]
    speed = last["step"] / 60.0 / max(last["minutes"], 1e-9)
    figure.suptitle(f"{last['step'] / 1e6:.1f} million samples in {last['minutes']:.1f} minutes: {speed:,.0f} samples/s")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def series(rows: list[Row], name: str) -> tuple[list[float], list[float]]:
    """A metric over million samples, each point the mean of WINDOW of the rows up to it."""
    points = [(row["step"] / 1e6, row[name]) for row in rows if name in row]
    width = max(1, round(WINDOW * len(points)))
    xs = [x for x, _ in points]
    recent = [[y for _, y in points[max(0, k + 1 - width) : k + 1]] for k in range(len(points))]
    return xs, [sum(ys) / len(ys) for ys in recent]
