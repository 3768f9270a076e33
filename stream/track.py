"""Who is who from frame to frame: stable ids for faces, in seconds, not frames.

Each followed face is looked for where it should be by now; its landmarks carry it along. The
detector runs rarely: for new faces, and at once when one is lost. A face that comes back within
`LOST_S` near its path and looking alike keeps its id. What a face looks like is a grey thumbnail
of 24 x 24 pixels, kept in memory only, and only as long as the face is followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from .align import crop as aligned_crop
from .detect import Detection, FaceDetector, find_meshes, mesh_of, overlap, tiles_of
from .face_options import FaceOptions
from .flow import MOTION_CROP_PX
from .frame import Frame
from .mesh import FaceMesh, Mesh, Region
from .quality import Quality, measure
from .turn import TURNS, turned, turned_back, upright_turn
from .watch import Watch

COAST_S = 0.3
"""For so long an unseen face is looked for at its place; then only the detector brings it back."""
LOST_S = 1.5
"""For so long an id waits for its face."""
GAP_S = 1.0
"""After a pause of the frames as long as this nothing is carried over."""
DETECT_S = 0.5
"""Time between detections while every known face is followed."""
SEARCH_S = 0.1
"""Time between detections while a face is missing or nobody is there."""
ALONE_S = 0.4
"""A frame that comes so long after the one before is searched as thoroughly as a picture."""
TURN_S = 2.0
"""Time between looks at the frame turned, until the first face tells which way is up."""

_MIN_WIDTH_PX = 8.0
_SAME_PLACE = 0.25  # mean distance of two meshes' landmarks, in face sizes
_SAME_LOOKS = 0.75  # correlation; one face from frame to frame has 0.85 and more, two have less
_SAME_FACE = 0.55  # of `_Track.surety`, for a face that comes back
_LOOKS_PX = 24  # side of the thumbnail
_VELOCITY_S = 0.15  # velocities are averaged over about this time
_SCENE_GRID = (18, 32)  # rows and columns of pixels that stand for the picture
_SAME_SCENE = 0.85  # correlation of two frames' thumbnails; a cut has less
_SAME_SCENE_GREY = 10.0  # and it changes their grey levels by more than noise does

Looks = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame."""

    id: int
    """Stable while the face is followed, through short losses; never used again."""
    box: tuple[float, float, float, float]
    """x, y, width, height in pixels of the frame; may reach beyond its edges."""
    landmarks_xy: NDArray[np.float32]
    """(468, 2) landmarks of the face mesh, pixels of the frame."""
    quality: Quality
    crop: NDArray[np.uint8]
    """(64, 64) the aligned grey crop on which quality and motion are measured."""


class _Sight:
    """One mesh found in one frame, and what the face in it looks like."""

    __slots__ = ("box", "centre", "crop", "looks", "mesh", "region", "size_px")

    def __init__(self, rgb: NDArray[np.uint8], mesh: Mesh) -> None:
        low, high = mesh.xy.min(0), mesh.xy.max(0)
        width, height = (float(side) for side in high - low)
        self.mesh = mesh
        self.region = Region.around(mesh.xy)
        self.box = (float(low[0]), float(low[1]), width, height)
        self.centre = (low + high) / 2
        self.size_px = max(width, height)
        self.crop = aligned_crop(rgb, mesh.xy, MOTION_CROP_PX)
        thumbnail = cv2.resize(self.crop, (_LOOKS_PX, _LOOKS_PX), interpolation=cv2.INTER_AREA)
        self.looks = _unit(thumbnail)

    def face(self, identity: int) -> Face:
        """What the outside sees."""
        quality = measure(self.mesh.landmarks, self.crop, self.mesh.presence)
        return Face(identity, self.box, self.mesh.xy.copy(), quality, self.crop)

    def covers(self, other: _Sight) -> bool:
        """Whether both are one face: their landmarks lie on each other."""
        apart = float(np.linalg.norm(self.mesh.xy - other.mesh.xy, axis=1).mean())
        return apart < _SAME_PLACE * max(self.size_px, other.size_px)

    def touches(self, other: _Sight) -> bool:
        """Whether another face may hide part of this one."""
        return other is not self and overlap(self.box, other.box) > 0.1


def face_of(identity: int, rgb: NDArray[np.uint8], mesh: Mesh) -> Face:
    """The face of a mesh, for those who know who it is."""
    return _Sight(rgb, mesh).face(identity)


