"""Outputs held against ONNX Runtime on the CPU."""

from __future__ import annotations

import numpy as np

from ferstream.engines.bundle import Bundle
from ferstream.engines.contract import Tensors
from ferstream.engines.ort import OrtEngine

from . import tiny


def expected(bundle: Bundle, network: str, inputs: Tensors) -> Tensors:
    file = bundle.network_file(network)
    assert file is not None
    return OrtEngine(file, tiny.SPECS[network], threads=1).run(inputs)


def assert_same(got: Tensors, wanted: Tensors) -> None:
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-5)
