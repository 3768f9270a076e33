"""Figures of what a bundle says of judged faces: words, affect, basic expressions.

Pure NumPy, arrays in, plain dictionaries out. The judge is a vision-language model, see
datasets/judged.py; words and affect are measured on the faces that are not neutral to the first
judge.
A figure's 95 % interval, by resampling the faces, stands under its name in `intervals`.

N faces, W words, K basic expressions, R ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ferstream.calibration.reliability import expected_calibration_error, interval
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.emotions import AFFECT, is_uncertain
from ferstream.stream.faces.quality import TRUSTED

from ..datasets.judged import GRADES, Judgements
from .word_figures import log_odds, overlap_within, ranking, ridge_residuals, word_gaps

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]
Figure = Callable[[Rows], float]

TOP_WORDS = 10
"""So many words are shown of a face."""
LEAST_FACES = 50
"""With fewer a regression says nothing of what explains the words."""


def expressive(judged: Judgements) -> npt.NDArray[np.bool_]:
    """(N,) the faces on which words and affect are measured: readable and not neutral."""
    return (judged.basic > 0) & (judged.words[:, 0] >= 0)


def words_section(
    words_NW: Floats,
    basic_NK: Floats,
    intensity_N: Floats,
    judged: Judgements,
    second: Judgements | None = None,
) -> dict[str, Any]:
    """How the words agree with the judge, are calibrated, and know more than the eight.

    n faces; the shares and means of `word_figures.ranking` for our ten likeliest words, and under
    `judges` for the second judge's words against the first's;

    - ece: a word's distance between how likely it was said to be named and how often the judge
      named it, mean over the words; ece_weighted: words weighed by how often they are named;
      ece_shown: of the ten likeliest words of each face, which are what is shown;
      ece_all_faces: ece with the neutral faces;
    - words_used: different words in all top tens;
    - r2_from_basic: share of the variance of the words' log-odds that a ridge regression on the
      logarithms of the eight probabilities and the intensity explains, cross-validated;
    - jaccard_within_family: how much a face's ten overlap with those of faces whose first word is
      of the same family, mean over the faces.
    """
    rows = np.flatnonzero(expressive(judged))
    if not len(rows):
        return {"n": 0}
    seen, p_NW = judged.take(rows), words_NW[rows].astype(np.float64)
    ranked_NR = np.argsort(-p_NW, axis=1, kind="stable")[:, :TOP_WORDS]
    known_NF = np.column_stack([log_odds(basic_NK[rows], odds=False), intensity_N[rows]])
    family_W = np.asarray(load_taxonomy("emo135").family_of)
    named_NW = seen.named() > 0
    readable = np.flatnonzero(judged.readable)
    all_p_NW, all_named_NW = words_NW[readable], judged.take(readable).named() > 0

    def ece(at: Rows) -> float:
        return float(word_gaps(p_NW[at], named_NW[at]).mean())

    def weighted(at: Rows) -> float:
        often_W = named_NW[at].sum(axis=0)
        return float(word_gaps(p_NW[at], named_NW[at]) @ often_W / often_W.sum())

    def shown(at: Rows) -> float:
        p_NR = np.take_along_axis(p_NW[at], ranked_NR[at], axis=1)
        so_NR = np.take_along_axis(named_NW[at], ranked_NR[at], axis=1)
        return float(word_gaps(p_NR.reshape(-1, 1), so_NR.reshape(-1, 1))[0])

    def all_faces(at: Rows) -> float:
        return float(word_gaps(all_p_NW[at], all_named_NW[at]).mean())

    found = _joined(
        ranking_section(ranked_NR, seen),
        measured({"ece": ece, "ece_weighted": weighted, "ece_shown": shown}, len(rows)),
        measured({"ece_all_faces": all_faces}, len(readable)),
        _explained(log_odds(p_NW), known_NF),
        _alike(ranked_NR, family_W[ranked_NR[:, 0]]),
    )
    found["words_used"] = len(np.unique(ranked_NR))
    if second is not None:
        found["judges"] = ranking_section(second.take(rows).words, seen)
    return found


def ranking_section(ranked_NR: npt.NDArray[np.int64], judged: Judgements) -> dict[str, Any]:
    """n and `word_figures.ranking` of words ranked best first, -1 for none, with intervals."""
    if not len(judged):
        return {"n": 0}
    of_face = ranking(ranked_NR, judged.words, GRADES)
    figures = {name: _mean_of(values) for name, values in of_face.items()}
    return {"n": len(judged), **measured(figures, len(judged))}


def affect_section(
    affect_N3: Floats | None,
    intensity_N: Floats,
    judged: Judgements,
    second: Judgements | None = None,
) -> dict[str, Any]:
    """Concordance (Lin's ccc) and correlation (Pearson's r) with the judge's valence and arousal,
    correlation with its intensity; `judges`: of the second judge with the first.

    Without affect only the intensity is measured, on ``intensity_N``, which is shown then.
    """
    rows = np.flatnonzero(expressive(judged))
    if not len(rows):
        return {"n": 0}
    wanted_N3 = judged.affect[rows]
    if affect_N3 is None:
        said = {"intensity": intensity_N[rows]}
    else:
        said = dict(zip(AFFECT, affect_N3[rows].T, strict=True))
    found = _affect(said, wanted_N3)
    if second is not None:
        other = second.affect[rows].T
        found["judges"] = _affect(dict(zip(AFFECT, other, strict=True)), wanted_N3)
    return found


class LabelLists(Protocol):
    """Probabilities of words emo135 (N, W) and of basic expressions basic8 (N, K)."""

    @property
    def emo135(self) -> Floats: ...

    @property
    def basic8(self) -> Floats: ...


def steady_section(said: LabelLists, disturbed: Sequence[LabelLists], rows: Rows) -> dict[str, Any]:
    """Share of the faces ``rows`` whose first word, first basic expression stay when the face is
    disturbed, mean over the ways to disturb it."""
    if not len(rows):
        return {"n": 0}
    figures = {}
    for name, head in (("first_word", "emo135"), ("basic", "basic8")):
        first_N = getattr(said, head)[rows].argmax(axis=1)
        same = [getattr(other, head)[rows].argmax(axis=1) == first_N for other in disturbed]
        figures[name] = _mean_of(np.mean(same, axis=0))
    return {"n": len(rows), **measured(figures, len(rows))}


def basic_section(basic_NK: Floats, label_N: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Agreement with labels of the eight basic expressions: n, basic_top1, basic_macro_recall
    over the expressions that occur, and ece of the likeliest one."""
    if not len(label_N):
        return {"n": 0}
    right_N = basic_NK.argmax(axis=1) == label_N
    figures: dict[str, Figure] = {
        "basic_top1": _mean_of(right_N),
        "basic_macro_recall": lambda at: macro_recall(right_N[at], label_N[at]),
        "ece": lambda at: expected_calibration_error(basic_NK[at], label_N[at]),
    }
    return {"n": len(label_N), **measured(figures, len(label_N))}


