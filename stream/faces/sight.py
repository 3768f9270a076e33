"""One face in one frame, and one face over time: what tells that two sights are of one person, and
who of a recording's people are one, once all of it has been seen."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..clip import MOTION_CROP_PX
from .align import crop as aligned_crop
from .detect import overlap
from .looks import Looks, Views
from .mesh import Mesh, Region
from .quality import Quality, measure

COAST_S = 0.3
"""For so long an unseen face is looked for at its place; then only the detector brings it back."""
SOON_S = 0.75
"""After a pause no longer than this a face at the same place is hardly another one."""
HERE_S = 5.0
"""For so long the place where a face was still says something."""
SAME_LOOKS = 0.75
"""Correlation of thumbnails; one face from frame to frame has 0.85 and more, two have less."""

_SAME_PLACE = 0.25  # mean distance of two meshes' landmarks, in face sizes
_SURELY_SAME_LOOKS = 0.85  # as `SAME_LOOKS`, of moments between which nobody looked
_SAME_SOON, _SAME_HERE, _SAME_ANYWHERE = 0.42, 0.48, 0.56
"""`Looks.likeness` from which two views are of one face: at one place within `SOON_S`, at one place
within `HERE_S`, and anywhere. BENCHMARKS.md says how often different people have as much."""
_SAME_IN_ALL = 0.6
"""The same of the best of many views."""
_SAME_COVERED = 0.3
"""The same of a poor view at one place: a hand before the face is likelier than another face."""
_NO_FACE = 0.1  # `Quality.clear` of what is hardly a face
_POOR = 0.25  # `Quality.score` of a view that says little, and is kept only where none is better
_PLACE_SAYS = 0.1  # what being a face's size away costs where several could be meant
_LOOK_S = 1.0  # time between views of a face that is followed
_LOOKS_PX = 24  # side of the thumbnail
_VELOCITY_S = 0.15  # velocities are averaged over about this time

Thumbnail = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame."""

    id: int
    """Stable while the face is followed; who comes back and is known by looks has it again."""
    box: tuple[float, float, float, float]
    """x, y, width, height in pixels of the frame; may reach beyond its edges."""
    landmarks_xy: NDArray[np.float32]
    """(468, 2) landmarks of the face mesh, pixels of the frame."""
    quality: Quality
    crop: NDArray[np.uint8]
    """(64, 64) the aligned grey crop on which quality and motion are measured."""
    posed: bool = False
    """Whether the mean head stands in for its landmarks, as no landmark network saw it."""

    def moved(self, x_px: float, y_px: float) -> Face:
        """The same face so many pixels to the right and down, as in a larger picture."""
        x, y, width, height = self.box
        landmarks_xy = self.landmarks_xy + np.array((x_px, y_px), np.float32)
        return replace(self, box=(x + x_px, y + y_px, width, height), landmarks_xy=landmarks_xy)


class Sight:
    """One mesh found in one frame, and what the face in it looks like."""

    __slots__ = (
        *("_quality", "_rgb", "_view", "box", "centre", "crop", "looks", "mesh"),
        *("region", "size_px"),
    )

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
        self.looks = unit(thumbnail)
        self._rgb: NDArray[np.uint8] | None = rgb
        self._view: Looks | None = None
        self._quality: Quality | None = None

    @property
    def view(self) -> Looks:
        """What it looks like in full; made when first asked for, before `let_go`."""
        if self._view is None:
            assert self._rgb is not None
            self._view = Looks.of(self._rgb, self.box, self.crop)
        return self._view

    def let_go(self) -> None:
        """Keep the frame's picture no longer."""
        self._rgb = None

    @property
    def quality(self) -> Quality:
        """How good a view it is."""
        if self._quality is None:
            self._quality = measure(self.mesh.landmarks, self.crop, self.mesh.presence)
        return self._quality

    @property
    def poor(self) -> bool:
        """Whether its looks say little: covered, smeared, turned far."""
        return self.quality.score < _POOR

    def face(self, identity: int) -> Face:
        """What the outside sees."""
        mesh = self.mesh
        return Face(identity, self.box, mesh.xy.copy(), self.quality, self.crop, mesh.posed)

    def covers(self, other: Sight) -> bool:
        """Whether both are one face: their landmarks lie on each other."""
        apart = float(np.linalg.norm(self.mesh.xy - other.mesh.xy, axis=1).mean())
        return apart < _SAME_PLACE * max(self.size_px, other.size_px)

    def misread(self, other: Sight) -> bool:
        """Whether it is another's face, its features taken for others: it lies on one in plain view
        and shows none itself."""
        return (
            other is not self
            and overlap(self.box, other.box) > 0.5
            and self.quality.clear < _NO_FACE
            and other.quality.clear > 0.5
        )

    def touches(self, other: Sight) -> bool:
        """Whether another face may hide part of this one."""
        return other is not self and overlap(self.box, other.box) > 0.1


