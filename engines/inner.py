"""A network's inner tensors, for those who measure ranges; ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime as ort

from .contract import Array, Tensors
from .errors import EngineUnavailable


class InnerTensors:
    """An ONNX network, serialised, that gives any of its declared outputs and keeps no contract.

    Raises EngineUnavailable for a network that ONNX Runtime cannot open.
    """

    def __init__(self, network: bytes) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes share no public base
            text = " ".join(str(error).split())
            raise EngineUnavailable(f"ONNX Runtime cannot open the network: {text}") from error

    def run(self, inputs: Tensors, names: Sequence[str]) -> dict[str, Array]:
        """The outputs of these names."""
        return dict(zip(names, self._session.run(list(names), dict(inputs)), strict=True))
