"""Do a bundle's probabilities mean what they say? Everything measured at once, as deployed.

N faces, K labels, F families.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.bundle import Bundle
from ferstream.engines.labels import labels_of
from ferstream.engines.manifest import Head
from ferstream.engines.taxonomy import load_taxonomy, roll_up

from .data import Photographs, labelled_faces, photographs, sharpness_of
from .heads import LabelledFaces, basic8_to_family, merged_love
from .outputs import photograph_logits
from .ranges import thirds
from .reliability import (
    binned,
    brier_score,
    classwise_error,
    divergence,
    equal_mass_error,
    expected_calibration_error,
    gap,
    interval,
    measure,
    negative_log_likelihood,
    soft_error,
)

Array = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]
Progress = Callable[[str, float], None]
Page = tuple[str, list[str], list[list[str]]]
"""A table: title, columns, rows."""

BINS = 15


@dataclass(frozen=True)
class Checked:
    """A bundle's reliability on labelled faces it was not fitted on."""

    document: dict[str, Any]
    """All figures, plain types."""
    probability: Array
    """Basic expressions (N, K)."""
    label: Labels
    """(N,) what most raters say."""

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return self.document

    def tables(self) -> list[Page]:
        """The figures as tables of text."""
        return _tables(self.document)


def checked(
    bundle: Bundle,
    folder: str | None,
    split: str = "test",
    *,
    clips: int = 600,
    resamples: int = 500,
    seed: int = 0,
    progress: Progress = lambda what, share: None,
) -> Checked:
    """Measures the bundle's deployed engines on a split; `clips` photographs become clips.

    Raises:
        FileNotFoundError: no data.
    """
    labels_of(bundle.manifest).require_built_in("these photographs")
    progress("reading labelled faces", 0.0)
    faces = photographs(split, folder, bundle.manifest.crop.px)
    held = labelled_faces(faces, folder)
    progress("scoring", 0.1)
    logits, words, backend, precision = photograph_logits(bundle, held.crops)
    head = bundle.manifest.head("basic8")
    predicted, label = head.probabilities(logits), held.label
    progress("resampling", 0.3)
    document: dict[str, Any] = {
        "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
        "split": split,
        "n": len(label),
        "engine": backend,
        "precision": precision,
        "resamples": resamples,
        "basic8": overall(predicted, label, held.votes, resamples, seed),
        "classes": by_class(predicted, label, head),
        "bins": {
            name: [
                asdict(b)
                for b in binned(predicted.max(axis=1), _hit(predicted, label), BINS, **how)
            ]
            for name, how in (("equal_width", {}), ("equal_mass", {"equal_mass": True}))
        },
        "families": families(bundle, words, held, resamples, seed),
        "words": _words(bundle, words, held),
        "quality": by_quality(bundle, predicted, faces),
    }
    if bundle.manifest.sets is not None:
        progress("sets under corruption", 0.5)
        document["sets"] = _sets(bundle, predicted, held)
    if clips:
        from .data import clip_reliability

        progress("making clips", 0.7)
        document["clips"] = clip_reliability(bundle, faces, folder, clips, seed)
    return Checked(document, predicted, label)


def overall(
    predicted_NK: Array, label_N: Labels, votes_NK: Array, resamples: int, seed: int
) -> dict[str, dict[str, float]]:
    """Each figure with the interval that 95 % of resamples stay in."""
    majority_NK = np.eye(predicted_NK.shape[1])[label_N]
    figures: dict[str, Callable[[Any], float]] = {
        "top1": lambda r: float(_hit(predicted_NK[r], label_N[r]).mean()),
        "ece": lambda r: expected_calibration_error(predicted_NK[r], label_N[r], BINS),
        "ece_equal_mass": lambda r: equal_mass_error(predicted_NK[r], label_N[r], BINS),
        "ece_classwise": lambda r: classwise_error(predicted_NK[r], label_N[r], BINS),
        "ece_votes": lambda r: soft_error(predicted_NK[r], votes_NK[r], BINS),
        "nll": lambda r: negative_log_likelihood(predicted_NK[r], majority_NK[r]),
        "nll_votes": lambda r: negative_log_likelihood(predicted_NK[r], votes_NK[r]),
        "kl_votes": lambda r: divergence(predicted_NK[r], votes_NK[r]),
        "brier": lambda r: brier_score(predicted_NK[r], majority_NK[r]),
        "brier_votes": lambda r: brier_score(predicted_NK[r], votes_NK[r]),
    }
    everything = np.arange(len(label_N))
    found = {}
    for name, figure in figures.items():
        low, high = interval(figure, len(label_N), resamples, seed)
        found[name] = {"value": figure(everything), "low": low, "high": high}
    return found


