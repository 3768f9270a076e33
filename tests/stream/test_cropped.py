"""Pictures that are a face already: always one face, aligned where that can be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ferstream.stream.faces.align import crop
from ferstream.stream.faces.cropped import CroppedFace
from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.faces.mesh import FaceMesh
from ferstream.stream.faces.options import FaceOptions
from ferstream.stream.faces.track import Face, FaceTracker
from ferstream.stream.frame import Frame
from ferstream.stream.sources.sample import SampleSource

from .footage import Picture

Networks = tuple[FaceDetector, FaceMesh]


@pytest.fixture(scope="module")
def face(networks: Networks) -> tuple[Picture, Face]:
    """Her face, cut out tightly, and how it is found in the whole picture."""
    picture = next(frame.pixels for frame in SampleSource().frames())
    (found,) = FaceTracker(FaceOptions(), *networks).update(Frame(picture, 0.0, 0, "sample"))
    x, y, width, height = (round(value) for value in found.box)
    return np.ascontiguousarray(picture[y : y + height, x : x + width]), found


@pytest.mark.parametrize("width", [48, 112, 400])
def test_a_face_is_aligned_as_in_a_whole_picture(
    face: tuple[Picture, Face], networks: Networks, width: int
) -> None:
    small = np.asarray(cv2.resize(face[0], (width, round(1.2 * width))), np.uint8)
    (found,) = CroppedFace(None, *networks).update(Frame(small, 0.0, 0, "crop"))
    inside = np.abs(found.crop.astype(int) - face[1].crop)[12:52, 12:52]
    assert inside.mean() < 16
    assert found.quality.presence > 0.8


@pytest.mark.parametrize("shape", [(96, 96), (60, 90), (200, 120)])
def test_what_shows_no_face_is_taken_as_it_stands(
    networks: Networks, shape: tuple[int, int]
) -> None:
    height, width = shape
    picture = np.full((*shape, 3), 40, np.uint8)
    side = min(shape)
    top, left = (height - side) // 2, (width - side) // 2
    picture[top : top + side // 2, left : left + side // 2] = 220
    (found,) = CroppedFace(None, *networks).update(Frame(picture, 0.0, 0, "crop"))
    square = np.asarray(picture[top : top + side, left : left + side, 0])
    expected = np.asarray(cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA))
    got = crop(picture, found.landmarks_xy, 64)
    assert np.abs(got.astype(int) - expected).mean() < 4
    assert found.quality.score == 0, "it says that nobody sees a face there"


def test_a_clip_of_crops_is_one_person(face: tuple[Picture, Face], networks: Networks) -> None:
    follower = CroppedFace(None, *networks)
    ids = [follower.update(Frame(face[0], at / 10, at, "crops"))[0].id for at in range(4)]
    follower.reset()
    ids += [follower.update(Frame(face[0], 0.5, 5, "crops"))[0].id]
    assert ids == [1, 1, 1, 1, 2]


def test_a_crop_may_lie_on_its_side(face: tuple[Picture, Face], networks: Networks) -> None:
    lying = np.ascontiguousarray(np.rot90(face[0]))
    options = FaceOptions(rotate=90, cropped=True)
    (found,) = CroppedFace(options, *networks).update(Frame(lying, 0.0, 0, "crop"))
    assert np.abs(found.crop.astype(int) - face[1].crop)[12:52, 12:52].mean() < 16


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_faces": 0}, "max_faces 0: a whole number, 1 or more"),
        ({"min_face_px": -1}, "min_face_px -1: a width"),
        ({"min_face_px": float("nan")}, "min_face_px nan: a width"),
        ({"rotate": 45}, "rotate 45: auto, 0, 90"),
    ],
)
def test_options_that_mean_nothing_are_refused(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FaceOptions(**wrong)  # type: ignore[arg-type]
