"""Which samples stand for the work: spread over classes and qualities, seeded, fingerprinted.

N samples, S strata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import SamplesUnfit

Samples = Mapping[str, npt.NDArray[Any]]
"""A network's inputs by tensor name, N samples each."""

Labels = npt.NDArray[np.integer[Any]]

LEAST = 500
"""Fewer samples do not show a network's ranges."""


def stratified(stratum_N: Labels, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Rows, as many of every stratum as there are or as are wanted of each; in random order.

    A stratum with few members gives all of them and the others make up for it.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(stratum_N))
    turn_N = np.empty(len(stratum_N), np.int64)
    for stratum in np.unique(stratum_N):
        members = shuffled[stratum_N[shuffled] == stratum]
        turn_N[members] = np.arange(len(members))
    # Every stratum's first, then every stratum's second, and so on.
    in_turns = shuffled[np.argsort(turn_N[shuffled], kind="stable")]
    return rng.permutation(in_turns[:count])


def thirds(value_N: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """0, 1 or 2 (N,): in the least, the middle or the greatest third of the values."""
    limits = np.quantile(value_N, (1 / 3, 2 / 3))
    return np.searchsorted(limits, value_N, side="right").astype(np.int64)


def hold_fit(label_N: Labels, least: int = LEAST) -> None:
    """Raises SamplesUnfit for too few samples or samples of one class."""
    if len(label_N) < least:
        raise SamplesUnfit(
            f"{len(label_N)} samples are too few to calibrate on, {least} are needed: "
            "give more labelled faces with --data or ask for more with --samples"
        )
    kinds = np.unique(label_N)
    if len(kinds) < 2:
        raise SamplesUnfit(
            f"all {len(label_N)} samples are of one class (number {kinds[0]}): "
            "give faces of several expressions with --data"
        )


def fingerprint(samples: Samples) -> str:
    """sha256 over names, types, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(samples):
        array = np.ascontiguousarray(samples[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()
