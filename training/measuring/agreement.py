"""Krippendorff's alpha: how far raters agree beyond chance (paper 000, section 4.2).

Krippendorff, Computing Krippendorff's Alpha-Reliability (2011); Hayes and Krippendorff (2007).
The package `krippendorff` computes the same, but is under the GPL 3, which a wheel under Apache 2.0
does not ask of its users; so it is computed here.

R raters, U units, V values.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong

Level = Literal["nominal", "ordinal", "interval"]
Array = npt.NDArray[np.float64]


def krippendorff_alpha(ratings: Sequence[Sequence[Any]], level: Level = "nominal") -> float:
    """1 for perfect agreement, 0 for chance, below 0 for systematic disagreement.

    Args:
        ratings: R rows of U ratings, None or NaN where a rater did not judge a unit. Nominal
            values may be words; ordinal and interval ones are numbers. Units with fewer than two
            ratings are left out.
        level: nominal (same or not), ordinal (by ranks) or interval (squared difference).

    Raises:
        OptionsWrong: rows of different lengths, an unknown level, values that are no numbers where
            numbers are needed, no unit with two ratings, or all ratings the same (no chance
            disagreement to compare with).
    """
    if level not in ("nominal", "ordinal", "interval"):
        raise OptionsWrong(f"level {level!r}: there are nominal, ordinal, interval")
    if len({len(row) for row in ratings}) > 1:
        raise OptionsWrong("raters with different numbers of units: give None where one is missing")
    units = [[value for value in unit if _given(value)] for unit in zip(*ratings, strict=True)]
    paired = [unit for unit in units if len(unit) > 1]
    if not paired:
        raise OptionsWrong("no unit has two ratings: agreement cannot be measured")
    values = _values({value for unit in paired for value in unit}, level)
    coincidence = coincidences(paired, values)
    difference = _difference(coincidence.sum(axis=1), values, level)
    total = coincidence.sum()
    shown = coincidence.sum(axis=1)
    expected = (np.outer(shown, shown) * difference).sum() / (total - 1)
    if expected == 0:
        raise OptionsWrong("all ratings are the same: alpha is not defined without variation")
    return float(1 - (coincidence * difference).sum() / expected)


def read_ratings(path: Path) -> list[list[float | str | None]]:
    """A rating study as `krippendorff_alpha` takes it, from a CSV file with the columns rater,
    unit and value, one rating a row, in any order. Values are numbers if all of them are.

    Raises:
        OptionsWrong: no such file, a column is missing, an empty field, or a rater judged a unit
            twice.
    """
    if not path.is_file():
        raise OptionsWrong(f"no file of ratings at {path}: needs rows of rater, unit, value")
    found: dict[tuple[str, str], str] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        lacking = {"rater", "unit", "value"} - set(rows.fieldnames or ())
        if lacking:
            raise OptionsWrong(f"{path} has no column {min(lacking)!r}: needs rater, unit, value")
        for row in rows:
            rater, unit, value = (row[name] or "" for name in ("rater", "unit", "value"))
            if not (rater and unit and value):
                raise OptionsWrong(f"{path}, line {rows.line_num}: an empty field")
            if (rater, unit) in found:
                raise OptionsWrong(f"{path}, line {rows.line_num}: {rater} judged {unit} twice")
            found[rater, unit] = value
    raters = list(dict.fromkeys(rater for rater, _ in found))
    units = list(dict.fromkeys(unit for _, unit in found))
    given: dict[tuple[str, str], float | str]
    try:
        given = {place: float(value) for place, value in found.items()}
    except ValueError:
        given = dict(found)
    return [[given.get((rater, unit)) for unit in units] for rater in raters]


def coincidences(units: Sequence[Sequence[Any]], values: Sequence[Any]) -> Array:
    """(V, V): how often two values meet in a unit, a unit of m ratings counting m."""
    place = {value: at for at, value in enumerate(values)}
    found = np.zeros((len(values), len(values)))
    for unit in units:
        counts = np.bincount([place[value] for value in unit], minlength=len(values))
        pairs = np.outer(counts, counts) - np.diag(counts)
        found += pairs / (len(unit) - 1)
    return found


def _given(value: Any) -> bool:
    return value is not None and value == value  # NaN is not itself


def _values(found: set[Any], level: Level) -> list[Any]:
    if level == "nominal":
        return sorted(found, key=str)
    words = [value for value in found if isinstance(value, str)]
    if words:
        raise OptionsWrong(f"{words[0]!r} is no number: {level} ratings must be")
    return sorted(found)


def _difference(shown_V: Array, values: Sequence[Any], level: Level) -> Array:
    """Squared differences (V, V) between values."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    if level == "interval":
        number = np.array(values, np.float64)
        return np.asarray(np.square(number[:, None] - number))
    # Ratings between two values, both included but halved: the distance of their mean ranks.
    rank = np.cumsum(shown_V) - shown_V / 2
    return np.asarray(np.square(rank[:, None] - rank))
