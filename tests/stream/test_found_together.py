"""Frames of several sources at once: one batch for each network, and what of it may fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream import Recognizer, open_source
from ferstream.engines.contract import Array, Tensors
from ferstream.engines.engine import present_backends
from ferstream.engines.errors import EngineFailed
from ferstream.stream.faces.detect import Detection, FaceDetector
from ferstream.stream.faces.front import BaseLandmarker
from ferstream.stream.faces.head import MEAN_HEAD
from ferstream.stream.faces.mesh import Mesh, Region
from ferstream.stream.faces.own import Runs
from ferstream.stream.faces.own_front import OwnMesh, OwnNetwork
from ferstream.stream.faces.track import FaceTracker
from ferstream.stream.frame import Frame

from .test_own_front import Spots

NAMES = ("a", "b", "c")


class Counting:
    """An engine that keeps the shape of each batch that it is given, and may refuse batches."""

    def __init__(self, engine: Runs, most: int = 99) -> None:
        self._engine, self._most = engine, most
        self.spec, self.batches = engine.spec, list[tuple[int, ...]]()

    def run(self, inputs: Tensors) -> dict[str, Array]:
        (shown,) = inputs.values()
        self.batches.append(shown.shape)
        if len(shown) > self._most:
            raise EngineFailed("too many at once")
        return self._engine.run(inputs)

    def close(self) -> None:
        self._engine.close()


def counted(recognizer: Recognizer, most: int = 99) -> tuple[Counting, Counting]:
    """The engines of the detector and of the landmarks, from now on counted."""
    detector, landmarks = recognizer._finder._detector, recognizer._finder._landmarker
    assert isinstance(detector, FaceDetector) and isinstance(landmarks, OwnMesh)
    network = detector._near
    assert isinstance(network, OwnNetwork)
    engines = Counting(network._detector.engine, most), Counting(landmarks._landmarks.engine)
    network._detector.engine, landmarks._landmarks.engine = engines
    return engines


def sample(count: int) -> list[Frame]:
    with open_source("sample") as source:
        return list(islice(source.frames(), count))


@pytest.mark.parametrize("most", [99, 5])
@pytest.mark.parametrize("backend", present_backends())
def test_faces_of_all_sources_go_through_both_networks_together(backend: str, most: int) -> None:
    """As each source gives them alone, also where the detector takes no more than one gives."""
    frames = sample(20)
    with Recognizer(faces="own", backend=backend) as recognizer:
        wanted = [recognizer.find(replace(frame, source="alone")) for frame in frames]
        detector, landmarks = counted(recognizer, most)
        for number, frame in enumerate(frames):
            detector.batches.clear()
            landmarks.batches.clear()
            told = recognizer.find_many([replace(frame, source=name) for name in NAMES])
            if not number:
                # The whole, and tiles of the same size, of all of them.
                assert detector.batches[0][0] >= 2 * len(NAMES)
            elif detector.batches:
                assert detector.batches[0][0] >= len(NAMES)
            if number:
                assert landmarks.batches[0][0] == len(NAMES) * len(wanted[number - 1].faces) > 0
            for one in told:
                assert not isinstance(one, Exception)
                assert [f.id for f in one.faces] == [f.id for f in wanted[number].faces]
                for mine, theirs in zip(one.faces, wanted[number].faces, strict=True):
                    np.testing.assert_allclose(mine.landmarks_xy, theirs.landmarks_xy, atol=0.5)


def test_pictures_of_several_sizes_are_searched_at_once() -> None:
    (frame,) = sample(1)
    small, odd = frame.pixels[::2, ::2], frame.pixels[:, 60:560]
    pictures = [frame.pixels, np.ascontiguousarray(small), np.ascontiguousarray(odd)] * 2
    with Recognizer(faces="own") as recognizer:
        wanted = [recognizer.process(picture) for picture in pictures]
        detector, _ = counted(recognizer)
        found = recognizer.process(list(pictures))
        assert len(detector.batches) > 1 and detector.batches[0][0] > 1
    for one, other in zip(found, wanted, strict=True):
        assert len(one.faces) == len(other.faces) == 1
        assert one.faces[0].box == pytest.approx(other.faces[0].box, abs=1)


class Heads(BaseLandmarker):
    """Sees the mean head wherever it looks, or fails."""

    fails = False

    def run(self, rgb: NDArray[np.uint8], regions: Sequence[Region]) -> list[Mesh]:
        if self.fails:
            raise EngineFailed("no landmarks")
        return [self._head(region) for region in regions]

    def _head(self, region: Region) -> Mesh:
        low, high = MEAN_HEAD.min(0), MEAN_HEAD.max(0)
        scale = region.side_px / 1.5 / float((high - low)[:2].max())
        head = (MEAN_HEAD - (low + high) / 2) * scale + (region.x, region.y, 0)
        return Mesh(head.astype(np.float32), 0.99)

    def close(self) -> None:
        pass


class Refusing(Spots):
    """Sees bright spots, or fails."""

    fails = False

    def look(self, picture: NDArray[np.uint8]) -> list[Detection]:
        if self.fails:
            raise EngineFailed("no detections")
        return super().look(picture)


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("fails", ["landmarks", "detector"])
def test_a_frame_whose_search_fails_counts_once(fails: str, again: bool) -> None:
    """The face looks another in each frame: only who was seen in the frame before is sure of it."""
    heads, spots = Heads(), Refusing()
    failing = heads if fails == "landmarks" else spots
    tracker = FaceTracker(None, FaceDetector(near=spots, far=spots), heads)
    noise = np.random.default_rng(0)
    ids, failures = [], 0
    for index in range(40):
        pixels = np.full((240, 320, 3), 120, np.uint8)
        patches = noise.choice([140, 255], (8, 8, 1)).repeat(10, 0).repeat(10, 1)
        pixels[80:160, 120:200] = patches
        frame = Frame(pixels, index / 30, index, "camera", dense=True)
        tracker.expect(frame)
        failing.fails = index > 0 and (fails == "detector" or index % 3 == 2)
        try:
            told = tracker.update(frame)
        except EngineFailed:
            failures, failing.fails = failures + 1, False
            if not again:
                continue
            told = tracker.update(frame)
        failing.fails = False
        ids.append([face.id for face in told])
    assert failures and ids == [[1]] * len(ids)
