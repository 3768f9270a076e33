"""ONNX to INT8 as quantize and dequantize nodes (Q/DQ): the form every engine fuses.

Weights are symmetric and per channel. What else an engine fuses differs, so there are two targets:

| target | activations | Q/DQ at | rectifiers |
|---|---|---|---|
| cpu | uint8 with a zero point | inputs and outputs of layers | inside the output's range |
| tensorrt | int8, zero point 0 | inputs of layers alone, biases float | between layer and Q |

ONNX Runtime makes one integer layer of input, layer and output, and drops a rectifier that the
output's range stands for; with int8 activations or without the output's pair its layers run
slower than in float. TensorRT takes no other zero point than 0 and fuses the way to the next Q by
itself. OpenVINO fuses both. Small operations between layers stay in float: faster, and exact.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ferstream.engines.contract import NetworkSpec
from ferstream.engines.ort import OrtEngine

from .gate import Examples, Predictions, change
from .graph import FEW_WEIGHTS, LAYERS, float_tensors, layers, prepared, tidied
from .ranges import Method, Range, Samples, activation_ranges

Target = Literal["cpu", "tensorrt"]

TARGETS: tuple[Target, ...] = ("cpu", "tensorrt")
_OPERATORS = {"cpu": (*LAYERS, "Relu"), "tensorrt": LAYERS}


@dataclass(frozen=True)
class Measured:
    """A network ready to be quantized, with its activations' ranges."""

    model: Any
    """onnx ModelProto in float32, see graph.prepared."""
    ranges: dict[str, Range]
    layers: tuple[str, ...]
    """Names of the layers that may be quantized."""


def measured(
    source: Path,
    samples: Samples,
    method: Method = "minmax",
    *,
    batch: int = 64,
    few_weights: int = FEW_WEIGHTS,
) -> Measured:
    """Reads a float32 ONNX file and watches its activations on samples that stand for the work.

    Raises:
        EngineUnavailable: the onnx package is missing.
        NotFinite: NaN or infinity on the way.
    """
    model = prepared(source)
    tensors = float_tensors(model, (*LAYERS, "Relu"))
    ranges = activation_ranges(model, tensors, samples, method, batch)
    return Measured(model, ranges, tuple(layers(model, few_weights)))


def quantized(found: Measured, kept: tuple[str, ...] = (), target: Target = "cpu") -> bytes:
    """The Q/DQ form as a serialised ONNX network, the layers named in `kept` left in float."""
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    chosen = [name for name in found.layers if name not in kept]
    ranges = TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.float32(low), np.float32(high)) for name, (low, high) in found.ranges.items()},
    )
    options: dict[str, Any] = {}
    if target == "tensorrt":
        options = {
            "ActivationSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(LAYERS),
        }
    else:
        chosen += _rectifiers(found.model, set(chosen))
    if not chosen:
        return bytes(found.model.SerializeToString())
    quantizer = QDQQuantizer(
        copy.deepcopy(found.model),
        True,  # weights per channel
        False,  # all eight bits of the weights
        QuantType.QInt8,
        QuantType.QInt8 if target == "tensorrt" else QuantType.QUInt8,
        ranges,
        chosen,
        [],
        list(_OPERATORS[target]),
        options,
    )
    quantizer.quantize_model()
    return bytes(tidied(quantizer.model.model).SerializeToString())


def qdq_from_onnx(
    source: Path,
    target: Path,
    samples: Samples,
    *,
    batch: int = 64,
    kept: tuple[str, ...] = (),
    method: Method = "minmax",
    form: Target = "cpu",
    few_weights: int = FEW_WEIGHTS,
) -> None:
    """Write the INT8 form of a network.

    Args:
        source: the float32 ONNX file.
        target: where the Q/DQ file goes.
        samples: inputs by tensor name, N samples each, that stand for the work.
        batch: how many samples run at once.
        kept: names of layers left in float32.
        form: whom it is for.
        few_weights: dense layers with fewer weights stay in float32.

    Raises:
        EngineUnavailable: the onnx package is missing.
        NotFinite: NaN or infinity on the way.
    """
    found = measured(source, samples, method, batch=batch, few_weights=few_weights)
    target.write_bytes(quantized(found, kept, form))


def _rectifiers(model: Any, chosen: set[str]) -> list[str]:
    """Rectifiers beside a chosen layer, whose range then stands for the layer's output."""
    beside = {
        name
        for node in model.graph.node
        if node.name in chosen
        for name in (node.input[0], *node.output)
    }
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Relu" and ({node.input[0], node.output[0]} & beside)
    ]


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
    exact = _predictions(quantized(found, found.layers, target), spec, examples, folder)
    rows = []
    for at, layer in enumerate(found.layers):
        progress(f"{spec.name}: {layer} alone in eight bits", at / len(found.layers))
        others = tuple(name for name in found.layers if name != layer)
        lower = _predictions(quantized(found, others, target), spec, examples, folder)
        moved = change(exact, lower)
        rows.append(LayerError(layer, round(moved.kl, 9), round(moved.agree, 5)))
    return sorted(rows, key=lambda row: -row.kl)


def hurting(rows: list[LayerError], kl_budget: float) -> tuple[str, ...]:
    """Layers that alone spend more than OWN_SHARE of the budget, the worst first."""
    return tuple(row.layer for row in rows if row.kl > OWN_SHARE * kl_budget)


def _predictions(onnx: bytes, spec: NetworkSpec, examples: Examples, folder: Path) -> Predictions:
    file = folder / f"{spec.name}.sweep.onnx"
    file.write_bytes(onnx)
    engine = OrtEngine(file, spec, precision="int8")
    try:
        return examples.predictions(engine)
    finally:
        engine.close()