class _Track:
    """A face over time."""

    __slots__ = ("id", "looks", "moved_scene", "seen_s", "sight", "usual", "velocity")

    def __init__(self, identity: int, sight: _Sight, now_s: float) -> None:
        self.id = identity
        self.sight = sight
        self.seen_s = now_s
        self.moved_scene = False  # since it was last seen: its place says nothing then
        self.velocity = np.zeros(2, np.float32)  # pixels per second
        self.looks, self.usual = sight.looks, sight.looks.copy()

    def region(self, now_s: float) -> Region:
        """Where the face should be now; half its size away at most."""
        shift = self.velocity * (now_s - self.seen_s)
        limit = 0.5 * self.sight.size_px / max(float(np.hypot(*shift)), 1e-6)
        return self.sight.region.moved(*(shift * min(limit, 1.0)).tolist())

    def likeness(self, sight: _Sight) -> float:
        """-1..1: correlation with what the face last looked like, or usually does."""
        return float(max(self.looks @ sight.looks, self.usual @ sight.looks))

    def surety(self, sight: _Sight, now_s: float) -> float:
        """-inf..2: how surely this face is in the sight, by its looks and by its place.

        The place is held against where the face was and where it would be had it gone on, in face
        sizes. Half hidden behind another, a face hardly looks like itself: then the place decides.
        """
        gone = self.sight.centre + self.velocity * (now_s - self.seen_s)
        apart = min(np.linalg.norm(sight.centre - place) for place in (self.sight.centre, gone))
        return self.likeness(sight) + 1 - float(apart) / max(self.sight.size_px, sight.size_px)

    def see(self, sight: _Sight, now_s: float, in_contact: bool) -> None:
        """Go on with this sight; next to another face its looks and speed are not trusted."""
        elapsed = now_s - self.seen_s
        if not in_contact:
            if 0 < elapsed <= COAST_S:
                share = 1 - float(np.exp(-elapsed / _VELOCITY_S))
                step = (sight.centre - self.sight.centre) / elapsed
                self.velocity = self.velocity + share * (step - self.velocity)
            elif elapsed > COAST_S:
                self.velocity = np.zeros(2, np.float32)
            self.looks = sight.looks
            self.usual += min(elapsed, 0.2) * (sight.looks - self.usual)
        self.sight, self.seen_s, self.moved_scene = sight, now_s, False

    def face(self) -> Face:
        """What the outside sees."""
        return self.sight.face(self.id)


class Search(Enum):
    """How much of a frame is searched for new faces."""

    QUICK = auto()
    """The whole of it by one network, and one part; the next frame goes on."""
    BROAD = auto()
    """The whole of it and its large tiles."""
    THOROUGH = auto()
    """Its small tiles too, and all of that but these turned, where nobody stands upright."""


