"""Emotions: calibrated probabilities over words, families and neutral.

They say which words people would choose for the expression that is seen, not what is felt. The
eight basic expressions are trained on people's votes; the finer words are weakly supervised: they
follow from the votes by the words' similarity, and nobody voted on them one by one.
"""

# B faces, K labels

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Manifest
from engines.taxonomy import load_taxonomy, roll_up

NEUTRAL = "neutral"
UNCERTAIN_BELOW = 0.5
"""The best of the eight basic expressions is less likely than this: nothing can be named. On the
validation photographs 4 % of the faces are below, and for half of those the best is wrong."""
UNCERTAIN_ENTROPY = 0.8
"""So spread are the eight, 1 being all alike, that the best of them says little."""


@dataclass(frozen=True, slots=True)
class Emotions:
    """How one face's expression reads."""

    basic8: dict[str, float]
    """Probabilities of the eight basic expressions, neutral among them; they sum to 1."""
    ranked: tuple[tuple[str, float], ...]
    """All words with their probabilities, best first; they sum to 1. None of them is neutral: on
    a neutral face they share out what little there is."""
    families: dict[str, float]
    """The words' probabilities summed up by the six families, calibrated; they sum to 1."""
    intensity: float
    """0 (nothing shows) .. 1 (as strong as words go)."""
    uncertain: bool
    """Whether the basic expressions are too evenly spread to trust the label."""
    label: str
    """`neutral` where that is the likeliest basic expression, else the best word."""
    supervision: Mapping[str, str]
    """How each head came by its knowledge: trained, weakly supervised or derived."""
    one_of: tuple[str, ...] = ()
    """Basic expressions, best first, among which the right one is as often as the bundle's
    prediction sets promise; empty where the bundle promises nothing."""

    @property
    def neutral(self) -> float:
        """Probability that the face shows nothing."""
        return self.basic8[NEUTRAL]

    def top(self, k: int = 10) -> list[tuple[str, float]]:
        """The k most fitting words with their probabilities, best first."""
        return list(self.ranked[:k])

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """The fields of a row (schema 1): plain types, probabilities to four digits."""
        return {
            "label": self.label,
            "neutral": round(self.neutral, 4),
            "intensity": round(self.intensity, 4),
            "uncertain": self.uncertain,
            **({"one_of": list(self.one_of)} if self.one_of else {}),
            "basic8": {name: round(p, 4) for name, p in self.basic8.items()},
            "families": {name: round(p, 4) for name, p in self.families.items()},
            "top": [{"word": word, "p": round(p, 4)} for word, p in self.top(top)],
        }


class EmotionReader:
    """Turns the logits of a bundle's networks into Emotions.

    Raises ContractMismatch for a bundle without the heads basic8 and emo135, ValueError for one
    whose words are not those of the taxonomy.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._basic8 = manifest.head("basic8")
        self._words = manifest.head("emo135")
        for head in (self._basic8, self._words):
            if head.labels != load_taxonomy(head.name).labels:
                raise ValueError(
                    f"bundle {manifest.name}: the labels of {head.name} are not this version's "
                    "taxonomy, in its order: export the bundle anew"
                )
        words = load_taxonomy("emo135")
        self._families = words.families
        self._to_families = roll_up("emo135", "family6")
        self._family_head = next((h for h in manifest.heads if h.name == "family6"), None)
        self._sets = manifest.sets
        self._strength_K = np.array(words.intensity or (1.0,) * len(words.labels), np.float32)
        self._supervision = {head.name: str(head.supervision) for head in manifest.heads}

    def read(
        self, basic8_BK: NDArray[np.float32], emo135_BK: NDArray[np.float32]
    ) -> list[Emotions]:
        """One Emotions per row of logits, (B, 8) and (B, 135)."""
        basic8_p_BK = self._basic8.probabilities(basic8_BK)
        words_p_BK = self._words.probabilities(emo135_BK)
        families_p_BK = self.family_probabilities(words_p_BK)
        member_BK = self._sets.members(basic8_p_BK) if self._sets else None
        strength_B = words_p_BK @ self._strength_K
        order_BK = np.argsort(-words_p_BK, axis=1, kind="stable")
        names = self._words.labels
        emotions = []
        for row, p_K in enumerate(words_p_BK.tolist()):
            basic8 = dict(zip(self._basic8.labels, basic8_p_BK[row].tolist(), strict=True))
            ranked = tuple((names[at], p_K[at]) for at in order_BK[row].tolist())
            best = max(basic8, key=basic8.__getitem__)
            likely = sorted(basic8, key=basic8.__getitem__, reverse=True)
            if member_BK is not None:
                inside = member_BK[row].tolist()
                likely = [name for name in likely if inside[self._basic8.labels.index(name)]]
            emotions.append(
                Emotions(
                    basic8=basic8,
                    ranked=ranked,
                    families=dict(zip(self._families, families_p_BK[row].tolist(), strict=True)),
                    intensity=(1 - basic8[NEUTRAL]) * float(strength_B[row]),
                    uncertain=is_uncertain(list(basic8.values())),
                    label=NEUTRAL if best == NEUTRAL else ranked[0][0],
                    supervision=self._supervision,
                    one_of=tuple(likely) if self._sets else (),
                )
            )
        return emotions

    def family_probabilities(self, words_p_BK: NDArray[np.float32]) -> NDArray[np.float32]:
        """The words' probabilities (B, 135) summed up by family (B, 6), and calibrated where the
        bundle can."""
        summed_BF = np.asarray(words_p_BK @ self._to_families, np.float32)
        if self._family_head is None:
            return summed_BF
        return self._family_head.probabilities(np.log(summed_BF + np.float32(1e-9)))


def is_uncertain(p_K: list[float]) -> bool:
    """Whether probabilities over the basic expressions are too even to name one."""
    entropy = -sum(p * math.log(p) for p in p_K if p > 0) / math.log(len(p_K))
    return max(p_K) < UNCERTAIN_BELOW or entropy > UNCERTAIN_ENTROPY
