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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..frame import Frame
from .detect import Detection, mesh_of, overlap
from .front import Detector, Landmarker, Look, PursuingDetector, open_front_end
from .mesh import Mesh, Region
from .options import FaceOptions
from .search import SEARCH_S, Extent, Plan, Scene, Search, is_cut, plausible, scene_of
from .sight import COAST_S, SAME_LOOKS, Face, SeenTogether, Sight, Track, without_doubles

__all__ = ["Face", "FaceTracker"]

LOST_S = 1.5
"""For so long a lost face is awaited: its place and way count, and it is looked for often."""
ALONE_S = 0.4
"""A frame that its source gives so long after the one before is searched as thoroughly as a
picture."""
JOIN_S = 0.5
"""In a recording a stranger may turn out to be somebody known for so long; see `stream.memory`."""
MOST_PEOPLE = 300
"""So many are remembered of one source; who was not seen for longest is forgotten first."""

_SAME_FACE = 0.55  # of `Track.surety`, for a face that comes back
_NOT_SAME = 0.25  # of `Looks.likeness`: of two people, unless something is before the face
_MISSED = 3  # frames in which a face may be missing, however far apart they are


@dataclass(slots=True)
class _Step:
    """A frame that is being worked on: what happened since the one before, and how far it is."""

    frame: Frame
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
    doubted: list[Sight] | None = None
    """Faces where known ones should be that may be others'; None: nobody was followed yet."""
    plan: Plan | None = None
    """What is searched for new faces, if anything."""

    @property
    def hurried(self) -> bool:
        """Whether frames were dropped, in a source that gives them close together."""
        return not self.anew and 0 < self.spacing_s < min(self.step_s, ALONE_S)


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
        self._search = Search(self._options, self._detector, self._mesh)
        self._tracks: list[Track] = []
        self._together = SeenTogether()
        self._frame = self._told = 0
        """Numbers of the frame at hand, and of the last one whose faces were told."""
        self._last_s: float | None = None
        self._last_index = 0
        self._shape: tuple[int, ...] | None = None
        self.left_out = 0
        """Faces beyond `max_faces` when it was last looked for new ones."""
        self.joined: dict[int, int] = {}
        """Ids that the latest frame showed to be of somebody known, with that one's: of recordings
        only, whose frames wait for what follows."""
        self._scene: Scene | None = None
        self._step: _Step | None = None
        detector = self._detector
        self._pursuit = detector.pursuit() if isinstance(detector, PursuingDetector) else None

    def restart(self) -> None:
        """Begin anew, as with a camera opened again; who comes back soon is known by looks."""
        self._last_s = self._step = None

    def expect(self, frame: Frame) -> list[Region]:
        """Where the known faces should be in the next frame, and be looked for by the landmark
        network; `update` with the same frame follows."""
        return self._begun(frame).regions

    def search(self, frame: Frame, meshes: Sequence[Mesh] | None = None) -> list[Look]:
        """Follow the known faces, and tell what of this frame the detector is to be shown, if
        anything; `update` with the same frame follows. `meshes` as for that."""
        step = self._followed(frame, meshes)
        return step.plan.looks if step.plan is not None else []

    def update(
        self,
        frame: Frame,
        meshes: Sequence[Mesh] | None = None,
        seen: Sequence[list[Detection]] | None = None,
    ) -> list[Face]:
        """The faces of this frame, ordered by id; frames come in the order of their times.

        A time that repeats or turns back is taken for a break, as one far from the last is.
        `meshes` are what the landmark network makes of the regions that `expect` gave, `seen` what
        the detector makes of the looks that `search` gave; None: they are asked here. Where that
        fails, the frame may be given again, or the next one.
        """
        now_s, rgb = frame.time_s, frame.pixels
        seen = seen if self._is_begun(frame) else None
        step = self._followed(frame, meshes)
        if step.plan is not None:
            self._find(rgb, now_s, step.doubted or [], step.plan, seen)
        self.joined = self._join(now_s) if frame.ahead else {}
        self._last_s, self._last_index, self._shape = now_s, frame.index, rgb.shape
        self._told, self._step = self._frame, None
        self._tracks = self._remembered(now_s, frame.ahead)
        for track in self._tracks:
            track.sight.let_go()
        least_px = self._options.min_face_px
        here = [t for t in self._tracks if self._sees(t) and t.sight.box[2] >= least_px]
        self._together.seen(here)
        if self._pursuit is not None:
            self._pursuit.keep(rgb, {track.id: track.sight.region for track in here})
        return [track.face() for track in sorted(here, key=lambda track: track.id)]

    def _begun(self, frame: Frame) -> _Step:
        """What happened since the frame before, and who is looked for where; counted once."""
        now_s, rgb = frame.time_s, frame.pixels
        if self._step is not None and self._is_begun(frame):
            return self._step
        step_s = math.inf if self._last_s is None else now_s - self._last_s
        spacing_s = self._spacing_s(frame, step_s)
        scene = scene_of(rgb)
        cut = is_cut(self._scene, scene)
        anew = self._last_s is None or self._shape not in (None, rgb.shape)
        for track in self._tracks:
            track.moved_scene |= cut or anew
            track.jumped |= not 0 < step_s <= COAST_S
        live = [t for t in self._tracks if t.seen_in >= self._told and not anew]
        coasting = [t for t in self._here(now_s) if t not in live and now_s - t.seen_s <= COAST_S]
        wanted = live + [track for track in coasting if not track.moved_scene]
        regions = [track.region(now_s) for track in wanted]
        if self._pursuit is not None and not (cut or anew):
            ids = (track.id for track in wanted)
            regions = self._pursuit.moved(rgb, dict(zip(ids, regions, strict=True)))
        self._frame, self._scene = self._frame + 1, scene
        self._step = _Step(frame, anew, cut, step_s, spacing_s, live, wanted, regions)
        return self._step

    def _is_begun(self, frame: Frame) -> bool:
        """Whether it is the frame that is being worked on."""
        return self._step is not None and self._step.frame is frame

    def _followed(self, frame: Frame, meshes: Sequence[Mesh] | None) -> _Step:
        """The same with the known faces followed, and with what is searched for new ones."""
        now_s, rgb = frame.time_s, frame.pixels
        meshes = meshes if self._is_begun(frame) else None
        step = self._begun(frame)
        if step.doubted is not None:
            return step
        if meshes is None:
            meshes = self._mesh.run(rgb, step.regions)
        doubted = self._follow(rgb, now_s, step, meshes)
        extent = self._extent(frame, step, bool(doubted))
        if extent is not None:
            step.plan = self._search.plan(rgb, extent, bool(self._here(now_s)))
        step.doubted = doubted
        return step

    def _extent(self, frame: Frame, step: _Step, doubted: bool) -> Extent | None:
        """How much of the frame is searched for new faces; None: nothing. Half as often where
        frames are dropped."""
        now_s = frame.time_s
        alone = step.anew or not 0 < step.spacing_s < ALONE_S
        waited_s = self._search.waited_s(now_s)
        if alone or (step.cut and (frame.ahead or waited_s >= SEARCH_S)):
            # In a recording everybody is found in a scene's first frame.
            if alone and not frame.dense:
                return Extent.THOROUGH
            whole = frame.ahead and self._search.opens_scene(now_s)
            return Extent.SCENE if whole else Extent.BROAD
        if step.cut or doubted or not all(map(self._sees, step.live)):
            return Extent.QUICK
        seen, here = [t.sight for t in self._tracks if self._sees(t)], self._here(now_s)
        due = self._search.is_due(
            waited_s / 2 if step.hurried else waited_s,
            self._scene,
            frame.pixels.shape,
            seen,
            awaited=bool(here),
            missing=not all(map(self._sees, here)),
        )
        return Extent.QUICK if due else None

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
            if not plausible(mesh, region, rgb.shape):
                continue
            sight = Sight(rgb, mesh)
            if hurried and not track.moved_scene and track.likeness(sight) >= SAME_LOOKS:
                found.append((track, sight))
            elif in_doubt:
                if not any(sight.covers(other) for other in doubted):
                    doubted.append(sight)
            elif track in live or track.likeness(sight) >= SAME_LOOKS:
                found.append((track, sight))
        for track, sight in without_doubles(found, now_s):
            in_contact = any(sight.touches(other) for _, other in found)
            track.see(sight, now_s, self._frame, in_contact)
        return doubted

    def _find(
        self,
        rgb: NDArray[np.uint8],
        now_s: float,
        doubted: list[Sight],
        plan: Plan,
        seen: Sequence[list[Detection]] | None,
    ) -> None:
        """Detect; give faces that come back their ids, and new ones new ids."""
        known = [track.sight for track in self._tracks if self._sees(track)]
        fresh = self._search.fresh(rgb, now_s, known, plan, seen, self._scene)
        room = max(self._options.max_faces - len(known), 0)
        self.left_out = max(len(fresh) - room, 0)
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
