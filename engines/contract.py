"""The contract of a network: names, types, shapes and ranges of its tensors.

The three networks of a bundle are described by `spatial`, `temporal` and `fusion`, those that find
faces by `detector` and `landmarks`; their tensor names are fixed, their sizes are the bundle's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ContractMismatch, EngineFailed

# B batch, T frames of a clip, D features, P motion pixels, L motion fields
# H, W sides of a picture, multiples of CELL_PX; C cells of the detector, of three sizes

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

_ROUNDING = 1e-5
CELL_PX = 32
"""Of the detector's largest cells: its picture's sides are multiples of it."""

MORE_HEADS = ("affect", "fg33")
"""Heads whose tensors a bundle's networks may give beside basic8 and emo135."""
OWN = "own"
"""The temporal network's scores in labels of its own, for its bundle's fusion network alone."""
FLAG = "flag"
"""The unit of tensors whose examples are ones; a mask may also weigh frames by less than 1."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor: a number in `shape` is fixed, a letter is a free size, equal where it recurs."""

    name: str
    dtype: str
    """NumPy's name, such as uint8 or float32."""
    shape: tuple[int | str, ...]
    low: float | None = None
    """Least sensible value, or None."""
    high: float | None = None
    """Greatest sensible value, or None."""
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}{_shape_text(self.shape)}"


