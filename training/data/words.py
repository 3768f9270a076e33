"""Which of the 135 words fit each of the eight basic expressions.

For label sets that are not words of their own (a set of eight emotions, of 33 classes), whose
labels are shared out among words. The table is the project's own judgement, kept as data; how
alike two words are is told by .word_meaning.
"""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy

from .fer import BASIC8

Array = npt.NDArray[np.float32]


def word_affinity() -> Array:
    """How far each word fits each of BASIC8, (135, 8) float32 >= 0; nothing fits neutral."""
    text = resources.files(__package__).joinpath("word_affinity.json").read_text()
    affinity = json.loads(text)["affinity"]
    labels = load_taxonomy("emo135").labels
    return np.array([[affinity[w].get(e, 0.0) for e in BASIC8] for w in labels], dtype=np.float32)
