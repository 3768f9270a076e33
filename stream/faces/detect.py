"""Where faces are in one frame: MediaPipe's two face detectors, and the mesh of what they find.

The near network sees faces that fill much of what it is shown and is sure of the points of a
face's features; the far network sees small ones. Each misses what the other is made for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..process import hold, start_here
from .align import crop as aligned_crop
from .front import Detector, Landmarker, Opening, Trust
from .graphs import load_mediapipe
from .head import posed_head
from .mesh import PATCH_PX, FaceMesh, Mesh, Region
from .quality import CLEAR_PX, clearness
from .quiet import quiet

__all__ = ["Detection", "FaceDetector", "FaceMesh", "Mesh", "Region", "find_meshes", "overlap"]

MIN_FACE_PX = 12
"""Faces narrower than this are left out: nothing can be read off them."""
Tile = tuple[int, int, int, int]
"""Left, top, width and height, pixels of the frame."""
_NETWORK_PX = 256  # the networks see 128 and 192; a little more lets their own sampling choose
_COARSE_FROM_PX, _COARSE = 480, 0.6
"""Frames whose longer side is so large are looked at by the far network in four tiles too, each of
this share of the frame."""
_FINE_FROM_PX, _FINE, _FINE_STEP = 960, 0.36, 0.7
"""And from here on by the near one in square tiles of this share of the shorter side, each so many
sides from the next: of many small faces the far network overlooks some."""
_BORDER = 0.3
"""A black border so wide, as a share of the longer side, where no face is found without: a face
that is cut off by the picture's edge, or fills it, is taken for one then."""
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
        """Faces in a picture (H, W, 3) RGB of about `_NETWORK_PX`, in pixels of it."""

    def close(self) -> None:
        """Free what it holds."""


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

    def detect(
        self,
        rgb: NDArray[np.uint8],
        *,
        thorough: bool = False,
        fine: bool = True,
        near: bool = True,
        far: bool = True,
    ) -> list[Detection]:
        """Faces in a frame (H, W, 3) uint8, best first, by the near and the far network.

        With `thorough` in its tiles too (not the `fine` ones, where those are left out), and with a
        border where there is none without.
        """
        wanted = [self._near] * near + [self._far] * far
        found = [one for network in dict.fromkeys(wanted) for one in _look(network, rgb)]
        if thorough:
            for tile, (is_fine, _) in enumerate(_tiles(*rgb.shape[:2])):
                if fine or not is_fine:
                    found += self.detect_tile(rgb, tile)
            if not found:
                found = self.detect_bordered(rgb)
        return _without_repeats(found)

    def detect_bordered(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """Faces that the frame's edge cuts off, or that fill it."""
        return _look(self._near, rgb, border=_BORDER)

    def detect_tile(self, rgb: NDArray[np.uint8], tile: int) -> list[Detection]:
        """Faces in one of the frame's overlapping parts, numbered as `tiles_of` has them."""
        height, width = rgb.shape[:2]
        is_fine, (left, top, columns, rows) = _tiles(height, width)[tile]
        network = self._near if is_fine else self._far
        found = _look(network, rgb[top : top + rows, left : left + columns], left, top)
        return [d for d in found if not _cut_off(d.box, (left, top, columns, rows), width, height)]

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
        best = max(_look(self._near, patch), key=lambda one: one.score, default=None)
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


def tiles_of(rgb: NDArray[np.uint8]) -> tuple[list[int], list[int]]:
    """The numbers of a frame's coarse and of its fine tiles; none where it is small."""
    kinds = [is_fine for is_fine, _ in _tiles(*rgb.shape[:2])]
    return (
        [tile for tile, is_fine in enumerate(kinds) if not is_fine],
        [tile for tile, is_fine in enumerate(kinds) if is_fine],
    )


class MediaPipeNetwork:
    """One of MediaPipe's face detectors: 0 sees near faces, 1 far ones."""

    def __init__(self, model: int, min_score: float) -> None:
        start_here()
        mp = load_mediapipe()
        with quiet():
            self._network = mp.solutions.face_detection.FaceDetection(
                min_detection_confidence=min_score, model_selection=model
            )
            self._network.process(np.zeros((_NETWORK_PX, _NETWORK_PX, 3), np.uint8))
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


def _look(
    network: DetectorNetwork,
    rgb: NDArray[np.uint8],
    left: int = 0,
    top: int = 0,
    border: float = 0.0,
) -> list[Detection]:
    """Faces in one picture whose corner lies at `left`, `top` of the frame."""
    height, width = rgb.shape[:2]
    if min(height, width) < MIN_FACE_PX:
        return []
    picture = _reduced(rgb)
    rows, columns = picture.shape[:2]
    rim = round(border * max(rows, columns))
    if rim:
        picture = np.asarray(cv2.copyMakeBorder(picture, *[rim] * 4, cv2.BORDER_CONSTANT), np.uint8)
    scale, corner = np.array([width / columns, height / rows]), np.array([left, top])
    found = []
    for one in network.look(picture):
        x, y = ((np.array(one.box[:2]) - rim) * scale + corner).tolist()
        box_width, box_height = (np.array(one.box[2:]) * scale).tolist()
        if box_width >= MIN_FACE_PX:
            points_xy = (one.points_xy - rim) * scale + corner
            found.append(Detection((x, y, box_width, box_height), one.score, points_xy))
    return found


def overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    """Share of the smaller of two boxes (x, y, width, height) that the other covers, 0..1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    smaller = min(first[2] * first[3], second[2] * second[3])
    return max(width, 0.0) * max(height, 0.0) / smaller if smaller > 0 else 0.0


def _reduced(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at the size the network needs: pixels skipped first, then averaged."""
    longer = max(rgb.shape[:2])
    skip = max(longer // (4 * _NETWORK_PX), 1)
    picture = rgb[::skip, ::skip]
    scale = _NETWORK_PX / max(picture.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(picture)
    size = tuple(max(round(side * scale), 1) for side in picture.shape[1::-1])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


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


@lru_cache(maxsize=64)
def _tiles(height: int, width: int) -> tuple[tuple[bool, Tile], ...]:
    """Each tile, and whether it is a fine one; the four coarse ones come first."""
    if max(height, width) < _COARSE_FROM_PX:
        return ()
    rows, columns = math.ceil(height * _COARSE), math.ceil(width * _COARSE)
    corners = [(left, top) for top in (0, height - rows) for left in (0, width - columns)]
    coarse = [(False, (left, top, columns, rows)) for left, top in corners]
    if max(height, width) < _FINE_FROM_PX:
        return tuple(coarse)
    side = max(round(_FINE * min(height, width)), MIN_FACE_PX)
    fine = [
        (True, (left, top, side, side))
        for top in _steps(height, side)
        for left in _steps(width, side)
    ]
    return (*coarse, *fine)


def _steps(length: int, side: int) -> list[int]:
    """Where tiles of this side begin, from edge to edge."""
    count = math.ceil((length - side) / (_FINE_STEP * side)) + 1
    return [round(at) for at in np.linspace(0, length - side, count)]


def _cut_off(
    box: tuple[float, float, float, float],
    tile: Tile,
    width: int,
    height: int,
) -> bool:
    """Whether a face reaches over an edge of the tile that is not the frame's own edge."""
    left, top, columns, rows = tile
    return (
        (box[0] < left and left > 0)
        or (box[1] < top and top > 0)
        or (box[0] + box[2] > left + columns and left + columns < width)
        or (box[1] + box[3] > top + rows and top + rows < height)
    )
