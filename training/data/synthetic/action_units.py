"""Action units of the synthetic face, and the face kit's shapes that make them.

The face kit names its shapes after ARKit; which unit each stands for follows the table
"Expression Shapes" of its README. AU25, AU26 and AU43, which that table lacks, are made here
from parts of its shapes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
