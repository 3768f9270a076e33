"""What paper 000 reports beside a classifier's figures (section 3.2, Tables 3 and 4), as tables.

N faces, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...datasets.judged import GRADES
from ...datasets.learning_faces import LearningFaces
from ...errors import OptionsWrong
from ...measuring.metrics import classifier_figures
from ...measuring.report import INK, canvas, save, square_canvas
from ...measuring.word_figures import ranking
from .labels import Correlations
from .similarity import (
    Matrix,
    correlation_of_word_models,
    read_similarity,
    semantic_distances,
    similarity_of_labels,
)

Array = npt.NDArray[np.floating[Any]]
Table = dict[str, Any]

SHEET_COLUMNS, TILE_PX = 12, 64


def set_tables(
    found: Correlations,
    train: LearningFaces,
    predictions: dict[str, Array],
    typical_N: npt.NDArray[np.bool_],
) -> dict[str, Table]:
    """What cleaning did to the training faces, and what it would have done to the test faces."""
    logits, target = predictions["test_logits"], predictions["test_target"]
    return {
        f"Cleaning (Algorithm 1, sigma {float(found.threshold):.3g})": cleaning_table(
            found, train.label, train.labels
        ),
        "Test faces that cleaning would have kept": typical_table(
            logits, target, typical_N, train.labels
        ),
    }


def word_tables(
    found: Correlations,
    labels: tuple[str, ...],
    predictions: dict[str, Array],
    ratings: str,
    vectors: str,
) -> dict[str, Table]:
    """Tables 3 and 4; ``ratings`` and ``vectors`` are files, or empty."""
    logits, target = predictions["test_logits"], predictions["test_target"]
    rated = Path(ratings) if ratings else None
    return {
        "Word models (Table 3)": models_table(found, labels, rated, vectors),
        "Word distances to the truth (Table 4)": meaning_table(logits, target, found.meaning),
    }


def draw_pictures(folder: Path, train: LearningFaces, found: Correlations) -> dict[str, str]:
    """F_exp for the report, with its caption; and, beside it, the removed faces."""
    draw_similarity(folder / "f_exp.png", found.similarity, train.labels)
    draw_removed(folder / "removed.png", train, found)
    return {
        "f_exp.png": "F_exp: how far the faces of each label (row) can be taken for those of the "
        "others (column), by directed Hausdorff distance. The diagonal, 0.5, is left white."
    }


def cleaning_table(
    found: Correlations, label_N: npt.NDArray[np.int64], labels: Sequence[str]
) -> Table:
    """What Algorithm 1 took out of the training set, over all and label by label."""
    rows = [_cleaning_row("all", found, np.ones(len(label_N), np.bool_))]
    rows += [_cleaning_row(name, found, label_N == at) for at, name in enumerate(labels)]
    head = ["label", "faces", "removed", "share", "kept for its label's sake", "median d_n"]
    return {"head": head, "rows": rows}


def _cleaning_row(name: str, found: Correlations, here: npt.NDArray[np.bool_]) -> list[str]:
    removed, count = int((~found.keep[here]).sum()), int(here.sum())
    return [
        name,
        f"{count:,}",
        f"{removed:,}",
        f"{100 * removed / max(count, 1):.1f} %",
        f"{int(found.rescued[here].sum()):,}",
        f"{np.median(found.distance[here]):.3f}" if count else "",
    ]


def typical_table(
    logits_NK: Array, target_NK: Array, typical_N: npt.NDArray[np.bool_], labels: tuple[str, ...]
) -> Table:
    """Figures of all test faces and of those that cleaning would have left: the paper's kind of
    test set, which is easier."""
    rows = []
    for name, here in (("all", np.ones(len(typical_N), np.bool_)), ("kept", typical_N)):
        if here.any():
            figures = classifier_figures(logits_NK[here], target_NK[here], labels)
            shares = [f"{100 * figures[key]:.1f} %" for key in ("top1", "macro_f1")]
            rows.append([name, f"{int(here.sum()):,}", *shares])
    return {"head": ["test faces", "number", "top-1", "macro F1"], "rows": rows}


def set_figures(logits_NK: Array, named_NJ: npt.NDArray[np.int64]) -> dict[str, float]:
    """`word_figures.ranking` of the ten first words of faces that have several, but for what the
    classifier's figures tell: top1_among, recall_at_10, ndcg_at_10."""
    ranked_NR = np.argsort(-logits_NK, axis=1, kind="stable")[:, :10]
    found = ranking(ranked_NR, named_NJ, GRADES)
    shown = ("top1_among", "recall_at_10", "ndcg_at_10")
    return {name: float(found[name].mean()) for name in shown}


