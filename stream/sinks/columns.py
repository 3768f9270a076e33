"""What rows and CSV tell on request, beside what they always do.

| name | holds |
|---|---|
| blendshapes | the face's muscle movements by name, 0..1 |
| fg33 | the 33 classes; of bundles that do not tell them, the words summed up, if that can be |
| words | all words |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from ..emotions import Emotions
from ..result import FaceResult

Columns = Literal["blendshapes", "fg33", "words"]
COLUMNS: tuple[Columns, ...] = get_args(Columns)


def more(found: FaceResult, columns: Sequence[Columns]) -> dict[str, dict[str, float]]:
    """What was asked for of one face, by name."""
    told: dict[str, dict[str, float]] = {}
    for name in columns:
        if name == "blendshapes":
            told[name] = found.blendshapes
        elif name == "fg33":
            told[name] = _fine(found.emotions)
        else:
            chance = dict(found.emotions.ranked)
            told[name] = {word: chance[word] for word in found.emotions.labels.words.labels}
    return {
        name: {key: round(value, 4) for key, value in values.items()}
        for name, values in told.items()
    }


def _fine(emotions: Emotions) -> dict[str, float]:
    if emotions.fine:
        return dict(emotions.fine)
    labels, chance = emotions.labels, dict(emotions.ranked)
    if (shares_KF := labels.fine_shares()) is None:
        return {}
    words_K = np.array([chance[word] for word in labels.words.labels])
    return dict(zip(labels.fine, np.minimum(words_K @ shares_KF, 1.0).tolist(), strict=True))
