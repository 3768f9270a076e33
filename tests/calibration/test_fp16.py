"""Half precision on a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from ferstream.calibration.fp16 import halved
from ferstream.calibration.graph import prepared
from ferstream.engines.bundle import Bundle
from ferstream.engines.ort import OrtEngine

CROPS = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)


def test_weights_are_halved_and_the_contract_stays(bundle: Bundle, tmp_path: Path) -> None:
    target, spec = tmp_path / "half.onnx", bundle.manifest.networks["spatial"]
    target.write_bytes(halved(prepared(bundle.path / "spatial.onnx")))
    kinds = {t.name: t.data_type for t in onnx.load(str(target)).graph.initializer}
    assert kinds["k1_half"] == kinds["k2_half"] == TensorProto.FLOAT16
    half = OrtEngine(target, spec, precision="fp16").run({"crop": CROPS})
    full = OrtEngine(bundle.path / "spatial.onnx", spec).run({"crop": CROPS})
    for name, array in full.items():
        assert half[name].dtype == np.float32
        assert 0 < np.abs(half[name] - array).max() < 0.01


def test_pixels_stay_in_float(bundle: Bundle, tmp_path: Path) -> None:
    """What comes before the first layer would overflow."""
    target = tmp_path / "half.onnx"
    target.write_bytes(halved(prepared(bundle.path / "spatial.onnx")))
    graph = onnx.load(str(target)).graph
    division = next(node for node in graph.node if node.op_type == "Div")
    kinds = {t.name: t.data_type for t in graph.initializer}
    assert kinds[division.input[1]] == TensorProto.FLOAT