def by_quality(right: npt.NDArray[np.bool_], quality: Floats) -> dict[str, Any]:
    """How well the quality of a view predicts errors: the share of `right` answers among the best
    1, 0.9, .. 0.5 of the views (`coverage`), and among those above and below `TRUSTED`, with their
    numbers."""
    sure = quality >= TRUSTED
    return {
        "coverage": _coverage(right, quality),
        "trusted": {"n": int(sure.sum()), **_share(right[sure])},
        "untrusted": {"n": int((~sure).sum()), **_share(right[~sure])},
    }


def by_confidence(
    right: npt.NDArray[np.bool_], basic_NK: Floats, quality: Floats
) -> dict[str, Any]:
    """The same of how sure a reading is: by its likeliest basic expression's probability, views
    that are not trusted last; and of the readings that are called uncertain or not."""
    trusted = quality >= TRUSTED
    doubted = np.array([is_uncertain(row) for row in basic_NK.tolist()], bool) | ~trusted
    return {
        "coverage": _coverage(right, basic_NK.max(axis=1) + trusted),
        "certain": {"n": int((~doubted).sum()), **_share(right[~doubted])},
        "uncertain": {"n": int(doubted.sum()), **_share(right[doubted])},
    }


def _coverage(right: npt.NDArray[np.bool_], trust: Floats) -> dict[str, float]:
    """The share of right answers among the most trusted ones, by how many of them."""
    order = np.argsort(-trust, kind="stable")
    shares = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    return {
        f"{share:g}": float(right[order[: max(round(share * len(right)), 1)]].mean())
        for share in shares
        if len(right)
    }


