"""The built-in sample."""

from __future__ import annotations

import time
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from ferstream.stream.sources import open_source, sample


def test_it_is_the_same_every_time_and_quickly_made() -> None:
    start_s = time.process_time()
    first = list(open_source("sample").frames())
    assert time.process_time() - start_s < 4
    second = list(islice(open_source("sample").frames(), 40, 41))
    np.testing.assert_array_equal(first[40].pixels, second[0].pixels)
    assert len(first) == 108
    assert first[0].pixels.shape == (480, 640, 3)
    assert [frame.time_s for frame in first] == pytest.approx([k / 30 for k in range(108)])


@pytest.mark.slow
def test_the_face_moves_and_the_rest_hardly() -> None:
    frames = [frame.pixels.astype(int) for frame in open_source("sample").frames()]
    straight, smile, surprise = frames[10], frames[45], frames[78]
    mouth = np.s_[250:330, 250:390]
    brows = np.s_[140:185, 230:420]
    corner = np.s_[0:100, 500:640]
    assert np.abs(straight - smile)[mouth].mean() > 8
    assert np.abs(surprise - smile)[brows].mean() > 8
    assert np.abs(straight - smile)[corner].mean() < 4


def test_it_says_where_it_is_from() -> None:
    source = open_source("sample")
    assert source.name == "sample"
    assert "public-domain NASA" in source.notes[0]


def test_its_photograph_is_the_one_that_is_in_the_public_domain() -> None:
    whole = pytest.importorskip("skimage.data").astronaut()
    with Image.open(sample.PHOTOGRAPH) as picture:
        part = np.asarray(picture)
    x, y = sample.CORNER_PX.astype(int)
    np.testing.assert_array_equal(part, whole[y : y + part.shape[0], x : x + part.shape[1]])
