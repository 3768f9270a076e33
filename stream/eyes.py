"""How far a face's eyes are open, where they look, and blinks: events in seconds on the source's
clock.

Opening is read off the spatial network's blendshapes eyeBlinkRight and eyeBlinkLeft, so it is there
with every front end. A blink is a dip of the opening below the face's own level of the last moment
and back again. Gaze is read off the dark of the irises between the corners of the eyes: a line
through where they lie and how the head is turned (`gaze.npy`), learned on rendered faces whose gaze
is known (training/measuring/eye_figures.py). It tells aside from ahead, not which of two neighbours
is looked at. BENCHMARKS.md says how well all are measured, and what else was tried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .faces.align import crop_matrix
from .faces.quality import TRUSTED, Quality

BLINKS = ("eyeBlinkRight", "eyeBlinkLeft")
"""Blendshapes of the person's right and left eye."""
SHUT, OPEN = 0.4, 0.05
"""Their values of shut and of open eyes. On FER+ training faces half way between tells both apart
best (96 % right)."""
GAP_S = 0.09
"""Between frames farther apart a blink may go unseen: some 12 frames per second are needed."""
SHORTEST_S, LONGEST_S = 0.05, 0.4
"""A blink's duration between its half-way points. What is longer is eyes that are closed."""
DIP = 0.25
"""So much of the opening a blink takes away at the least."""
_LEVEL_S = 0.5
"""The level before a dip is the median over so long, seconds."""
_SETTLED_S = 0.1
"""Time that a face is watched before the first dip counts, seconds."""
_BACK = 2 / 3
"""The eye is open again where it has regained so much of the dip."""
_LEAST_OPEN, _MOST_YAW_DEG = 0.4, 45.0
"""Of eyes less open the irises are hidden; of heads turned farther one of them is."""

Opening = tuple[float, float]
"""Of the person's right and left eye, 0 closed to 1 fully open."""


@dataclass(frozen=True, slots=True)
class Blink:
    """Both eyes closed and opened again; times are where they are half way, between frames too."""

    from_s: float
    """Seconds on the source's clock."""
    to_s: float

    @property
    def duration_s(self) -> float:
        """Some 0.1 to 0.4 s; what is longer is no blink."""
        return self.to_s - self.from_s


@dataclass(frozen=True, slots=True)
class Eyes:
    """A face's eyes in one frame."""

    right: float
    """Opening of the person's right eye, 0 closed to 1 fully open."""
    left: float
    watched_s: float = 0.0
    """Time since the face's frame before, seconds, if a blink would have been seen meanwhile; else
    0. Blinks per minute are those of the time that was watched."""
    blink: Blink | None = None
    """The blink that this frame shows to be over."""
    gaze_deg: tuple[float, float] | None = None
    """How far the eyes are turned in the head, to the picture's right and down, degrees; None where
    they are not seen well enough."""

    def to_json(self) -> dict[str, Any]:
        """The field `eyes` of a row: plain types."""
        blink, (right_deg, down_deg) = self.blink, self.gaze_deg or (None, None)
        gaze = {"yaw_deg": right_deg, "pitch_deg": down_deg}
        return {
            "right": round(self.right, 4),
            "left": round(self.left, 4),
            "watched_s": round(self.watched_s, 4),
            "blink": blink and {"from_s": round(blink.from_s, 4), "to_s": round(blink.to_s, 4)},
            "gaze": {name: deg if deg is None else round(deg, 1) for name, deg in gaze.items()},
        }


def seen_well(found: Opening, quality: Quality) -> bool:
    """Whether gaze can be read off eyes so far open in such a view."""
    return (
        min(found) >= _LEAST_OPEN
        and quality.score >= TRUSTED
        and abs(quality.yaw_deg) <= _MOST_YAW_DEG
    )


def opening(blendshapes: Mapping[str, float]) -> Opening | None:
    """Of a face with these movements, 0..1 by name; None where the bundle has none."""
    if not all(name in blendshapes for name in BLINKS):
        return None
    right, left = (_share((SHUT - blendshapes[name]) / (SHUT - OPEN)) for name in BLINKS)
    return right, left


