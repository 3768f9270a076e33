"""Figures on clips made from photographs."""

from __future__ import annotations

import numpy as np
import pytest

from ferstream.calibration.outputs import ClipScorer
from ferstream.training.datasets.augment import SPOILS
from ferstream.training.datasets.fer import FerPlus
from ferstream.training.datasets.motion import FaceShape
from ferstream.training.measuring.evaluate_clips import (
    attention_figures,
    motion_figures,
)
from tests.training.conftest import Exported


@pytest.fixture(scope="module")
def scorer(exported: Exported) -> ClipScorer:
    return ClipScorer(exported[0], "onnxruntime", "fp32")


@pytest.fixture(scope="module")
def few(tiny: FerPlus) -> FerPlus:
    return tiny.subset(tiny.seen & tiny.rated).subset(np.arange(0, 80, 8))


def test_clips_are_scored_frame_by_frame(scorer: ClipScorer, few: FerPlus) -> None:
    crops = np.stack([few.pixels[:6], few.pixels[2:8]])
    feature = scorer.features(crops)
    assert feature.shape[:2] == (2, 6)
    np.testing.assert_allclose(feature[0, 2:], feature[1, :4], atol=1e-4)
    probability, attention = scorer.clips(feature)
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)
    alone = scorer.clips(feature[:, :1])[0]
    np.testing.assert_allclose(scorer.single(feature[:, 0]), alone, atol=1e-6)


def test_motion_counts_where_it_is_given(scorer: ClipScorer, few: FerPlus) -> None:
    feature = scorer.features(few.pixels[None, :4])
    motion = scorer.motion(np.zeros((1, 16, 32, 32), np.float32))
    motion["basic8"] = np.zeros((1, 8), np.float32)
    motion["basic8"][0, 4] = 20
    heard, half, unheard = (
        float(scorer.clips(feature, motion, np.full((1, 1), share, np.float32))[0][0, 4])
        for share in (1.0, 0.5, 0.0)
    )
    assert heard >= half >= unheard
    assert unheard == pytest.approx(float(scorer.clips(feature)[0][0, 4]), abs=1e-6)


def test_attention_figures(scorer: ClipScorer, few: FerPlus, shape: FaceShape) -> None:
    found = attention_figures(scorer, few, shape)
    assert found["mixed"]["n"] == found["one_way"]["n"] == len(few)
    assert sum(found[way]["n"] for way in SPOILS if way in found) == len(few)
    for figures in found.values():
        assert all(0 <= figures[name] <= 1 for name in figures if name != "n")
    assert found["mixed"]["weight_on_spoiled"] == pytest.approx(0.5, abs=0.2), "untrained: half"


@pytest.mark.parametrize("kind", ["onset", None])
def test_motion_figures(
    scorer: ClipScorer, few: FerPlus, shape: FaceShape, kind: str | None
) -> None:
    found = motion_figures(scorer, few, shape, kind)
    assert found["n"] == len(few)
    for stream in ("temporal", "spatial", "fused"):
        assert set(found[stream]) == {"top1", "nll", "ece"}
        assert np.isfinite(list(found[stream].values())).all()
