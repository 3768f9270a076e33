"""Measure a bundle, as deployed, on clips made from the test photographs.

There is no labelled video here, so these figures are of photographs spoiled or set in motion, and
are called so. T frames of a clip, N clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.calibration.data import counted, moving_clips
from ferstream.calibration.outputs import ClipScorer
from ferstream.calibration.reliability import expected_calibration_error, negative_log_likelihood
from ferstream.engines.bundle import Bundle

from ..datasets.augment import SPOILS, ViewMaker
from ..datasets.fer import FerPlus, data_folder
from ..datasets.judged import GRADES, Judgements, load_judged_photographs
from ..datasets.motion import FaceShape
from .judged_figures import expressive, measured
from .word_figures import ranking

Array = npt.NDArray[np.float32]
VIEWS = 8


def attention_figures(
    scorer: ClipScorer, data: FerPlus, shape: FaceShape, seed: int = 2
) -> dict[str, Any]:
    """Clips of eight views of each photograph, four of them spoiled: attention or averaging.

    ``mixed`` spoils each of the four in a way of its own; the others spoil all four in one way,
    each on a share of the photographs, and ``one_way`` is all of those together.
    """
    maker = ViewMaker(data, shape, seed)
    ways = np.array([SPOILS[row % len(SPOILS)] for row in range(len(data))])
    mixed = _attended(scorer, maker, data, [None] * len(data), "each in its own way")
    one_way = _attended(scorer, maker, data, list(ways), "in one way")
    by_way = {way: one_way.figures(ways == way) for way in SPOILS if way in ways}
    every = np.ones(len(data), dtype=bool)
    return {"mixed": mixed.figures(every), "one_way": one_way.figures(every), **by_way}


@dataclass(frozen=True)
class _Attended:
    """Whether each clip was named right by attention, by averaging and by averaging only the good
    views; and the attention's weight on the spoiled ones."""

    attention: npt.NDArray[np.bool_]
    averaging: npt.NDArray[np.bool_]
    good_views_only: npt.NDArray[np.bool_]
    weight_on_spoiled: Array

    def figures(self, rows: npt.NDArray[np.bool_]) -> dict[str, float]:
        """Shares over some of the clips."""
        return {"n": int(rows.sum())} | {
            name: float(value[rows].mean()) for name, value in self.__dict__.items()
        }


def _attended(
    scorer: ClipScorer, maker: ViewMaker, data: FerPlus, ways: Sequence[str | None], what: str
) -> _Attended:
    half = VIEWS // 2
    made = [
        maker.clip(row, VIEWS, half, ways[row])
        for row in counted(len(data), f"Spoiling half the views, {what}")
    ]
    crops, spoiled = np.stack([c for c, _ in made]), np.stack([m for _, m in made])
    feature = scorer.features(crops)
    attended, attention = scorer.clips(feature)
    averaged = scorer.single(feature.mean(axis=1))
    best = scorer.single((feature * ~spoiled[..., None]).sum(axis=1) / np.float32(half))
    label = data.majority
    return _Attended(
        attended.argmax(axis=1) == label,
        averaged.argmax(axis=1) == label,
        best.argmax(axis=1) == label,
        (attention * spoiled).sum(axis=1),
    )


def motion_figures(
    scorer: ClipScorer,
    data: FerPlus,
    shape: FaceShape,
    kind: str | None,
    seed: int = 3,
    judged: JudgedRows | None = None,
) -> dict[str, Any]:
    """Photographs set in motion: each stream alone, and both fused, as deployed live; and their
    words, where a judge described some of them."""
    moved = moving_clips(scorer, data, shape, kind, seed)
    target = moved.target
    label = target.argmax(axis=1)
    found: dict[str, Any] = {"n": len(data)}
    for name, out in moved.outputs.items():
        probability = scorer.head.probabilities(out["basic8"])
        found[name] = {
            "top1": _top1(probability, label),
            "nll": negative_log_likelihood(probability, target),
            "ece": expected_calibration_error(probability, label),
        }
    if judged is not None and scorer.words.kind == "independent":
        on = moved.level[judged.rows] >= ON
        rows, words = judged.rows[on], judged.judged.take(on)
        ranked = {
            name: np.argsort(-scorer.words.probabilities(out["emo135"][rows]), axis=1)
            for name, out in moved.outputs.items()
        }
        found["words"] = words_in_motion(ranked, words)
    return found


ON = 0.5
"""Words are measured where the expression is on by so much at the clip's end."""


@dataclass(frozen=True)
class JudgedRows:
    """Which of some photographs a judge found expressive, (M,) rows, and what it said of them."""

    rows: npt.NDArray[np.int64]
    judged: Judgements


def judged_rows(data: FerPlus, folder: str | Path | None) -> JudgedRows | None:
    """Those of a split's photographs; None where the set has no judgements."""
    if not (data_folder(folder) / "fer2013plus" / "words.npz").is_file():
        return None
    found = load_judged_photographs(data.split, folder)
    place = np.full(data.total, -1, np.int64)
    place[data.image] = np.arange(len(data))
    rows = place[found.photographs.image]
    kept = (rows >= 0) & expressive(found.judged)
    return JudgedRows(rows[kept], found.judged.take(kept))


def words_in_motion(
    ranked: Mapping[str, npt.NDArray[np.int64]], judged: Judgements
) -> dict[str, Any]:
    """How often the judge's first word is among ten of each stream's, and by how much the fused
    words are better than the frames' alone, with 95 % intervals over the faces."""
    hits = {
        name: ranking(order, judged.words, GRADES)["first_in_top10"]
        for name, order in ranked.items()
    }
    hits["gain"] = hits["fused"] - hits["spatial"]

    def figure(hit: npt.NDArray[np.floating[Any]]) -> Callable[[npt.NDArray[np.int64]], float]:
        return lambda at: float(hit[at].mean())

    figures = {name: figure(hit) for name, hit in hits.items()}
    return {"n": len(judged), **measured(figures, len(judged), least=-1.0)}


def clip_figures(
    bundle: Bundle, data: FerPlus, shape: FaceShape, folder: str | Path | None = None
) -> dict[str, Any]:
    """Attention and motion on the photographs of ``data`` that have landmarks."""
    cv2.setNumThreads(1)
    scorer, judged = ClipScorer(bundle), judged_rows(data, folder)
    return {
        "attention": attention_figures(scorer, data, shape),
        "onset": motion_figures(scorer, data, shape, "onset", judged=judged),
        "all_kinds": motion_figures(scorer, data, shape, None, judged=judged),
    }


def _top1(probability: Array, label: npt.NDArray[np.int64]) -> float:
    return float((probability.argmax(axis=1) == label).mean())