@dataclass(frozen=True)
class NetworkSpec:
    """What goes into a network and what comes out."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check(self, inputs: Tensors, *, ranges: bool = False) -> None:
        """Raises ContractMismatch for the first input that is not as specified.

        `ranges` also looks at every value: finite and between low and high.
        """
        _check(f"{self.name}, input", self.inputs, inputs, ranges)

    def check_outputs(self, outputs: Tensors, *, ranges: bool = False) -> None:
        """The same for outputs."""
        _check(f"{self.name}, output", self.outputs, outputs, ranges)

    @property
    def sized(self) -> bool:
        """Whether the free sizes of what comes out stand in what goes in."""
        given, told = (
            {size for tensor in side for size in tensor.shape if isinstance(size, str)}
            for side in (self.inputs, self.outputs)
        )
        return told <= given

    def example(self, seed: int = 0, **sizes: int) -> dict[str, Array]:
        """Random inputs within the ranges; free sizes by letter (`B=2, T=8`), the least that make
        sense where not given."""
        random = np.random.default_rng(seed)
        return {spec.name: _example(spec, random, sizes) for spec in self.inputs}


def spatial(
    features: int,
    *,
    crop_px: int = 48,
    channels: int = 1,
    basic: int = 8,
    words: int = 135,
    units: int = 52,
    more: Mapping[str, int] | None = None,
) -> NetworkSpec:
    """One crop at a time: features, scores, action units and where the second scale looked.

    `more` are further heads (`MORE_HEADS`) with the number of their labels.
    """
    return NetworkSpec(
        "spatial",
        (TensorSpec("crop", "uint8", ("B", channels, crop_px, crop_px), 0, 255, "grey level"),),
        (
            TensorSpec("feature", "float32", ("B", features)),
            TensorSpec("basic8", "float32", ("B", basic), unit="logit"),
            TensorSpec("emo135", "float32", ("B", words), unit="logit"),
            TensorSpec("au", "float32", ("B", units), 0, 1, "activation"),
            TensorSpec("zoom", "float32", ("B", 2), 0, 1, "crop widths, x and y"),
            *_scores(more),
        ),
    )


def temporal(
    fields: int = 8,
    *,
    motion_px: int = 32,
    basic: int = 8,
    more: Mapping[str, int] | None = None,
) -> NetworkSpec:
    """A stack of motion fields, oldest first, channels u0 v0 u1 v1 ...; `more` as of `spatial`."""
    shape = ("B", 2 * fields, motion_px, motion_px)
    return NetworkSpec(
        "temporal",
        (TensorSpec("motion", "float32", shape, unit="face widths per second"),),
        (TensorSpec("basic8", "float32", ("B", basic), unit="logit"), *_scores(more)),
    )


def motion_input(head: str) -> str:
    """Fusion's input for what the temporal network says of a head: `temporal` is basic8's."""
    return "temporal" if head == "basic8" else f"temporal_{head}"


def fusion(
    features: int,
    *,
    basic: int = 8,
    words: int = 135,
    more: Mapping[str, int] | None = None,
    heard: Mapping[str, int] | None = None,
) -> NetworkSpec:
    """A clip's features under attention, joined with the temporal scores.

    `more` as of `spatial`; `heard` are the heads beside basic8 that the temporal network has too,
    and perhaps OWN; their scores come in under the names of `motion_input`.

    `mask` is how far a frame counts, 0 where the clip is still empty; `attention` sums to 1 over
    the frames; `has_motion` is how far they are heard: 0 leaves the temporal scores out.
    """
    return NetworkSpec(
        "fusion",
        (
            TensorSpec("feature", "float32", ("B", "T", features)),
            TensorSpec("mask", "float32", ("B", "T"), 0, 1, FLAG),
            TensorSpec("temporal", "float32", ("B", basic), unit="logit"),
            TensorSpec("has_motion", "float32", ("B", 1), 0, 1, "share"),
            *_scores({motion_input(name): size for name, size in (heard or {}).items()}),
        ),
        (
            TensorSpec("basic8", "float32", ("B", basic), unit="logit"),
            TensorSpec("emo135", "float32", ("B", words), unit="logit"),
            TensorSpec("attention", "float32", ("B", "T"), 0, 1, "weight"),
            *_scores(more),
        ),
    )


def _scores(heads: Mapping[str, int] | None) -> tuple[TensorSpec, ...]:
    """Tensors of further heads: logits, and for affect its values themselves."""
    return tuple(
        TensorSpec(name, "float32", ("B", size), -1, 1, "scale")
        if name.endswith("affect")
        else TensorSpec(name, "float32", ("B", size), unit="logit")
        for name, size in (heads or {}).items()
    )


def detector() -> NetworkSpec:
    """Where faces are in a picture: for each cell a score, a box and five points of the face.

    Centres of boxes, logarithms of their sides, and points are in units of the cell's size.
    """
    return NetworkSpec(
        "detector",
        (TensorSpec("picture", "uint8", ("B", 1, "H", "W"), 0, 255, "grey level"),),
        (
            TensorSpec("score", "float32", ("B", "C"), unit="log odds"),
            TensorSpec("box", "float32", ("B", "C", 4)),
            TensorSpec("points", "float32", ("B", "C", 5, 2)),
        ),
    )


def landmarks(points: int = 106, *, crop_px: int = 64) -> NetworkSpec:
    """One face at a time: its points, whether it is one, its pose, how far its eyes are open."""
    return NetworkSpec(
        "landmarks",
        (TensorSpec("crop", "uint8", ("B", 1, crop_px, crop_px), 0, 255, "grey level"),),
        (
            TensorSpec("points", "float32", ("B", points, 2), unit="crop sides from the middle"),
            TensorSpec("presence", "float32", ("B", 1), unit="log odds"),
            TensorSpec("pose", "float32", ("B", 3), unit="degrees"),
            TensorSpec("opening", "float32", ("B", 2), 0, 1, "share"),
        ),
    )


def hold_finite(where: str, outputs: Tensors, hint: str) -> None:
    """Raises EngineFailed for outputs that are no finite numbers, which every engine looks for: a
    network, or a kernel, may be damaged, and nothing behind it could say so."""
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise EngineFailed(f"{where} gave NaN or infinity in {name!r}: {hint}")


def hold(where: str, got: NetworkSpec, wanted: NetworkSpec) -> None:
    """Raises ContractMismatch unless `got` can stand where `wanted` is asked for.

    Its inputs are the same, its outputs at least those; a size may be free where `wanted` fixes
    it, never the other way round.
    """
    inputs, outputs = _names(got.inputs), _names(got.outputs)
    if inputs != _names(wanted.inputs) or not outputs >= _names(wanted.outputs):
        raise ContractMismatch(
            f"{where} takes {_listed(inputs)} and gives {_listed(outputs)}, expected "
            f"{_listed(_names(wanted.inputs))} and {_listed(_names(wanted.outputs))}: "
            "export the network anew"
        )
    have = {tensor.name: tensor for tensor in (*got.outputs, *got.inputs)}
    for tensor in (*wanted.inputs, *wanted.outputs):
        if not _admits(have[tensor.name], tensor):
            raise ContractMismatch(
                f"{where} has {have[tensor.name]}, expected {tensor}: export the network anew"
            )


def _admits(got: TensorSpec, wanted: TensorSpec) -> bool:
    return (
        got.dtype == wanted.dtype
        and len(got.shape) == len(wanted.shape)
        and all(isinstance(g, str) or g == w for g, w in zip(got.shape, wanted.shape, strict=True))
    )


def _check(where: str, specs: tuple[TensorSpec, ...], tensors: Tensors, ranges: bool) -> None:
    if len(tensors) != len(specs) or any(spec.name not in tensors for spec in specs):
        raise ContractMismatch(
            f"{where}: got tensors {_listed(tensors)}, expected {_listed(_names(specs))}"
        )
    sizes: dict[str, int] = {}
    for spec in specs:
        array = tensors[spec.name]
        fits = array.dtype == spec.dtype and array.ndim == len(spec.shape)
        for got, wanted in zip(array.shape, spec.shape, strict=False):
            if isinstance(wanted, str):
                wanted = sizes.setdefault(wanted, got)
            fits = fits and got == wanted
        if not fits:
            free = ", ".join(f"{letter}={size}" for letter, size in sizes.items())
            raise ContractMismatch(
                f"{where} {spec.name}: got {array.dtype}{_shape_text(array.shape)}, "
                f"expected {spec.dtype}{_shape_text(spec.shape)}"
                + (f" with {free}" if free else "")
            )
        if ranges:
            _check_range(where, spec, array)


def _check_range(where: str, spec: TensorSpec, array: Array) -> None:
    if not array.size:
        return
    low, high = float(array.min()), float(array.max())
    above = spec.low is None or low >= spec.low - _ROUNDING
    below = spec.high is None or high <= spec.high + _ROUNDING
    if not (above and below and np.isfinite(low) and np.isfinite(high)):
        raise ContractMismatch(
            f"{where} {spec.name}: values {low:g} to {high:g}, "
            f"expected {_bound(spec.low)} to {_bound(spec.high)}"
        )


def _example(spec: TensorSpec, random: np.random.Generator, sizes: Mapping[str, int]) -> Array:
    least = {"H": CELL_PX, "W": CELL_PX, **sizes}
    shape = [least.get(size, 1) if isinstance(size, str) else size for size in spec.shape]
    if spec.unit == FLAG:
        return np.ones(shape, spec.dtype)
    if spec.low is None or spec.high is None:
        return random.standard_normal(shape).astype(spec.dtype)
    return random.uniform(spec.low, spec.high, shape).round(3).astype(spec.dtype)


def _names(specs: tuple[TensorSpec, ...]) -> set[str]:
    return {spec.name for spec in specs}


def _listed(names: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
