"""Batches in which every class has the same share (paper 001, IV-B; Hand et al. 2018).

N samples, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import OptionsWrong


def selective_batches(
    label_N: npt.NDArray[np.integer[Any]], classes: int, batch: int, *, seed: int, epoch: int = 0
) -> npt.NDArray[np.int64]:
    """One epoch's batches: indices (batches, batch), batch / classes of each class in each.

    Every class is gone through in an order of its own, and again from the start where it is
    small; an epoch has as many samples as the set, rounded down to whole batches, so of a large
    class each epoch shows another part. Classes that do not occur are left out.

    Raises:
        OptionsWrong: the batch is no multiple of the number of classes that occur.
    """
    occurring = [rows for k in range(classes) if len(rows := np.flatnonzero(label_N == k))]
    if not occurring or batch % len(occurring):
        raise OptionsWrong(
            f"batch is {batch}: to hold as many of every class it must be a multiple of the "
            f"{len(occurring)} classes that occur"
        )
    share = batch // len(occurring)
    batches = max(len(label_N) // batch, 1)
    random = np.random.default_rng((seed, epoch))
    drawn = [_cycled(rows, share * batches, random) for rows in occurring]
    together = np.concatenate([rows.reshape(batches, share) for rows in drawn], axis=1)
    return np.asarray(random.permuted(together, axis=1), np.int64)


def _cycled(
    rows: npt.NDArray[np.int64], count: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """As many rows as asked for, every one once before any comes again."""
    rounds = -(-count // len(rows))
    return np.asarray(np.concatenate([random.permutation(rows) for _ in range(rounds)])[:count])


def class_weights(label_N: npt.NDArray[np.integer[Any]], classes: int) -> npt.NDArray[np.float32]:
    """The ablation's weighted loss (Table VIII): N / (K n) of a class with n samples: (K,).

    Weighed by them every class counts alike, and the mean weight of a sample is 1. A class that
    does not occur has weight 0.
    """
    count = np.bincount(label_N, minlength=classes)[:classes]
    there = count > 0
    weight = np.zeros(classes, np.float32)
    weight[there] = len(label_N) / (there.sum() * count[there])
    return weight
