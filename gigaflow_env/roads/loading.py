"""Map files: the formats that can be read, and the towns that come with the package."""

import gzip
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from gigaflow_env.progress import slow
from gigaflow_env.roads import import_report
from gigaflow_env.roads.cut import check_part, cut
from gigaflow_env.roads.file_format import by_content
from gigaflow_env.roads.file_format import importer as importer_of
from gigaflow_env.roads.formats import lanes_json, scene_npz
from gigaflow_env.roads.formats.common.grades import note_grades
from gigaflow_env.roads.formats.common.mend import mended
from gigaflow_env.roads.road_map import Entry, MapError, MapWarning, RoadMap, validate
from gigaflow_env.roads.scenario import Scenario, validate_scenario

TRAFFIC = (
    "*.xml (CommonRoad)",
    "*.tfrecord* (Waymo Open Motion)",
    "*.json (GPUDrive)",
    "*.pkl (ScenarioNet)",
    "*.parquet (Argoverse 2 motion forecasting)",
    "*.db (nuPlan logs)",
    f"*{scene_npz.SUFFIX}",
)
"""What recorded traffic can be read from, for people."""
MAX_UNPACKED = 2 << 30
"""[bytes] Ours: a packed file may not hold more; the largest maps have some hundred MB."""
SMALL = 1 << 15
"""[bytes] Ours: reading so much takes 0.1 s at most."""
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
MAX_LAYERS = 3
"""Ours: so many archives inside of each other are unpacked."""


