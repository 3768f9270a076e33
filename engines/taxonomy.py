"""Ordered emotion labels, their families and clusters, and the way from fine labels to coarse.

Four taxonomies roll up into each other, finest first: `emo135` (135 words in 25 clusters and 6
families), `fg33` (33 leaves), `basic8` (seven expressions and neutral) and `family6` (the families
alone). `f2ed54` (F2ED's 54 expressions) stands beside them and rolls up to the families only.
Lists and sources stand in `taxonomies/*.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# K labels of a taxonomy

NONE = -1
"""The family or cluster of a label that belongs to none, as neutral does."""

_FOLDER = Path(__file__).parent / "taxonomies"
_FINEST_FIRST = ("emo135", "fg33", "basic8", "family6")
_BESIDE = "f2ed54"
_KNOWN = (*_FINEST_FIRST, _BESIDE)


@dataclass(frozen=True)
class Taxonomy:
    """A list of labels whose order is the order of a network's outputs."""

    name: str
    labels: tuple[str, ...]
    """K names, unique."""
    families: tuple[str, ...]
    family_of: tuple[int, ...]
    """K indices into `families`; NONE where a label has no family."""
    clusters: tuple[str, ...] = ()
    cluster_of: tuple[int, ...] = ()
    """K indices into `clusters`, or empty."""
    intensity: tuple[float, ...] = ()
    """K strengths of feeling in 0..1 (annoyance low, rage high), or empty."""

    def index(self, label: str) -> int:
        """The position of a label; ValueError where there is none."""
        return self.labels.index(label)

    def members(self, family: str) -> tuple[str, ...]:
        """The labels of one family, in order."""
        wanted = self.families.index(family)
        return tuple(
            label for label, at in zip(self.labels, self.family_of, strict=True) if at == wanted
        )


def known(name: str) -> bool:
    """Whether there is a taxonomy of this name."""
    return name in _KNOWN


@cache
def load_taxonomy(name: str) -> Taxonomy:
    """The taxonomy of this name; ValueError names the known ones."""
    if name not in _KNOWN:
        raise ValueError(f"no taxonomy {name!r}; there are {', '.join(_KNOWN)}")
    document = _read(name)
    rows = list(_rows(document))
    families = tuple(document["families"])
    clusters = tuple(dict.fromkeys(cluster for _, _, cluster in rows if cluster))
    labels = tuple(label for label, _, _ in rows)
    return Taxonomy(
        name=name,
        labels=labels,
        families=families,
        family_of=tuple(families.index(f) if f else NONE for _, f, _ in rows),
        clusters=clusters,
        cluster_of=tuple(clusters.index(c) for _, _, c in rows if c),
        intensity=_intensity(labels) if name == "emo135" else (),
    )


def roll_up(source: str, target: str) -> npt.NDArray[np.float32]:
    """What turns probabilities over `source` into probabilities over `target`: p_T = p_S @ M.

    Returns (K_source, K_target), ones and zeros; a row without a one is a label that has no
    place among the targets (neutral among families). ValueError where the target is the finer, or
    there is no way from one to the other.
    """
    fine, coarse = load_taxonomy(source), load_taxonomy(target)
    matrix = np.zeros((len(fine.labels), len(coarse.labels)), np.float32)
    if source == target:
        place = {label: label for label in fine.labels}
    elif source == _BESIDE and target == "family6":
        place = _own_families(fine)
    elif _BESIDE in (source, target):
        raise ValueError(f"there is no way from {source} to {target}")
    elif _FINEST_FIRST.index(source) > _FINEST_FIRST.index(target):
        raise ValueError(f"{source} cannot be rolled up to {target}, which is finer")
    else:
        place = _places(target)
    for row, label in enumerate(fine.labels):
        if label in place:
            matrix[row, coarse.index(place[label])] = 1.0
    return matrix


@cache
def _places(target: str) -> dict[str, str]:
    """Where each of the 135 words goes; the labels of the coarser sets are words of the 135 too."""
    if target == "family6":
        return _own_families(load_taxonomy("emo135"))
    groups = _read("roll_up")["emo135"][target]
    return {word: label for label, words in groups.items() for word in words}


def _own_families(taxonomy: Taxonomy) -> dict[str, str]:
    """The family of each label that has one."""
    pairs = zip(taxonomy.labels, taxonomy.family_of, strict=True)
    return {label: taxonomy.families[at] for label, at in pairs if at != NONE}


def _rows(document: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """(label, family, cluster) of each label: `labels` maps label to family, `tree` nests."""
    if "labels" in document:
        return [(label, family, None) for label, family in document["labels"].items()]
    rows: list[tuple[str, str | None, str | None]] = []
    for family, below in document["tree"].items():
        groups = below.items() if isinstance(below, dict) else [(None, below)]
        rows += [(label, family, cluster) for cluster, labels in groups for label in labels]
    return rows


def _intensity(labels: tuple[str, ...]) -> tuple[float, ...]:
    if not (_FOLDER / "intensity.json").is_file():
        return ()
    values = _read("intensity")["intensity"]
    return tuple(float(values[label]) for label in labels)


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))
    return document
