"""Figures of a bundle on crowd-labelled and on machine-judged faces.

Measure a bundle, as deployed, on photographs with crowd labels.

The crops come from the run-time alignment, the scores from the bundle's engines, the
probabilities from the code that users see. A photograph is a clip of one frame without motion.

Measure a bundle, as deployed, on faces that a vision-language model judged (datasets/judged.py).

FER+ photographs are aligned by their teacher's landmarks, as everywhere in training. In pictures
of the other sets the faces are found as at run time; a judged face that is not found is counted,
and left out of the other figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.calibration.heads import basic8_to_family
from ferstream.calibration.outputs import photograph_outputs
from ferstream.calibration.reliability import (
    divergence,
    expected_calibration_error,
    negative_log_likelihood,
)
from ferstream.engines.bundle import Bundle
from ferstream.engines.taxonomy import load_taxonomy, roll_up
from ferstream.stream.emotions import EmotionReader, is_uncertain
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer

from ..datasets.fer import BASIC8, FerPlus, data_folder
from ..datasets.judged import JudgedFaces, load_fairface, load_judged_photographs, load_wild
from .judged_figures import (
    TOP_WORDS,
    affect_section,
    basic_section,
    by_confidence,
    by_group,
    by_quality,
    expressive,
    ranking_section,
    steady_section,
    words_section,
)

Array = npt.NDArray[np.float32]

SECOND_VOTES = 3
"""Raters, of ten, from whom a second emotion counts as seen."""
EXPRESSION_FAMILIES = ("joy", "surprise", "anger", "sadness", "fear")
"""What the crowd's seven expressions roll up to; love counts as joy (happiness)."""


@dataclass(frozen=True)
class Scores:
    """What a bundle says of N faces: basic8 (N, 8), emo135 (N, 135) and family6 (N, 6)
    probabilities, intensity (N,) 0..1, and affect (N, 3), which is valence and arousal -1..1 and
    intensity 0..1, where the bundle has it."""

    basic8: Array
    emo135: Array
    family6: Array
    intensity: Array
    affect: Array | None
    backend: str
    precision: str


def score(bundle: Bundle, data: FerPlus, *, backend: str, precision: str) -> Scores:
    """Scores of every photograph."""
    crops = data.crops(bundle.manifest.crop.px)
    return score_crops(bundle, crops, backend=backend, precision=precision)


def score_crops(
    bundle: Bundle, crops: npt.NDArray[np.uint8], *, backend: str, precision: str
) -> Scores:
    """Scores of aligned crops (N, 1, S, S), N at least 1."""
    out, backend, used = photograph_outputs(bundle, crops, backend=backend, precision=precision)
    reader = EmotionReader(bundle.manifest)
    words = bundle.manifest.head("emo135").probabilities(out["emo135"])
    read = reader.read(out)
    affect = [[one.valence, one.arousal, one.intensity] for one in read]
    return Scores(
        bundle.manifest.head("basic8").probabilities(out["basic8"]),
        words,
        reader.family_probabilities(words),
        np.array([emotions.intensity for emotions in read], np.float32),
        None if read[0].valence is None else np.array(affect, np.float32),
        backend,
        used,
    )


def basic8_figures(probability: Array, data: FerPlus) -> dict[str, Any]:
    """Figures of the measuring protocol; shares are 0..1, kl and nll in nats."""
    label, guess = data.majority, probability.argmax(axis=1)
    recall = {
        name: float((guess[label == k] == k).mean())
        for k, name in enumerate(BASIC8)
        if (label == k).any()
    }
    right = guess == label
    unsure = np.array([is_uncertain(row) for row in probability.tolist()], dtype=bool)
    return {
        "n": len(data),
        "top1": float(right.mean()),
        "uncertain": float(unsure.mean()),
        "top1_where_uncertain": float(right[unsure].mean()) if unsure.any() else 0.0,
        "top1_where_certain": float(right[~unsure].mean()) if not unsure.all() else 0.0,
        "macro_recall": float(np.mean(list(recall.values()))),
        "ece": expected_calibration_error(probability, label),
        "kl": divergence(probability, data.votes),
        "nll": negative_log_likelihood(probability, data.votes),
        "recall": recall,
    }


