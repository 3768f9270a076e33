"""The line that tells a face in plain view from a spoiled one, learned anew."""

from __future__ import annotations

import numpy as np

from ferstream.stream.faces.quality import clear_line
from ferstream.stream.sources.sample import SampleSource
from ferstream.training.datasets.readers.finder import FaceFinder
from ferstream.training.measuring.clear_view import examples, fit, separation


def test_a_line_learned_on_some_faces_tells_others_from_spoiled_ones() -> None:
    finder = FaceFinder()
    pictures = [frame.pixels for frame in SampleSource().frames()][::6]
    found = [crop for picture in pictures if (crop := finder.crop(picture, 64)) is not None]
    crops = np.stack([one.pixels for one in found])
    points = np.stack([one.landmarks_xy for one in found])
    line = fit(*examples(crops[::2], points[::2]))
    assert line.shape == clear_line().shape
    held_out = examples(crops[1::2], points[1::2], seed=1)
    learned, shipped = (separation(one, *held_out) for one in (line, clear_line()))
    assert shipped > 0.8
    assert learned > 0.65, "of a dozen views of one face"
    assert separation(-line, *held_out) < 1 - learned + 1e-6
