"""Where faces are in one frame: MediaPipe's two face detectors, and the mesh of what they find.

The near network sees faces that fill much of what it is shown and is sure of the points of a
face's features; the far network sees small ones. Each misses what the other is made for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from ..process import hold, start_here
from .align import crop as aligned_crop
from .front import Detector, Landmarker, Look, Opening, Trust
from .graphs import load_mediapipe, quiet
from .head import posed_head
from .mesh import PATCH_PX, FaceMesh, Mesh, Region
from .quality import CLEAR_PX, clearness
from .views import NETWORK_PX, View, tiles_of

__all__ = ["Detection", "FaceDetector", "FaceMesh", "Mesh", "Region", "find_meshes", "overlap"]

_VIEWS = (2.0, 3.2)
"""A closer look shows so many times the face's size, and a second one so many."""
_REPEAT = 0.3
"""Detections that share so much, intersection over union, are of one face."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found in a frame."""

    box: tuple[float, float, float, float]
    """x, y, width, height in pixels of the frame; may reach beyond its edges."""
    score: float
    """0..1."""
    points_xy: NDArray[np.float64]
    """(6, 2) right eye, left eye, tip of the nose, middle of the mouth, right ear, left ear of the
    person, in pixels of the frame."""

    @property
    def roll_rad(self) -> float:
        """Angle of the line between the eyes, clockwise in the picture."""
        across, down = (self.points_xy[1] - self.points_xy[0]).tolist()
        return math.atan2(down, across)

    @property
    def region(self) -> Region:
        """Where to look for the face's landmarks."""
        x, y, width, height = self.box
        side = 1.5 * max(width, height)
        return Region(x + width / 2, y + height / 2, side, self.roll_rad)