def emo135_figures(scores: Scores, data: FerPlus) -> dict[str, Any]:
    """How the words agree with the crowd, whose votes know only eight emotions.

    family_top1 and basic8_family_top1: share of faces whose majority is not neutral for which
    the strongest family is the majority's (love counts as joy; neutral left out of basic8).
    second_family_in_top10: where at least three raters chose a second emotion of another family,
    whether a word of it is among the ten. intensity_rank_correlation: Spearman's, of the
    intensity shown with the share of votes that are not neutral, over all faces.
    """
    words_to_family = _five_families(roll_up("emo135", "family6"))
    basic_to_family = _five_families(basic8_to_family())
    family = scores.family6 @ _five_families(np.eye(6, dtype=np.float32))
    basic_family = (scores.basic8 @ basic_to_family).argmax(axis=1)
    rows = data.majority != 0
    label = basic_to_family[data.majority].argmax(axis=1)
    ten = np.argsort(-scores.emo135, axis=1)[:, :TOP_WORDS]
    shown = words_to_family[ten].max(axis=1)
    hits = [
        bool(shown[row, second])
        for row in np.flatnonzero(rows)
        if (second := _second_family(data.raw_votes[row], basic_to_family)) is not None
    ]
    expressed = 1 - data.raw_votes[:, 0] / data.raw_votes.sum(axis=1)
    return {
        "n": int(rows.sum()),
        "family_top1": float((family.argmax(axis=1) == label)[rows].mean()),
        "family_ece": expected_calibration_error(family[rows], label[rows]),
        "basic8_family_top1": float((basic_family == label)[rows].mean()),
        "second_n": len(hits),
        "second_family_in_top10": float(np.mean(hits)) if hits else 0.0,
        "intensity_rank_correlation": rank_correlation(scores.intensity, expressed),
    }


def rank_correlation(one_N: npt.NDArray[Any], other_N: npt.NDArray[Any]) -> float:
    """Spearman's, -1..1; equal values share the mean of their ranks. NaN where all are equal."""
    ranks = np.stack([_ranks(one_N), _ranks(other_N)])
    apart = ranks - ranks.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.square(apart).sum(axis=1).prod())
    return float(apart[0] @ apart[1] / scale) if scale else float("nan")