def _share(right: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {"top1": float(right.mean())} if len(right) else {}


def by_group(right_N: npt.NDArray[np.bool_], group_N: npt.NDArray[np.str_]) -> dict[str, Any]:
    """n and basic_top1 of every group of faces."""
    found = {}
    for name in sorted(set(group_N.tolist()), key=_by_number):
        right = right_N[group_N == name]
        found[name] = {"n": len(right), **measured({"basic_top1": _mean_of(right)}, len(right))}
    return found


def macro_recall(right_N: npt.NDArray[np.bool_], label_N: npt.NDArray[np.int64]) -> float:
    """Mean of the recalls of the labels that occur."""
    return float(np.mean([right_N[label_N == label].mean() for label in np.unique(label_N)]))


def concordance(one_N: Floats, other_N: Floats) -> float:
    """Lin's concordance correlation coefficient, -1..1; 0 where neither varies."""
    apart = (one_N.mean() - other_N.mean()) ** 2
    total = one_N.var() + other_N.var() + apart
    covariance = ((one_N - one_N.mean()) * (other_N - other_N.mean())).mean()
    return float(2 * covariance / total) if total > 0 else 0.0


def correlation(one_N: Floats, other_N: Floats) -> float:
    """Pearson's r, -1..1; 0 where one of them does not vary."""
    spread = float(one_N.std() * other_N.std())
    if spread < 1e-12:
        return 0.0
    return float(((one_N - one_N.mean()) * (other_N - other_N.mean())).mean() / spread)


def measured(figures: Mapping[str, Figure], count: int, least: float = 0.0) -> dict[str, Any]:
    """Every figure of all ``count`` faces, and its interval; they lie in ``least``..1."""
    every = np.arange(count)
    return {
        **{name: figure(every) for name, figure in figures.items()},
        "intervals": {
            name: list(interval(figure, count, least=least, most=1.0))
            for name, figure in figures.items()
        },
    }


def _explained(odds_NW: Floats, known_NF: Floats) -> dict[str, Any]:
    if len(odds_NW) < LEAST_FACES:
        return {}
    left_N, spread_N = ridge_residuals(odds_NW, known_NF)
    return measured(
        {"r2_from_basic": lambda at: 1 - float(left_N[at].sum() / spread_N[at].sum())},
        len(left_N),
        least=-1.0,
    )


def _alike(ranked_NR: Rows, family_N: Rows) -> dict[str, Any]:
    alike_N = overlap_within(ranked_NR, family_N)
    figures = {"jaccard_within_family": _mean_of(alike_N)}
    return measured(figures, len(alike_N)) if len(alike_N) else {}


def _affect(said: Mapping[str, Floats], wanted_N3: Floats) -> dict[str, Any]:
    figures: dict[str, Figure] = {}
    for column, name in enumerate(AFFECT):
        if name not in said:
            continue
        one_N, other_N = said[name].astype(np.float64), wanted_N3[:, column].astype(np.float64)
        if name != "intensity":
            figures[f"{name}_ccc"] = _pair(concordance, one_N, other_N)
        figures[f"{name}_r"] = _pair(correlation, one_N, other_N)
    return {"n": len(wanted_N3), **measured(figures, len(wanted_N3), least=-1.0)}


def _pair(of: Callable[[Floats, Floats], float], one_N: Floats, other_N: Floats) -> Figure:
    return lambda at: of(one_N[at], other_N[at])


def _mean_of(values_N: npt.NDArray[Any]) -> Figure:
    return lambda at: float(values_N[at].mean())


def _joined(*parts: dict[str, Any]) -> dict[str, Any]:
    """Figures of several parts in one dictionary, their intervals too."""
    whole: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    for part in parts:
        intervals |= part.pop("intervals", {})
        whole |= part
    return {**whole, "intervals": intervals}


def _by_number(name: str) -> tuple[int, str]:
    """Age groups in the order of their first numbers, other groups by name."""
    digits = "".join(sign if sign.isdigit() else " " for sign in name).split()
    return (int(digits[0]) if digits else 0, name)
