"""Emotions: calibrated probabilities over words, families and neutral.

They say which words people would choose for the expression that is seen, not what is felt. How each
list of labels was learned (people's votes, machine judgements, derived) is the bundle's to say. So
are their colours, first; then come those of well-known families, then a palette in the families'
order; what has no family is grey.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.labels import BASIC, BUILT_IN, FINE, WORDS, Labels, labels_of
from ferstream.engines.manifest import Manifest

# B faces, K labels


NEUTRAL = "neutral"
AFFECT = ("valence", "arousal", "intensity")
"""Labels of the head of this name."""
HOLDS = 0.8
"""A face keeps its word while that is so likely, the best word's being 1."""
_LEAST = 1e-9
_ROUNDING = 1e-3
UNCERTAIN_BELOW = 0.5
"""The best of the eight basic expressions is less likely than this: nothing can be named. On the
validation photographs 4 % of the faces are below, and for half of those the best is wrong."""
UNCERTAIN_ENTROPY = 0.8
"""So spread are the eight, 1 being all alike, that the best of them says little."""


@dataclass(frozen=True, slots=True)
class Emotions:
    """The reading of one face's expression."""

    basic8: dict[str, float]
    """Probabilities of the basic expressions, neutral among them; they sum to 1. Eight, or those
    of the bundle's own list."""
    ranked: tuple[tuple[str, float], ...]
    """All words, best first, with how likely each is named of this face. Words do not exclude each
    other, so their probabilities do not sum to 1, but for bundles of version 0.1, where they do.
    None of them is neutral: on a neutral face all are faint."""
    families: dict[str, float]
    """The words summed up by their families, calibrated; with neutral they sum to 1. Empty where
    the bundle's words have no families."""
    intensity: float
    """0 (nothing shows) .. 1 (as strong as can be)."""
    uncertain: bool
    """Whether the basic expressions are too evenly spread to trust the label."""
    label: str
    """`neutral` where that is the likeliest basic expression, else the best word, or that of the
    frame before while it is nearly as likely."""
    supervision: Mapping[str, str]
    """How each head came by its knowledge: trained, machine-judged, weakly supervised, derived."""
    valence: float | None = None
    """-1 (unpleasant) .. 1 (pleasant); None where the bundle has none."""
    arousal: float | None = None
    """-1 (sleepy) .. 1 (agitated); None where the bundle has none."""
    fine: Mapping[str, float] = field(default_factory=dict)
    """How likely each of the 33 classes is, on its own; empty where the bundle has none."""
    one_of: tuple[str, ...] = ()
    """Basic expressions, best first, among which the right one is as often as the bundle's
    prediction sets promise; empty where the bundle promises nothing."""
    labels: Labels = field(default=BUILT_IN, repr=False, compare=False)
    """The bundle's lists, of which the others are parts."""

    @property
    def neutral(self) -> float:
        """Probability that the face shows nothing; 0 where the bundle does not know that."""
        return self.basic8.get(NEUTRAL, 0.0)

    @property
    def affect(self) -> tuple[float, float] | None:
        """Valence and arousal, where the bundle tells them."""
        if self.valence is None or self.arousal is None:
            return None
        return self.valence, self.arousal

    def top(self, k: int = 10) -> list[tuple[str, float]]:
        """The k most fitting words with their probabilities, best first."""
        if k < 0:
            raise ValueError(f"{k} words: 0 or more")
        return list(self.ranked[:k])

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """The fields of a row (schema 2): plain types, numbers to four digits."""
        affect = {"valence": self.valence, "arousal": self.arousal, "intensity": self.intensity}
        return {
            "label": self.label,
            "neutral": round(self.neutral, 4),
            **{name: round(value, 4) for name, value in affect.items() if value is not None},
            "uncertain": self.uncertain,
            **({"one_of": list(self.one_of)} if self.one_of else {}),
            "basic8": {name: round(p, 4) for name, p in self.basic8.items()},
            "families": {name: round(p, 4) for name, p in self.families.items()},
            "top": [{"word": word, "p": round(p, 4)} for word, p in self.top(top)],
        }