class Track:
    """A face over time."""

    __slots__ = (
        *("born_in", "born_s", "id", "jumped", "moved_scene", "seen_in", "seen_s", "sight"),
        *("away_in", "took_place_of", "velocity", "views"),
        *("_looked_s", "_looks", "_usual"),
    )

    def __init__(self, identity: int, sight: Sight) -> None:
        self.id = identity
        self.sight = sight
        self.born_s, self.born_in = math.nan, -1
        """When it was first seen, and the number of that frame."""
        self.seen_s = -math.inf
        self.seen_in = self.away_in = -1
        """Numbers of the frame in which it was last seen, as times may repeat, and of the one
        before it."""
        self.took_place_of: Collection[int] = ()
        """Ids of those at whose place it came, soon after they were last seen there."""
        self.moved_scene = self.jumped = False
        """What happened since it was last seen: its place says nothing any more; nobody looked for
        a moment, so that another face may be there."""
        self.velocity = np.zeros(2, np.float32)  # pixels per second
        self.views = Views()
        self._looks, self._usual = sight.looks, sight.looks.copy()
        self._looked_s = -math.inf

    def region(self, now_s: float) -> Region:
        """Where the face should be now; half its size away at most."""
        shift = self.velocity * (now_s - self.seen_s)
        limit = 0.5 * self.sight.size_px / max(float(np.hypot(*shift)), 1e-6)
        return self.sight.region.moved(*(shift * min(limit, 1.0)).tolist())

    def likeness(self, sight: Sight) -> float:
        """-1..1: correlation with what the face last looked like, or usually does."""
        return float(max(self._looks @ sight.looks, self._usual @ sight.looks))

    def surety(self, sight: Sight, now_s: float) -> float:
        """-inf..2: how surely this face is in the sight, by its looks and by its place.

        The place is held against where the face was and where it would be had it gone on, in face
        sizes. Half hidden behind another, a face hardly looks like itself: then the place decides.
        """
        gone = self.sight.centre + self.velocity * (now_s - self.seen_s)
        apart = min(np.linalg.norm(sight.centre - place) for place in (self.sight.centre, gone))
        return self.likeness(sight) + 1 - float(apart) / max(self.sight.size_px, sight.size_px)

    def known_by_looks(self, sight: Sight, now_s: float, anywhere: bool = False) -> float:
        """How surely this face is in the sight where nobody saw what happened in between.

        Its likeness, less a little where its place does not agree; -inf where that is too little:
        for its place, or for a face `anywhere`.
        """
        larger = max(self.sight.size_px, sight.size_px)
        apart = float(np.linalg.norm(sight.centre - self.sight.centre)) / larger
        gone_s = abs(now_s - self.seen_s)
        stays = not self.moved_scene and apart < 1 and self.fits(sight)
        enough = _SAME_ANYWHERE
        if stays and gone_s <= HERE_S and not anywhere:
            enough = _SAME_SOON if gone_s <= SOON_S else _SAME_HERE
            enough = _SAME_COVERED if sight.poor else enough
        likeness = self.views.likeness(sight.view)
        if self.likeness(sight) >= _SURELY_SAME_LOOKS:
            likeness = max(likeness, _SAME_ANYWHERE)
        if likeness < enough:
            return -math.inf
        return likeness - _PLACE_SAYS * (apart if stays else 1.0)

    def left_place_to(self, sight: Sight, now_s: float) -> bool:
        """Whether this face was last seen where another one is now, and soon before."""
        apart = float(np.linalg.norm(sight.centre - self.sight.centre))
        soon = 0 < now_s - self.seen_s <= HERE_S and not self.moved_scene
        return soon and self.fits(sight) and apart < self.sight.size_px

    def enough_for(self, old: Track) -> float:
        """How alike the views of this face and of one known before must be for both to be one, in
        a recording that is over: as at one place, or a little more than anywhere, as there are
        many views to choose from."""
        return _SAME_HERE if old.id in self.took_place_of else _SAME_IN_ALL

    def was(self, other: Track) -> bool:
        """Whether it was this face that was seen as another for a moment, at this one's place and
        between two sights of this one: with a hand before it, say."""
        apart = float(np.linalg.norm(other.sight.centre - self.sight.centre))
        return (
            self.away_in < other.born_in
            and not other.moved_scene
            and self.fits(other.sight)
            and apart < 0.5 * self.sight.size_px
            and self.views.likeness_of(other.views)
            >= (_SAME_COVERED if other.sight.poor else _SAME_SOON)
        )

    def fits(self, sight: Sight) -> bool:
        """Whether the size is about the face's own."""
        return 0.5 < self.sight.size_px / sight.size_px < 2

    def see(self, sight: Sight, now_s: float, frame: int, in_contact: bool) -> None:
        """Go on with this sight in a frame of this number; next to another face its looks and
        speed are not trusted."""
        elapsed = now_s - self.seen_s
        if self.born_in < 0:
            self.born_s, self.born_in = now_s, frame
        lately = 0 <= now_s - self._looked_s < _LOOK_S and not (self.views.poor and not sight.poor)
        if not self.views or not (in_contact or lately):
            self.views.add(sight.view, sight.poor)
            self._looked_s = now_s
        if not in_contact:
            if 0 < elapsed <= COAST_S:
                share = 1 - float(np.exp(-elapsed / _VELOCITY_S))
                step = (sight.centre - self.sight.centre) / elapsed
                self.velocity = self.velocity + share * (step - self.velocity)
            elif elapsed:
                self.velocity = np.zeros(2, np.float32)
            self._looks = sight.looks
            self._usual += min(max(elapsed, 0.0), 0.2) * (sight.looks - self._usual)
        if frame != self.seen_in:
            self.away_in = self.seen_in
        self.sight, self.seen_s, self.seen_in = sight, now_s, frame
        self.moved_scene = self.jumped = False

    def face(self) -> Face:
        """What the outside sees."""
        return self.sight.face(self.id)


