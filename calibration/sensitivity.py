"""Which layers suffer from eight bits: each quantized alone, all others in float."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ferstream.engines.contract import NetworkSpec
from ferstream.engines.ort import OrtEngine

from .compare import Examples, Said, change
from .int8 import Measured, Target, quantized

Progress = Callable[[str, float], None]

OWN_SHARE = 0.25
"""A layer that spends more than this share of the KL budget alone stays in float."""


@dataclass(frozen=True)
class LayerError:
    """What quantizing one layer alone does."""

    layer: str
    kl: float
    """Divergence of the basic expressions from float, nats."""
    agree: float
    """Share of the examples with the same best expression."""

    def to_json(self) -> dict[str, float | str]:
        """Plain types."""
        return asdict(self)


def layer_errors(
    found: Measured,
    spec: NetworkSpec,
    examples: Examples,
    target: Target,
    folder: Path,
    progress: Progress = lambda what, share: None,
) -> list[LayerError]:
    """One row for each layer, the worst first; works in `folder`.

    Raises:
        NotFinite: a form gives NaN or infinity.
    """
    exact = _said(quantized(found, found.layers, target), spec, examples, folder)
    rows = []
    for at, layer in enumerate(found.layers):
        progress(f"{spec.name}: {layer} alone in eight bits", at / len(found.layers))
        others = tuple(name for name in found.layers if name != layer)
        lower = _said(quantized(found, others, target), spec, examples, folder)
        moved = change(exact, lower)
        rows.append(LayerError(layer, round(moved.kl, 9), round(moved.agree, 5)))
    return sorted(rows, key=lambda row: -row.kl)


def hurting(rows: list[LayerError], kl_budget: float) -> tuple[str, ...]:
    """Layers that alone spend more than OWN_SHARE of the budget, the worst first."""
    return tuple(row.layer for row in rows if row.kl > OWN_SHARE * kl_budget)


def _said(onnx: bytes, spec: NetworkSpec, examples: Examples, folder: Path) -> Said:
    file = folder / f"{spec.name}.sweep.onnx"
    file.write_bytes(onnx)
    engine = OrtEngine(file, spec, precision="int8")
    try:
        return examples.said(engine)
    finally:
        engine.close()
