"""Action units of the 3D face, and words as action units.

Action units of the synthetic face, and the face kit's shapes that make them.

The face kit names its shapes after ARKit; which unit each stands for follows the table
"Expression Shapes" of its README. AU25, AU26 and AU43, which that table lacks, are made here
from parts of its shapes.

Words as action units: which units, how strongly, how fast, and how the head turns with it.

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

from .camera import Pose

# A action units, E the head's expression shapes

Floats = npt.NDArray[np.float32]

_BOTH = ("_L", "_R")
SHAPES_OF: dict[str, tuple[tuple[str, float], ...]] = {
    "AU1": (("browInnerUp", 1.0),),
    "AU2": (("browOuterUp", 1.0),),
    "AU4": (("browDown", 1.0),),
    "AU5": (("eyeWide", 1.0),),
    "AU6": (("cheekSquint", 1.0), ("cheekRaiser", 0.5)),
    "AU7": (("eyeSquint", 1.0),),
    "AU9": (("noseSneer", 1.0),),
    "AU10": (("mouthShrugUpper", 0.5), ("mouthUpperUp", 0.5)),
    "AU11": (("mouthUpperUp", 0.6),),
    "AU12": (("mouthSmile", 1.0),),
    "AU14": (("mouthDimple", 1.0),),
    "AU15": (("mouthFrown", 1.0),),
    "AU16": (("mouthLowerDown", 1.0),),
    "AU17": (("mouthShrugLower", 1.0),),
    "AU18": (("mouthPucker", 1.0),),
    "AU20": (("mouthStretch", 1.0),),
    "AU22": (("mouthFunnel", 1.0),),
    "AU24": (("mouthPress", 1.0),),
    "AU25": (("mouthLowerDown", 0.3), ("mouthUpperUp", 0.25), ("jawOpen", 0.08)),
    "AU26": (("jawOpen", 0.45),),
    "AU27": (("jawOpen", 0.9),),
    "AU28": (("mouthRollLower", 1.0), ("mouthRollUpper", 1.0)),
    "AU29": (("jawForward", 1.0),),
    "AU30": (("jawLeft", 1.0),),
    "AU33": (("cheekPuff", 1.0),),
    "AU43": (("eyeBlink", 0.8),),
    "AU45": (("eyeBlink", 1.0),),
    "AU61": (("eyeLookOut_L", 1.0), ("eyeLookIn_R", 1.0)),
    "AU62": (("eyeLookOut_R", 1.0), ("eyeLookIn_L", 1.0)),
    "AU63": (("eyeLookUp", 1.0),),
    "AU64": (("eyeLookDown", 1.0),),
}
ACTION_UNITS = tuple(SHAPES_OF)
"""A names; their values are 0..1, in this order, in every result."""
SIDED = frozenset(f"AU{n}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 20, 24, 45))
"""Units that may be on one side alone."""

_SIDED_ARKIT = (
    *("browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn"),
    *("eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown"),
    *("mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)
_SINGLE_ARKIT = (
    *("browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose"),
    *("mouthFunnel", "mouthLeft", "mouthPucker", "mouthRight", "mouthRollLower"),
    *("mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
)
ARKIT_NAMES = (
    "_neutral",
    *sorted(
        [*_SINGLE_ARKIT, *(name + side for name in _SIDED_ARKIT for side in ("Left", "Right"))]
    ),
)
"""The 52 names of MediaPipe's face landmarker in its order, so that synthetic blendshapes stand
beside a teacher's; `_neutral` is always 0."""


def unit_matrix(expression_names: tuple[str, ...], side: str = "") -> Floats:
    """Expression weights per unit (A, E); `side` L or R leaves only that side's shapes."""
    place = {name: column for column, name in enumerate(expression_names)}
    matrix = np.zeros((len(ACTION_UNITS), len(expression_names)), np.float32)
    for row, unit in enumerate(ACTION_UNITS):
        for shape, weight in SHAPES_OF[unit]:
            for name in (shape, *(shape + end for end in _BOTH)):
                if name in place and (not side or name.endswith(f"_{side}")):
                    matrix[row, place[name]] += weight
    return matrix


def arkit_matrix(expression_names: tuple[str, ...]) -> Floats:
    """Expression weights (E,) to the 52 values: weights @ matrix (E, 52)."""
    matrix = np.zeros((len(expression_names), len(ARKIT_NAMES)), np.float32)
    for row, name in enumerate(expression_names):
        whole, _, side = name.partition("_")
        sided = whole + {"L": "Left", "R": "Right", "": ""}.get(side, "")
        if sided in ARKIT_NAMES:
            matrix[row, ARKIT_NAMES.index(sided)] = 1.0
        elif whole in ARKIT_NAMES:
            matrix[row, ARKIT_NAMES.index(whole)] = 0.5
    return matrix


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
