"""Words as action units: which units, how strongly, how fast, and how the head turns with it.

The recipes stand in expressions.json, with what they are worth: they are ours, made so that
synthetic pictures of many words can be told apart, and say nothing of real people.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines import taxonomy

from .action_units import ACTION_UNITS, SIDED
from .camera import Pose

Floats = npt.NDArray[np.float32]

TAXONOMIES = ("basic8", "fg33", "f2ed54")
"""Label sets with a recipe for every word."""
_RECIPES = Path(__file__).with_name("expressions.json")
_LISTS = Path(taxonomy.__file__).parent / "taxonomies"


@dataclass(frozen=True)
class Recipe:
    """One word: units (A,) 0..1 at full strength, tempo of onset, apex and offset in seconds,
    the head's turn, the columns of units shown on one side, and tremor 0..1."""

    units: Floats
    tempo_s: tuple[float, float, float]
    turn: Pose
    one_sided: tuple[int, ...]
    tremor: float


@dataclass(frozen=True)
class SyntheticExpression:
    """A word as one person shows it once.

    units (A,) on the stronger side; other_side (A,) the share of it that the other side shows;
    strong_side L or R.
    """

    units: Floats
    other_side: Floats
    strong_side: str
    turn: Pose
    tempo_s: tuple[float, float, float]
    tremor: float


def labels_of(taxonomy: str) -> tuple[str, ...]:
    """The words of a label set, in its order.

    Raises:
        ValueError: there are no recipes for this set.
    """
    if taxonomy not in TAXONOMIES:
        known = ", ".join(TAXONOMIES)
        raise ValueError(f"no synthetic expressions for {taxonomy!r}; there are {known}")
    document = json.loads((_LISTS / f"{taxonomy}.json").read_text("utf-8"))
    if "labels" in document:
        return tuple(document["labels"])
    return tuple(word for words in document["tree"].values() for word in words)


@cache
def recipe(word: str) -> Recipe:
    """The recipe of a word.

    Raises:
        ValueError: the word has none.
    """
    words = _recipes()
    if word not in words:
        raise ValueError(f"no synthetic recipe for {word!r}; there are {', '.join(words)}")
    entry = words[word]
    units = np.zeros(len(ACTION_UNITS), np.float32)
    for unit, value in entry["units"].items():
        units[ACTION_UNITS.index(unit)] = value
    onset_s, apex_s, offset_s = entry["tempo_s"]
    return Recipe(
        units=units,
        tempo_s=(onset_s, apex_s, offset_s),
        turn=Pose(*entry.get("turn_deg", (0.0, 0.0, 0.0))),
        one_sided=tuple(ACTION_UNITS.index(unit) for unit in entry.get("one_sided", ())),
        tremor=float(entry.get("tremor", 0.0)),
    )


def shown(
    word: str, strength: float, vividness: Floats, rng: np.random.Generator
) -> SyntheticExpression:
    """A word at a strength 0..1, as a person of this vividness (A,) shows it this time."""
    what = recipe(word)
    vary = np.clip(rng.normal(1, 0.15, len(ACTION_UNITS)), 0.5, 1.5)
    present = rng.random(len(ACTION_UNITS)) >= 0.06  # nobody shows every unit every time
    units = np.clip(what.units * vividness * vary * present * strength, 0, 1)
    other = np.ones(len(ACTION_UNITS), np.float32)
    for column, unit in enumerate(ACTION_UNITS):
        if unit in SIDED:
            other[column] = rng.uniform(0.8, 1.0)
    other[list(what.one_sided)] = rng.uniform(0, 0.15)
    much = float(rng.uniform(0.6, 1.1))
    mirrored = float(rng.choice([-1, 1]))
    pace = float(np.exp(rng.normal(0, 0.15)))
    onset_s, apex_s, offset_s = what.tempo_s
    return SyntheticExpression(
        units=units.astype(np.float32),
        other_side=other,
        strong_side=str(rng.choice(["L", "R"])),
        turn=Pose(
            what.turn.yaw_deg * much * mirrored,
            what.turn.pitch_deg * much,
            what.turn.roll_deg * much * mirrored,
        ),
        tempo_s=(onset_s * pace, apex_s * pace, offset_s * pace),
        tremor=what.tremor,
    )


@cache
def _recipes() -> dict[str, Any]:
    words: dict[str, Any] = json.loads(_RECIPES.read_text("utf-8"))["words"]
    return words