class FaceTracker:
    """Follows the faces of one source.

    Args:
        options: which faces; of too many, the largest of the first frame come first.
        detector, mesh: networks to share between trackers; None: the tracker makes its own.
    """

    def __init__(
        self,
        options: FaceOptions | None = None,
        detector: FaceDetector | None = None,
        mesh: FaceMesh | None = None,
    ) -> None:
        self._options = options or FaceOptions()
        self._detector = detector or FaceDetector()
        self._mesh = mesh or FaceMesh()
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget every face and which way is up, as for another clip; ids go on counting."""
        rotate = self._options.rotate
        self._turn_deg: int | None = None if rotate == "auto" else rotate
        self._forget()

    def _forget(self) -> None:
        """Forget every face, as after a gap."""
        self._tracks: list[_Track] = []
        self._last_s: float | None = None
        self._detected_s = 0.0
        self._turned_s, self._next_turn = -math.inf, 0
        self._part = 0
        self.left_out = 0
        """Faces beyond `max_faces` when it was last looked for new ones."""
        self._scene: Looks | None = None
        self._watch = Watch(_SCENE_GRID)

    def update(self, frame: Frame) -> list[Face]:
        """The faces of this frame, ordered by id; frames come in the order of their times."""
        now_s, rgb = frame.time_s, frame.pixels
        if self._last_s is not None and not 0 <= now_s - self._last_s <= GAP_S:
            self._forget()
        first, before_s = self._last_s is None, self._last_s
        cut = self._scene_changed(rgb)
        live = [track for track in self._tracks if track.seen_s == before_s]
        self._follow(rgb, now_s, live, cut)
        if cut:
            for track in self._tracks:
                track.moved_scene = track.seen_s != now_s
        lost = any(track.seen_s != now_s for track in live)
        waited_s = now_s - self._detected_s
        alone = first or (before_s is not None and now_s - before_s >= ALONE_S)
        if alone or cut or lost or self._is_due(rgb, now_s, waited_s):
            search = Search.QUICK
            if alone or (cut and waited_s >= SEARCH_S):
                search = Search.THOROUGH if alone and not frame.dense else Search.BROAD
            self._find(rgb, now_s, search)
        self._tracks = [track for track in self._tracks if now_s - track.seen_s <= LOST_S]
        self._last_s = now_s
        seen = (
            track
            for track in self._tracks
            if track.seen_s == now_s and track.sight.box[2] >= self._options.min_face_px
        )
        return [track.face() for track in sorted(seen, key=lambda track: track.id)]

    def _is_due(self, rgb: NDArray[np.uint8], now_s: float, waited_s: float) -> bool:
        """Whether it is time to look for new faces."""
        patience_s = self._patience_s(now_s) - 1e-3
        if waited_s < patience_s:
            return False
        known = [track.sight.box for track in self._tracks if track.seen_s == now_s]
        missing = len(known) < len(self._tracks)
        idle_s = 2 * DETECT_S if known else DETECT_S
        if missing or waited_s >= idle_s - 1e-3:
            return True
        return self._watch.changed(self._scene, rgb.shape, known)

    def _patience_s(self, now_s: float) -> float:
        """How long after the last detection the next one is due."""
        all_here = self._tracks and all(track.seen_s == now_s for track in self._tracks)
        return DETECT_S if all_here else SEARCH_S

    def _follow(self, rgb: NDArray[np.uint8], now_s: float, live: list[_Track], cut: bool) -> None:
        """Look for known faces where they should be."""
        wanted = [t for t in self._tracks if t in live or now_s - t.seen_s <= COAST_S]
        regions = [track.region(now_s) for track in wanted]
        found: list[tuple[_Track, _Sight]] = []
        for track, region, mesh in zip(wanted, regions, self._mesh.run(rgb, regions), strict=True):
            if not mesh.shows_face and track in live:
                closer = self._detector.look_closer(rgb, region)
                mesh = mesh if closer is None else mesh_of(rgb, closer, self._mesh)
            if not _plausible(mesh, region, rgb.shape):
                continue
            sight = _Sight(rgb, mesh)
            doubtful = cut or track.moved_scene or track not in live
            if not doubtful or track.likeness(sight) >= _SAME_LOOKS:
                found.append((track, sight))
        for track, sight in _without_doubles(found, now_s):
            track.see(sight, now_s, any(sight.touches(other) for _, other in found))

    def _find(self, rgb: NDArray[np.uint8], now_s: float, search: Search) -> None:
        """Detect; give faces that come back their ids, and new ones new ids."""
        self._detected_s = now_s
        self._watch.looked(self._scene)
        known = [track.sight for track in self._tracks if track.seen_s == now_s]
        fresh = self._fresh(rgb, known, search, self._turn_deg or 0)
        if self._turn_deg is None and not fresh and not known:
            fresh = self._fresh_turned(rgb, now_s, search)
        fresh.sort(key=lambda sight: -sight.size_px)
        room = max(self._options.max_faces - len(known), 0)
        self.left_out = max(len(fresh) - room, 0)
        if self._turn_deg is None and fresh:
            self._turn_deg = upright_turn(fresh[0].region.roll_rad)
        fresh = fresh[:room]
        for sight in self._welcome_back(fresh, known, now_s):
            self._tracks.append(_Track(self._next_id, sight, now_s))
            self._next_id += 1

    def _fresh(
        self, rgb: NDArray[np.uint8], known: list[_Sight], search: Search, turn_deg: int
    ) -> list[_Sight]:
        """Faces that are none of the known ones, in the frame turned so far."""
        upright = turned(rgb, turn_deg)
        if search is not Search.QUICK:
            fine = search is Search.THOROUGH and not turn_deg
            detections = self._detector.detect(upright, thorough=True, fine=fine)
        else:
            # Where nobody is, the networks take turns: it is looked often, and mostly for nothing.
            both, near = bool(self._tracks) or turn_deg > 0, self._part % 2 == 0
            detections = self._detector.detect(upright, near=both or near, far=both or not near)
            detections += [] if turn_deg else self._in_part(upright)
        in_frame = [turned_back(d, turn_deg, *rgb.shape[:2]) for d in detections]
        open_ = [d for d in in_frame if all(overlap(d.box, k.box) < 0.75 for k in known)]
        fresh: list[_Sight] = []
        for mesh in find_meshes(rgb, open_, self._mesh, self._detector):
            if _plausible(mesh, Region.around(mesh.xy), rgb.shape):
                sight = _Sight(rgb, mesh)
                if sight.box[2] >= self._options.min_face_px and not any(
                    sight.covers(other) for other in (*known, *fresh)
                ):
                    fresh.append(sight)
        return fresh

    def _fresh_turned(self, rgb: NDArray[np.uint8], now_s: float, search: Search) -> list[_Sight]:
        """Faces in the frame turned, as long as nobody knows which way is up: every turn in a
        picture that stands alone and in the first frame, then one now and then."""
        if search is not Search.THOROUGH and now_s - self._turned_s < TURN_S:
            return []
        all_turns = search is Search.THOROUGH or self._turned_s == -math.inf
        self._turned_s = now_s
        if not all_turns:
            self._next_turn = self._next_turn % 3 + 1
        within = Search.BROAD if search is Search.THOROUGH else Search.QUICK
        for turn_deg in TURNS[1:] if all_turns else (TURNS[self._next_turn],):
            fresh = self._fresh(rgb, [], within, turn_deg)
            if fresh:
                return fresh
        return []

    def _in_part(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """Faces in the part of the frame whose turn it is: its large tiles and the small ones in
        turns, and now and then itself with a border."""
        part, self._part = self._part, self._part + 1
        turn, (coarse, fine) = part // 2, tiles_of(rgb)
        if part % 2 == 0:
            return self._detector.detect_tile(rgb, coarse[turn % 4]) if coarse else []
        if turn % 4 == 0 or not fine:
            return [] if self._tracks else self._detector.detect_bordered(rgb)
        return self._detector.detect_tile(rgb, fine[(turn - turn // 4 - 1) % len(fine)])

    def _welcome_back(self, fresh: list[_Sight], known: list[_Sight], now_s: float) -> list[_Sight]:
        """Hand sights to lost faces, the surest pair first; returns the strangers."""
        strangers = list(fresh)
        lost = [track for track in self._tracks if track.seen_s != now_s]
        pairs = [
            (track.surety(sight, now_s), track, sight)
            for track in lost
            for sight in fresh
            if 0.5 < track.sight.size_px / sight.size_px < 2
            and (track.likeness(sight) >= _SAME_LOOKS or not track.moved_scene)
        ]
        for surety, track, sight in sorted(pairs, key=lambda pair: -pair[0]):
            if surety > _SAME_FACE and track.seen_s != now_s and sight in strangers:
                track.see(sight, now_s, any(sight.touches(other) for other in (*known, *fresh)))
                strangers.remove(sight)
        return strangers

    def _scene_changed(self, rgb: NDArray[np.uint8]) -> bool:
        """Whether the whole picture is another one, judged by a few hundred of its pixels."""
        before, now = self._scene, rgb[_scene_grid(*rgb.shape[:2])].mean(-1, dtype=np.float32)
        now = now.ravel()
        self._scene = now
        if before is None or np.abs(now - before).mean() < _SAME_SCENE_GREY:
            return False
        return float(_unit(before) @ _unit(now)) < _SAME_SCENE


@lru_cache(maxsize=64)
def _scene_grid(height: int, width: int) -> tuple[NDArray[np.intp], ...]:
    """The rows and columns of `_SCENE_GRID` in a picture of this size."""
    return np.ix_(
        *(
            np.linspace(0, size - 1, count).astype(int)
            for size, count in zip((height, width), _SCENE_GRID, strict=True)
        )
    )


def _plausible(mesh: Mesh, region: Region, shape: tuple[int, ...]) -> bool:
    """Whether a mesh can be the face that was looked for in the region."""
    if not mesh.shows_face:
        return False
    low, high = mesh.xy.min(0), mesh.xy.max(0)
    centre, size = (low + high) / 2, float((high - low).max())
    moved = np.hypot(centre[0] - region.x, centre[1] - region.y)
    return bool(
        high[0] - low[0] >= _MIN_WIDTH_PX
        and 0.4 < 1.5 * size / region.side_px < 1.6
        and moved < 0.4 * region.side_px
        and -0.25 * size < centre[0] < shape[1] + 0.25 * size
        and -0.25 * size < centre[1] < shape[0] + 0.25 * size
    )


def _without_doubles(
    found: list[tuple[_Track, _Sight]], now_s: float
) -> Iterable[tuple[_Track, _Sight]]:
    """Where two tracks have come to lie on one face, only the one that it looks like keeps it."""
    losers: set[int] = set()
    for (one, first), (other, second) in combinations(found, 2):
        if overlap(first.box, second.box) > 0.5 and first.covers(second):
            stays = one.surety(first, now_s) >= other.surety(second, now_s)
            losers.add(other.id if stays else one.id)
    return [(track, sight) for track, sight in found if track.id not in losers]


def _unit(picture: NDArray[np.generic]) -> Looks:
    """Flattened, mean 0, length 1; zeros for a picture without any pattern."""
    vector = picture.astype(np.float32).ravel()
    vector -= vector.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
