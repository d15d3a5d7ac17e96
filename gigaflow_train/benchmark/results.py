"""results.json: what a benchmark found, whole, with all that is needed to find it again."""

import csv
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env import __version__
from gigaflow_env.bench.machine import machine
from gigaflow_env.replay import Clip
from gigaflow_train.evaluate.metrics import Estimate
from gigaflow_train.files import replacing, write_text

SCHEMA = 1
"""Version of the file. A reader refuses others."""
NEEDED: dict[str, Any] = {
    "schema": int, "program": dict, "suite": str, "policy": dict, "settings": dict, "config": dict, "seeds": list,
    "hardware": dict, "seconds": (int, float), "figures": dict, "baselines": dict, "published": list, "scenes": list,
    "left_out": list,
}  # fmt: skip


class Outcome(NamedTuple):
    """What one policy came to in a suite."""

    figures: dict[str, Estimate]
    scenes: list[dict[str, Any]]  # a row a scene: always "scene", and what the suite measures
    left_out: list[dict[str, str]]  # scenes that could not be driven: "scene" and "reason"
    config: dict[str, Any]  # every value of the environment's Config
    seeds: list[int]
    seconds: float
    clips: Sequence[tuple[str, Clip]] = ()  # of scenes, by name: what report.html plays
    interrupted: bool = False  # by Ctrl-C: what was done until then is here


def plain(value: Any) -> Any:
    """A value as JSON has it: NaN and infinity become null, tuples lists."""
    if isinstance(value, Estimate):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def document(
    suite: str,
    policy: Mapping[str, Any],
    settings: Mapping[str, Any],
    outcome: Outcome,
    baselines: Mapping[str, Outcome],
    published: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of results.json."""
    where = machine()
    command = where.pop("command").replace("gigaflow-env", "gigaflow-train", 1)
    return plain(
        {
            "schema": SCHEMA,
            "program": {"name": "gigaflow-env", "version": __version__, "commit": where.pop("commit"), "command": command},
            "suite": suite,
            "policy": policy,
            "settings": settings,
            "config": outcome.config,
            "seeds": outcome.seeds,
            "hardware": where | {"system": platform.system(), "machine": platform.machine()},
            "seconds": outcome.seconds,
            "figures": outcome.figures,
            "baselines": {
                name: {"figures": one.figures, "scenes": one.scenes, "seconds": one.seconds}
                for name, one in baselines.items()
            },
            "published": published,
            "scenes": outcome.scenes,
            "left_out": outcome.left_out,
        }
    )


def write(directory: Path, content: Mapping[str, Any]) -> list[Path]:
    """Write results.json and the rows of the scenes as scenes.csv, and as scenes.parquet where pyarrow is there."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / "results.json", directory / "scenes.csv"]
    write_text(paths[0], json.dumps(content, indent=1, allow_nan=False) + "\n")
    rows = [{"policy": content["policy"]["name"], **row} for row in content["scenes"]]
    rows += [{"policy": name, **row} for name, one in content["baselines"].items() for row in one["scenes"]]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(paths[1], text.getvalue())
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return paths  # the same rows are in scenes.csv
    paths.append(directory / "scenes.parquet")
    with replacing(paths[2]) as part:
        parquet.write_table(pyarrow.table({key: [row.get(key) for row in rows] for key in columns}), part)
    return paths


def read(path: str | Path) -> dict[str, Any]:
    """A results.json, or the one in a directory.

    Raises FileNotFoundError, or ValueError that names what is wrong, for a file of another kind or version.
    """
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there are no results")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no readable results: {error}") from None
    if not isinstance(content, dict) or "schema" not in content:
        raise ValueError(f"{path}: no results of gigaflow-train benchmark: it has no 'schema'")
    if content["schema"] != SCHEMA:
        raise ValueError(f"{path}: results of schema {content['schema']!r}; this version reads {SCHEMA}")
    for name, kind in NEEDED.items():
        if name not in content or not isinstance(content[name], kind):
            raise ValueError(f"{path}: the results lack {name!r}, or it is of the wrong kind")
    return content


def estimates(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Estimate]:
    """Figures of a file as they were."""
    return {name: Estimate(**one) for name, one in figures.items()}