class DetectorNetwork(Protocol):
    """A network that sees faces in a small picture; what it misses there is the detector's to
    find by other views."""

    def look(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Faces in a picture (H, W, 3) RGB of about `NETWORK_PX`, in pixels of it."""

    def close(self) -> None:
        """Free what it holds."""


@runtime_checkable
class BatchNetwork(DetectorNetwork, Protocol):
    """One that sees several pictures at once."""

    def look_many(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Faces in each of them."""


class FaceDetector:
    """Finds faces; keeps nothing between frames. Not for use by two threads at once.

    In the whole frame a face is found from about a twentieth of its longer side on; in tiles, from
    half of that (frames of 480 pixels on), or a twentieth of the shorter side (960).

    Args:
        min_score: MediaPipe's detections below are left out, 0..1.
        near, far: the networks, which may be one; None: MediaPipe's two.
        trust: what closer looks of the near one are worth.
    """

    def __init__(
        self,
        min_score: float = 0.5,
        near: DetectorNetwork | None = None,
        far: DetectorNetwork | None = None,
        trust: Trust | None = None,
    ) -> None:
        self.trust = trust or Trust()
        self._near = near or MediaPipeNetwork(0, min_score)
        self._far = far or MediaPipeNetwork(1, min_score)

    def looks(
        self,
        rgb: NDArray[np.uint8],
        *,
        thorough: bool = False,
        fine: bool = True,
        near: bool = True,
        far: bool = True,
    ) -> list[Look]:
        """What has to be looked at to find faces in a frame (H, W, 3) uint8, by the near and the
        far network; with `thorough` its tiles too, the `fine` ones where those are wanted."""
        wanted = {self._near: True} if near else {}
        wanted.update({self._far: False} if far and self._far not in wanted else {})
        looks = [Look(rgb, near=kind) for kind in wanted.values()]
        if thorough:
            coarse_ones, fine_ones = tiles_of(rgb)
            looks += [Look(rgb, near=False, tile=tile) for tile in coarse_ones]
            looks += [Look(rgb, tile=tile) for tile in fine_ones if fine]
        return looks

    def look(self, looks: Sequence[Look]) -> list[list[Detection]]:
        """Faces in each, in pixels of its frame; what one network is shown goes through it in one
        batch where it can."""
        found: list[list[Detection]] = [[] for _ in looks]
        for network in dict.fromkeys((self._near, self._far)):
            views = {
                place: view
                for place, one in enumerate(looks)
                if (self._near if one.near else self._far) is network
                and (view := View.of(one)) is not None
            }
            told = _looked(network, [view.picture for view in views.values()])
            for (place, view), seen in zip(views.items(), told, strict=True):
                found[place] = view.in_frame(seen)
        return found

    def joined(self, found: Sequence[list[Detection]]) -> list[Detection]:
        """Faces of several looks at one frame, best first, each of them once."""
        return _without_repeats([one for seen in found for one in seen])

    def detect(
        self,
        rgb: NDArray[np.uint8],
        *,
        thorough: bool = False,
        fine: bool = True,
        near: bool = True,
        far: bool = True,
    ) -> list[Detection]:
        """Faces in a frame, best first: those of its `looks`, and of one with a border where
        `thorough` ones find none."""
        looks = self.looks(rgb, thorough=thorough, fine=fine, near=near, far=far)
        found = self.joined(self.look(looks))
        if thorough and not found:
            found = self.joined(self.look([Look(rgb, bordered=True)]))
        return found

    def look_closer(self, rgb: NDArray[np.uint8], region: Region) -> Detection | None:
        """The surest face within a region as `Detection.region` gives it, the frame turned and
        scaled as the near network likes it best.

        Its score is the mean with that of a wider view, 0 where no face is seen in that: what only
        looks like a face does so at one scale.
        """
        close = self._surest(rgb, region, _VIEWS[0])
        # Where the sum could not be enough the second look is spared.
        if close is None or close.score + 1 < 2 * self.trust.least:
            return None
        wide = self._surest(rgb, region, _VIEWS[1])
        return replace(close, score=(close.score + (wide.score if wide else 0.0)) / 2)

    def close(self) -> None:
        """Stop the networks."""
        self._near.close()
        self._far.close()

    def _surest(self, rgb: NDArray[np.uint8], region: Region, view: float) -> Detection | None:
        """The surest face in a square of `view` times the face's size, turned upright."""
        wider = Region(region.x, region.y, view / 1.5 * region.side_px, region.roll_rad)
        matrix = wider.matrix()
        patch = np.asarray(cv2.warpAffine(rgb, matrix, (PATCH_PX, PATCH_PX)), np.uint8)
        (seen,) = self.look([Look(patch)])
        best = max(seen, key=lambda one: one.score, default=None)
        if best is None:
            return None
        back = matrix[:, :2] * (wider.side_px / PATCH_PX) ** 2  # a rotation's inverse, scaled
        x, y, width, height = best.box
        middle = (np.array([x + width / 2, y + height / 2]) - matrix[:, 2]) @ back
        size = np.array([width, height]) * (wider.side_px / PATCH_PX)
        corner = (middle - size / 2).tolist()
        points_xy = (best.points_xy - matrix[:, 2]) @ back
        return Detection((*corner, *size.tolist()), best.score, points_xy)


def find_meshes(
    rgb: NDArray[np.uint8], detections: Sequence[Detection], mesh: Landmarker, detector: Detector
) -> list[Mesh]:
    """Landmarks of fresh detections: one look to find the region, one to read it well.

    Each is looked at again, closer, by the detector: a face that it does not see so is none,
    whatever the landmark network says, and one that the landmark network refuses may be seen after
    all, or be sure enough for a posed mesh. One that it sees better head over heels stands so.
    """
    rough = mesh.run(rgb, [detection.region for detection in detections])
    trust = detector.trust
    likely = [one for one in rough if one.shows_face]
    fine = iter(mesh.run(rgb, [Region.around(one.xy) for one in likely]))
    found = []
    for detection, first in zip(detections, rough, strict=True):
        one = next(fine) if first.shows_face else first
        region = Region.around(one.xy) if one.shows_face else detection.region
        closer = detector.look_closer(rgb, region)
        score = closer.score if closer is not None else 0.0
        if score < trust.upright or one.presence < trust.upright_presence:
            flipped = detector.look_closer(rgb, region.flipped())
            if flipped is not None and flipped.score > max(trust.flipped, score):
                one, closer = replace(one, presence=0.0), flipped
        if closer is not None and closer.score >= trust.least:
            better = one if one.shows_face else mesh_of(rgb, closer, mesh, trust)
            if better.shows_face and (
                closer.score >= trust.plain or _clearness(rgb, better) >= trust.clear
            ):
                found.append(better)
    return found


def _clearness(rgb: NDArray[np.uint8], mesh: Mesh) -> float:
    """How surely the aligned crop is the whole of a face."""
    return clearness(aligned_crop(rgb, mesh.xy, CLEAR_PX))


def mesh_of(rgb: NDArray[np.uint8], closer: Detection, mesh: Landmarker, trust: Trust) -> Mesh:
    """The landmarks of a closer look's face; posed ones where the landmark network refuses it."""
    (one,) = mesh.run(rgb, [closer.region])
    if one.shows_face and closer.score >= trust.likely:
        (one,) = mesh.run(rgb, [Region.around(one.xy)])
        if one.shows_face:
            return one
    if closer.score >= trust.sure:
        return Mesh(posed_head(closer.points_xy), one.presence, posed=True)
    return replace(one, presence=0.0)


class MediaPipeNetwork:
    """One of MediaPipe's face detectors: 0 sees near faces, 1 far ones."""

    def __init__(self, model: int, min_score: float) -> None:
        start_here()
        mp = load_mediapipe()
        with quiet():
            self._network = mp.solutions.face_detection.FaceDetection(
                min_detection_confidence=min_score, model_selection=model
            )
            self._network.process(np.zeros((NETWORK_PX, NETWORK_PX, 3), np.uint8))
        hold(self._network)

    def look(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Faces in a picture (H, W, 3), in pixels of it."""
        shown = np.array(picture.shape[1::-1], np.float64)
        found = []
        for one in self._network.process(picture).detections or ():
            place = one.location_data
            box = place.relative_bounding_box
            x, y = (np.array([box.xmin, box.ymin]) * shown).tolist()
            width, height = (np.array([box.width, box.height]) * shown).tolist()
            relative = np.array([(point.x, point.y) for point in place.relative_keypoints])
            found.append(Detection((x, y, width, height), float(one.score[0]), relative * shown))
        return found

    def close(self) -> None:
        """Stop the network."""
        self._network.close()


def open_mediapipe(_: Opening) -> tuple[Detector, Landmarker]:
    """MediaPipe's detectors and its mesh."""
    return FaceDetector(), FaceMesh()


def _looked(
    network: DetectorNetwork, pictures: Sequence[NDArray[np.uint8]]
) -> list[list[Detection]]:
    """Faces in each picture, in pixels of it."""
    if len(pictures) > 1 and isinstance(network, BatchNetwork):
        return network.look_many(pictures)
    return [network.look(picture) for picture in pictures]


def overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    """Share of the smaller of two boxes (x, y, width, height) that the other covers, 0..1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    smaller = min(first[2] * first[3], second[2] * second[3])
    return max(width, 0.0) * max(height, 0.0) / smaller if smaller > 0 else 0.0


def _without_repeats(found: list[Detection]) -> list[Detection]:
    """The best of those that show the same face, best first."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda detection: -detection.score):
        if all(_shared(one.box, other.box) < _REPEAT for other in kept):
            kept.append(one)
    return kept


def _shared(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    """Intersection over union of two boxes, 0..1."""
    one, other = first[2] * first[3], second[2] * second[3]
    both = overlap(first, second) * min(one, other)
    return both / (one + other - both) if both > 0 else 0.0
