"""How far activations reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferstream.calibration.errors import NotFinite
from ferstream.calibration.graph import float_tensors, prepared
from ferstream.calibration.ranges import METHODS, activation_ranges
from ferstream.engines.bundle import Bundle

from . import small

RNG = np.random.default_rng(0)
CROPS = RNG.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)


def test_minmax_is_what_was_seen_in_all_batches(bundle: Bundle) -> None:
    model = prepared(bundle.path / "spatial.onnx")
    tensors = float_tensors(model, ("Conv",))
    crops = CROPS.copy()
    crops[-1], crops[0] = 255, 0
    found = activation_ranges(model, tensors, {"crop": crops}, "minmax", batch=16)
    assert found["bright"] == (0.0, 1.0)
    assert all(low <= high for low, high in found.values())


@pytest.mark.parametrize("method", [m for m in METHODS if m != "minmax"])
def test_clipping_leaves_the_outlier_out(bundle: Bundle, method: str) -> None:
    """One pixel in 96,000 twenty times as bright as any other."""
    model = prepared(bundle.path / "spatial.onnx")
    crops = RNG.integers(0, 12, (1500, 1, 8, 8), dtype=np.uint8)
    crops[7, 0, 3, 3] = 255
    tensors = {"c1": "first"}
    widest = activation_ranges(model, tensors, {"crop": crops}, "minmax")["c1"]
    clipped = activation_ranges(model, tensors, {"crop": crops}, method)["c1"]  # type: ignore[arg-type]
    usual = activation_ranges(model, tensors, {"crop": crops[8:]}, "minmax")["c1"]
    assert widest[1] > 5 * usual[1]
    assert 0.5 * usual[1] < clipped[1] < 2 * usual[1]
    assert clipped[0] >= widest[0]


@pytest.mark.parametrize("method", METHODS)
def test_smooth_values_keep_most_of_their_range(bundle: Bundle, method: str) -> None:
    model = prepared(bundle.path / "spatial.onnx")
    found = activation_ranges(model, {"bright": "Div"}, {"crop": CROPS}, method)["bright"]  # type: ignore[arg-type]
    assert found[0] == 0 and 0.9 < found[1] <= 1.0


def test_nan_names_the_node_that_made_it(tmp_path: Path) -> None:
    broken = small.bundle(tmp_path / "bundle", broken=float("nan"))
    model = prepared(broken.path / "spatial.onnx")
    tensors = float_tensors(model, ("Conv", "Gemm"))
    with pytest.raises(NotFinite, match=r"gives NaN or infinity \(.*calibration samples"):
        activation_ranges(model, tensors, {"crop": CROPS}, "minmax")
