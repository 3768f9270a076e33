"""A lower precision beside the float form, on labelled examples: what it changes.

N examples, K labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.engine import Engine

from .errors import NotFinite
from .probability import mean_recall
from .ranges import batches
from .reliability import expected_calibration_error
from .samples import Samples

Array = npt.NDArray[np.floating[Any]]
Outputs = Mapping[str, npt.NDArray[Any]]

TOP_WORDS = 10


@dataclass(frozen=True)
class Said:
    """Probabilities of the basic expressions (N, 8) and, where the network has them, of the
    words (N, 135)."""

    basic8: Array
    words: Array | None


@dataclass(frozen=True)
class Examples:
    """What one network is judged on."""

    inputs: Samples
    """By tensor name, N each."""
    label: npt.NDArray[np.int64]
    """(N,) what most raters say."""
    read: Callable[[Outputs], Said]
    """The network's outputs to probabilities, as at run time."""

    def said(self, engine: Engine, batch: int = 128) -> Said:
        """What an open engine says of them.

        Raises:
            NotFinite: NaN or infinity among its outputs.
        """
        parts = [engine.run(part) for part in batches(self.inputs, batch)]
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise NotFinite(
                    f"{engine.spec.name} in {engine.precision} gives NaN or infinity in {name!r} "
                    f"on {len(self.label)} labelled faces: leave more layers in float"
                )
        return self.read(outputs)


@dataclass(frozen=True)
class Figures:
    """How well one form does."""

    top1: float
    macro_recall: float
    ece: float


@dataclass(frozen=True)
class Change:
    """How far a lower form is from the float form."""

    overlap: float | None
    """Mean share of the float form's ten best words among the lower form's; None without words."""
    kl: float
    """Mean divergence of the basic expressions from float to the lower form, nats."""
    agree: float
    """Share of the examples with the same best expression."""

    def to_json(self) -> dict[str, float | None]:
        """Plain numbers."""
        return asdict(self)


def figures(said: Said, label_N: npt.NDArray[np.int64]) -> Figures:
    """Top-1, macro recall and equal-width ECE."""
    guess_N = said.basic8.argmax(axis=1)
    return Figures(
        float((guess_N == label_N).mean()),
        mean_recall(guess_N, label_N),
        expected_calibration_error(said.basic8, label_N),
    )


def change(exact: Said, lower: Said) -> Change:
    """The lower form beside the float form."""
    p_NK, q_NK = exact.basic8.astype(np.float64), lower.basic8.astype(np.float64)
    kl_N = (p_NK * (np.log(p_NK + 1e-12) - np.log(q_NK + 1e-12))).sum(axis=1)
    overlap = None
    if exact.words is not None and lower.words is not None:
        overlap = float(_shared(_best(exact.words), _best(lower.words)).mean())
    agree = float((p_NK.argmax(axis=1) == q_NK.argmax(axis=1)).mean())
    return Change(overlap, max(float(kl_N.mean()), 0.0), agree)


def _best(words_NK: Array) -> npt.NDArray[np.int64]:
    return np.argsort(-words_NK, axis=1, kind="stable")[:, :TOP_WORDS]


def _shared(one_NT: npt.NDArray[np.int64], other_NT: npt.NDArray[np.int64]) -> Array:
    """Share of each row of `one_NT` that is in the same row of `other_NT`."""
    same_NTT = one_NT[:, :, None] == other_NT[:, None, :]
    return np.asarray(same_NTT.any(axis=2).mean(axis=1), np.float64)
