"""What the sets call the emotions, in the project's words."""

from __future__ import annotations

from collections.abc import Iterable

from ferstream.engines.taxonomy import load_taxonomy

BASIC7 = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")

_SAME = {
    "angry": "anger",
    "afraid": "fear",
    "fearful": "fear",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}


def canonical(name: str) -> str:
    """The project's word: lower case, one word for angry and anger."""
    plain = name.strip().lower().replace("_", " ")
    return _SAME.get(plain, plain)


def order(names: Iterable[str]) -> tuple[str, ...]:
    """Labels for these class names, in the order of the project's label set that has them all.

    Of the eight basic emotions those that are there; all the 33 or 135 words where at least half
    of them are (most basic emotions are words of those sets too); else the names as they are,
    sorted.
    """
    found = tuple(dict.fromkeys(names))
    words = {canonical(name) for name in found}
    basic = load_taxonomy("basic8").labels
    if words <= set(basic):
        return tuple(label for label in basic if label in words)
    for taxonomy in ("fg33", "emo135"):
        labels = load_taxonomy(taxonomy).labels
        if words <= set(labels) and 2 * len(words) >= len(labels):
            return labels
    return tuple(sorted(found))
