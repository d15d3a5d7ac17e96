"""What a run shows while it trains: a live table on a terminal, a line every now and then elsewhere."""

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from gigaflow_train.journal import Row

SMOOTHING = 0.1
"""Weight of the newest row: a rollout holds few routes."""
LINE_EVERY = 15.0
"""[s] Between lines where there is no terminal."""

SHOWN = {
    "step": ("samples", "{:,.0f}"),
    "samples_per_s": ("samples/s", "{:,.0f}"),
    "goal_rate": ("goal rate", "{:.1%}"),
    "crash_rate": ("crash rate", "{:.1%}"),
    "mean_speed_mps": ("mean speed", "{:.1f} m/s"),
    "episode_return": ("return", "{:.2f}"),
    "kept": ("kept by the filter", "{:.0%}"),
    "entropy": ("entropy", "{:.2f}"),
    "explained": ("critic explains", "{:.0%}"),
}
COUNTERS = ("iteration", "step", "minutes", "spent")


class Dashboard:
    """`with Dashboard() as board: train(..., show=board.show)`."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.smooth: Row = {}
        self.spoke = float("-inf")
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None

    def __enter__(self) -> "Dashboard":
        if self.live:
            self.live.start()
        return self

    def show(self, row: Row) -> None:
        """Take in a row of the journal and draw it."""
        for name, number in row.items():
            before = number if name in COUNTERS else self.smooth.get(name, number)
            self.smooth[name] = before + SMOOTHING * (number - before)
        if self.live:
            self.live.update(Group(ProgressBar(total=1.0, completed=row["spent"]), self.table()), refresh=True)
        elif time.monotonic() - self.spoke > LINE_EVERY or row["spent"] >= 1.0:
            self.spoke = time.monotonic()
            self.console.print(self.line(), highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """A line above the table."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def table(self) -> Table:
        """The figures of now, for a terminal."""
        table = Table(show_header=False, box=None)
        table.add_row("minutes", f"{self.smooth['minutes']:.1f}")
        for name, (label, form) in SHOWN.items():
            if name in self.smooth:
                table.add_row(label, form.format(self.smooth[name]))
        return table

    def line(self) -> str:
        """The figures of now in one line, for a file."""
        parts = [f"{label} {form.format(self.smooth[name])}" for name, (label, form) in SHOWN.items() if name in self.smooth]
        return f"{self.smooth['minutes']:.1f} min: " + ", ".join(parts)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.live.stop()
