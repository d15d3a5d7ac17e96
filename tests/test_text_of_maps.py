"""XML in the encodings that programs write: names need not be readable to drive on a map."""

import warnings
from pathlib import Path

import pytest
from opendrive_files import geometry, road

from gigaflow_env.roads import MapError, MapWarning, RoadMap, load

NAME = "Straße"
ROADS = road(1, 50).replace("<road ", f'<road name="{NAME}" ')


def text(encoding: str | None) -> str:
    declared = "" if encoding is None else f' encoding="{encoding}"'
    return f'<?xml version="1.0"{declared} standalone="yes"?>\n<OpenDRIVE>{ROADS}</OpenDRIVE>'


def read(path: Path, data: bytes, strict: bool = False) -> RoadMap:
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapWarning)
        return load(path, strict=strict)


@pytest.mark.parametrize(
    ("declared", "written"),
    [
        (None, "utf-8"), ("UTF-8", "utf-8-sig"), ("utf-16", "utf-16"), (None, "utf-16"), ("UTF-16LE", "utf-16"),
        ("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("IBM850", "cp850"),
        ("GB2312", "gb18030"), ("gbk", "gb18030"),
    ],
)  # fmt: skip
def test_encodings_in_use_are_read(tmp_path, declared, written):
    road_map = read(tmp_path / "test", text(declared).encode(written), strict=True)
    assert list(road_map.lanes) == ["1.0.-1"] and road_map.report == ()


@pytest.mark.parametrize(
    ("encoding", "name"), [("Shift_JIS", "渋谷"), ("EUC-KR", "서울"), ("Big5", "臺北"), ("KOI8-R", "Невский")]
)
def test_so_are_those_of_other_scripts(tmp_path, encoding, name):
    data = text(encoding).replace(NAME, name).encode(encoding)
    assert read(tmp_path / "test.xodr", data, strict=True).report == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (text(None).encode("latin-1"), "is no UTF-8: 1 characters are read as"),
        (text("utf-16").encode(), "encoding='utf-16', which it is not: read as UTF-8"),
        (text("UTF-8").replace(NAME, NAME * 3).encode("latin-1"), "is no UTF-8: 3 characters are read as"),
    ],
)
def test_text_in_another_encoding_than_said_is_told(tmp_path, data, said):
    road_map = read(tmp_path / "test.xodr", data)
    assert list(road_map.lanes) == ["1.0.-1"]
    assert [entry.kind for entry in road_map.report] == ["text"] and said in road_map.report[0].done
    with pytest.raises(MapError, match=r"test\.xodr: text"):
        read(tmp_path / "test.xodr", data, strict=True)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (text("utf-7").encode("utf-7"), "encoding='utf-7' is none that is known"),
        (text("punycode").encode(), "encoding='punycode' is none that is known"),
        (text("cp99999").encode(), "encoding='cp99999' is none that is known"),
        (text(None).encode("utf-16")[2:], "zeros between its characters"),
        (text(None).replace("<OpenDRIVE>", '<!DOCTYPE a [<!ENTITY b "c">]><OpenDRIVE>').encode("utf-16"), "XML entities"),
    ],
)
def test_what_is_no_text_is_an_error(tmp_path, data, said):
    with pytest.raises(MapError, match=said):
        read(tmp_path / "test.xodr", data)


@pytest.mark.parametrize(
    "more", ['<userData code="a" value="b"/>', "<?xml-model href='a'?>", "<!-- a -->", "<dataQuality/>"]
)
def test_additional_data_is_no_shape(tmp_path, more):
    plan = geometry(f"{more}<line/>", 0, 0, 0, 0, 50)
    road_map = read(tmp_path / "test.xodr", f"<OpenDRIVE>{road(1, 50, plan)}</OpenDRIVE>".encode(), strict=True)
    assert list(road_map.lanes) == ["1.0.-1"]


@pytest.mark.parametrize(
    "data", [b"\n\n" + text(None).encode(), text(None).encode() + b"\n\0\0", b" " + text(None).encode()]
)
def test_what_lies_around_the_text_is_nothing(tmp_path, data):
    assert read(tmp_path / "test.xodr", data, strict=True).report == ()


@pytest.mark.parametrize("name", ["A & B", "A\x08B", "A &nbsp; B", "A &#7; B", "&"])
def test_names_may_hold_what_xml_does_not(tmp_path, name):
    data = text(None).replace(NAME, name).encode()
    road_map = read(tmp_path / "test.xodr", data)
    assert list(road_map.lanes) == ["1.0.-1"]
    assert road_map.report[0].done.endswith("1 characters are replaced")
    with pytest.raises(MapError, match="not well-formed XML"):
        read(tmp_path / "test.xodr", data, strict=True)


def test_a_file_that_is_cut_off_is_an_error(tmp_path):
    with pytest.raises(MapError, match="not well-formed XML"):
        read(tmp_path / "test.xodr", text(None).replace(NAME, "A & B").encode()[:-20])
