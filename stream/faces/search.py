"""New faces: when a frame is searched for them, how much of it, and which way up.

A frame is searched where the picture has changed enough, or shows another scene; turned by quarters
where nobody stands upright, what is found being carried back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .detect import Detection, find_meshes, overlap
from .front import Detector, Landmarker, Look
from .mesh import Mesh, Region
from .options import FaceOptions
from .sight import Sight, unit
from .views import tiles_of

DETECT_S = 0.5
"""Time between detections while every known face is followed."""
SEARCH_S = 0.1
"""Time between detections while a face is missing or nobody is there."""
SCENE_S = 5.0
"""Scenes of a recording are searched for small faces where they begin, but not more often."""
TURN_S = 2.0
"""Time between looks at the frame turned, until the first face tells which way is up."""

_MIN_WIDTH_PX = 8.0


class Extent(Enum):
    """How much of a frame is searched for new faces."""

    QUICK = auto()
    """The whole of it by one network, and one part; the next frame goes on."""
    BROAD = auto()
    """The whole of it and its large tiles."""
    SCENE = auto()
    """Its small tiles too."""
    THOROUGH = auto()
    """All of that, and the whole and its large tiles turned, where nobody stands upright."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What of one frame the detector is shown first."""

    extent: Extent
    turn_deg: int
    whole: list[Look]
    part: list[Look] = field(default_factory=list)

    @property
    def looks(self) -> list[Look]:
        """All of it, in order."""
        return [*self.whole, *self.part]


