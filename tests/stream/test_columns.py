"""Every column of every table is in docs/columns.md, and every one there is in a table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ferstream.engines.bundle import load_bundle
from ferstream.engines.labels import labels_of
from ferstream.stream.options import ColumnsName
from ferstream.stream.result import Result
from ferstream.stream.sinks.table import COLUMNS, FaceTable, requested, roll_deg, units_of
from ferstream.stream.sinks.tally import columns as clip_columns

from .fakes import face

LABELS = labels_of(load_bundle("default").manifest)
TABLE = FaceTable(LABELS, 3, COLUMNS)
SHAPES = [name for name in LABELS.blendshapes if not name.startswith("_")]


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "columns.md").read_text("utf-8")


def documented(page: str) -> list[str]:
    """Patterns of the names in the tables."""
    rows = [line for line in page.splitlines() if line.startswith("|")]
    names = [name for row in rows for name in re.findall(r"`([\w*]+)`", row)]
    asked = set(COLUMNS) - {"pose"}
    return [
        re.sub(r"(?<=[a-z])N(?=$|_)", r"\\d+", name.replace("*", r"\w+"))
        for name in names
        if name not in asked
    ]


def test_the_document_names_each_column(page: str) -> None:
    patterns = documented(page)
    for name in (*TABLE.names, *(column.name for column in clip_columns(LABELS))):
        assert any(re.fullmatch(pattern, name) for pattern in patterns), name
    assert len(set(TABLE.names)) == len(TABLE.names)
    columns = [p for p in patterns if re.match(r"(AU|pose_|box_|quality_|frame_|top|landmark)", p)]
    for pattern in columns:
        assert any(re.fullmatch(pattern, name) for name in TABLE.names), pattern


def test_the_document_has_each_unit_with_its_blendshapes(page: str) -> None:
    told = dict(re.findall(r"^\| `(AU\d+)` \| [^|]+ \| ([\w, ]+) \|$", page, re.MULTILINE))
    assert {unit: tuple(names.split(", ")) for unit, names in told.items()} == units_of(SHAPES)
    assert [one.value for one in ColumnsName] == list(COLUMNS)


def test_rows_and_tables_tell_the_same() -> None:
    au = np.linspace(0, 1, 52, dtype=np.float32)
    one = replace(face(), blendshape_values=au, blendshape_names=LABELS.blendshapes)
    told = requested(one, COLUMNS)
    (row,) = TABLE.rows(Result(4, 0.25, "clip", [one]))
    values = dict(zip(TABLE.names, row, strict=True))
    shapes = dict(zip(LABELS.blendshapes, au.tolist(), strict=True))
    assert values["AU45"] == (shapes["eyeBlinkLeft"] + shapes["eyeBlinkRight"]) / 2
    assert values["AU17"] == shapes["mouthShrugLower"] == values["blendshape_mouthShrugLower"]
    assert told["units"]["AU45"] == round(float(values["AU45"] or 0), 4)
    assert told["landmarks"][467] == [
        round(float(values[f"landmark467_{axis}"] or 0), 1) for axis in "xy"
    ]
    assert (values["pose_yaw"], told["pose"]["pitch_deg"]) == (3.0, -2.0)
    assert values["pose_roll"] == pytest.approx(told["pose"]["roll_deg"], abs=0.05)
    assert values["quality_clear"] == told["quality"]["clear"] == 0.98
    (gone,) = TABLE.rows(Result(5, 0.3, "clip", []))
    assert len(gone) == len(row) and gone[:5] == (5, -1, 0.3, 0, 0) and gone[-1] == "clip"


def test_a_head_that_leans() -> None:
    points = np.zeros((468, 2), np.float32)
    points[33], points[263] = (10, 10), (20, 20)
    assert roll_deg(points) == pytest.approx(45)


def test_a_bundle_that_lacks_blendshapes_has_no_units() -> None:
    assert units_of(()) == {} == units_of(["unit1"])
    assert units_of(["jawOpen"]) == {"AU26": ("jawOpen",)}