def without_doubles(
    found: list[tuple[Track, Sight]], now_s: float
) -> Iterable[tuple[Track, Sight]]:
    """Where two tracks have come to lie on one face, only the one that it looks like keeps it."""
    losers: set[int] = set()
    for (one, first), (other, second) in combinations(found, 2):
        if first.misread(second) or second.misread(first):
            losers.add(one.id if first.misread(second) else other.id)
        elif overlap(first.box, second.box) > 0.5 and first.covers(second):
            stays = one.surety(first, now_s) >= other.surety(second, now_s)
            losers.add(other.id if stays else one.id)
    return [(track, sight) for track, sight in found if track.id not in losers]


def unit(picture: NDArray[np.generic]) -> Thumbnail:
    """Flattened, mean 0, length 1; zeros for a picture without any pattern."""
    vector = picture.astype(np.float32).ravel()
    vector -= vector.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


class SeenTogether:
    """Remembers who was seen beside whom: those are never one person."""

    def __init__(self) -> None:
        self._pairs: set[tuple[int, int]] = set()

    def seen(self, tracks: Sequence[Track]) -> None:
        """Take one frame's faces. One that lies on another says nothing: both may be one face."""
        for one, other in combinations(tracks, 2):
            if overlap(one.sight.box, other.sight.box) < 0.5:
                self._pairs.add(_pair(one.id, other.id))

    def join(self, stranger: int, known: int) -> None:
        """A stranger turned out to be somebody known."""
        beside = [sum(pair) - stranger for pair in self._pairs if stranger in pair]
        self._pairs |= {_pair(known, other) for other in beside}

    def one_person(self, tracks: Iterable[Track]) -> dict[int, int]:
        """Ids that go, each with the one that stays: the oldest of a person's, as far as looks and
        places tell; the most alike come first."""
        by_age = sorted(tracks, key=lambda track: track.id)
        alike = [
            (likeness, old.id, young.id)
            for old, young in combinations(by_age, 2)
            if (likeness := old.views.likeness_of(young.views)) >= young.enough_for(old)
        ]
        people = {track.id: {track.id} for track in by_age}
        for _, old, young in sorted(alike, reverse=True):
            one, other = people[old], people[young]
            apart = any(_pair(a, b) in self._pairs for a in one for b in other)
            if one is not other and not apart:
                one |= other
                people.update(dict.fromkeys(other, one))
        return {identity: min(one) for identity, one in people.items() if identity != min(one)}


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