class Search:
    """Looks for faces in the frames of one source that are not followed yet."""

    def __init__(self, options: FaceOptions, detector: Detector, mesh: Landmarker) -> None:
        self._options, self._detector, self._mesh = options, detector, mesh
        self._turn_deg: int | None = None if options.rotate == "auto" else options.rotate
        self._turned_s, self._next_turn = -math.inf, 0
        self._searched_s = self._scene_s = -math.inf
        self._part = 0
        self._watch = Watch()

    def waited_s(self, now_s: float) -> float:
        """Time since the last search."""
        return now_s - self._searched_s

    def is_due(
        self,
        waited_s: float,
        scene: Scene | None,
        shape: tuple[int, ...],
        seen: Sequence[Sight],
        awaited: bool,
        missing: bool,
    ) -> bool:
        """Whether it is time to look for new faces, as time and the scene say.

        Args:
            waited_s: since the last search, or less where searches are to be rarer.
            scene: of the frame, whose shape is `shape`.
            seen: who is in it.
            awaited: whether anybody is, or was there just now; `missing`: and is not seen.
        """
        patience_s = DETECT_S if awaited and not missing else SEARCH_S
        if waited_s < patience_s - 1e-3:
            return False
        idle_s = 2 * DETECT_S if seen else DETECT_S
        if missing or waited_s >= idle_s - 1e-3:
            return True
        return self._watch.changed(scene, shape, [sight.box for sight in seen])

    def opens_scene(self, now_s: float) -> bool:
        """Whether a scene of a recording that begins now is searched for small faces."""
        return now_s - self._scene_s >= SCENE_S

    def plan(self, rgb: NDArray[np.uint8], extent: Extent, awaited: bool) -> Plan:
        """What of a frame the detector is shown, turned as faces stood so far; `awaited`: whether
        anybody is there, or was just now."""
        return self._plan(rgb, extent, self._turn_deg or 0, awaited)

    def fresh(
        self,
        rgb: NDArray[np.uint8],
        now_s: float,
        known: list[Sight],
        plan: Plan,
        seen: Sequence[list[Detection]] | None,
        scene: Scene | None,
    ) -> list[Sight]:
        """Faces that are none of the known ones, the largest first.

        `seen` is what the detector told of the plan's looks; None: it is asked here.
        """
        fresh = self._fresh(rgb, known, plan, seen)
        if self._turn_deg is None and not fresh and not known:
            fresh = self._fresh_turned(rgb, now_s, plan.extent)
        fresh.sort(key=lambda sight: -sight.size_px)
        if self._turn_deg is None and fresh:
            self._turn_deg = upright_turn(fresh[0].region.roll_rad)
        self._searched_s = now_s
        if plan.extent in (Extent.SCENE, Extent.THOROUGH):
            self._scene_s = now_s
        self._watch.looked(scene)
        return fresh

    def _plan(self, rgb: NDArray[np.uint8], extent: Extent, turn_deg: int, awaited: bool) -> Plan:
        upright = turned(rgb, turn_deg)
        if extent is not Extent.QUICK:
            fine = extent is not Extent.BROAD and not turn_deg
            whole = self._detector.looks(upright, thorough=True, fine=fine)
            return Plan(extent, turn_deg, whole)
        # Where nobody is, the networks take turns: it is looked often, and mostly for nothing.
        both, near = awaited or turn_deg > 0, self._part % 2 == 0
        whole = self._detector.looks(upright, near=both or near, far=both or not near)
        part = [] if turn_deg else self._next_part(upright, awaited)
        return Plan(extent, turn_deg, whole, part)

    def _next_part(self, rgb: NDArray[np.uint8], awaited: bool) -> list[Look]:
        """The part of the frame whose turn it is: its large tiles and the small ones in turns, and
        now and then itself with a border."""
        part, self._part = self._part, self._part + 1
        turn, (coarse, fine) = part // 2, tiles_of(rgb)
        if part % 2 == 0:
            return [Look(rgb, near=False, tile=coarse[turn % 4])] if coarse else []
        if turn % 4 == 0 or not fine:
            return [] if awaited else [Look(rgb, bordered=True)]
        return [Look(rgb, tile=fine[(turn - turn // 4 - 1) % len(fine)])]

    def _fresh(
        self,
        rgb: NDArray[np.uint8],
        known: list[Sight],
        plan: Plan,
        seen: Sequence[list[Detection]] | None,
    ) -> list[Sight]:
        """Faces that are none of the known ones, in the frame turned as planned."""
        if seen is None:
            seen = self._detector.look(plan.looks)
        count = len(plan.whole)
        detections = self._detector.joined(seen[:count])
        if not detections and plan.extent is not Extent.QUICK:
            bordered = Look(turned(rgb, plan.turn_deg), bordered=True)
            detections = self._detector.joined(self._detector.look([bordered]))
        detections = [*detections, *(one for found in seen[count:] for one in found)]
        in_frame = [turned_back(d, plan.turn_deg, *rgb.shape[:2]) for d in detections]
        open_ = [d for d in in_frame if all(overlap(d.box, k.box) < 0.75 for k in known)]
        fresh: list[Sight] = []
        for mesh in find_meshes(rgb, open_, self._mesh, self._detector):
            if plausible(mesh, Region.around(mesh.xy), rgb.shape):
                sight = Sight(rgb, mesh)
                if sight.box[2] >= self._options.min_face_px and not any(
                    sight.covers(other) for other in (*known, *fresh)
                ):
                    fresh.append(sight)
        return [one for one in fresh if not any(one.misread(o) for o in (*known, *fresh))]

    def _fresh_turned(self, rgb: NDArray[np.uint8], now_s: float, extent: Extent) -> list[Sight]:
        """Faces in the frame turned, as long as nobody knows which way is up: every turn in a
        picture that stands alone and in the first frame, then one now and then."""
        if extent is not Extent.THOROUGH and now_s - self._turned_s < TURN_S:
            return []
        all_turns = extent is Extent.THOROUGH or self._turned_s == -math.inf
        self._turned_s = now_s
        if not all_turns:
            self._next_turn = self._next_turn % 3 + 1
        within = Extent.BROAD if extent is Extent.THOROUGH else Extent.QUICK
        for turn_deg in TURNS[1:] if all_turns else (TURNS[self._next_turn],):
            fresh = self._fresh(rgb, [], self._plan(rgb, within, turn_deg, False), None)
            if fresh:
                return fresh
        return []


def plausible(mesh: Mesh, region: Region, shape: tuple[int, ...]) -> bool:
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


TURNS = (0, 90, 180, 270)
"""Degrees clockwise."""


def turned(rgb: NDArray[np.uint8], turn_deg: int) -> NDArray[np.uint8]:
    """A frame (H, W, 3) turned clockwise by one of `TURNS`."""
    return np.ascontiguousarray(np.rot90(rgb, -turn_deg // 90)) if turn_deg else rgb


def turned_back(found: Detection, turn_deg: int, height: int, width: int) -> Detection:
    """A detection in a turned frame, where it lies in the frame of this size as it was."""
    if not turn_deg:
        return found
    x, y, across, down = found.box
    low, high = _back(np.array([(x, y), (x + across, y + down)]), turn_deg, height, width)
    corner, size = np.minimum(low, high), np.abs(high - low)
    points_xy = _back(found.points_xy, turn_deg, height, width)
    return Detection((*corner.tolist(), *size.tolist()), found.score, points_xy)


def upright_turn(roll_rad: float) -> int:
    """The one of `TURNS` that best makes a face with this roll, clockwise, stand upright."""
    return round(-math.degrees(roll_rad) / 90) % 4 * 90


def _back(xy: NDArray[np.float64], turn_deg: int, height: int, width: int) -> NDArray[np.float64]:
    x, y = xy[:, 0], xy[:, 1]
    back = {90: (y, height - x), 180: (width - x, height - y), 270: (width - y, x)}
    return np.stack(back[turn_deg], axis=1)


Box = tuple[float, float, float, float]
Scene = NDArray[np.float32]
"""Grey levels of a grid of pixels, row by row."""

GRID = (18, 32)
"""Rows and columns of pixels that stand for the picture."""
_SAME_SCENE = 0.85
"""Correlation of two frames' scenes; a cut has less."""
_SAME_SCENE_GREY = 10.0
"""And it changes their grey levels by more than noise does."""
_CHANGED_GREY = 18.0
"""Noise changes a pixel by less, somebody who comes in changes some by more."""
_REACH = 0.5
"""Around a known face so much of its size may move with it."""


def scene_of(rgb: NDArray[np.uint8]) -> Scene:
    """A few hundred of a picture's pixels."""
    return np.asarray(rgb[_places(*rgb.shape[:2])].mean(-1, dtype=np.float32).ravel())


def is_cut(before: Scene | None, now: Scene) -> bool:
    """Whether the whole picture is another one."""
    if before is None or np.abs(now - before).mean() < _SAME_SCENE_GREY:
        return False
    return float(unit(before) @ unit(now)) < _SAME_SCENE


@lru_cache(maxsize=64)
def _places(height: int, width: int) -> tuple[NDArray[np.intp], ...]:
    """The rows and columns of `GRID` in a picture of this size."""
    return np.ix_(
        *(
            np.linspace(0, size - 1, count).astype(int)
            for size, count in zip((height, width), GRID, strict=True)
        )
    )


class Watch:
    """Compares scenes with that of the last look; a slow change adds up until it counts."""

    def __init__(self) -> None:
        self._seen: Scene | None = None

    def looked(self, scene: Scene | None) -> None:
        """It was looked for faces in this scene."""
        self._seen = scene

    def changed(self, scene: Scene | None, shape: tuple[int, ...], known: Iterable[Box]) -> bool:
        """Whether anything is another than at the last look, in a picture (H, W, ...), apart from
        where the known faces are."""
        if scene is None or self._seen is None or scene.shape != self._seen.shape:
            return True
        moved = (np.abs(scene - self._seen) > _CHANGED_GREY).reshape(GRID)
        if not moved.any():
            return False
        rows, columns = np.nonzero(moved)
        y, x = (
            at * (side - 1) / (count - 1)
            for at, side, count in zip((rows, columns), shape[:2], GRID, strict=True)
        )
        outside = np.ones(len(x), bool)
        for left, top, width, height in known:
            reach_x, reach_y = _REACH * width, _REACH * height
            beside = (x < left - reach_x) | (x > left + width + reach_x)
            outside &= beside | (y < top - reach_y) | (y > top + height + reach_y)
        return bool(outside.any())