def shipped() -> dict[str, Path]:
    """The towns that come with the package: name -> `*.lanes.json`."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "maps", package.parent / "maps"):  # inside the wheel; in a checkout
        if folder.is_dir():
            return {path.name.removesuffix(lanes_json.SUFFIX): path for path in sorted(folder.glob("*" + lanes_json.SUFFIX))}
    return {}


MapLike = str | os.PathLike[str] | RoadMap
"""Name of a shipped town, `random:SEED` or `random:STYLE:SEED`, path of a map file, or a RoadMap."""

RANDOM = "random:"
"""A map of this name and a whole number is the random town of that seed; a style may stand between them."""


def check_random(name: str) -> tuple[str, int] | None:
    """Style and seed of `random:SEED` or `random:STYLE:SEED`, None for a name of another kind. The style of the first is "".

    Raises ValueError where SEED is no whole number or there is no such style.
    """
    if not name.startswith(RANDOM):
        return None
    from gigaflow_env.roads.towns.random_town import STYLES

    style, colon, seed = name.removeprefix(RANDOM).rpartition(":")
    if style not in STYLES or (colon and not style):
        named = ", ".join(style for style in STYLES if style)
        raise ValueError(
            f"map={name!r}: there is no style {style!r} of random towns, only {named}, for example {RANDOM}old:7"
        )
    if not (seed.isascii() and seed.isdigit()):
        raise ValueError(f"map={name!r}: a random town is named by a whole number, for example {RANDOM}7")
    return style, int(seed)


def check_name(given: str | os.PathLike[str]) -> None:
    """Raises ValueError for what is neither a shipped town, nor a random one, nor a file. Nothing is opened."""
    name, towns = str(given), shipped()
    if name in towns or check_random(name) is not None:
        return
    if name == "" or not Path(given).exists():
        raise ValueError(
            f"map={name!r} is neither a shipped town ({', '.join(sorted(towns))}), nor {RANDOM}SEED, nor a file"
        )
    if Path(given).is_dir():
        raise ValueError(f"map={name!r} is a directory: name one of the map files in it")


def find(given: MapLike) -> RoadMap:
    """The RoadMap that a user names.

    Raises ValueError with the shipped names, MapError with place and reason, TypeError for anything else.
    """
    if isinstance(given, RoadMap):
        return given
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(f"map={given!r}: expected the name of a shipped town, the path of a map file, or a RoadMap")
    check_name(given)
    name, towns = str(given), shipped()
    if name in towns:
        return load(towns[name])
    drawn = check_random(name)
    if drawn is not None:
        from gigaflow_env.roads.towns import random_town

        style, seed = drawn
        return random_town.town(seed, style).town
    return load(given)


def load(
    path: str | os.PathLike[str],
    *,
    record: int | str | None = None,
    program: str | None = None,
    strict: bool = False,
    around: tuple[float, float] | None = None,
    radius: float | None = None,
) -> RoadMap:
    """Read and validate a map. The file's content says the format, see FORMATS; it may be packed by gzip or zip.

    What a car does not need, and references that lead nowhere, are repaired or left out: `RoadMap.report` lists all of it,
    and one MapWarning sums it up. strict: the first fault of the file is an error instead.
    record: number or id of a record, in a file that has several: a scenario of Waymo Open Motion, or a scene of a nuPlan log
    (there the id is the token of the sweep at which 15 s begin).
    program: name of the traffic lights' program, in a file that has several for a junction (SUMO); see `lights="program"`.
    around, radius: only the part within `radius` [m] of x, y [m] is kept, with its cut ends as exits; see `cut`.
    Raises MapError that names the file for a format that is not supported and for content that makes no map, ValueError
    where only one of `around` and `radius` is given.
    """
    if (around is None) != (radius is None):
        raise ValueError(f"around={around}, radius={radius}: a part of a map needs both")
    if radius is not None:
        check_part(around, radius)
    path = _file(path)
    with _said(path), _opened(path) as file, import_report.collecting(strict) as report:
        importer = importer_of(file)
        road_map = importer.read(file, **_chosen(importer, record), **_program(importer, program))
        road_map = _finished(road_map, importer, report, around, radius)
    return _reported(road_map, report, path)


def load_scene(
    path: str | os.PathLike[str], *, record: int | str | None = None, strict: bool = False
) -> tuple[RoadMap, Scenario]:
    """Map and recorded traffic of a file, which is read once; arguments and errors as for `load` and `load_scenario`."""
    path = _file(path)
    with _said(path), _opened(path) as file, import_report.collecting(strict) as report:
        importer = importer_of(file)
        _check_traffic(importer)
        chosen = _chosen(importer, record)
        if hasattr(importer, "read_both"):
            road_map, scenario = importer.read_both(file, **chosen)
        else:
            road_map, scenario = importer.read(file, **chosen), importer.read_scenario(file, **chosen)
        road_map = _finished(road_map, importer, report)
        validate_scenario(scenario)
    return _reported(road_map, report, path), scenario


def records(path: str | os.PathLike[str]) -> int:
    """How many records with recorded traffic a file has: `record` in `load_scene` may be 0 to this less 1.

    They are the scenarios of a file of Waymo Open Motion, and the scenes of a nuPlan log. Raises MapError as `load_scene`.
    """
    path = _file(path)
    with _opened(path) as file, import_report.collecting():
        importer = importer_of(file)
        _check_traffic(importer)
        return importer.count(file) if hasattr(importer, "count") else 1


def _finished(
    road_map: RoadMap,
    importer: Any,
    report: list[Entry],
    around: tuple[float, float] | None = None,
    radius: float | None = None,
) -> RoadMap:
    """The map as it's handed out: mended, cut and checked."""
    own = importer in (lanes_json, scene_npz)  # written by this package: a fault in it is an error
    if not own:
        road_map = mended(road_map)
    if around is not None and radius is not None:
        road_map = cut(road_map, around, radius)
    if not own:
        note_grades(road_map)
    try:
        validate(road_map)
    except MapError as error:
        faults = "; ".join(map(str, report[: import_report.NAMED]))
        raise MapError(f"{error}; left out before: {faults}" if report else str(error)) from error
    return road_map


def _reported(road_map: RoadMap, report: list[Entry], path: Path) -> RoadMap:
    """The map with its report; a warning sums it up. A scene keeps the report of the file that it comes from."""
    if report:
        warnings.warn(f"{path}: {import_report.summarised(report)}", MapWarning, stacklevel=3)
    return replace(road_map, report=(*road_map.report, *report))


def load_scenario(path: str | os.PathLike[str], *, record: int | str | None = None, strict: bool = False) -> Scenario:
    """Read and validate recorded traffic; `load` reads the map in the same file.

    TRAFFIC names the formats that have any.

    record, strict: as for `load`. Raises MapError for a format without recorded traffic and for content that is not
    consistent.
    """
    path = _file(path)
    with _said(path), _opened(path) as file, import_report.collecting(strict) as report:
        importer = importer_of(file)
        _check_traffic(importer)
        scenario = importer.read_scenario(file, **_chosen(importer, record))
        validate_scenario(scenario)
    if report:
        warnings.warn(f"{path}: {import_report.summarised(report)}", MapWarning, stacklevel=2)
    return scenario