class EmotionReader:
    """Turns the logits of a bundle's networks into Emotions.

    Labels, families and which heads there are stand in the manifest. Raises ContractMismatch for a
    bundle without the heads basic8 and emo135, ValueError for one whose affect is not what this
    version shows.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.labels = labels_of(manifest)
        """What the readings are of."""
        self._basic8 = manifest.head(BASIC)
        self._words = manifest.head(WORDS)
        words = self.labels.words
        self._families = words.families
        self._to_families = self.labels.family_shares()
        self._family_head = next(
            (h for h in manifest.heads if h.name == "family6" and h.labels == words.families), None
        )
        self._sets = manifest.sets
        self._strength_K = np.array(words.intensity or (1.0,) * len(words.labels), np.float32)
        self._more = {head.name: head for head in manifest.more_heads}
        if (affect := self._more.get("affect")) and affect.labels != AFFECT:
            raise ValueError(f"bundle {manifest.name}: affect has {affect.labels}, not {AFFECT}")
        self._supervision = {head.name: str(head.supervision) for head in manifest.heads}

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the tensors that `read` takes."""
        return (BASIC, WORDS, *self._more)

    def basic8(self, logits_BK: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of the basic expressions (B, K), of the networks' logits."""
        return self._basic8.probabilities(logits_BK)

    def read(self, outputs: Mapping[str, NDArray[np.float32]]) -> list[Emotions]:
        """One Emotions per row of the networks' outputs: basic8 and emo135 logits (B, K), and where
        the bundle has them affect (B, 3) and fg33 (B, K)."""
        basic8_p_BK = self._basic8.probabilities(outputs[BASIC])
        words_p_BK = self._words.probabilities(outputs[WORDS])
        shown_B1 = np.ones((len(basic8_p_BK), 1), np.float32)
        if NEUTRAL in self._basic8.labels:
            shown_B1 = 1 - basic8_p_BK[:, self._basic8.labels.index(NEUTRAL), None]
        families_p_BK = self.family_probabilities(words_p_BK) * shown_B1
        member_BK = self._sets.members(basic8_p_BK) if self._sets else None
        affect_BK = self._affect(outputs, words_p_BK, shown_B1)
        fine = self._more.get(FINE)
        fine_BK = fine.probabilities(outputs[FINE]).tolist() if fine else None
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
                    intensity=float(affect_BK[row, -1]),
                    uncertain=is_uncertain(list(basic8.values())),
                    label=NEUTRAL if best == NEUTRAL else ranked[0][0],
                    supervision=self._supervision,
                    one_of=tuple(likely) if self._sets else (),
                    valence=float(affect_BK[row, 0]) if "affect" in self._more else None,
                    arousal=float(affect_BK[row, 1]) if "affect" in self._more else None,
                    fine=dict(zip(fine.labels, fine_BK[row], strict=True))
                    if fine and fine_BK
                    else {},
                    labels=self.labels,
                )
            )
        return emotions

    def family_probabilities(self, words_p_BK: NDArray[np.float32]) -> NDArray[np.float32]:
        """The words' probabilities (B, K) shared out among the families (B, F), and calibrated
        where the bundle can; rows sum to 1, less what words without a family take."""
        share_BK = words_p_BK / np.maximum(words_p_BK.sum(axis=1, keepdims=True), _LEAST)
        summed_BF = np.asarray(share_BK @ self._to_families, np.float32)
        if self._family_head is None:
            return summed_BF
        return self._family_head.probabilities(np.log(summed_BF + np.float32(1e-9)))

    def _affect(
        self,
        outputs: Mapping[str, NDArray[np.float32]],
        words_p_BK: NDArray[np.float32],
        shown_B1: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Valence, arousal, intensity (B, 3); intensity alone (B, 1) where nothing else is known,
        from the words' usual strength."""
        if affect := self._more.get("affect"):
            return affect.probabilities(outputs["affect"])
        return np.asarray(shown_B1 * (words_p_BK @ self._strength_K)[:, None], np.float32)


def steady(emotions: Emotions, before: str | None) -> Emotions:
    """The same emotions, called by the word they had before while it is nearly as likely as the
    best: near synonyms would take turns else."""
    if before in (None, NEUTRAL) or emotions.label == NEUTRAL:
        return emotions
    chance = next((p for word, p in emotions.ranked if word == before), 0.0)
    holds = chance >= HOLDS * emotions.ranked[0][1]
    return replace(emotions, label=before) if holds else emotions


def faint(ranked: Sequence[tuple[str, float]], neutral: float) -> tuple[str, float]:
    """The best word of a face that shows little, and how likely it is named of it.

    Words that exclude each other (they sum to 1) share what is not neutral among them.
    """
    word, p = ranked[0]
    exclusive = abs(sum(p for _, p in ranked) - 1) < _ROUNDING
    return word, p * (1 - neutral) if exclusive else p


def is_uncertain(p_K: list[float]) -> bool:
    """Whether probabilities over the basic expressions are too even to name one."""
    entropy = -sum(p * math.log(p) for p in p_K if p > 0) / math.log(len(p_K))
    return max(p_K) < UNCERTAIN_BELOW or entropy > UNCERTAIN_ENTROPY


Colour = tuple[int, int, int]
"""Red, green, blue; 0..255 each."""

GREY: Colour = (196, 202, 208)

KNOWN: dict[str, Colour] = {
    "love": (255, 120, 170),
    "joy": (255, 200, 70),
    "surprise": (80, 210, 250),
    "anger": (255, 92, 82),
    "sadness": (105, 150, 255),
    "fear": (186, 125, 255),
    "disgust": (140, 205, 90),
    "contempt": (226, 146, 82),
    "neutral": GREY,
}
"""Families, and the labels that have a colour of their own."""

_PALETTE: tuple[Colour, ...] = (
    (90, 200, 190),
    (240, 160, 70),
    (150, 160, 250),
    (230, 120, 200),
    (170, 200, 80),
    (250, 130, 120),
    (110, 190, 240),
    (210, 180, 110),
)


def colour_of(label: str, labels: Labels = BUILT_IN) -> Colour:
    """The colour of a label, word or family; grey for neutral and what is unknown."""
    family = labels.family(label) or label
    for name in (label, family):
        if name in labels.colours:
            return _from_hex(labels.colours[name])
        if name in KNOWN:
            return KNOWN[name]
    families = groups(labels)
    return _PALETTE[families.index(family) % len(_PALETTE)] if family in families else GREY


def own_colours(labels: Labels) -> dict[str, str]:
    """#rrggbb of families and labels whose colour a page does not know."""
    names = dict.fromkeys((*groups(labels), *labels.colours))
    return {name: to_hex(colour_of(name, labels)) for name in names}


def groups(labels: Labels) -> tuple[str, ...]:
    """What has a colour: families, and basic expressions that belong to none."""
    lonely = (name for name in labels.basic.labels if not labels.family(name))
    names = (*labels.words.families, *labels.basic.families, *lonely)
    return tuple(dict.fromkeys(name for name in names if name not in KNOWN))


def to_hex(colour: Colour) -> str:
    """#rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _from_hex(text: str) -> Colour:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
