"""The first half of recognition: faces, ids and crops of frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ferstream.engines.manifest import Manifest

from .faces.align import TEMPLATES
from .faces.cropped import CroppedFace
from .faces.detect import Detection
from .faces.front import Detector, Follower, Landmarker
from .faces.mesh import Mesh
from .faces.options import FaceOptions
from .faces.track import FaceTracker
from .frame import Frame
from .memory import DetectedFaces
from .result import Stages
from .scoring import timed


@dataclass(frozen=True, slots=True)
class _Given:
    """What the networks make of one of several frames."""

    part: Frame
    meshes: Sequence[Mesh]
    seen: Sequence[list[Detection]]


class FaceFinder:
    """Finds and follows the faces of any number of sources, and aligns their crops.

    Not for use by two threads at once. The faces that are followed in several frames go through
    the landmark network in one batch, and what is searched of them for new ones through the
    detector.
    """

    def __init__(self, manifest: Manifest, detector: Detector, landmarker: Landmarker) -> None:
        self._detector, self._landmarker = detector, landmarker
        self._aligned = TEMPLATES[manifest.crop.template]
        self._crop_px = manifest.crop.px
        self.trackers: dict[str, Follower] = {}
        """By source."""

    def find(
        self, frames: Sequence[Frame], options: FaceOptions
    ) -> list[DetectedFaces | Exception]:
        """Faces, ids and crops of a frame of each of several sources; for a frame that cannot be
        searched, why."""
        shared: Stages = {}
        given: dict[str, _Given] = {}
        # Alone a frame is as fast without, and of a batch that fails each is tried alone.
        if len({frame.source for frame in frames}) == len(frames) > 1:
            with timed(shared, "detect"), suppress(Exception):
                given = self._at_once(frames, options)
        found: list[DetectedFaces | Exception] = []
        for frame in frames:
            try:
                one = self._find_one(frame, options, given.get(frame.source))
            except Exception as error:
                found.append(error)
            else:
                one.stages_ms["detect"] += shared.get("detect", 0.0) / len(frames)
                found.append(one)
        return found

    def _at_once(self, frames: Sequence[Frame], options: FaceOptions) -> dict[str, _Given]:
        """What the landmark network makes of the places where known faces should be, and the
        detector of what is searched for new ones, by source."""
        begun = []
        for frame in frames:
            part = _region_of(frame)
            tracker = self._tracker(part, options)
            begun.append((tracker, part, tracker.expect(part)))
        meshes = self._landmarker.run_many([(part.pixels, regions) for _, part, regions in begun])
        looks = [
            tracker.search(part, of_part)
            for (tracker, part, _), of_part in zip(begun, meshes, strict=True)
        ]
        seen = iter(self._detector.look([one for of_part in looks for one in of_part]))
        return {
            part.source: _Given(part, of_part, list(islice(seen, len(wanted))))
            for (_, part, _), of_part, wanted in zip(begun, meshes, looks, strict=True)
        }

    def _tracker(self, part: Frame, options: FaceOptions) -> Follower:
        """Who follows the faces of a frame's source."""
        tracker = self.trackers.get(part.source)
        if tracker is None:
            follower = CroppedFace if options.cropped else FaceTracker
            tracker = follower(options, self._detector, self._landmarker)
            self.trackers[part.source] = tracker
        if part.restart:
            tracker.restart()
        return tracker

    def _find_one(self, frame: Frame, options: FaceOptions, given: _Given | None) -> DetectedFaces:
        stages: Stages = {}
        with timed(stages, "detect"):
            if given is None:
                part = _region_of(frame)
                tracker = self._tracker(part, options)
                faces = tracker.update(part)
            else:
                part, tracker = given.part, self.trackers[frame.source]
                faces = tracker.update(part, given.meshes, given.seen)
            if options.min_confidence > 0:
                faces = [one for one in faces if one.quality.score >= options.min_confidence]
        with timed(stages, "align"):
            side = self._crop_px
            crops = np.empty((len(faces), 1, side, side), np.uint8)
            for row, face in enumerate(faces):
                crops[row, 0] = self._aligned(part.pixels, face.landmarks_xy, side)
        return DetectedFaces(
            frame.index,
            frame.time_s,
            frame.source,
            faces if frame.region is None else [one.moved(*frame.region[:2]) for one in faces],
            crops,
            stages,
            restart=frame.restart,
            left_out=tracker.left_out,
            ahead=frame.ahead,
            picture_bytes=frame.pixels.nbytes,
            joined=tracker.joined,
        )

    def close(self) -> None:
        """Close the detector and the landmark network."""
        self._landmarker.close()
        self._detector.close()


def _region_of(frame: Frame) -> Frame:
    """The part of a frame in which faces are looked for."""
    if frame.region is None:
        return frame
    x, y, width, height = frame.region
    pixels = np.ascontiguousarray(frame.pixels[y : y + height, x : x + width])
    return replace(frame, pixels=pixels, region=None)
