"""The first half of recognition: faces, ids and crops of frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ferstream.engines.manifest import Manifest

from .faces.align import TEMPLATES
from .faces.cropped import CroppedFace
from .faces.front import Detector, Follower, Landmarker
from .faces.mesh import Mesh
from .faces.options import FaceOptions
from .faces.track import FaceTracker
from .frame import Frame
from .memory import DetectedFaces
from .result import Stages
from .scoring import timed


class FaceFinder:
    """Finds and follows the faces of any number of sources, and aligns their crops.

    Not for use by two threads at once. The faces that are followed in several frames go through
    the landmark network in one batch.
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
        meshes: dict[str, Sequence[Mesh]] = {}
        # Alone a frame is as fast without, and of a batch that fails each is tried alone.
        if len({frame.source for frame in frames}) == len(frames) > 1:
            with timed(shared, "detect"), suppress(Exception):
                meshes = self._followed(frames)
        found: list[DetectedFaces | Exception] = []
        for frame in frames:
            try:
                one = self._find_one(frame, options, meshes.get(frame.source))
            except Exception as error:
                found.append(error)
            else:
                one.stages_ms["detect"] += shared.get("detect", 0.0) / len(frames)
                found.append(one)
        return found

    def _followed(self, frames: Sequence[Frame]) -> dict[str, Sequence[Mesh]]:
        """What the landmark network makes of the places where known faces should be, by source."""
        known = {
            frame.source: _region_of(frame)
            for frame in frames
            if frame.source in self.trackers and not frame.restart
        }
        wanted = [(part.pixels, self.trackers[name].expect(part)) for name, part in known.items()]
        return dict(zip(known, self._landmarker.run_many(wanted), strict=True))

    def _find_one(
        self, frame: Frame, options: FaceOptions, meshes: Sequence[Mesh] | None
    ) -> DetectedFaces:
        stages: Stages = {}
        part = _region_of(frame)
        with timed(stages, "detect"):
            tracker = self.trackers.get(frame.source)
            if tracker is None:
                follower = CroppedFace if options.cropped else FaceTracker
                tracker = follower(options, self._detector, self._landmarker)
                self.trackers[frame.source] = tracker
            if frame.restart:
                tracker.restart()
            faces = tracker.update(part, meshes)
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
