"""Labels of data sets and how they find their way into the lists of a bundle.

A data set's own labels to what a bundle speaks: the eight basic expressions and the 135 words.

K labels of a data set.

The second softmax's classes: the basic expression above each label (paper 003, Fig. 2 and IV-A).

The paper's own 33 leaves have its tree. For other labels there is no such tree in the paper; the
rule is this project's:

- the eight of FER+: joy, surprise, sadness, anger (also disgust and contempt, as the paper puts
  them) and fear; neutral is no child of a family and stands for itself. Six classes, too.
- any other words: the family of each in the first of these sets that knows it: the 33, the eight,
  F2ED's 54, the 135. A label that none of them knows, or that has no family, stands for itself.

Joy is called happiness, as in the paper.  K labels, P basic classes.

The lists of labels of a bundle, and where each label of a data set goes in them.

Labels that the built-in lists know go there. What no list knows is a label of the bundle's own:
beside the built-in ones where some are known, else in lists that hold nothing but the data set's
labels. A taxonomy file says so at once, and gives families and colours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferstream.engines.labels import BASIC, BUILT_IN, WORDS
from ferstream.engines.manifest import Colour
from ferstream.engines.taxonomy import NONE, Taxonomy, load_taxonomy, roll_up
from ferstream.stream.emotions import NEUTRAL

from ..errors import OptionsWrong
from .fer import BASIC8
from .word_meaning import word_meaning

Array = npt.NDArray[np.float32]

SIMILARITY_SHARE = 0.35
"""How much of an expression goes to words similar to its own, as in training the words."""
_UNKNOWN = (
    "the label {!r} is neither a basic expression nor one of the 135 words or of F2ED's 54: a "
    "bundle cannot say what it means"
)


def is_known(label: str) -> bool:
    """Whether a built-in list says what this label means."""
    lists = (load_taxonomy(name).labels for name in ("basic8", "emo135", "fg33"))
    return any(label in known for known in lists) or label in f2ed_words()


def basic8_shares(labels: tuple[str, ...]) -> Array:
    """(K, 8): how each label's probability is shared out among the basic expressions.

    A label that is one of the eight goes there; a word goes to the expressions it fits, by the
    project's word affinity; another of F2ED's labels goes where its words go, the rest of it to
    neutral.

    Raises:
        OptionsWrong: a label is none of these.
    """
    basic8, words = load_taxonomy("basic8"), load_taxonomy("emo135")
    affinity = word_affinity()
    affinity /= np.maximum(affinity.sum(axis=1, keepdims=True), 1e-9)
    shares = np.zeros((len(labels), len(basic8.labels)), np.float32)
    for row, label in enumerate(labels):
        if label in basic8.labels:
            shares[row, basic8.index(label)] = 1
        elif label in words.labels:
            shares[row] = affinity[words.index(label)]
        elif label in f2ed_words():
            near = f2ed_words()[label]
            shares[row, basic8.index("neutral")] = 1 - sum(near.values())
            for word, share in near.items():
                shares[row] += share * affinity[words.index(word)]
        else:
            raise OptionsWrong(_UNKNOWN.format(label))
    return shares


def word_shares(labels: tuple[str, ...]) -> Array:
    """(K, 135): how each label's probability is shared out among the words; neutral has none.

    A label of a set of words goes to its own word, or to the words that roll up to it; a basic
    expression goes to the words that fit it, a part of it to similar ones; another of F2ED's
    labels goes to the words near it.

    Raises:
        OptionsWrong: a label is none of these.
    """
    words, basic8, fg33 = (load_taxonomy(name) for name in ("emo135", "basic8", "fg33"))
    if set(labels) <= set(basic8.labels):
        return _words_of_basic8()[[basic8.index(label) for label in labels]]
    if set(labels) <= set(fg33.labels):
        below = roll_up("emo135", "fg33").T[[fg33.index(label) for label in labels]]
        return np.asarray(below / np.maximum(below.sum(axis=1, keepdims=True), 1e-9), np.float32)
    shares = np.zeros((len(labels), len(words.labels)), np.float32)
    for row, label in enumerate(labels):
        if label in words.labels:
            shares[row, words.index(label)] = 1
        elif label in basic8.labels:
            shares[row] = _words_of_basic8()[basic8.index(label)]
        elif label in f2ed_words():
            for word, share in f2ed_words()[label].items():
                shares[row, words.index(word)] = share
        else:
            raise OptionsWrong(_UNKNOWN.format(label))
    return shares


@cache
def f2ed_words() -> dict[str, dict[str, float]]:
    """The words near each of F2ED's labels that are not words themselves, with shares that add up
    to 1 or less; what is missing is neutral (f2ed54_words.json: the project's own judgement)."""
    file = resources.files("ferstream.training.datasets") / "f2ed54_words.json"
    text = file.read_text("utf-8")
    shares: dict[str, dict[str, float]] = json.loads(text)["shares"]
    return shares


def _words_of_basic8() -> Array:
    """(8, 135): a distribution over words for each expression, all zero for neutral."""
    fitting = word_affinity().T
    share = fitting / np.maximum(fitting.sum(axis=1, keepdims=True), 1e-9)
    similar = word_meaning()
    similar /= similar.sum(axis=0, keepdims=True)
    spread = (1 - SIMILARITY_SHARE) * share + SIMILARITY_SHARE * share @ similar.T
    return np.asarray(spread, np.float32)


def word_affinity() -> Array:
    """How far each word fits each of BASIC8, (135, 8) float32 >= 0; nothing fits neutral."""
    text = resources.files(__package__).joinpath("word_affinity.json").read_text()
    affinity = json.loads(text)["affinity"]
    labels = load_taxonomy("emo135").labels
    return np.array([[affinity[w].get(e, 0.0) for e in BASIC8] for w in labels], dtype=np.float32)


_RENAMED = {"joy": "happiness"}


def basic_parents(labels: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Names of the P basic classes that occur, and the one above each label (K,)."""
    eight = set(labels) <= set(load_taxonomy("basic8").labels)
    known: dict[str, str] = {}
    for label, family in _families(
        ("basic8",) if eight else ("fg33", "basic8", "f2ed54", "emo135")
    ):
        known.setdefault(label, _RENAMED.get(family, family))
    parents = [known.get(label, label) for label in labels]
    names = tuple(dict.fromkeys(parents))
    return names, np.array([names.index(parent) for parent in parents], np.int64)


def parent_shares(labels: Sequence[str]) -> npt.NDArray[np.float32]:
    """(K, P) ones and zeros: a distribution over labels @ this is one over their basic classes."""
    names, index = basic_parents(labels)
    return np.eye(len(names), dtype=np.float32)[index]


def _families(sets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Labels and families of these sets, one set after the other."""
    for name in sets:
        taxonomy = load_taxonomy(name)
        for label, at in zip(taxonomy.labels, taxonomy.family_of, strict=True):
            if at != NONE:
                yield label, taxonomy.families[at]


# K labels of the data set, B basic expressions and W words of the bundle

Name = Annotated[str, Field(min_length=1, max_length=100)]


class TaxonomyFile(BaseModel):
    """A file of one's own labels: `labels` maps each to its family, or null where it has none;
    `colours` gives #rrggbb to families or labels."""

    model_config = ConfigDict(extra="forbid", strict=True)

    labels: dict[Name, Name | None]
    colours: dict[Name, Colour] = Field(default_factory=dict)


@dataclass(frozen=True)
class LabelLists:
    """The lists of a bundle, and the way of a data set's labels into them."""

    labels: tuple[str, ...]
    """The data set's."""
    basic: Taxonomy
    words: Taxonomy
    basic_KB: Array
    """How each label's probability is shared out among the basic expressions."""
    words_KW: Array
    """The same among the words; neutral has none."""
    own: tuple[str, ...] = ()
    """Labels that no built-in list knows."""
    colours: dict[str, str] = field(default_factory=dict)


def read_taxonomy(path: str) -> TaxonomyFile:
    """A file of one's own labels.

    Raises:
        OptionsWrong: it cannot be read, or is not such a file.
    """
    try:
        text = Path(path).read_text("utf-8")
        return TaxonomyFile.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise OptionsWrong(f"taxonomy {path}: cannot be read: {why}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise OptionsWrong(
            f'taxonomy {path}: {where}: {first["msg"]}; it is JSON such as {{"labels": '
            '{"focused": "calm", "bored": null}, "colours": {"calm": "#3f6fe0"}}'
        ) from error


def lists_for(labels: Sequence[str], taxonomy: str = "") -> LabelLists:
    """The lists for these labels; ``taxonomy`` is the path of a file, or "".

    Raises:
        OptionsWrong: the file is none, or lacks some of the labels.
    """
    labels = tuple(labels)
    unknown = tuple(label for label in labels if not is_known(label))
    if taxonomy:
        return _own(labels, read_taxonomy(taxonomy), taxonomy)
    if not unknown:
        shares = basic8_shares(labels), word_shares(labels)
        return LabelLists(labels, BUILT_IN.basic, BUILT_IN.words, *shares)
    if set(labels) - set(unknown) <= {NEUTRAL}:
        return _own(labels, TaxonomyFile(labels=dict.fromkeys(labels)))
    return _beside(labels, unknown)


def _own(labels: tuple[str, ...], file: TaxonomyFile, path: str = "") -> LabelLists:
    """Lists of nothing but the data set's labels."""
    if lacking := [label for label in labels if label not in file.labels]:
        raise OptionsWrong(f"taxonomy {path}: the data's {', '.join(lacking)} are not in it")
    shown = tuple(label for label in labels if label != NEUTRAL)
    if not shown:
        raise OptionsWrong("neutral is the only label: there is no expression to learn")
    families = {label: file.labels[label] or "" for label in labels if label != NEUTRAL}
    eye = np.eye(len(labels), dtype=np.float32)
    return LabelLists(
        labels,
        _listed(BASIC, labels, families),
        _listed(WORDS, shown, families),
        eye,
        eye[:, [labels.index(label) for label in shown]],
        labels,
        file.colours,
    )


def _beside(labels: tuple[str, ...], unknown: tuple[str, ...]) -> LabelLists:
    """The built-in lists with the labels that they do not know at their ends."""
    basic, words = (_longer(known, unknown) for known in (BUILT_IN.basic, BUILT_IN.words))
    basic_KB, words_KW = (
        np.zeros((len(labels), len(longer.labels)), np.float32) for longer in (basic, words)
    )
    for row, label in enumerate(labels):
        if label in unknown:
            basic_KB[row, basic.index(label)] = words_KW[row, words.index(label)] = 1
            continue
        basic_KB[row, : len(BUILT_IN.basic.labels)] = basic8_shares((label,))[0]
        words_KW[row, : len(BUILT_IN.words.labels)] = word_shares((label,))[0]
    return LabelLists(labels, basic, words, basic_KB, words_KW, unknown)


def _listed(name: str, labels: tuple[str, ...], families: dict[str, str]) -> Taxonomy:
    names = tuple(dict.fromkeys(family for family in families.values() if family))
    placed = (families.get(label, "") for label in labels)
    return Taxonomy(name, labels, names, tuple(names.index(f) if f else NONE for f in placed))


def _longer(known: Taxonomy, more: tuple[str, ...]) -> Taxonomy:
    return Taxonomy(
        known.name, known.labels + more, known.families, known.family_of + (NONE,) * len(more)
    )
