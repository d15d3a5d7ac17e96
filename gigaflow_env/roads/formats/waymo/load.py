"""Waymo Open Motion Dataset: TFRecord files of Scenario messages or of tf.Examples, to RoadMap and Scenario.

Source: scenario.proto, map.proto and the tf.Example description of the Waymo Open Dataset. Read are lanes, road lines, road
edges, stop signs with their lanes, crosswalks, lights and tracks. Not read: driveways, speed bumps, laser and camera data.
"""

from pathlib import Path

from gigaflow_env.roads.formats.waymo import protobuf, recording, tfrecord
from gigaflow_env.roads.formats.waymo.recording import Recording
from gigaflow_env.roads.formats.waymo.scenario_proto import is_scenario, read_message
from gigaflow_env.roads.formats.waymo.tf_example import is_example, read_example
from gigaflow_env.roads.import_report import fault
from gigaflow_env.roads.road_map import MapError, RoadMap
from gigaflow_env.roads.scenario import Scenario


def read(path: Path, record: int | str | None = None) -> RoadMap:
    """The map of one record: its number, or the id of its scenario; None will do where the file has only one.

    Raises MapError naming record and map element for what is no consistent map, and where reading is strict for the first
    thing that is damaged.
    """
    return recording.road_map(_read(path, record, with_traffic=False))


def read_scenario(path: Path, record: int | str | None = None) -> Scenario:
    """The traffic of one record; arguments and errors as for `read`."""
    return recording.scenario(_read(path, record, with_traffic=True))


def read_both(path: Path, record: int | str | None = None) -> tuple[RoadMap, Scenario]:
    """Map and traffic of one record; arguments and errors as for `read`."""
    return recording.both(_read(path, record, with_traffic=True))


def count(path: Path) -> int:
    """How many records a file has. Raises MapError where it is no TFRecord file."""
    return len(tfrecord.places(path))


def _read(path: Path, record: int | str | None, with_traffic: bool) -> Recording:
    places = tfrecord.places(path)
    if isinstance(record, str):
        return _search(path, places, record, with_traffic)
    if record is None and len(places) > 1:
        raise MapError(
            f"the file has {len(places)} records: say which, by its number or the id of its scenario, "
            "as in gigaflow_env.roads.load(path, record=0)"
        )
    number = record or 0
    if not 0 <= number < len(places):
        raise MapError(f"record {number}: the file has records 0..{len(places) - 1}")
    return _decode(path, number, places[number], with_traffic)


def _search(path: Path, places: list[tfrecord.Place], wanted: str, with_traffic: bool) -> Recording:
    for number, place in enumerate(places):
        if wanted.encode() not in tfrecord.bytes_of(path, place):
            continue
        found = _decode(path, number, place, with_traffic)
        if found.name == wanted:
            return found
    raise MapError(f"none of the {len(places)} records has the id {wanted!r}")


def _decode(path: Path, number: int, place: tfrecord.Place, with_traffic: bool) -> Recording:
    try:
        data = tfrecord.read_record(path, place)
        fields, wrong = protobuf.decode_start(data)
        if wrong is not None:
            fault("record", str(number), str(wrong), "what comes after it is left out")
        source = f"Waymo Open Motion Dataset, {path.name}, record {number}"
        if is_example(fields):
            return read_example(fields, path.stem, source, with_traffic)
        if not is_scenario(fields):
            raise MapError("neither a Scenario nor a tf.Example: it has no scenario_id, no tracks and no map features")
        return read_message(fields, path.stem, source, with_traffic)
    except MapError as error:
        raise MapError(f"record {number}: {error}") from error
