"""What the sets call the emotions, in the project's words."""

from __future__ import annotations

from collections.abc import Iterable

from engines.taxonomy import load_taxonomy

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
    """Labels for these class names: the project's label set that has them all, in its order,
    with the classes that are not there left in; else the names as they are, sorted.

    The 135 words hold the eight basic emotions' names except neutral, so the smaller sets come
    first; a handful of names makes no larger set (at least half of it has to be there).
    """
    found = tuple(dict.fromkeys(names))
    words = {canonical(name) for name in found}
    for taxonomy in ("basic8", "fg33", "emo135"):
        labels = load_taxonomy(taxonomy).labels
        if words <= set(labels) and 2 * len(words) >= len(labels):
            return tuple(label for label in labels if taxonomy != "basic8" or label in words)
    return tuple(sorted(found))