class Blinks:
    """Finds the blinks of one source's faces, frame by frame, without looking ahead."""

    def __init__(self) -> None:
        self._faces: dict[int, _Lids] = {}

    def add(
        self, time_s: float, seen: Sequence[tuple[int, Opening | None, bool]]
    ) -> list[Eyes | None]:
        """The eyes of a frame's faces, in order.

        Args:
            time_s: the frame's, on the source's clock.
            seen: id, opening (None: not known) and whether the view is good enough for blinks.
        """
        eyes: list[Eyes | None] = []
        watched: dict[int, _Lids] = {}
        for identity, open_, clearly in seen:
            if open_ is None:
                eyes.append(None)
                continue
            right, left = open_
            if not clearly:
                eyes.append(Eyes(right, left))
                continue
            lids = self._faces.get(identity)
            if lids is None or not 0 < time_s - lids.time_s <= GAP_S:
                lids = _Lids()
            watched_s = time_s - lids.time_s if lids.settled else 0.0
            blink = lids.add(time_s, (right + left) / 2)
            eyes.append(Eyes(right, left, watched_s, blink))
            watched[identity] = lids
        recent = {i: one for i, one in self._faces.items() if 0 < time_s - one.time_s <= GAP_S}
        self._faces = {**recent, **watched}
        return eyes


class _Lids:
    """One face's lids over the last moment, without gaps."""

    __slots__ = ("_dipped", "_level", "_open")

    def __init__(self) -> None:
        self._open: deque[tuple[float, float]] = deque()  # time and opening, while nothing dips
        self._dipped: list[tuple[float, float]] = []  # since just before a dip began
        self._level = 0.0

    @property
    def time_s(self) -> float:
        """Of the last frame; -inf before the first."""
        last = self._dipped or self._open
        return last[-1][0] if last else -float("inf")

    @property
    def settled(self) -> bool:
        """Whether a blink that begins now would be found."""
        return bool(self._open) and self.time_s - self._open[0][0] >= _SETTLED_S

    def add(self, time_s: float, open_: float) -> Blink | None:
        """Add the next frame; returns the blink that it ends, if any."""
        now = (time_s, open_)
        if not self._dipped:
            level = median(value for _, value in self._open) if self._open else open_
            if not self.settled or level - open_ < DIP:
                self._open.append(now)
                while time_s - self._open[0][0] > _LEVEL_S:
                    self._open.popleft()
                return None
            # The lids may have begun to move in the frames before.
            self._level, self._dipped = level, list(self._open)
        self._dipped.append(now)
        lowest = min(value for _, value in self._dipped)
        depth = self._level - lowest
        from_s, to_s = _half_way(self._dipped, self._level - depth / 2, lowest)
        over = open_ >= lowest + _BACK * depth
        if not over and time_s - from_s <= LONGEST_S + GAP_S:
            return None
        self._dipped = []
        if not over:
            self._open.clear()
        self._open.append(now)
        blink = Blink(from_s, to_s)
        return blink if over and SHORTEST_S <= blink.duration_s <= LONGEST_S else None


def _half_way(
    path: Sequence[tuple[float, float]], half: float, lowest: float
) -> tuple[float, float]:
    """When a dip's path (time, opening) last fell to this height before its lowest point, and when
    it rose to it again, between the frames; the path's ends where it did not."""
    bottom = next(at for at, (_, value) in enumerate(path) if value == lowest)
    down, up = path[0][0], path[-1][0]
    for at, ((first_s, first), (next_s, second)) in enumerate(pairwise(path)):
        if (first >= half) == (second >= half):
            continue
        crossed_s = first_s + (next_s - first_s) * (first - half) / (first - second)
        if at < bottom:
            down = crossed_s
        else:
            return down, crossed_s
    return down, up


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


