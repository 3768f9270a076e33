"""Who is who from frame to frame: stable ids for faces, in seconds, not frames.

Each followed face is looked for where it should be by now; its landmarks carry it along. The
detector runs rarely: for new faces, and at once when one is lost. A face that comes back within
`LOST_S` near its path keeps its id by place and looks.

Where nobody looked in between (frames far apart, a cut, a camera opened anew, a longer absence)
looks decide (`looks.py`): easily where the place agrees, strictly where it does not. For that some
views of each face are remembered in memory: of a recording for all of it, else for a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from .detect import Detection, find_meshes, mesh_of, overlap, tiles_of
from .front import Detector, Landmarker, PursuingDetector, open_front_end
from .mesh import Mesh, Region
from .options import FaceOptions
from .scene import Watch
from .seen_together import SeenTogether
from .sight import COAST_S, SAME_LOOKS, Face, Sight, Thumbnail, Track, unit
from .turn import TURNS, turned, turned_back, upright_turn

__all__ = ["Face", "FaceTracker"]

LOST_S = 1.5
"""For so long a lost face is awaited: its place and way count, and it is looked for often."""
DETECT_S = 0.5
"""Time between detections while every known face is followed."""
SEARCH_S = 0.1
"""Time between detections while a face is missing or nobody is there."""
ALONE_S = 0.4
"""A frame that its source gives so long after the one before is searched as thoroughly as a
picture."""
SCENE_S = 5.0
"""Scenes of a recording are searched for small faces where they begin, but not more often."""
TURN_S = 2.0
"""Time between looks at the frame turned, until the first face tells which way is up."""
JOIN_S = 0.5
"""In a recording a stranger may turn out to be somebody known for so long; see `stream.memory`."""
MOST_PEOPLE = 300
"""So many are remembered of one source; who was not seen for longest is forgotten first."""

_MIN_WIDTH_PX = 8.0
_SAME_FACE = 0.55  # of `Track.surety`, for a face that comes back
_NOT_SAME = 0.25  # of `Looks.likeness`: of two people, unless something is before the face
_MISSED = 3  # frames in which a face may be missing, however far apart they are
_SCENE_GRID = (18, 32)  # rows and columns of pixels that stand for the picture
_SAME_SCENE = 0.85  # correlation of two frames' thumbnails; a cut has less
_SAME_SCENE_GREY = 10.0  # and it changes their grey levels by more than noise does


@dataclass(frozen=True, slots=True)
class _Step:
    """A frame about to be searched: what happened since the one before."""

    key: tuple[int, float]
    """Of the frame: its index and time."""
    anew: bool
    cut: bool
    step_s: float
    spacing_s: float
    live: list[Track]
    """The faces of the frame before."""
    wanted: list[Track]
    """Those, and faces that were lost just now."""
    regions: list[Region]
    """Where they should be."""

    @property
    def hurried(self) -> bool:
        """Whether frames were dropped, in a source that gives them close together."""
        return not self.anew and 0 < self.spacing_s < min(self.step_s, ALONE_S)


class Search(Enum):
    """How much of a frame is searched for new faces."""

    QUICK = auto()
    """The whole of it by one network, and one part; the next frame goes on."""
    BROAD = auto()
    """The whole of it and its large tiles."""
    SCENE = auto()
    """Its small tiles too."""
    THOROUGH = auto()
    """All of that, and the whole and its large tiles turned, where nobody stands upright."""


class FaceTracker:
    """Follows the faces of one source.

    Args:
        options: which faces; of too many, the largest of the first frame come first.
        detector, mesh: networks to share between trackers; None: the tracker makes its own.
    """

    def __init__(
        self,
        options: FaceOptions | None = None,
        detector: Detector | None = None,
        mesh: Landmarker | None = None,
    ) -> None:
        self._options = options or FaceOptions()
        if detector is None or mesh is None:
            detector, mesh = open_front_end(self._options.front_end)
        self._detector, self._mesh = detector, mesh
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget every face and which way is up, as for another clip; ids go on counting."""
        rotate = self._options.rotate
        self._turn_deg: int | None = None if rotate == "auto" else rotate
        self._tracks: list[Track] = []
        self._together = SeenTogether()
        self._frame = 0
        self._last_s: float | None = None
        self._last_index = 0
        self._shape: tuple[int, ...] | None = None
        self._detected_s, self._awaits = -math.inf, False
        self._scene_s = -math.inf
        self._turned_s, self._next_turn = -math.inf, 0
        self._part = 0
        self.left_out = 0
        """Faces beyond `max_faces` when it was last looked for new ones."""
        self.joined: dict[int, int] = {}
        """Ids that the latest frame showed to be of somebody known, with that one's: of recordings
        only, whose frames wait for what follows."""
        self._scene: Thumbnail | None = None
        self._step: _Step | None = None
        detector = self._detector
        self._pursuit = detector.pursuit() if isinstance(detector, PursuingDetector) else None
        self._watch = Watch(_SCENE_GRID)

    def restart(self) -> None:
        """Begin anew, as with a camera opened again; who comes back soon is known by looks."""
        self._last_s = None

    def expect(self, frame: Frame) -> list[Region]:
        """Where the known faces should be in the next frame, and be looked for by the landmark
        network; `update` with the same frame follows."""
        self._step = self._begin(frame)
        return self._step.regions

    def update(self, frame: Frame, meshes: Sequence[Mesh] | None = None) -> list[Face]:
        """The faces of this frame, ordered by id; frames come in the order of their times.

        A time that repeats or turns back is taken for a break, as one far from the last is.
        `meshes` are what the landmark network makes of the regions that `expect` gave; None: it is
        asked here.
        """
        now_s, rgb = frame.time_s, frame.pixels
        step, self._step = self._step, None
        if step is None or step.key != (frame.index, now_s):
            step, meshes = self._begin(frame), None
        anew, cut = step.anew, step.cut
        if meshes is None:
            meshes = self._mesh.run(rgb, step.regions)
        doubted = self._follow(rgb, now_s, step, meshes)
        lost = any(not self._sees(track) for track in step.live)
        alone = anew or not 0 < step.spacing_s < ALONE_S
        waited_s = now_s - self._detected_s
        if alone or cut or lost or doubted or self._is_due(rgb, now_s, waited_s, step.hurried):
            search = Search.QUICK
            if alone or (cut and (frame.ahead or waited_s >= SEARCH_S)):
                # In a recording everybody is found in a scene's first frame.
                whole = frame.ahead and now_s - self._scene_s >= SCENE_S
                search = Search.SCENE if whole else Search.BROAD
                search = Search.THOROUGH if alone and not frame.dense else search
            self._find(rgb, now_s, doubted, search)
        self.joined = self._join(now_s) if frame.ahead else {}
        self._last_s, self._last_index, self._shape = now_s, frame.index, rgb.shape
        self._tracks = self._remembered(now_s, frame.ahead)
        for track in self._tracks:
            track.sight.let_go()
        least_px = self._options.min_face_px
        seen = [t for t in self._tracks if self._sees(t) and t.sight.box[2] >= least_px]
        self._together.seen(seen)
        if self._pursuit is not None:
            self._pursuit.keep(rgb, {track.id: track.sight.region for track in seen})
        return [track.face() for track in sorted(seen, key=lambda track: track.id)]

    def _begin(self, frame: Frame) -> _Step:
        """What happened since the frame before, and who is looked for where."""
        now_s, rgb = frame.time_s, frame.pixels
        self._frame += 1
        step_s = math.inf if self._last_s is None else now_s - self._last_s
        spacing_s = self._spacing_s(frame, step_s)
        cut = self._scene_changed(rgb)
        anew = self._last_s is None or self._shape not in (None, rgb.shape)
        for track in self._tracks:
            track.moved_scene |= cut or anew
            track.jumped |= not 0 < step_s <= COAST_S
        live = [t for t in self._tracks if t.seen_in == self._frame - 1 and not anew]
        coasting = [t for t in self._here(now_s) if t not in live and now_s - t.seen_s <= COAST_S]
        wanted = live + [track for track in coasting if not track.moved_scene]
        regions = [track.region(now_s) for track in wanted]
        if self._pursuit is not None and not (cut or anew):
            ids = (track.id for track in wanted)
            regions = self._pursuit.moved(rgb, dict(zip(ids, regions, strict=True)))
        key = (frame.index, now_s)
        return _Step(key, anew, cut, step_s, spacing_s, live, wanted, regions)

    def _spacing_s(self, frame: Frame, step_s: float) -> float:
        """Time between the source's own frames: of a live one those count that were dropped.

        A camera that is looked at too seldom, because others are watched too, sends no pictures
        that stand alone. To search each one thoroughly would make it seldomer still.
        """
        skipped = 0 if frame.ahead else max(frame.index - self._last_index - 1, 0)
        return step_s / (skipped + 1)

    def settled(self) -> dict[int, int]:
        """Ids that a whole recording shows to be somebody else's, each with that one's."""
        return self._together.one_person(self._tracks)

    def _sees(self, track: Track) -> bool:
        """Whether the face is in the frame at hand."""
        return track.seen_in == self._frame

    def _here(self, now_s: float) -> list[Track]:
        """The faces that are seen, or awaited."""
        return [t for t in self._tracks if 0 <= now_s - t.seen_s <= LOST_S and not t.jumped]

    def _remembered(self, now_s: float, for_good: bool) -> list[Track]:
        """Who may come back and have the same id."""
        kept_s = math.inf if for_good else max(self._options.remember_s, LOST_S)
        kept = [
            track
            for track in self._tracks
            if self._frame - track.seen_in <= _MISSED or abs(now_s - track.seen_s) <= kept_s
        ]
        if len(kept) > MOST_PEOPLE:
            kept = sorted(kept, key=lambda track: -track.seen_in)[:MOST_PEOPLE]
        return kept

    def _is_due(self, rgb: NDArray[np.uint8], now_s: float, waited_s: float, hurried: bool) -> bool:
        """Whether it is time to look for new faces: half as often where frames are dropped."""
        if hurried:
            waited_s /= 2
        if waited_s < self._patience_s(now_s) - 1e-3:
            return False
        known = [track.sight.box for track in self._tracks if self._sees(track)]
        missing = not all(map(self._sees, self._here(now_s)))
        idle_s = 2 * DETECT_S if known else DETECT_S
        if missing or waited_s >= idle_s - 1e-3:
            return True
        return self._watch.changed(self._scene, rgb.shape, known)

    def _patience_s(self, now_s: float) -> float:
        """How long after the last detection the next one is due."""
        here = self._here(now_s)
        return DETECT_S if here and all(map(self._sees, here)) else SEARCH_S

    def _follow(
        self, rgb: NDArray[np.uint8], now_s: float, step: _Step, meshes: Sequence[Mesh]
    ) -> list[Sight]:
        """Look for known faces where they should be.

        Returns faces at such places that may be others': where a moment or a scene lies between.
        Where frames were dropped in that moment, who looks the same at the same place is the same.
        """
        live, hurried = step.live, step.hurried
        found: list[tuple[Track, Sight]] = []
        doubted: list[Sight] = []
        for track, region, mesh in zip(step.wanted, step.regions, meshes, strict=True):
            in_doubt = track.moved_scene or track.jumped
            if not mesh.shows_face and track in live and not in_doubt:
                closer = self._detector.look_closer(rgb, region)
                mesh = (
                    mesh
                    if closer is None
                    else mesh_of(rgb, closer, self._mesh, self._detector.trust)
                )
            if not _plausible(mesh, region, rgb.shape):
                continue
            sight = Sight(rgb, mesh)
            if hurried and not track.moved_scene and track.likeness(sight) >= SAME_LOOKS:
                found.append((track, sight))
            elif in_doubt:
                if not any(sight.covers(other) for other in doubted):
                    doubted.append(sight)
            elif track in live or track.likeness(sight) >= SAME_LOOKS:
                found.append((track, sight))
        for track, sight in _without_doubles(found, now_s):
            in_contact = any(sight.touches(other) for _, other in found)
            track.see(sight, now_s, self._frame, in_contact)
        return doubted

    def _find(
        self, rgb: NDArray[np.uint8], now_s: float, doubted: list[Sight], search: Search
    ) -> None:
        """Detect; give faces that come back their ids, and new ones new ids."""
        self._detected_s, self._awaits = now_s, bool(self._here(now_s))
        if search in (Search.SCENE, Search.THOROUGH):
            self._scene_s = now_s
        self._watch.looked(self._scene)
        known = [track.sight for track in self._tracks if self._sees(track)]
        fresh = self._fresh(rgb, known, search, self._turn_deg or 0)
        if self._turn_deg is None and not fresh and not known:
            fresh = self._fresh_turned(rgb, now_s, search)
        fresh.sort(key=lambda sight: -sight.size_px)
        room = max(self._options.max_faces - len(known), 0)
        self.left_out = max(len(fresh) - room, 0)
        if self._turn_deg is None and fresh:
            self._turn_deg = upright_turn(fresh[0].region.roll_rad)
        fresh = fresh[:room]
        # What is seen only where a face was makes no stranger: it is no sure sight.
        fresh += [d for d in doubted if all(overlap(d.box, f.box) < 0.5 for f in known + fresh)]
        strangers = self._welcome_back(fresh, known, now_s)
        for sight in (one for one in strangers if one not in doubted):
            track = Track(self._next_id, sight)
            track.took_place_of = {o.id for o in self._tracks if o.left_place_to(sight, now_s)}
            self._next_id += 1
            self._tracks.append(track)
            self._see(track, sight, now_s, [*known, *fresh])

    def _see(self, track: Track, sight: Sight, now_s: float, others: list[Sight]) -> None:
        track.see(sight, now_s, self._frame, any(sight.touches(other) for other in others))

    def _fresh(
        self, rgb: NDArray[np.uint8], known: list[Sight], search: Search, turn_deg: int
    ) -> list[Sight]:
        """Faces that are none of the known ones, in the frame turned so far."""
        upright = turned(rgb, turn_deg)
        if search is not Search.QUICK:
            fine = search is not Search.BROAD and not turn_deg
            detections = self._detector.detect(upright, thorough=True, fine=fine)
        else:
            # Where nobody is, the networks take turns: it is looked often, and mostly for nothing.
            both, near = self._awaits or turn_deg > 0, self._part % 2 == 0
            detections = self._detector.detect(upright, near=both or near, far=both or not near)
            detections += [] if turn_deg else self._in_part(upright)
        in_frame = [turned_back(d, turn_deg, *rgb.shape[:2]) for d in detections]
        open_ = [d for d in in_frame if all(overlap(d.box, k.box) < 0.75 for k in known)]
        fresh: list[Sight] = []
        for mesh in find_meshes(rgb, open_, self._mesh, self._detector):
            if _plausible(mesh, Region.around(mesh.xy), rgb.shape):
                sight = Sight(rgb, mesh)
                if sight.box[2] >= self._options.min_face_px and not any(
                    sight.covers(other) for other in (*known, *fresh)
                ):
                    fresh.append(sight)
        return [one for one in fresh if not any(one.misread(o) for o in (*known, *fresh))]

    def _fresh_turned(self, rgb: NDArray[np.uint8], now_s: float, search: Search) -> list[Sight]:
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
            return [] if self._awaits else self._detector.detect_bordered(rgb)
        return self._detector.detect_tile(rgb, fine[(turn - turn // 4 - 1) % len(fine)])

    def _welcome_back(self, fresh: list[Sight], known: list[Sight], now_s: float) -> list[Sight]:
        """Hand sights to faces that are not seen, the surest pair first; returns the strangers.

        Those that are awaited go by place and looks, all others by looks.
        """
        strangers = list(fresh)
        others = [*known, *fresh]
        lost = [track for track in self._tracks if not self._sees(track)]
        awaited = [
            (track.surety(sight, now_s), track, sight)
            for track in self._here(now_s)
            if track in lost and not track.moved_scene
            for sight in fresh
            if track.fits(sight) and not self._denied(track, sight, others)
        ]
        sure = [pair for pair in awaited if pair[0] > _SAME_FACE]
        looking_alike = [
            (likeness, track, sight)
            for track in lost
            for sight in fresh
            if (likeness := track.known_by_looks(sight, now_s)) > -math.inf
        ]
        for pairs in (sure, looking_alike):
            for _, track, sight in sorted(pairs, key=lambda pair: -pair[0]):
                if not self._sees(track) and sight in strangers:
                    self._see(track, sight, now_s, others)
                    strangers.remove(sight)
        return strangers

    def _join(self, now_s: float) -> dict[int, int]:
        """Find out who the strangers of the last moment are, whom the first view did not tell."""
        joined = {}
        for young in list(self._tracks):
            recent = self._frame - young.born_in == 1 or now_s - young.born_s <= JOIN_S
            if young.born_in == self._frame or not recent:
                continue
            known = self._known(young, now_s) if self._sees(young) else self._stood_in(young)
            if known is not None:
                joined[young.id] = known.id
                self._together.join(young.id, known.id)
                known.views.take_over(young.views)
                if self._sees(young):
                    self._see(known, young.sight, now_s, [])
                self._tracks.remove(young)
        return joined

    def _known(self, young: Track, now_s: float) -> Track | None:
        """Whom a face looks like who has not been seen since it came."""
        sure = [
            (track.known_by_looks(young.sight, now_s, anywhere=True), track)
            for track in self._tracks
            if track.seen_in < young.born_in
        ]
        best, known = max(sure, key=lambda pair: pair[0], default=(-math.inf, None))
        return known if best > -math.inf else None

    def _stood_in(self, young: Track) -> Track | None:
        """Who is seen again where a face was that came and went meanwhile."""
        return next((t for t in self._tracks if self._sees(t) and t.was(young)), None)

    @staticmethod
    def _denied(track: Track, sight: Sight, others: list[Sight]) -> bool:
        """Whether a face in plain view does not look like the one that is awaited at all."""
        if any(sight.touches(other) for other in others):
            return False
        return track.likeness(sight) < SAME_LOOKS and track.views.likeness(sight.view) < _NOT_SAME

    def _scene_changed(self, rgb: NDArray[np.uint8]) -> bool:
        """Whether the whole picture is another one, judged by a few hundred of its pixels."""
        before, now = self._scene, rgb[_scene_grid(*rgb.shape[:2])].mean(-1, dtype=np.float32)
        now = now.ravel()
        self._scene = now
        if before is None or np.abs(now - before).mean() < _SAME_SCENE_GREY:
            return False
        return float(unit(before) @ unit(now)) < _SAME_SCENE


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
