"""The lists of labels of a bundle, and where each label of a data set goes in them.

Labels that the built-in lists know go there. What no list knows is a label of the bundle's own:
beside the built-in ones where some are known, else in lists that hold nothing but the data set's
labels. A taxonomy file says so at once, and gives families and colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferstream.engines.labels import BASIC, BUILT_IN, WORDS
from ferstream.engines.manifest import Colour
from ferstream.engines.taxonomy import NONE, Taxonomy
from ferstream.stream.emotions import NEUTRAL

from .errors import OptionsWrong
from .label_maps import basic8_shares, is_known, word_shares

# K labels of the data set, B basic expressions and W words of the bundle

Array = npt.NDArray[np.float32]
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
