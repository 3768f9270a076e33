"""Krippendorff's alpha against published worked examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ferstream.training.data_cli import app
from ferstream.training.errors import OptionsWrong
from ferstream.training.measuring.agreement import (
    Level,
    coincidences,
    krippendorff_alpha,
    read_ratings,
)

# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections A to C.
BINARY = ["0100000010", "1110010000"]
WORDS = ["aabbdcccedda", "babbbccceddd"]
FOUR_RATERS = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . .",
    ". 3 3 3 2 3 4 2 2 5 1 3",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]
# The encyclopedia's computational example, "Krippendorff's alpha" in Wikipedia.
THREE_RATERS = [
    ". . . . . 3 4 1 2 1 1 3 3 . 3",
    "1 . 2 1 3 3 4 3 . . . . . . .",
    ". . 2 1 3 4 4 . 2 1 1 3 3 . 4",
]


def numbers(rows: list[str]) -> list[list[int | None]]:
    return [[None if value == "." else int(value) for value in row.split()] for row in rows]


@pytest.mark.parametrize(
    ("ratings", "level", "published"),
    [
        ([list(row) for row in BINARY], "nominal", 0.095),
        ([list(row) for row in WORDS], "nominal", 0.692),
        (numbers(FOUR_RATERS), "nominal", 0.743),
        (numbers(FOUR_RATERS), "ordinal", 0.815),
        (numbers(FOUR_RATERS), "interval", 0.849),
        (numbers(THREE_RATERS), "nominal", 0.691),
        (numbers(THREE_RATERS), "interval", 0.811),
    ],
)
def test_published_examples(ratings: Any, level: Level, published: float) -> None:
    assert krippendorff_alpha(ratings, level) == pytest.approx(published, abs=5e-4)


def test_nan_is_a_missing_rating() -> None:
    rows = numbers(THREE_RATERS)
    as_nan = np.array([[np.nan if value is None else value for value in row] for row in rows])
    assert krippendorff_alpha(as_nan.tolist()) == krippendorff_alpha(rows)


def test_the_ends_of_the_scale() -> None:
    assert krippendorff_alpha([[1, 2, 3], [1, 2, 3]]) == 1
    assert krippendorff_alpha([[1, 2], [2, 1]]) < 0
    rng = np.random.default_rng(0)
    assert abs(krippendorff_alpha(rng.integers(0, 4, (3, 4000)).tolist())) < 0.02


def test_near_misses_count_less_where_values_have_an_order() -> None:
    near = [[1, 2, 3, 4, 5, 5], [2, 3, 4, 5, 4, 5]]
    assert krippendorff_alpha(near, "interval") > krippendorff_alpha(near, "nominal") + 0.3


def test_a_unit_counts_as_often_as_it_has_ratings() -> None:
    """Hayes and Krippendorff 2007: n is the number of ratings that can be paired."""
    found = coincidences([["a", "a", "b"], ["b", "b"]], ["a", "b"])
    assert found.tolist() == [[1, 1], [1, 2]]


@pytest.mark.parametrize(
    ("ratings", "level", "message"),
    [
        ([[1, 2], [1]], "nominal", "different numbers of units"),
        ([[1, None], [None, 2]], "nominal", "no unit has two"),
        ([[1, 1], [1, 1]], "nominal", "without variation"),
        ([["a", "b"], ["a", "b"]], "interval", "no number"),
        ([[1, 2], [1, 2]], "ratio", "there are nominal, ordinal, interval"),
    ],
)
def test_what_cannot_be_measured_says_so(ratings: Any, level: Any, message: str) -> None:
    with pytest.raises(OptionsWrong, match=message):
        krippendorff_alpha(ratings, level)


def test_a_study_is_read_from_its_rows(tmp_path: Path) -> None:
    """The published binary example as rows, in the order in which raters sent them."""
    path = tmp_path / "study.csv"
    rows = [
        f"{value},{unit},r{rater}"
        for unit in range(10)
        for rater, values in enumerate(BINARY)
        for value in values[unit]
    ]
    path.write_text("\n".join(["value,unit,rater", *rows]))
    assert krippendorff_alpha(read_ratings(path), "interval") == pytest.approx(0.095, abs=5e-4)
    path.write_text("rater,unit,value\na,1,agree\nb,1,similar\nb,2,agree\na,3,2\n")
    assert read_ratings(path) == [["agree", None, "2"], ["similar", "agree", None]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rater,unit\na,1\n", "no column 'value'"),
        ("rater,unit,value\na,1,\n", "line 2: an empty field"),
        ("rater,unit,value\na,1\n", "line 2: an empty field"),
        ("rater,unit,value\na,1,2\na,1,3\n", "line 3: a judged 1 twice"),
    ],
)
def test_a_wrong_study_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.csv"
    path.write_text(text)
    with pytest.raises(OptionsWrong, match=message):
        read_ratings(path)


def test_agreement_by_the_command_line(tmp_path: Path) -> None:
    """Four raters of twelve units: alpha as published, by names and by numbers."""
    file = tmp_path / "study.csv"
    rows = [
        f"rater{rater},unit{unit},{value}"
        for rater, row in enumerate(FOUR_RATERS)
        for unit, value in enumerate(row.split())
        if value != "."
    ]
    file.write_text("\n".join(["rater,unit,value", *rows]))
    runner = CliRunner()
    shown = runner.invoke(app, ["agreement", str(file)])
    assert shown.exit_code == 0 and "alpha 0.743 (nominal): 41 ratings of 12 units" in shown.stdout
    told = json.loads(
        runner.invoke(app, ["agreement", str(file), "--level", "interval", "--json"]).stdout
    )
    assert told["alpha"] == pytest.approx(0.849, abs=5e-4) and told["raters"] == 4
    with pytest.raises(OptionsWrong, match="no file of ratings at"):
        runner.invoke(app, ["agreement", str(tmp_path / "none.csv")], catch_exceptions=False)
