"""OpenStreetMap extracts (*.osm) to RoadMap: Eclipse SUMO's netconvert makes a network of them, `sumo` reads it.

OpenStreetMap has streets, not lanes: widths, connectors, programs of traffic lights and what is not tagged are netconvert's
guesses. Kept is the largest connected part with what cars may use. Where the extract cuts a street, its lanes end: exits,
and entries on the other side. Ours: no U-turns at dead ends, for netconvert's have a radius that no car can drive.
"""

import importlib.util
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from gigaflow_env.extras import remedy
from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.sumo import load as sumo
from gigaflow_env.roads.road_map import MapError, RoadMap

LICENCE = "ODbL 1.0 (opendatacommons.org/licenses/odbl)"
ATTRIBUTION = "© OpenStreetMap contributors (openstreetmap.org/copyright)"
"""The licence of the data asks for both wherever a map made of it goes."""
TIMEOUT = 900.0
"""[s] for netconvert: a town takes seconds."""
OPTIONS = (
    "--geometry.remove",
    "--geometry.min-dist=0.5",
    "--junctions.join",
    "--roundabouts.guess",
    "--ramps.guess",
    "--tls.guess-signals",
    "--tls.join",
    "--tls.discard-simple",
    "--tls.default-type=static",
    "--no-turnarounds",
    "--rectangular-lane-cut",
    "--junctions.internal-link-detail=8",
    "--keep-edges.by-vclass=passenger",
    "--keep-edges.components=1",
    "--remove-edges.isolated",
    "--osm.turn-lanes",
    "--osm.lane-access",
    "--no-warnings",
)


def read(path: Path) -> RoadMap:
    """Read an OpenStreetMap extract in XML.

    Raises MapError where it is not one, where netconvert is not installed or fails, and where nothing is left that cars may
    use.
    """
    xml.parse(path, "osm", "an OpenStreetMap file")  # before a foreign parser gets it
    program = _netconvert()
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / f"{path.stem}{sumo.SUFFIX}"
        _convert(program, path, network)
        road_map = sumo.read(network)
    source = f"OpenStreetMap extract {path.name}, lanes by netconvert"
    return replace(road_map, source=source, licence=LICENCE, attribution=ATTRIBUTION)


def _netconvert() -> Path:
    """The program netconvert: on the PATH, or in the package eclipse-sumo."""
    found = shutil.which("netconvert")
    if found is not None:
        return Path(found)
    package = importlib.util.find_spec("sumo")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        if (program := Path(folder) / "bin" / "netconvert").is_file():
            return program
    raise MapError(f"OpenStreetMap files need the program netconvert: {remedy('osm')}")


def _convert(program: Path, path: Path, network: Path) -> None:
    command = [str(program), *OPTIONS, f"--osm-files={path.resolve()}", f"--output-file={network}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise MapError(f"netconvert took more than {TIMEOUT:.0f} s: cut a smaller extract") from error
    if done.returncode != 0 or not network.is_file():
        said = next((line for line in done.stderr.splitlines() if line.startswith("Error")), f"code {done.returncode}")
        raise MapError(f"netconvert can't read it: {said}")
