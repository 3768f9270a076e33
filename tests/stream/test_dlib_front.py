"""dlib's detector and tracker as a front end."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from ferstream import Frame, Recognizer, open_source
from ferstream.engines.bundle import load_bundle
from ferstream.stream.errors import FrontEndUnavailable
from ferstream.stream.faces import front
from ferstream.stream.faces.mesh import Region

pytest.importorskip("dlib", reason="dlib is not installed")

from ferstream.stream.faces.dlib_front import Correlation, DlibNetwork

FRAMES = [frame.pixels for frame in islice(open_source("sample").frames(), 12)]
HER = Region(323, 232, 322, 0.0)
"""Where her face is in the first of them: 215 pixels of it."""


def test_a_face_keeps_its_id_through_jumps() -> None:
    with Recognizer(faces="dlib") as recognizer:
        assert recognizer.front_end == "dlib"
        for index, pixels in enumerate(FRAMES[:8]):
            jumped = np.roll(pixels, 100 * (index % 2), axis=1)
            (result,) = (recognizer.process(Frame(jumped, index / 10, index, "jumps")),)
            assert [face.id for face in result.faces] == [1]
            x, y, width, height = result.faces[0].box
            assert math.hypot(x + width / 2 - 323 - 100 * (index % 2), y + height / 2 - 232) < 25


def test_the_detector_sees_her_and_nobody_in_noise() -> None:
    network = DlibNetwork()
    (found,) = network.look(FRAMES[0][::2, ::2])
    x, y, width, height = (2 * side for side in found.box)
    assert abs(x + width / 2 - HER.x) < 20 and abs(y + height / 2 - HER.y) < 20
    assert 0.5 < found.score < 1 and abs(found.roll_rad) < 0.05
    assert found.points_xy[0, 0] < found.points_xy[1, 0]
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    assert network.look(noise) == network.look(np.zeros((40, 60, 3), np.uint8)) == []


def test_the_tracker_says_where_a_face_went() -> None:
    pursuit = Correlation()
    pursuit.keep(FRAMES[0], {7: HER})
    (moved,) = pursuit.moved(np.roll(FRAMES[1], (-30, 60), (0, 1)), {7: HER})
    assert abs(moved.x - HER.x - 60) < 8 and abs(moved.y - HER.y + 30) < 8
    assert pursuit.moved(np.zeros_like(FRAMES[0]), {7: HER, 8: replace(HER, x=1.0)}) == [
        HER,
        replace(HER, x=1.0),
    ]
    # Places at and beyond the edges, and very small ones, are followed or left as they are.
    for place in (Region(0, 0, 300, 0), Region(900, 900, 50, 1), Region(5, 5, 3, 0)):
        pursuit.keep(FRAMES[0], {1: place})
        (found,) = pursuit.moved(FRAMES[1], {1: place})
        assert math.hypot(found.x - place.x, found.y - place.y) <= place.side_px


def test_it_needs_a_bundle_with_landmarks() -> None:
    opened = load_bundle()
    without = replace(opened, manifest=replace(opened.manifest, faces=None))
    with pytest.raises(FrontEndUnavailable, match="no networks that find faces"):
        front.open_front_end("dlib", without)
