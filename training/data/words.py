"""Crowd votes to a target over the 135 emotion words: weak supervision, said openly.

Nobody labelled these photographs with 135 words. Ten raters chose among eight emotions; how
many of them saw an expression at all, and how strongly the face moves, is read as intensity;
words of that emotion and about that intensity get the votes; and paper 000's transformed cross
entropy (eq. 6) spreads them over similar words by a word-similarity matrix.
The affinities, intensities and similarities are the project's own judgement, kept as data.
"""

from __future__ import annotations

import csv
import json
from importlib import resources

import numpy as np
import numpy.typing as npt

from engines.taxonomy import load_taxonomy

from .fer import BASIC8, FerPlus

Array = npt.NDArray[np.float32]

INTENSITY_SPREAD = 0.15
SIMILARITY_SHARE = 0.35
"""How much of a word's target goes to similar words (the rest stays where the votes put it)."""


def word_similarity() -> Array:
    """F_word (135, 135), symmetric, 1 on the diagonal, in the taxonomy's order."""
    text = resources.files(__package__).joinpath("word_similarity.csv").read_text()
    head, *rows = list(csv.reader(text.splitlines()))
    labels = load_taxonomy("emo135").labels
    if tuple(head[1:]) != labels or tuple(row[0] for row in rows) != labels:
        raise ValueError("word_similarity.csv does not name the 135 words in their order")
    return np.array([[float(v) for v in row[1:]] for row in rows], dtype=np.float32)


def word_affinity() -> Array:
    """How far each word fits each of BASIC8, (135, 8) float32 >= 0; nothing fits neutral."""
    text = resources.files(__package__).joinpath("word_affinity.json").read_text()
    affinity = json.loads(text)["affinity"]
    labels = load_taxonomy("emo135").labels
    return np.array([[affinity[w].get(e, 0.0) for e in BASIC8] for w in labels], dtype=np.float32)


def expression_strength(data: FerPlus) -> Array:
    """How strongly each face moves among those of its own majority emotion: rank 0..1, (N,).

    The rank of the summed blendshapes (gaze and blinks left out); 0.5 where the teacher saw
    no face.
    """
    moves = [i for i, n in enumerate(data.blendshape_names) if "Look" not in n and "Blink" not in n]
    energy = data.blendshapes[:, moves].sum(axis=1)
    strength = np.full(len(data), 0.5, dtype=np.float32)
    for label in range(len(BASIC8)):
        rows = np.flatnonzero(data.seen & (data.majority == label))
        ranks = energy[rows].argsort().argsort()
        strength[rows] = (ranks + 0.5) / max(len(rows), 1)
    return strength


def intensity(data: FerPlus) -> Array:
    """Intensity 0..1 of each face, (N,): the share of raters who saw an expression, scaled by
    how strongly the face moves (0.5 to 1)."""
    total = np.maximum(data.raw_votes.sum(axis=1), 1)
    seen_share = 1 - data.raw_votes[:, 0] / total
    return np.asarray(seen_share * (0.5 + 0.5 * expression_strength(data)), dtype=np.float32)


def word_targets(data: FerPlus) -> tuple[Array, Array]:
    """Targets (N, 135), each row a distribution, and weights (N,) 0..1.

    The weight is the share of votes that are not neutral: a neutral face has no word here.
    """
    strength_N1 = intensity(data)[:, None]
    labels_intensity = np.array(load_taxonomy("emo135").intensity, dtype=np.float32)
    affinity = word_affinity()
    near_NW = np.exp(-((labels_intensity - strength_N1) ** 2) / (2 * INTENSITY_SPREAD**2))
    target = np.zeros((len(data), len(labels_intensity)), dtype=np.float32)
    for emotion in range(1, len(BASIC8)):
        fitting = near_NW * affinity[:, emotion]
        fitting /= np.maximum(fitting.sum(axis=1, keepdims=True), 1e-9)
        target += data.votes[:, emotion : emotion + 1] * fitting
    similarity = word_similarity()
    similarity /= similarity.sum(axis=0, keepdims=True)
    target = (1 - SIMILARITY_SHARE) * target + SIMILARITY_SHARE * target @ similarity.T
    weight = target.sum(axis=1)
    return target / np.maximum(weight, 1e-9)[:, None], weight
