"""Ranges of activations for INT8, and the samples that they are measured on.

Which samples stand for the work: spread over classes and qualities, seeded, fingerprinted.

N samples, S strata.

How far a network's activations reach on samples that stand for the work.

| method | range |
|---|---|
| minmax | the least and the greatest value seen |
| percentile | what all but one value in ten thousand keep within |
| entropy | the clipping after which 8 bits tell most of the distribution (Migacz 2017) |
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ferstream.engines.ort import InnerTensors

from .errors import NotFinite, SamplesUnfit

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


Method = Literal["minmax", "entropy", "percentile"]
Range = tuple[float, float]

METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile")
PERCENTILE = 99.99
_BINS = 2048
_LEVELS = 128


def activation_ranges(
    model: Any, tensors: dict[str, str], samples: Samples, method: Method, batch: int = 64
) -> dict[str, Range]:
    """The range of each of a network's float tensors.

    Args:
        model: an onnx ModelProto.
        tensors: names, each with the node that makes it, for the error's sake.
        samples: the network's inputs.

    Raises:
        NotFinite: a tensor holds NaN or infinity on these samples.
    """
    watched = _Watched(model, list(tensors))
    widest: dict[str, Range] = {}
    for values in watched.run(samples, batch):
        for name, array in values.items():
            low, high = float(array.min()), float(array.max())
            if not np.isfinite((low, high)).all():
                raise NotFinite(
                    f"{tensors[name]} gives NaN or infinity ({name}, {low:g} to {high:g}) on the "
                    "calibration samples: the network is broken or the samples are; export it anew"
                )
            old = widest.get(name, (low, high))
            widest[name] = min(old[0], low), max(old[1], high)
    if method == "minmax":
        return widest
    counts = {name: np.zeros(_BINS, np.int64) for name in widest}
    for values in watched.run(samples, batch):
        for name, array in values.items():
            reach = max(map(abs, widest[name])) or 1.0
            counts[name] += np.histogram(np.abs(array), _BINS, (0.0, reach))[0]
    limit = _percentile_limit if method == "percentile" else _entropy_limit
    clipped = {}
    for name, (low, high) in widest.items():
        reach = (max(map(abs, (low, high))) or 1.0) * limit(counts[name]) / _BINS
        clipped[name] = max(low, -reach), min(high, reach)
    return clipped


class _Watched:
    """The network with inner tensors as outputs."""

    def __init__(self, model: Any, tensors: list[str]) -> None:
        from onnx import TensorProto, helper

        self._tensors = tensors
        self._inputs = [value.name for value in model.graph.input]
        open_model = copy.deepcopy(model)
        there = {value.name for value in [*model.graph.output, *model.graph.input]}
        for name in tensors:
            if name not in there:
                value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                open_model.graph.output.append(value)
        self._network = InnerTensors(open_model.SerializeToString())

    def run(self, samples: Samples, batch: int) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        made = [name for name in self._tensors if name not in self._inputs]
        fed = [name for name in self._tensors if name in self._inputs]
        for part in batches(samples, batch):
            yield self._network.run(part, made) | {name: part[name] for name in fed}


def batches(samples: Samples, batch: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The samples in parts of at most `batch`, in their order."""
    for start in range(0, len(next(iter(samples.values()))), batch):
        yield {
            name: np.ascontiguousarray(array[start : start + batch])
            for name, array in samples.items()
        }


def _percentile_limit(count_V: npt.NDArray[np.int64]) -> int:
    """How many bins hold the percentile."""
    share_V = count_V.cumsum() / max(count_V.sum(), 1)
    return int(np.searchsorted(share_V, PERCENTILE / 100)) + 1


def _entropy_limit(count_V: npt.NDArray[np.int64]) -> int:
    """How many bins to keep so that the clipped, quantized histogram diverges least.

    Rectifiers put most of their values at nothing, which any clipping keeps: that bin counts as
    its neighbour does, or the rest would not matter.
    """
    best, least = _BINS, np.inf
    count_V = np.concatenate([count_V[1:2], count_V[1:]])
    total = count_V.cumsum()
    for kept in range(_LEVELS, _BINS + 1, 16):
        wanted_V = count_V[:kept].astype(np.float64)
        wanted_V[-1] += total[-1] - total[kept - 1]
        level_V = np.arange(kept) * _LEVELS // kept
        there_V = count_V[:kept] > 0
        members_Q = np.bincount(level_V, there_V, _LEVELS)
        mass_Q = np.bincount(level_V, count_V[:kept], _LEVELS)
        got_V = np.where(there_V, (mass_Q / np.maximum(members_Q, 1))[level_V], 0)
        p_V, q_V = wanted_V / max(wanted_V.sum(), 1), got_V / max(got_V.sum(), 1)
        inside = p_V > 0
        loss = float((p_V[inside] * np.log(p_V[inside] / np.maximum(q_V[inside], 1e-9))).sum())
        if loss < least:
            best, least = kept, loss
    return best
