"""Eyes of rendered faces close and look as they are told, and are read so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ferstream.engines.bundle import load_bundle
from ferstream.training.datasets.synthetic import SyntheticHead, load_synthetic_head
from ferstream.training.measuring import eye_figures
from ferstream.training.measuring.eye_figures import (
    REAL_BLINKS,
    Reader,
    Rendered,
    aspect_ratios,
    line_in_use,
    place_of,
    rendered_eyes,
)
from tests.commands import within


@pytest.fixture(scope="module")
def head(data_dir: Path) -> SyntheticHead:
    return load_synthetic_head(data_dir)


def read(faces: list[Rendered]) -> eye_figures.Read:
    reader = Reader("own", load_bundle())
    try:
        return reader.read((one.picture, place_of(one.points_xy)) for one in faces)
    finally:
        reader.close()


def test_closed_eyes_are_read_as_closed(head: SyntheticHead) -> None:
    faces = list(rendered_eyes(head, "validation", 18, closing=True))
    true = np.array([one.opening for one in faces])
    assert true.min() == 0 and true.max() == 1 and all(one.gaze_deg == (0, 0) for one in faces)
    assert len({one.picture.shape for one in faces}) == 3
    found = read(faces)
    assert found.opening.shape == found.aspect.shape == (18, 2)
    assert found.opening[true > 0.9].mean() > found.opening[true < 0.1].mean() + 0.3
    assert np.corrcoef(found.opening.mean(1), true)[0, 1] > 0.45


def test_gaze_is_read_off_rendered_faces(head: SyntheticHead) -> None:
    faces = list(rendered_eyes(head, "validation", 24, closing=False))
    true = np.array([one.gaze_deg for one in faces])
    told = read(faces).gaze @ line_in_use()
    for axis in (0, 1):
        assert np.corrcoef(told[:, axis], true[:, axis])[0, 1] > 0.5
    assert np.abs(told - true).mean() < np.abs(true).mean()


def test_aspect_ratio_is_height_over_width() -> None:
    points = np.zeros((468, 3), np.float32)
    points[[133, 263]], points[[33, 362]] = (30, 0, 0), (0, 0, 0)
    points[[160, 159, 158]], points[[144, 145, 153]] = (15, -3, 0), (15, 3, 0)
    assert aspect_ratios(points) == pytest.approx((0.2, 0.0))


def test_moments_are_matched_once() -> None:
    matched = eye_figures._matched
    assert matched([1.0, 1.05, 3.0], [1.02, 2.0]) == 1
    assert matched([], [1.0]) == 0 == matched([1.0], [])
    assert matched([1.0, 1.05], [1.04, 1.01]) == 2
    assert sum(map(len, REAL_BLINKS.values())) == 10


def test_the_command_tells_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"own": {"gaze": {"r": [0.8, 0.75]}, "clips": {"shown": 10}}}
    monkeypatch.setattr(eye_figures, "eye_figures", lambda *_, **__: report)
    assert json.loads(within("data", "eyes", "--json").out) == report
    assert "0.8 / 0.75" in within("data", "eyes").out
