"""Figures of a classifier.  N samples, K classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ferstream.calibration.probability import softmax
from ferstream.calibration.reliability import (
    divergence,
    expected_calibration_error,
    negative_log_likelihood,
)

Array = npt.NDArray[np.floating[Any]]


class Tally:
    """Sums over a validation, shared by all processes: what top-1, recall and loss need."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.confusion = torch.zeros(classes, classes, dtype=torch.float64, device=device)
        """(K, K) label by row, guess by column"""
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)
        """cross entropy and count"""

    def add(self, logits_NK: Tensor, target_NK: Tensor, counts_N: Tensor) -> None:
        """Logits and label distributions; rows that do not count are left out."""
        loss_N = -(target_NK * F.log_softmax(logits_NK.float(), dim=1)).sum(1)
        classes = self.confusion.shape[0]
        if classes:
            cell_N = target_NK.argmax(1) * classes + logits_NK.argmax(1)
            self.confusion.view(-1).index_add_(0, cell_N, counts_N.double())
        self.sums += torch.stack([(loss_N * counts_N).sum(), counts_N.sum()]).double()

    def figures(self) -> dict[str, float]:
        """top1, macro_recall (mean over the classes that occur) and nll in nats."""
        confusion, (loss, count) = self.confusion, self.sums.tolist()
        shown = confusion.sum(1)
        recall = confusion.diagonal()[shown > 0] / shown[shown > 0]
        return {
            "top1": float(confusion.diagonal().sum() / shown.sum().clamp(min=1)),
            "macro_recall": float(recall.mean()),
            "nll": loss / max(count, 1.0),
        }


def confusion_matrix(
    label_N: npt.NDArray[np.int64], guess_N: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """Counts (K, K), label by row, guess by column."""
    flat = np.bincount(label_N * classes + guess_N, minlength=classes * classes)
    return np.asarray(flat.reshape(classes, classes), np.int64)


def classifier_figures(
    logits_NK: Array, target_NK: Array, labels: tuple[str, ...]
) -> dict[str, Any]:
    """Figures of the measuring protocol; shares are 0..1, kl and nll in nats.

    The label is the largest part of each target. Classes that do not occur have no recall.
    """
    probability = softmax(logits_NK)
    label, guess = target_NK.argmax(axis=1), logits_NK.argmax(axis=1)
    matrix = confusion_matrix(label, guess, len(labels)).astype(np.float64)
    hit, shown, said = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    there = shown > 0
    recall = hit[there] / shown[there]
    f1 = 2 * hit[there] / np.maximum(shown[there] + said[there], 1)
    order = np.argsort(-logits_NK, axis=1, kind="stable")
    place = (order == label[:, None]).argmax(axis=1)
    found: dict[str, Any] = {
        "n": len(label),
        "top1": float((guess == label).mean()),
        "macro_recall": float(recall.mean()),
        "macro_f1": float(f1.mean()),
        "ece": expected_calibration_error(probability, label),
        "nll": negative_log_likelihood(probability, target_NK),
        "kl": divergence(probability, target_NK),
    }
    if len(labels) > 10:
        found |= {f"top{k}": float((place < k).mean()) for k in (5, 10)}
    named = zip(np.flatnonzero(there).tolist(), recall.tolist(), strict=True)
    found["recall"] = {labels[k]: share for k, share in named}
    return found
