"""The JSON Schema of rows, for the labels of a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ferstream.engines.labels import BUILT_IN, Labels

from .emotions import NEUTRAL

_FILE = Path(__file__).with_name("rows.schema.json")


def row_schema(labels: Labels = BUILT_IN) -> dict[str, Any]:
    """The schema of every row that a bundle of these labels gives.

    The file rows.schema.json holds it for the built-in lists; a bundle with lists of its own has
    its names in their places.
    """
    document: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    lists = dict(zip(_lists(BUILT_IN), _lists(labels), strict=True))
    return {**document, "$defs": _replaced(document["$defs"], lists)}


def _lists(labels: Labels) -> tuple[tuple[str, ...], ...]:
    """Every list of names that the schema has."""
    basic, words = labels.basic, labels.words
    families = tuple(dict.fromkeys((*words.families, *basic.families)))
    neutral_and_words = tuple(dict.fromkeys((NEUTRAL, *words.labels)))
    known = (basic.labels, words.labels, words.families, labels.fine)
    return (*known, neutral_and_words, ("", *families))


def _replaced(part: Any, lists: dict[tuple[str, ...], tuple[str, ...]]) -> Any:
    """The same part of the schema with other names, where it lists all that may be."""
    if isinstance(part, list):
        names = tuple(one for one in part if isinstance(one, str))
        if len(names) == len(part) and names in lists:
            return list(lists[names])
        return [_replaced(one, lists) for one in part]
    if isinstance(part, dict):
        if (names := tuple(part)) in lists:  # an object's properties, all alike
            return dict.fromkeys(lists[names], part[names[0]])
        return {key: _replaced(value, lists) for key, value in part.items()}
    return part