def _check_traffic(importer: Any) -> None:
    if not hasattr(importer, "read_scenario"):
        raise MapError(f"no recorded traffic in this format; supported are {', '.join(TRAFFIC)}")


def _file(path: str | os.PathLike[str]) -> Path:
    """The path of a file. Raises MapError for a directory; what does not exist is found missing where it's opened."""
    if Path(path).is_dir():
        raise MapError(f"{path}: is a directory, expected a map file")
    return Path(path)


def _said(path: Path) -> AbstractContextManager[None]:
    """Say that a file is being read if it takes long; small ones don't: a thread for that would take longer."""
    small = path.exists() and path.stat().st_size < SMALL
    return nullcontext() if small else slow(f"reading {path}")


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """The file as importers read it, unpacked where gzip packed it; a MapError raised meanwhile names the file."""
    try:
        if not _is_packed(path):
            yield path
            return
        with tempfile.TemporaryDirectory() as folder:
            yield _unpacked(path, Path(folder))
    except MapError as error:
        raise MapError(f"{path}: {error}") from error


def _is_packed(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_ZIP)).startswith((_GZIP, _ZIP))


def _unpacked(path: Path, folder: Path, layers: int = MAX_LAYERS) -> Path:
    """The file itself, or what a gzip or zip file holds: of several files in an archive the one that is a map."""
    with open(path, "rb") as file:
        head = file.read(len(_ZIP))
    if head.startswith(_GZIP):
        held = partial(_from_gzip, path)
    elif head == _ZIP and zipfile.is_zipfile(path) and by_content(path) is None and not path.name.endswith(scene_npz.SUFFIX):
        held = partial(_from_zip, path)
    else:
        return path
    if layers == 0:
        raise MapError(f"archives in archives: at most {MAX_LAYERS} are unpacked")
    inside = folder / str(layers)
    inside.mkdir()
    return _unpacked(held(inside), inside, layers - 1)


def _from_gzip(path: Path, folder: Path) -> Path:
    return _written(cast(IO[bytes], gzip.open(path)), folder / path.name.removesuffix(".gz"))


def _from_zip(path: Path, folder: Path) -> Path:
    """The one file of an archive, or the one of several whose content is a map's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            if len(names) > 1:  # what an operating system adds begins with a point
                names = [name for name in names if not Path(name).name.startswith(".")]
            if len(names) > 1:
                names = [name for name in names if _is_map(archive, name, folder)]
            if len(names) != 1:
                raise MapError(f"the archive holds {len(names)} map files: there must be one")
            return _written(archive.open(names[0]), folder / (Path(names[0]).name or "map"))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged; encrypted; unknown compression
        raise MapError(f"zip can't unpack it: {error}") from error


def _is_map(archive: zipfile.ZipFile, name: str, folder: Path) -> bool:
    """Whether a file of an archive is a map: what it holds says so, also where it is packed once more."""
    file = _written(archive.open(name), folder / "looked at")
    try:
        with open(file, "rb") as opened:
            packed = opened.read(len(_ZIP)).startswith((_GZIP, _ZIP))
        return packed or by_content(file) is not None
    finally:
        file.unlink()


def _written(packed: IO[bytes], unpacked: Path) -> Path:
    """The unpacked file, at most MAX_UNPACKED large."""
    size = 0
    try:
        with packed as source, open(unpacked, "wb") as target:
            while block := source.read(1 << 20):
                size += len(block)
                if size > MAX_UNPACKED:
                    raise MapError(f"it holds more than {MAX_UNPACKED >> 20} MiB: unpack it, and cut out a part")
                target.write(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MapError(f"gzip can't unpack it: {error}") from error
    return unpacked


def _chosen(importer: Any, record: int | str | None) -> dict[str, int | str]:
    """The argument of an importer that says which record."""
    if record is None:
        return {}
    if not hasattr(importer, "count"):
        raise MapError(f"record={record!r}: only files of Waymo Open Motion and nuPlan logs have several records")
    return {"record": record}


def _program(importer: Any, program: str | None) -> dict[str, str]:
    """The argument of an importer that says which program of the lights."""
    if program is None:
        return {}
    if not importer.__name__.endswith(".sumo"):
        raise MapError(f"program={program!r}: only SUMO networks have several programs of a light")
    return {"program": program}