def _words(bundle: Bundle, words_NK: Array, held: LabelledFaces) -> dict[str, Any]:
    """How far each word's mean probability is from how often it was named, mean over the words."""
    rows = held.word_weight > 0
    if not rows.any() or bundle.manifest.head("emo135").kind != "independent":
        return {"n": 0, "note": "no words of their own, or no judged faces, to measure on"}
    predicted_NK = bundle.manifest.head("emo135").probabilities(words_NK[rows])
    apart_K = np.abs(predicted_NK.mean(axis=0) - held.words[rows].mean(axis=0))
    return {
        "n": int(rows.sum()),
        "ece": float(apart_K.mean()),
        "note": "against machine judgements: a vision-language model named words of each face",
    }


def by_class(predicted_NK: Array, label_N: Labels, head: Head) -> dict[str, dict[str, float]]:
    """Each class against the rest."""
    guess_N = predicted_NK.argmax(axis=1)
    found = {}
    for k, name in enumerate(head.labels):
        is_N = label_N == k
        found[name] = {
            "n": int(is_N.sum()),
            "said": float(predicted_NK[:, k].mean()),
            "so": float(is_N.mean()),
            "recall": float((guess_N[is_N] == k).mean()) if is_N.any() else 0.0,
            "ece": gap(binned(predicted_NK[:, k], is_N.astype(np.float64), BINS)),
        }
    return found


def by_quality(
    bundle: Bundle, predicted_NK: Array, faces: Photographs
) -> dict[str, dict[str, float]]:
    """The same faces by how sharp and how bright their crops are."""
    label_N, sets = faces.data.majority, bundle.manifest.sets
    found = {}
    for what, value_N, names in (
        ("sharpness", sharpness_of(faces.crops), ("blurred", "middling", "sharp")),
        ("light", faces.crops.mean(axis=(1, 2, 3)), ("dark", "medium", "bright")),
    ):
        third_N = thirds(value_N)
        for third, name in enumerate(names):
            rows = third_N == third
            if not rows.any():
                continue
            predicted, label = predicted_NK[rows], label_N[rows]
            row = {
                "n": int(rows.sum()),
                "top1": float(_hit(predicted, label).mean()),
                "confidence": float(predicted.max(axis=1).mean()),
                "ece": expected_calibration_error(predicted, label, BINS),
                "nll": negative_log_likelihood(predicted, np.eye(predicted.shape[1])[label]),
            }
            if sets is not None:
                covered = measure(sets, predicted, label)
                row |= {"covered": covered.covered, "set_size": covered.size}
            found[f"{what}: {name}"] = row
    return found


