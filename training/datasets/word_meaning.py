"""How near the 135 words are in meaning: by who names which words together, and by people's norms.

Two words are alike as far as they are used of the same kinds of faces. C counts in how many
training faces the judge (a vision-language model, see .judged) named each pair of words together,
with PRIOR more faces shared out by the words' norms, which decide for words that are hardly ever
named. C as a cosine says how often words go together; words that mean the same compete for a
place among five, so the cosine of its rows is taken once more: words with the same company. It is
squared, as the faint company that most words share would add up to more than that of synonyms.

The norms are people's ratings of valence, arousal and dominance of 105 of the words (or a close
form): Glasgow Norms, Scott, Keitel, Becirspahic, Yao and Sereno 2019, Behavior Research Methods
51, CC BY 4.0, in word_norms.csv. word_meaning.csv is what `ferstream data meaning` makes.

N faces, W = 135 words.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy

from .fer import data_folder
from .judged import Judgements, load_judged_photographs, load_wild

Array = npt.NDArray[np.float32]

PRIOR = 20.0
"""So many faces' worth the norms count."""
NEAR = 0.5
"""Words whose norms are that far apart, in standard deviations, are alike by 0.61."""
_FILE, _NORMS = "word_meaning.csv", "word_norms.csv"


@cache
def _shipped() -> Array:
    text = resources.files(__package__).joinpath(_FILE).read_text("utf-8")
    head, *rows = list(csv.reader(text.splitlines()))
    labels = load_taxonomy("emo135").labels
    if tuple(head[1:]) != labels or tuple(row[0] for row in rows) != labels:
        raise ValueError(f"{_FILE} does not name the 135 words in their order")
    return np.array([[float(value) for value in row[1:]] for row in rows], np.float32)


def word_meaning() -> Array:
    """Similarities (135, 135), 0..1, symmetric, 1 on the diagonal, in the taxonomy's order."""
    return _shipped().copy()


def norm_similarity() -> Array:
    """Similarities (135, 135) by the norms, 0..1; a word without norms is like itself alone."""
    text = resources.files(__package__).joinpath(_NORMS).read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    at = [load_taxonomy("emo135").index(row["word"]) for row in rows]
    columns = ("valence", "arousal", "dominance")
    norms = np.array([[float(row[name]) for name in columns] for row in rows])
    norms = (norms - norms.mean(axis=0)) / norms.std(axis=0)
    square = ((norms[:, None] - norms[None]) ** 2).mean(axis=2)
    found = np.eye(len(load_taxonomy("emo135").labels), dtype=np.float32)
    found[np.ix_(at, at)] = np.exp(-square / (2 * NEAR**2))
    return found


def meaning_of(named_NW: npt.NDArray[Any], norms_WW: Array, prior: float = PRIOR) -> Array:
    """Similarities (W, W) from which words each face was named, (N, W) 0 or more."""
    named_NW = (np.asarray(named_NW) > 0).astype(np.float64)
    together_WW = named_NW.T @ named_NW + prior * np.asarray(norms_WW, np.float64)
    return np.asarray(_cosine(_cosine_of_counts(together_WW)) ** 2, np.float32)


def meaning_of_data(folder: str | Path | None = None) -> Array:
    """The same from the training faces of the data folder that are not neutral to the judge.

    Raises:
        DataMissing, LabelsWrong: see `.judged`.
    """
    judged: list[Judgements] = [load_judged_photographs("train", folder).judged]
    if (data_folder(folder) / "wild").is_dir():
        judged.append(load_wild("train", folder).judged)
    named = [one.named()[one.basic > 0] for one in judged]
    return meaning_of(np.concatenate(named), norm_similarity())


def write_meaning(path: Path, meaning_WW: Array) -> None:
    """A matrix as the shipped one lies in its file."""
    labels = load_taxonomy("emo135").labels
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["", *labels])
        for label, row in zip(labels, meaning_WW.tolist(), strict=True):
            rows.writerow([label, *(f"{value:.3f}".rstrip("0").rstrip(".") for value in row)])


def _cosine_of_counts(together_WW: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cosine of the words' columns over faces, of which these are the products."""
    often_W = np.sqrt(together_WW.diagonal())
    return np.asarray(together_WW / np.outer(often_W, often_W))


def _cosine(rows_WW: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rows_WW = rows_WW / np.linalg.norm(rows_WW, axis=1, keepdims=True)
    return np.asarray(np.minimum(rows_WW @ rows_WW.T, 1))
