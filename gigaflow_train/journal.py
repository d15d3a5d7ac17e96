"""The journal of a run: one JSON line an iteration, one an evaluation, and the same for TensorBoard."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from gigaflow_env.extras import remedy
from gigaflow_train.config import TrainConfig
from gigaflow_train.files import write_text

METRICS, EVALUATIONS = "metrics.jsonl", "evaluations.jsonl"
Row = dict[str, float]


class Journal:
    """Opens DIR/metrics.jsonl, DIR/evaluations.jsonl and DIR/tensorboard.

    Rows after `iteration`, which a crash left behind, are dropped. writes: False for all but one of several processes,
    whose journal does nothing.
    """

    def __init__(self, directory: Path, iteration: int, config: TrainConfig, *, writes: bool = True) -> None:
        self.writes = writes
        self.wandb: Any = None
        if writes and config.wandb:
            self.wandb = _wandb(config, directory)
        if not writes:
            return
        self.path, self.evaluations = directory / METRICS, directory / EVALUATIONS
        rows = _until(self.path, iteration)
        if self.evaluations.exists():
            _until(self.evaluations, iteration)
        self.tensorboard = directory / "tensorboard"
        self.purge = int(rows[-1]["step"]) + 1 if rows else None

    def __enter__(self) -> "Journal":
        if not self.writes:
            return self
        self.lines: TextIO = self.path.open("a", encoding="utf-8")
        from torch.utils.tensorboard import SummaryWriter  # here: who reads the files needs no torch

        self.board = SummaryWriter(str(self.tensorboard), purge_step=self.purge)
        return self

    def write(self, row: Row) -> None:
        """Add a row to the journal and to TensorBoard."""
        if not self.writes:
            return
        self.lines.write(json.dumps(row) + "\n")
        self.lines.flush()
        for name, number in row.items():
            self.board.add_scalar(name, number, int(row["step"]))
        if self.wandb is not None:
            self.wandb.log(row, step=int(row["step"]))

    def evaluated(self, step: int, line: dict[str, Any]) -> None:
        """Write the figures of an evaluation, {name: {value, low, high, n}} among them."""
        with self.evaluations.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        for name, figure in line.items():
            if isinstance(figure, dict) and figure["value"] is not None:
                self.board.add_scalar(f"eval/{name}", figure["value"], step)
                if self.wandb is not None:
                    self.wandb.log({f"eval/{name}": figure["value"]}, step=step)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.writes:
            return
        self.lines.close()
        self.board.close()
        if self.wandb is not None:
            self.wandb.finish()


def _wandb(config: TrainConfig, directory: Path) -> Any:
    """A run at Weights & Biases, which goes on where the directory's did. Raises ValueError where it isn't installed."""
    try:
        import wandb
    except ModuleNotFoundError:
        raise ValueError(f"wandb={config.wandb!r} needs wandb: {remedy('wandb')}") from None
    return wandb.init(
        project=config.wandb, name=directory.name, id=directory.name, resume="allow", dir=directory, config=config.to_json()
    )


def _until(path: Path, iteration: int) -> list[Row]:
    """Rewrite a file of rows without those after an iteration; returns the others."""
    rows = [row for row in read(path) if row["iteration"] <= iteration] if path.exists() and iteration else []
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def read(path: Path) -> list[Row]:
    """The rows of a metrics.jsonl; the last line of a run that was killed may be torn, and is left out."""
    rows = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}, line {number}: not a JSON object ({error})") from None
    return rows
