"""ONNX to INT8 as quantize and dequantize nodes (Q/DQ): the form every engine fuses.

Weights are symmetric per channel; activations are asymmetric per tensor, their ranges from
samples that stand for the work. Convolutions and dense layers alone are quantized: the small
operations between them are faster, and exact, in float.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.errors import EngineUnavailable

Samples = Mapping[str, npt.NDArray[Any]]
QUANTIZED = ("Conv", "Gemm")


def qdq_from_onnx(
    source: Path,
    target: Path,
    samples: Samples,
    *,
    batch: int = 64,
    keep_float: tuple[str, ...] = (),
    operators: tuple[str, ...] = QUANTIZED,
) -> None:
    """Write the INT8 form of a network.

    Args:
        source: the float32 ONNX file.
        target: where the Q/DQ file goes.
        samples: inputs by tensor name, N samples each, that stand for the work.
        batch: how many samples run at once.
        keep_float: names of nodes left in float32.
        operators: kinds of nodes that are quantized.

    Raises:
        EngineUnavailable: the onnx package is missing.
    """
    try:
        from onnxruntime.quantization import (
            CalibrationDataReader,
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise EngineUnavailable(
            "quantizing needs the onnx package: pip install 'ferstream[train]'"
        ) from error

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = _batches(samples, batch)

        def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(operators),
            nodes_to_exclude=list(keep_float),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def _batches(samples: Samples, batch: int) -> Iterator[dict[str, npt.NDArray[Any]]]:
    count = len(next(iter(samples.values())))
    for start in range(0, count, batch):
        yield {
            name: np.ascontiguousarray(array[start : start + batch])
            for name, array in samples.items()
        }