def families(
    bundle: Bundle, words_NK: Array, held: LabelledFaces, resamples: int, seed: int
) -> dict[str, Any]:
    """The families on faces that most raters did not call neutral; love counts as joy."""
    predicted_NK = bundle.manifest.head("emo135").probabilities(words_NK)
    predicted_NK = predicted_NK / np.maximum(predicted_NK.sum(axis=1, keepdims=True), 1e-9)
    words_NF = predicted_NK @ roll_up("emo135", "family6")
    names = [head.name for head in bundle.manifest.heads]
    if "family6" in names:
        words_NF = bundle.manifest.head("family6").probabilities(np.log(words_NF + 1e-9))
    best_NF = basic8_to_family()[held.label]
    rows = best_NF.sum(axis=1) > 0
    predicted, label = merged_love(words_NF)[rows], best_NF[rows].argmax(axis=1)

    def ece(at: Any) -> float:
        return expected_calibration_error(predicted[at], label[at], BINS)

    low, high = interval(ece, len(label), resamples, seed)
    return {
        "n": len(label),
        "labels": list(load_taxonomy("family6").labels),
        "top1": float(_hit(predicted, label).mean()),
        "ece": {"value": ece(np.arange(len(label))), "low": low, "high": high},
        "nll": negative_log_likelihood(predicted, best_NF[rows]),
    }


def _sets(bundle: Bundle, predicted_NK: Array, held: LabelledFaces) -> dict[str, Any]:
    sets = bundle.manifest.sets
    assert sets is not None
    head = bundle.manifest.head(sets.head)
    measured = {"as they are": asdict(measure(sets, predicted_NK, held.label))}
    for how, crops in held.harder.items():
        predicted = head.probabilities(photograph_logits(bundle, crops)[0])
        row = asdict(measure(sets, predicted, held.label))
        row |= {
            "top1": float(_hit(predicted, held.label).mean()),
            "ece": expected_calibration_error(predicted, held.label, BINS),
        }
        measured[how] = row
    clean = measured["as they are"]
    clean["top1"] = float(_hit(predicted_NK, held.label).mean())
    clean["ece"] = expected_calibration_error(predicted_NK, held.label, BINS)
    return {"promised": sets.coverage, "measured": measured}


def _hit(predicted_NK: Array, label_N: Labels) -> npt.NDArray[np.float64]:
    return np.asarray(predicted_NK.argmax(axis=1) == label_N, np.float64)


NAMES = {
    "top1": "top-1",
    "ece": "ECE, equal width",
    "ece_equal_mass": "ECE, equal mass",
    "ece_classwise": "ECE, class by class",
    "ece_votes": "ECE against the raters' shares",
    "nll": "NLL of the majority, nats",
    "nll_votes": "NLL of the votes, nats",
    "kl_votes": "KL from the votes, nats",
    "brier": "Brier, majority",
    "brier_votes": "Brier, votes",
}


def _tables(found: dict[str, Any]) -> list[Page]:
    title = (
        f"{found['bundle']} on {found['n']} faces of {found['split']}, "
        f"{found['engine']} {found['precision']}"
    )
    main = [
        [NAMES[name], f"{row['value']:.4f}", f"{row['low']:.4f} to {row['high']:.4f}"]
        for name, row in found["basic8"].items()
    ]
    family = found["families"]
    main.append(
        [
            "families: ECE",
            f"{family['ece']['value']:.4f}",
            f"{family['ece']['low']:.4f} to {family['ece']['high']:.4f}",
        ]
    )
    main.append(["families: top-1", f"{family['top1']:.4f}", ""])
    if found["words"]["n"]:
        main.append(["words: ECE (machine-judged)", f"{found['words']['ece']:.4f}", ""])
    tables = [
        (title, ["figure", "value", "95 % of resamples"], main),
        _rows("By class", found["classes"]),
        _rows("By quality of the crop", found["quality"]),
    ]
    if "sets" in found:
        promised = found["sets"]["promised"]
        tables.append(_rows(f"Sets that promise {promised:g}", found["sets"]["measured"]))
    for name, rows in found.get("clips", {}).items():
        tables.append(_rows(f"Clips: {name}", rows))
    return tables


def _rows(title: str, rows: dict[str, dict[str, float]]) -> Page:
    columns = list(next(iter(rows.values()))) if rows else []
    texts = [
        [name, *(f"{row[c]:d}" if isinstance(row[c], int) else f"{row[c]:.4f}" for c in columns)]
        for name, row in rows.items()
    ]
    return title, ["", *columns], texts
