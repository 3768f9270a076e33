"""What a bundle's readings are called: its own labels, their families and colours.

The manifest says all of it. The built-in taxonomies only add what a manifest does not hold
(clusters, strengths), and only to a head whose labels are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .errors import ContractMismatch
from .manifest import Head, Manifest
from .taxonomy import NONE, Taxonomy, known, load_taxonomy, roll_up

# K labels of a list, F families

BASIC, WORDS, FINE = "basic8", "emo135", "fg33"
"""Heads by what they are for. The names say what the default bundle has; a bundle's own lists may
be longer or shorter."""


@dataclass(frozen=True)
class Labels:
    """The lists of labels of one bundle."""

    basic: Taxonomy
    """Basic expressions, of which one is shown; `neutral` may be among them."""
    words: Taxonomy
    """Emotion words, ranked on every face."""
    fine: tuple[str, ...] = ()
    """Classes between the two, told on request; empty where the bundle has none."""
    blendshapes: tuple[str, ...] = ()
    """Blendshapes."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """#rrggbb of families or labels, where the bundle has colours of its own."""

    def family(self, label: str) -> str:
        """The family of a word or basic expression; "" for none."""
        return self._families.get(label, "")

    @cached_property
    def _families(self) -> dict[str, str]:
        """Of every label that has one; a word's own comes before that of an expression."""
        return {
            label: taxonomy.families[at]
            for taxonomy in (self.basic, self.words)
            for label, at in zip(taxonomy.labels, taxonomy.family_of, strict=True)
            if at != NONE
        }

    def family_shares(self) -> npt.NDArray[np.float32]:
        """What turns words into families, (K, F): p_F = p_K @ M; not every word has one."""
        matrix = np.zeros((len(self.words.labels), len(self.words.families)), np.float32)
        for row, at in enumerate(self.words.family_of):
            if at != NONE:
                matrix[row, at] = 1.0
        return matrix

    def fine_shares(self) -> npt.NDArray[np.float32] | None:
        """What sums words up to the fine classes, (K, F); None where nobody knows how."""
        if self.words.labels != BUILT_IN.words.labels or self.fine != BUILT_IN.fine:
            return None
        return roll_up(WORDS, FINE)

    @property
    def are_built_in(self) -> bool:
        """Whether basic expressions and words are the default bundle's."""
        own, usual = (self.basic, self.words), (BUILT_IN.basic, BUILT_IN.words)
        return [one.labels for one in own] == [one.labels for one in usual]

    def require_built_in(self, what: str) -> None:
        """Raises ContractMismatch where the lists are not those that `what` is labelled in."""
        if not self.are_built_in:
            some = ", ".join(self.basic.labels[:4])
            raise ContractMismatch(
                f"the bundle speaks in labels of its own ({some}, ...): {what} cannot measure or "
                "calibrate them"
            )


BUILT_IN = Labels(load_taxonomy(BASIC), load_taxonomy(WORDS), load_taxonomy(FINE).labels)
"""Those of the default bundle and of every bundle that has no others."""


def labels_of(manifest: Manifest) -> Labels:
    """The labels of a bundle. Raises ContractMismatch where a head is missing."""
    basic, words = (taxonomy_of(manifest.head(name)) for name in (BASIC, WORDS))
    fine = next((head.labels for head in manifest.more_heads if head.name == FINE), ())
    if not fine and words.labels == BUILT_IN.words.labels:
        fine = BUILT_IN.fine
    return Labels(basic, words, fine, manifest.head("au").labels, manifest.colours)


def taxonomy_of(head: Head) -> Taxonomy:
    """A head's labels as a taxonomy: the built-in one of its name where the labels are the same."""
    if known(head.name) and load_taxonomy(head.name).labels == head.labels:
        return load_taxonomy(head.name)
    families = tuple(dict.fromkeys(family for family in head.families if family))
    placed = head.families or ("",) * len(head.labels)
    family_of = tuple(families.index(family) if family else NONE for family in placed)
    return Taxonomy(head.name, head.labels, families, family_of)