def meaning_figures(
    logits_NK: Array, label_N: npt.NDArray[np.int64], meaning_KK: Matrix
) -> dict[str, float]:
    """Table 4's distances of the truth to the first words, as distance_top1 and so on."""
    tops = meaning_tops(logits_NK.shape[1])
    found = semantic_distances(logits_NK, label_N, meaning_KK, tops)
    return {f"distance_{name}": near for name, (near, _) in found.items()}


def meaning_table(logits_NK: Array, target_NK: Array, meaning_KK: Matrix) -> Table:
    """Table 4: how far in meaning the first words are from the truth, and how far the rest."""
    tops = meaning_tops(logits_NK.shape[1])
    found = semantic_distances(logits_NK, target_NK.argmax(axis=1), meaning_KK, tops)
    predicted, rest = zip(*found.values(), strict=True)
    return {
        "head": ["mean distance, 1 - similarity", *(f"top {k}" for k in tops)],
        "rows": [
            ["truth to prediction", *(f"{value:.3f}" for value in predicted)],
            ["truth to the rest", *(f"{value:.3f}" for value in rest)],
        ],
    }


def meaning_tops(labels: int) -> tuple[int, ...]:
    """The paper's 1, 5 and 10 where so many labels leave a rest, else fewer."""
    wanted = (1, 5, 10) if labels > 12 else (1, 2, 3)
    return tuple(k for k in wanted if k <= labels - 2)


def models_table(
    found: Correlations, labels: tuple[str, ...], ratings: Path | None, vectors: str
) -> Table:
    """Table 3: how well each word model agrees with rated similarities, where a file of them is
    given (the paper has those of Shaver et al.), and with how alike the labels' faces look."""
    models: dict[str, Array] = {}
    if vectors:
        models[f"word vectors ({Path(vectors).name})"] = found.meaning
    with suppress(OptionsWrong):  # Labels that only the word vectors know.
        models["words named together, and norms (shipped)"] = similarity_of_labels(labels)
    references = {"looks (F_exp)": found.similarity}
    if ratings is not None:
        references = {f"ratings ({ratings.name})": read_similarity(ratings, labels), **references}
        models["looks (F_exp)"] = found.similarity
    agreement = {
        name: correlation_of_word_models(models, reference)
        for name, reference in references.items()
    }
    return {
        "head": ["Pearson's correlation with", *references],
        "rows": [
            [
                model,
                *("" if model == name else f"{agreement[name][model]:.3f}" for name in references),
            ]
            for model in models
        ],
    }


def draw_similarity(path: Path, similarity_KK: Matrix, labels: Sequence[str]) -> None:
    """F_exp by shades; figures where there are few labels."""
    shown = np.array(similarity_KK, np.float64)
    np.fill_diagonal(shown, 0)
    highest = max(float(shown.max()), 1e-9)
    figure, axes = square_canvas(shown, labels, vmax=highest)
    axes.set_xlabel("can be taken for")
    for row, column in np.ndindex(*shown.shape) if len(labels) <= 20 else ():
        if row != column:
            colour = "white" if shown[row, column] > highest / 2 else INK
            text = f"{shown[row, column]:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    save(figure, path)


def draw_removed(path: Path, faces: LearningFaces, found: Correlations) -> None:
    """The removed faces of each label that lie farthest out, a label a row, for people to judge.

    It stays in the run folder and out of the report, which may be passed on.
    """
    removed = np.flatnonzero(~found.keep)
    shown = [label for label in range(len(faces.labels)) if (faces.label[removed] == label).any()]
    if not shown:
        return
    sheet = np.full((len(shown) * TILE_PX, SHEET_COLUMNS * TILE_PX), 255, np.uint8)
    for line, label in enumerate(shown):
        rows = removed[faces.label[removed] == label]
        rows = rows[np.argsort(-found.distance[rows], kind="stable")[:SHEET_COLUMNS]]
        for at, row in enumerate(rows.tolist()):
            place = slice(line * TILE_PX, (line + 1) * TILE_PX)
            sheet[place, at * TILE_PX : (at + 1) * TILE_PX] = faces.crop(row, TILE_PX)
    figure, axes = canvas(1.5 + SHEET_COLUMNS * 0.5, len(shown) * 0.5)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255)
    middles = [(line + 0.5) * TILE_PX for line in range(len(shown))]
    axes.set_yticks(middles, [faces.labels[label] for label in shown])
    axes.set_xticks([])
    save(figure, path)
