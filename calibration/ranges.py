"""How far a network's activations reach on samples that stand for the work.

| method | range |
|---|---|
| minmax | the least and the greatest value seen |
| percentile | what all but one value in ten thousand keep within |
| entropy | the clipping after which 8 bits tell most of the distribution (Migacz 2017) |
"""

# N samples, V bins of a histogram, Q quantized levels

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ferstream.engines.inner import InnerTensors

from .errors import NotFinite
from .samples import Samples

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
