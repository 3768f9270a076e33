"""What rows and tables tell on request, beside what they always do: `COLUMNS`.

docs/columns.md has all of them with units and meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..emotions import Emotions
from ..faces.quality import EYES
from ..result import FaceResult

Columns = Literal[
    "blendshapes", "units", "fg33", "words", "frame_words", "landmarks", "pose", "eyes", "quality"
]
COLUMNS: tuple[Columns, ...] = get_args(Columns)

_SIDES = ("Left", "Right")
UNITS: Mapping[str, tuple[str, ...]] = {
    "AU1": ("browInnerUp",),
    "AU2": ("browOuterUp",),
    "AU4": ("browDown",),
    "AU5": ("eyeWide",),
    "AU6": ("cheekSquint",),
    "AU7": ("eyeSquint",),
    "AU9": ("noseSneer",),
    "AU10": ("mouthUpperUp",),
    "AU12": ("mouthSmile",),
    "AU14": ("mouthDimple",),
    "AU15": ("mouthFrown",),
    "AU16": ("mouthLowerDown",),
    "AU17": ("mouthShrugLower",),
    "AU18": ("mouthPucker",),
    "AU20": ("mouthStretch",),
    "AU22": ("mouthFunnel",),
    "AU24": ("mouthPress",),
    "AU26": ("jawOpen",),
    "AU28": ("mouthRollLower", "mouthRollUpper"),
    "AU29": ("jawForward",),
    "AU34": ("cheekPuff",),
    "AU45": ("eyeBlink",),
}
"""Action units of FACS and the blendshapes whose mean estimates each, of both sides."""


def units_of(shapes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The action units that these blendshapes tell of, with the blendshapes of each."""
    told = {
        unit: tuple(
            name
            for stem in stems
            for name in (stem, *(f"{stem}{side}" for side in _SIDES))
            if name in shapes
        )
        for unit, stems in UNITS.items()
    }
    return {unit: names for unit, names in told.items() if names}


def more(found: FaceResult, columns: Sequence[Columns]) -> dict[str, Any]:
    """What was asked for of one face, by name: plain types, as rows of JSON have them."""
    return {name: _told(found, name) for name in columns}


def _told(found: FaceResult, name: Columns) -> Any:
    if name == "landmarks":
        return [[round(x, 1), round(y, 1)] for x, y in found.landmarks_xy.tolist()]
    if name == "pose":
        quality, roll = found.quality, roll_deg(found.landmarks_xy)
        angles = {"yaw_deg": quality.yaw_deg, "pitch_deg": quality.pitch_deg, "roll_deg": roll}
        return {key: round(value, 1) for key, value in angles.items()}
    if name == "eyes":
        return None if found.eyes is None else found.eyes.to_json()
    if name == "quality":
        return found.quality.to_json()
    return {key: round(value, 4) for key, value in shares(found, name).items()}


def shares(found: FaceResult, name: Columns) -> Mapping[str, float]:
    """Numbers from 0 to 1 that were asked for, by name, not rounded."""
    if name == "blendshapes":
        return found.blendshapes
    if name == "units":
        shapes = found.blendshapes
        told = units_of(tuple(shapes))
        return {unit: sum(shapes[one] for one in of) / len(of) for unit, of in told.items()}
    if name == "fg33":
        return _fine(found.emotions)
    emotions = found.frame_emotions if name == "frame_words" else found.emotions
    chance = dict(emotions.ranked)
    return {word: chance[word] for word in emotions.labels.words.labels}


def roll_deg(landmarks_xy: NDArray[np.float32]) -> float:
    """How far the line of the eyes (468, 2) is turned, degrees, clockwise in the picture."""
    x, y = (landmarks_xy[EYES[1]] - landmarks_xy[EYES[0]]).tolist()
    return math.degrees(math.atan2(y, x))


def _fine(emotions: Emotions) -> dict[str, float]:
    if emotions.fine:
        return dict(emotions.fine)
    labels, chance = emotions.labels, dict(emotions.ranked)
    if (shares_KF := labels.fine_shares()) is None:
        return {}
    words_K = np.array([chance[word] for word in labels.words.labels])
    return dict(zip(labels.fine, np.minimum(words_K @ shares_KF, 1.0).tolist(), strict=True))
