"""The fusion-weight study on clips whose best weight is known."""

from __future__ import annotations

import numpy as np
import pytest

from ferstream.training.papers.msau.clip_figures import WEIGHTS, fused, fusion_curve

# Three clips of class 0 and one of class 1. The spatial stream is a little wrong about the third
# and right about the last; the temporal one is right about the third and sure of it.
SPATIAL = np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.3, 0.7]])
TEMPORAL = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.8, 0.2]])
LABEL = np.array([0, 0, 0, 1])


def test_fused() -> None:
    mixed = fused(SPATIAL, TEMPORAL, 0.25)
    assert mixed[0].tolist() == pytest.approx([0.675, 0.325])
    np.testing.assert_allclose(mixed.sum(1), 1)
    np.testing.assert_allclose(fused(SPATIAL, TEMPORAL, 1.0), SPATIAL)
    with pytest.raises(ValueError, match=r"1\.2"):
        fused(SPATIAL, TEMPORAL, 1.2)


def test_the_curve_from_temporal_to_spatial() -> None:
    """Alone the streams find 2 and 3 of 4; both together all from a weight of 0.6 to 0.8."""
    curve = fusion_curve(SPATIAL, TEMPORAL, LABEL)
    assert curve.weights == WEIGHTS and curve.weights[0] == 0.0 and curve.weights[-1] == 1.0
    assert (curve.top1[0], curve.top1[-1]) == (0.5, 0.75)
    full = [w for w, value in zip(curve.weights, curve.top1, strict=True) if value == 1.0]
    assert full == [w for w in WEIGHTS if 0.6 < w < 0.9]
    assert curve.best == 0.7


def test_rare_classes_count_as_much_as_common_ones() -> None:
    """Temporal alone: two of three and none of one."""
    curve = fusion_curve(SPATIAL, TEMPORAL, LABEL, (0.0,))
    assert curve.macro_recall == pytest.approx(((2 / 3 + 0) / 2,))
