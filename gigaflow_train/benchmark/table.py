"""The table of a benchmark on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from gigaflow_train.benchmark.published import WORDS
from gigaflow_train.evaluate.metrics import Estimate

SHARES = (
    "score", "overlap", "collision", "offroad", "kinematic_infeasibility", "wrong_way", "off_route", "goal", "collided",
    "unfinished", "goal_rate", "collision_rate", "offroad_rate", "timeout_rate", "share_moving", "success", "start_conflict",
    "collision_of_fair_starts", "offroad_of_fair_starts", "score_of_fair_starts", "collided_of_fair_starts",
)  # fmt: skip
"""Figures that are shown as percents."""


def shown(name: str, value: float | None) -> str:
    """A number for people."""
    if value is None:
        return "-"
    if name in SHARES:
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def cell(name: str, estimate: Estimate) -> str:
    """A value, its interval and n."""
    value = shown(name, estimate.value)
    if estimate.value is None and estimate.low is not None:
        value = f"> {shown(name, estimate.low)}"
    if estimate.low is not None and estimate.high is not None and estimate.low != estimate.high:
        value += f"\n[dim]{shown(name, estimate.low)} to {shown(name, estimate.high)}[/dim]"
    return f"{value}\n[dim]n = {estimate.n:,}[/dim]"


def checks(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The checks of robustness: what each costs in goals."""
    columns = Table(title="what each change costs", caption="shares of routes, with n")
    for name in ("", "goals", "collisions", "off the road", "goals lost", "n"):
        columns.add_column(name, justify="left" if not name else "right")
    for row in rows:
        shares = ["-" if row[name] is None else f"{row[name]:.1%}" for name in ("goals", "collisions", "offroads", "loss")]
        columns.add_row(escape(str(row["scene"])), *shares, f"{row['goals_n']:,}")
    return columns


def table(
    title: str, policy: str, figures: Mapping[str, Estimate], baselines: Mapping[str, Mapping[str, Estimate]],
    published: Sequence[Mapping[str, Any]],
) -> Table:  # fmt: skip
    """A column a policy; below each value its 95 % interval and n; what others published in grey, and said to be theirs."""
    columns = Table(title=escape(title), caption="below each value: its 95 % interval, and n")
    columns.add_column("")
    for name in (policy, *baselines):
        columns.add_column(escape(name), justify="right", no_wrap=True)
    if published:
        columns.add_column(f"[bright_black]{WORDS}[/bright_black]", max_width=40)
    for name in figures:
        theirs = [f"{one['who']} {shown(name, one['value'])}" for one in published if one["figure"] == name]
        row = [escape(name.replace("_", " ")), cell(name, figures[name])]
        row += [cell(name, one[name]) if name in one else "" for one in baselines.values()]
        if published:
            row.append(f"[bright_black]{escape('; '.join(theirs))}[/bright_black]")
        columns.add_row(*row)
    return columns
