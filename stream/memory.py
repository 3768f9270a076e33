"""What is remembered of the faces that are being watched: their clips and their motion."""

# B faces of all sources, T frames a clip keeps, D features

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.contract import heard_input
from ferstream.engines.manifest import Manifest

from .around import Around, Seen
from .clip import FaceClip
from .flow import MotionEstimator
from .result import Stages
from .track import Face

FORGET_S = 4.0
"""The clip of a face that has not been seen for so long is dropped."""
WAITING_BYTES = 96_000_000
"""Pictures of a recording that wait for what follows them; larger ones look less far ahead."""
_CLOCK_S = 1e-3

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Sighting:
    """The faces of one frame, found and cropped, yet to be scored."""

    frame: int
    time_s: float
    source: str
    faces: list[Face]
    crops: NDArray[np.uint8]
    """(B, 1, S, S) aligned grey crops, one per face, as the spatial network takes them."""
    stages_ms: Stages
    restart: bool = False
    """Whether the source's clips begin anew with this frame."""
    left_out: int = 0
    """Faces seen beyond those that are followed at most."""
    ahead: bool = False
    """Whether its reading waits for what follows."""
    picture_bytes: int = 0
    """How much memory waiting for it costs."""
    joined: Mapping[int, int] = field(default_factory=dict)
    """Ids in the frames before that are of somebody known already, and that one's id."""


class Watched:
    """A face's clip, and what its motion last said."""

    __slots__ = ("around", "clip", "fresh", "label", "motion", "share")

    def __init__(self, clip: FaceClip, around: Around) -> None:
        self.clip = clip
        self.around = around
        self.fresh = False
        self.label: str | None = None
        """What it was last read as."""
        self.motion: Tensors | None = None
        """What the temporal network said, by head."""
        self.share = 0.0
        """How far the face moves, 0..1: so far its motion is heard."""

    def fresh_stack(self) -> NDArray[np.float32] | None:
        """The stack of motion fields, where it is new and long enough."""
        return self.clip.stack() if self.fresh else None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A sighting whose faces have been seen by the networks, yet to be read."""

    sighting: Sighting
    watched: list[Watched]
    seen: list[Seen]
    """As `watched`: of each face, in order."""
    stages_ms: Stages


class Ahead:
    """One source's frames that wait for what follows them; bounded in time and in bytes."""

    def __init__(self, half_s: float) -> None:
        self._half_s = half_s
        self._waiting: deque[Waiting] = deque()

    def add(self, one: Waiting) -> list[Waiting]:
        """Take a frame; those whose time has come, in order."""
        now_s = one.sighting.time_s
        anew = self._waiting and (
            one.sighting.restart or now_s <= self._waiting[-1].sighting.time_s
        )
        due = self.finish() if anew else []
        self._waiting.append(one)
        held = sum(waits.sighting.picture_bytes for waits in self._waiting)
        while self._waiting:
            first = self._waiting[0].sighting
            followed = now_s - first.time_s >= self._half_s - _CLOCK_S
            if first.ahead and not followed and held <= WAITING_BYTES:
                break
            held -= first.picture_bytes
            due.append(self._waiting.popleft())
        return due

    def join(self, joined: Mapping[int, int]) -> None:
        """Give faces that wait the ids of those who they are."""
        for waits in self._waiting:
            faces = waits.sighting.faces
            faces[:] = [replace(face, id=joined.get(face.id, face.id)) for face in faces]

    def finish(self) -> list[Waiting]:
        """All that wait: nothing follows them."""
        due = list(self._waiting)
        self._waiting.clear()
        return due


class Memory:
    """The clips of all faces of all sources."""

    def __init__(self, manifest: Manifest) -> None:
        fed = {tensor.name: tensor.shape for tensor in manifest.networks["fusion"].inputs}
        self._features = int(fed["feature"][-1])
        outputs = manifest.networks["temporal"].outputs
        self._heard = {tensor.name: int(tensor.shape[-1]) for tensor in outputs}
        self._manifest = manifest
        self._estimator = MotionEstimator()
        self._faces: dict[str, dict[int, Watched]] = {}
        self._ahead: dict[str, Ahead] = {}

    def watch(self, sighting: Sighting) -> list[Watched]:
        """The clips of a sighting's faces, in order, with its motion added."""
        if sighting.restart:
            self._faces.pop(sighting.source, None)
        faces = self._faces.setdefault(sighting.source, {})
        now_s = sighting.time_s
        for stranger, known in sighting.joined.items():
            if stranger in faces:
                faces[known] = faces.pop(stranger)
        if sighting.joined and sighting.source in self._ahead:
            self._ahead[sighting.source].join(sighting.joined)
        for identity in [i for i, f in faces.items() if abs(now_s - f.clip.time_s) > FORGET_S]:
            del faces[identity]
        watched = []
        for face in sighting.faces:
            one = faces.get(face.id)
            if one is None:
                one = faces[face.id] = self._new()
            one.fresh = one.clip.add_crop(now_s, face.crop)
            if not one.clip.has_motion:
                one.motion = None
            watched.append(one)
        return watched

    def due(self, one: Waiting) -> list[Waiting]:
        """What can be read now that this sighting is there: itself, unless it waits."""
        half_s = self._manifest.clip_duration_s / 2
        return self._ahead.setdefault(one.sighting.source, Ahead(half_s)).add(one)

    def finish(self, source: str) -> list[Waiting]:
        """What still waits of a source that has ended."""
        ahead = self._ahead.pop(source, None)
        return [] if ahead is None else ahead.finish()

    def batch(self, due: list[Waiting]) -> tuple[Tensors, list[int]]:
        """The inputs of the fusion network for all faces, and the row of each one's own frame."""
        size = sum(len(one.seen) for one in due)
        frames = self._manifest.clip_frames
        feature_BTD = np.empty((size, frames, self._features), np.float32)
        mask_BT = np.empty((size, frames), np.float32)
        heard = {head: np.zeros((size, width), np.float32) for head, width in self._heard.items()}
        has_motion = np.zeros((size, 1), np.float32)
        own: list[int] = []
        faces = [
            (one.sighting.ahead, watched, seen)
            for one in due
            for watched, seen in zip(one.watched, one.seen, strict=True)
        ]
        for row, (ahead, watched, seen) in enumerate(faces):
            if ahead:
                own.append(watched.around.read_features(seen, feature_BTD[row], mask_BT[row]))
            else:
                watched.clip.read_features(feature_BTD[row], mask_BT[row])
                own.append(watched.clip.newest)
            if seen.motion is not None:
                has_motion[row] = seen.share
                for head, said in seen.motion.items():
                    heard[head][row] = said
        batch = {
            "feature": feature_BTD,
            "mask": mask_BT,
            "has_motion": has_motion,
            **{heard_input(head): said for head, said in heard.items()},
        }
        return batch, own

    def forget(self, source: str | None) -> None:
        """Drop the clips of one source, or of all."""
        if source is None:
            self._faces.clear()
            self._ahead.clear()
        else:
            self._faces.pop(source, None)
            self._ahead.pop(source, None)

    def _new(self) -> Watched:
        manifest, motion = self._manifest, self._manifest.motion
        clip = FaceClip(
            self._features,
            manifest.clip_frames,
            manifest.clip_duration_s,
            motion.fields,
            motion.gap_s,
            self._estimator,
            manifest.clip_recency_s,
        )
        return Watched(clip, Around(manifest.clip_frames, manifest.clip_duration_s))