def _ranks(values_N: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    _, where, count = np.unique(values_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[where], np.float64)


def figures(bundle: Bundle, data: FerPlus, *, backend: str, precision: str) -> dict[str, Any]:
    """Everything that ``ferstream evaluate`` prints; ``data`` holds rated photographs only."""
    scores = score(bundle, data, backend=backend, precision=precision)
    return {
        "basic8": basic8_figures(scores.basic8, data),
        "emo135": emo135_figures(scores, data),
        "engine": scores.backend,
        "precision": scores.precision,
    }


def _five_families(to_family6: Array) -> Array:
    """(K, 6) to (K, 5) in EXPRESSION_FAMILIES' order, love added to joy."""
    families = load_taxonomy("family6").labels
    five = to_family6[:, [families.index(name) for name in EXPRESSION_FAMILIES]]
    five[:, 0] += to_family6[:, families.index("love")]
    return np.asarray(five, np.float32)


def _second_family(votes_K: Array, to_family: Array) -> int | None:
    """The family of the second emotion seen, if enough raters saw it and it is another family."""
    expressed = votes_K.copy()
    expressed[0] = 0
    first, second = np.argsort(-expressed, kind="stable")[:2]
    if expressed[second] < SECOND_VOTES:
        return None
    family = int(to_family[second].argmax())
    return None if family == int(to_family[first].argmax()) else family


Box = tuple[float, float, float, float]
Crops = npt.NDArray[np.uint8]

SHIFTS_PX = ((1, 1), (1, -1), (-1, 1), (-1, -1))
CONTRAST = 0.9
"""What a face's first word should survive: a shift by one pixel across and down, in each of
the four ways, and less contrast."""
SAME_FACE = 0.3
"""Intersection over union from which a found face is the judged one."""


def judged_sections(
    bundle: Bundle,
    split: str,
    folder: str | Path | None = None,
    *,
    backend: str = "auto",
    precision: str = "auto",
    told: Callable[[str], None] = print,
) -> dict[str, Any]:
    """The sections words, affect, steady, wild and, for the test split, fairface.

    A set that the data folder lacks is left out, and ``told`` so.

    Raises:
        LabelsWrong, DataMissing: a set is there but damaged.
    """
    root = data_folder(folder)
    found: dict[str, Any] = {}
    if _there(root / "fer2013plus" / "words.npz", "words, affect, steady", told):
        found |= photograph_sections(bundle, split, root, backend=backend, precision=precision)
    if _there(root / "wild", "wild", told):
        faces = load_wild(split, root)
        found["wild"] = picture_section(bundle, faces, backend=backend, precision=precision)
    # A test set: nothing is chosen by it, so it has no part in the validation split's figures.
    if split == "test" and _there(root / "fairface", "fairface", told):
        faces = load_fairface(root)
        found["fairface"] = picture_section(bundle, faces, backend=backend, precision=precision)
    return found


def photograph_sections(
    bundle: Bundle, split: str, folder: str | Path | None, *, backend: str, precision: str
) -> dict[str, Any]:
    """words, affect and steady on the judged FER+ photographs of a split."""
    faces, crop = load_judged_photographs(split, folder), bundle.manifest.crop
    if not len(faces):
        return {"words": {"n": 0}, "affect": {"n": 0}, "steady": {"n": 0}}
    crops = faces.photographs.crops(crop.px)
    said = score_crops(bundle, crops, backend=backend, precision=precision)
    judged, second = faces.judged, faces.second
    return {
        "words": words_section(said.emo135, said.basic8, said.intensity, judged, second),
        "affect": affect_section(said.affect, said.intensity, judged, second),
        "steady": steady_section(
            said,
            [
                score_crops(bundle, moved, backend=backend, precision=precision)
                for moved in (disturbed(faces.photographs, crop.px, *by) for by in SHIFTS_PX)
            ],
            np.flatnonzero(expressive(judged)),
        ),
    }


def disturbed(data: FerPlus, crop_px: int, right_px: int, down_px: int) -> Crops:
    """Crops (N, 1, S, S) as `FerPlus.crops`, shifted and at CONTRAST about their own mean."""
    crops = data.crops(crop_px, (right_px, down_px))
    mean = crops.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray((crops - mean) * CONTRAST + mean + 0.5, np.uint8)


def picture_section(
    bundle: Bundle, faces: JudgedFaces, *, backend: str, precision: str
) -> dict[str, Any]:
    """One set of pictures: n, found, the figures of the basic expression, words and affect.

    The basic expression is measured on readable faces, of two judges on those whose judges agree,
    and by the set's groups.
    """
    crops, seen, quality = found_crops(bundle, faces, backend=backend, precision=precision)
    found: dict[str, Any] = {"n": len(faces), "found": int(seen.sum())}
    if not seen.any():
        return found
    said = score_crops(bundle, crops, backend=backend, precision=precision)
    rows = np.flatnonzero(seen)
    judged = faces.judged.take(rows)
    second = None if faces.second is None else faces.second.take(rows)
    counted = judged.readable
    if second is not None:
        counted = counted & (second.basic == judged.basic)
    basic = basic_section(said.basic8[counted], judged.basic[counted])
    found |= {("basic_n" if name == "n" else name): value for name, value in basic.items()}
    right = (said.basic8.argmax(axis=1) == judged.basic)[counted]
    found["quality"] = by_quality(right, quality[counted])
    found["confidence"] = by_confidence(right, said.basic8[counted], quality[counted])
    for name, column in faces.groups.items():
        found[name] = by_group(right, column[rows][counted])
    ranked = np.argsort(-said.emo135, axis=1, kind="stable")[:, :TOP_WORDS]
    shows = np.flatnonzero(expressive(judged))
    found["words"] = ranking_section(ranked[shows], judged.take(shows))
    found["affect"] = affect_section(said.affect, said.intensity, judged, second)
    return found


def found_crops(
    bundle: Bundle, faces: JudgedFaces, *, backend: str = "auto", precision: str = "auto"
) -> tuple[Crops, npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Crops (M, 1, S, S) of the judged faces that the run time finds, which they are (N,), and the
    quality of each view (M,), 0..1."""
    px = bundle.manifest.crop.px
    crops, quality, seen = [], [], np.zeros(len(faces), bool)
    with Recognizer(bundle, backend=backend, precision=precision) as recognizer:
        for row, picture in enumerate(faces.pictures()):
            sighting = recognizer.find(Frame(picture, 0.0, 0, faces.names[row]))
            recognizer.forget(faces.names[row])
            shared = [intersection(face.box, faces.boxes[row].tolist()) for face in sighting.faces]
            if shared and max(shared) >= SAME_FACE:
                best = int(np.argmax(shared))
                crops.append(sighting.crops[best])
                quality.append(sighting.faces[best].quality.score)
                seen[row] = True
    stacked = np.stack(crops) if crops else np.zeros((0, 1, px, px), np.uint8)
    return stacked, seen, np.array(quality, np.float64)


def intersection(one: Box, other: Box) -> float:
    """Intersection over union of two boxes (x, y, width, height), 0..1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    whole = one[2] * one[3] + other[2] * other[3] - both
    return both / whole if whole > 0 else 0.0


def _there(place: Path, sections: str, told: Callable[[str], None]) -> bool:
    if not place.exists():
        told(f"{place} is not there: left out {sections}")
    return place.exists()
