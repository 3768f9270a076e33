"""What cannot be read says so: covered mouths, drawings, statues, blurred and tiny faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from ferstream.stream.faces.align import crop
from ferstream.stream.faces.detect import FaceDetector, find_meshes
from ferstream.stream.faces.mesh import FaceMesh, Mesh
from ferstream.stream.faces.quality import TRUSTED, Quality, clearness, measure
from ferstream.stream.frame import Frame
from ferstream.stream.recognize import Recognizer
from ferstream.stream.sources.sample import SampleSource
from ferstream.training.measuring.clear_view import SPOILERS

from .footage import Picture
from .test_recognize import BUNDLE, Networks

_JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152)
_JAW_LEFT = (377, 400, 378, 379, 365, 397, 288, 361, 323, 454)


@pytest.fixture(scope="module")
def smile() -> Picture:
    return next(frame.pixels for frame in SampleSource().frames() if frame.time_s > 1.4)


@pytest.fixture(scope="module")
def found(smile: Picture) -> Iterator[Callable[[Picture], list[Mesh]]]:
    detector, mesh = FaceDetector(), FaceMesh(workers=1)
    yield lambda rgb: find_meshes(rgb, detector.detect(rgb, thorough=True), mesh, detector)
    mesh.close()
    detector.close()


def quality(rgb: Picture, mesh: Mesh) -> Quality:
    return measure(mesh.landmarks, crop(rgb, mesh.xy, 64), mesh.presence)


def masked(rgb: Picture, mesh: Mesh, colour: tuple[int, int, int]) -> Picture:
    """A mask of one colour over nose, mouth and chin."""
    edge = np.round(mesh.xy[[*_JAW, *_JAW_LEFT, 195]]).astype(np.int32)
    covered = rgb.copy()
    cv2.fillPoly(covered, [edge], colour, cv2.LINE_AA)
    return covered


def drawing() -> Picture:
    """A face of a few strokes, 400 x 400."""
    page = np.full((400, 400, 3), 255, np.uint8)
    cv2.ellipse(page, (200, 205), (110, 140), 0, 0, 360, (225, 180, 150), -1, cv2.LINE_AA)
    cv2.ellipse(page, (200, 205), (110, 140), 0, 0, 360, (0, 0, 0), 3, cv2.LINE_AA)
    for x in (155, 245):
        cv2.ellipse(page, (x, 170), (20, 12), 0, 0, 360, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(page, (x, 170), 8, (50, 30, 20), -1, cv2.LINE_AA)
        cv2.ellipse(page, (x, 145), (26, 10), 0, 190, 350, (40, 25, 15), 5, cv2.LINE_AA)
    cv2.line(page, (200, 180), (190, 225), (120, 80, 60), 3, cv2.LINE_AA)
    cv2.ellipse(page, (200, 270), (45, 22), 0, 0, 180, (150, 30, 40), 5, cv2.LINE_AA)
    return page


def test_a_whole_face_is_clear(smile: Picture, found: Callable[[Picture], list[Mesh]]) -> None:
    (mesh,) = found(smile)
    view = quality(smile, mesh)
    assert view.clear > 0.7
    assert view.score > 0.6


@pytest.mark.parametrize("colour", [(165, 205, 225), (30, 30, 34), (245, 245, 245), (190, 60, 50)])
def test_a_covered_mouth_is_not_to_be_trusted(
    smile: Picture, found: Callable[[Picture], list[Mesh]], colour: tuple[int, int, int]
) -> None:
    (mesh,) = found(smile)
    covered = masked(smile, mesh, colour)
    assert all(quality(covered, one).score < TRUSTED for one in found(covered))


def test_a_drawing_is_not_to_be_trusted(found: Callable[[Picture], list[Mesh]]) -> None:
    page = drawing()
    assert all(quality(page, one).score < TRUSTED for one in found(page))


@pytest.mark.parametrize("width", [14, 18])
def test_a_tiny_face_is_not_to_be_trusted(
    smile: Picture, found: Callable[[Picture], list[Mesh]], width: int
) -> None:
    (mesh,) = found(smile)
    share = width / float(np.ptp(mesh.xy[:, 0]))
    small = np.asarray(cv2.resize(smile, None, fx=share, fy=share, interpolation=cv2.INTER_AREA))
    large = np.zeros((480, 640, 3), np.uint8)
    large[: small.shape[0], : small.shape[1]] = small
    smaller = Mesh(mesh.landmarks * np.float32(share), mesh.presence)
    assert quality(large, smaller).score < TRUSTED


def test_a_blurred_face_is_not_to_be_trusted(
    smile: Picture, found: Callable[[Picture], list[Mesh]]
) -> None:
    (mesh,) = found(smile)
    soft = np.asarray(cv2.GaussianBlur(smile, (0, 0), 10), np.uint8)
    assert quality(soft, mesh).score < TRUSTED


@pytest.mark.parametrize("spoil", SPOILERS, ids=[spoil.__name__ for spoil in SPOILERS])
def test_each_kind_that_it_learned_is_less_clear(
    smile: Picture, found: Callable[[Picture], list[Mesh]], spoil: Callable[..., Picture]
) -> None:
    (mesh,) = found(smile)
    whole = crop(smile, mesh.xy, 64)
    matrix_xy = (mesh.xy - mesh.xy.min(0)) / np.ptp(mesh.xy, axis=0) * (50, 60) + (7, 2)
    views = [spoil(whole, matrix_xy, np.random.default_rng(seed)) for seed in range(12)]
    assert np.median([clearness(view) for view in views]) < 0.6 * clearness(whole)


def test_what_is_not_to_be_trusted_is_uncertain(
    smile: Picture, found: Callable[[Picture], list[Mesh]]
) -> None:
    (mesh,) = found(smile)
    covered = masked(smile, mesh, (165, 205, 225))
    with Recognizer(BUNDLE, engines=Networks().engines) as recognizer:
        (face,) = recognizer.process(Frame(smile, 0.0, 0, "whole")).faces
        (hidden,) = recognizer.process(Frame(covered, 0.0, 0, "covered")).faces
    assert not face.emotions.uncertain and not face.frame_emotions.uncertain
    assert hidden.emotions.uncertain and hidden.frame_emotions.uncertain