_CORNERS = np.array([33, 133, 362, 263])
"""Landmarks: the corners of the right and the left eye, as they lie in the picture from left on."""
_WIDE, _HIGH, _EYE = 28, 16, 24
"""The patch about an eye, pixels, and how long the eye is in it."""
_SMOOTH_PX = 1.2
_DARK = 20
"""Of a patch's pixels so many percent count as dark: iris, pupil, lashes."""
_EVEN = 1e-3


def _grid() -> NDArray[np.float32]:
    """(patch, 3): x and y of each of its pixels from its middle in eye lengths, and 1."""
    y, x = np.mgrid[:_HIGH, :_WIDE].reshape(2, -1)
    flat = np.stack([x - (_WIDE - 1) / 2, y - (_HIGH - 1) / 2, np.full(x.shape, _EYE)], axis=1)
    return np.asarray(flat / _EYE, np.float32)


_GRID = _grid()

LINE = Path(__file__).with_name("gaze.npy")


def gaze_features(
    crop: NDArray[np.uint8], landmarks_xy: NDArray[np.float32], yaw_deg: float, pitch_deg: float
) -> NDArray[np.float64]:
    """(7,) for `gaze.npy`: x and y of the dark's middle in the right and in the left eye, in eye
    lengths from between its corners, yaw and pitch of the head in units of 30 degrees, and 1.

    Args:
        crop: the aligned grey crop (S, S).
        landmarks_xy: (468, 2) pixels of the frame.
        yaw_deg: of the head, as `Quality` has it.
        pitch_deg: of the head.
    """
    to_crop = crop_matrix(landmarks_xy, len(crop))
    corners = landmarks_xy[_CORNERS] @ to_crop[:, :2].T + to_crop[:, 2]
    irises = _dark_middles(crop, corners.tolist())
    return np.array([*irises, yaw_deg / 30, pitch_deg / 30, 1.0])


def gaze_deg(
    crop: NDArray[np.uint8], landmarks_xy: NDArray[np.float32], yaw_deg: float, pitch_deg: float
) -> tuple[float, float]:
    """How far the eyes are turned in the head: to the picture's right, and down. Arguments as of
    `gaze_features`; of closed eyes it means nothing."""
    right, down = (gaze_features(crop, landmarks_xy, yaw_deg, pitch_deg) @ _line()).tolist()
    return right, down


def _dark_middles(crop: NDArray[np.uint8], corners: list[list[float]]) -> list[float]:
    """Where the dark of each eye lies, x and y in its lengths from its middle; corners are those of
    one eye after the other."""
    patches = np.empty((2, _HIGH, _WIDE), np.float32)
    for eye, patch in enumerate(patches):
        (x, y), (last_x, last_y) = corners[2 * eye : 2 * eye + 2]
        wide, high = last_x - x, last_y - y
        scale = _EYE / max(wide * wide + high * high, 1e-6)
        cos, sin = scale * wide, scale * high
        middle_x, middle_y = (x + last_x) / 2, (y + last_y) / 2
        matrix = np.array(
            [
                [cos, sin, (_WIDE - 1) / 2 - cos * middle_x - sin * middle_y],
                [-sin, cos, (_HIGH - 1) / 2 + sin * middle_x - cos * middle_y],
            ]
        )
        seen = cv2.warpAffine(crop, matrix, (_WIDE, _HIGH), borderMode=cv2.BORDER_REPLICATE)
        cv2.GaussianBlur(seen.astype(np.float32), (0, 0), _SMOOTH_PX, dst=patch)
    flat = patches.reshape(2, -1)
    darkest = _DARK * flat.shape[1] // 100
    level = np.partition(flat, darkest, axis=1)[:, darkest]
    dark = np.maximum(level[:, None] - flat, 0) @ _GRID
    return [value / max(total, _EVEN) for x, y, total in dark.tolist() for value in (x, y)]


@cache
def _line() -> NDArray[np.float64]:
    """(7, 2) weights of `gaze_features`, to degrees right and down."""
    return np.asarray(np.load(LINE), np.float64)
