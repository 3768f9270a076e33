"""State of the faces being followed: their clips, their motion, and the frames around a moment.

A live reading looks back and therefore comes late: half a second after a smile has gone it may
still be read. In a recording the window reaches as far ahead as back, and ends where the face's
own frames begin to read otherwise for longer than a blip: so a reading begins and ends with the
expression that is seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.contract import motion_input
from ferstream.engines.manifest import Manifest

from .clip import APART_S, CLOCK_S, FaceClip, MotionEstimator
from .eyes import Blinks
from .faces.track import Face
from .result import Stages

# B faces of all sources, T frames a clip keeps, D features


FORGET_S = 4.0
"""A face's clip is dropped after so long without the face, seconds."""
WAITING_BYTES = 96_000_000
"""Pictures of a recording that wait for what follows them; larger ones look less far ahead."""

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class DetectedFaces:
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
    """Faces beyond the most that are followed."""
    ahead: bool = False
    """Whether its reading waits for what follows."""
    picture_bytes: int = 0
    """Size of its picture, which stays in memory while the frame waits."""
    joined: Mapping[int, int] = field(default_factory=dict)
    """Ids of earlier frames that belong to a known face, each with that face's id."""


class FaceState:
    """A face's clip, and what the temporal network last predicted of its motion."""

    __slots__ = ("around", "clip", "fresh", "label", "motion", "motion_weight")

    def __init__(self, clip: FaceClip, around: Around) -> None:
        self.clip = clip
        self.around = around
        self.fresh = False
        self.label: str | None = None
        """Its last label."""
        self.motion: Tensors | None = None
        """The temporal network's predictions, by head."""
        self.motion_weight = 0.0
        """How far the face moves, 0..1: so far its motion counts."""

    def fresh_stack(self) -> NDArray[np.float32] | None:
        """The stack of motion fields, where it is new and long enough."""
        return self.clip.stack() if self.fresh else None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame whose faces went through the spatial and temporal networks, yet to be fused."""

    detected: DetectedFaces
    states: list[FaceState]
    seen: list[Seen]
    """As `states`: of each face, in order."""
    stages_ms: Stages


class Ahead:
    """One source's frames that wait for what follows them; bounded in time and in bytes."""

    def __init__(self, half_s: float) -> None:
        self._half_s = half_s
        self._waiting: deque[Waiting] = deque()

    def add(self, one: Waiting) -> list[Waiting]:
        """Add a frame; returns the frames that are due, in order."""
        now_s = one.detected.time_s
        anew = self._waiting and (
            one.detected.restart or now_s <= self._waiting[-1].detected.time_s
        )
        due = self.finish() if anew else []
        self._waiting.append(one)
        held = sum(waits.detected.picture_bytes for waits in self._waiting)
        while self._waiting:
            first = self._waiting[0].detected
            followed = now_s - first.time_s >= self._half_s - CLOCK_S
            if first.ahead and not followed and held <= WAITING_BYTES:
                break
            held -= first.picture_bytes
            due.append(self._waiting.popleft())
        return due

    def join(self, joined: Mapping[int, int]) -> None:
        """Replace ids of waiting faces by those of the known faces they belong to."""
        for waits in self._waiting:
            faces = waits.detected.faces
            faces[:] = [replace(face, id=joined.get(face.id, face.id)) for face in faces]

    def finish(self) -> list[Waiting]:
        """All waiting frames: nothing follows them."""
        due = list(self._waiting)
        self._waiting.clear()
        return due


class Memory:
    """The clips of all faces of all sources."""

    def __init__(self, manifest: Manifest) -> None:
        fed = {tensor.name: tensor.shape for tensor in manifest.networks["fusion"].inputs}
        self._features = int(fed["feature"][-1])
        outputs = manifest.networks["temporal"].outputs
        self._motion_heads = {tensor.name: int(tensor.shape[-1]) for tensor in outputs}
        self._manifest = manifest
        self._estimator = MotionEstimator()
        self._faces: dict[str, dict[int, FaceState]] = {}
        self._ahead: dict[str, Ahead] = {}
        self._blinks: dict[str, Blinks] = {}

    def states(self, detected: DetectedFaces) -> list[FaceState]:
        """The states of a frame's faces, in order, with its motion added."""
        if detected.restart:
            self._faces.pop(detected.source, None)
        faces = self._faces.setdefault(detected.source, {})
        now_s = detected.time_s
        for stranger, known in detected.joined.items():
            if stranger in faces:
                faces[known] = faces.pop(stranger)
        if detected.joined and detected.source in self._ahead:
            self._ahead[detected.source].join(detected.joined)
        for identity in [i for i, f in faces.items() if abs(now_s - f.clip.time_s) > FORGET_S]:
            del faces[identity]
        states = []
        for face in detected.faces:
            one = faces.get(face.id)
            if one is None:
                one = faces[face.id] = self._new()
            one.fresh = one.clip.add_crop(now_s, face.crop)
            if not one.clip.has_motion:
                one.motion = None
            states.append(one)
        return states

    def due(self, one: Waiting) -> list[Waiting]:
        """Add a frame; returns the frames that can be fused now."""
        half_s = self._manifest.clip_duration_s / 2
        return self._ahead.setdefault(one.detected.source, Ahead(half_s)).add(one)

    def blinks(self, source: str) -> Blinks:
        """The blink detector of a source's faces."""
        return self._blinks.setdefault(source, Blinks())

    def finish(self, source: str) -> list[Waiting]:
        """The frames of an ended source that still wait."""
        ahead = self._ahead.pop(source, None)
        return [] if ahead is None else ahead.finish()

    def batch(self, due: list[Waiting]) -> tuple[Tensors, list[int]]:
        """The inputs of the fusion network for all faces, and the row of each one's own frame."""
        size = sum(len(one.seen) for one in due)
        frames = self._manifest.clip_frames
        feature_BTD = np.empty((size, frames, self._features), np.float32)
        mask_BT = np.empty((size, frames), np.float32)
        motion = {
            head: np.zeros((size, width), np.float32) for head, width in self._motion_heads.items()
        }
        has_motion = np.zeros((size, 1), np.float32)
        own: list[int] = []
        faces = [
            (one.detected.ahead, state, seen)
            for one in due
            for state, seen in zip(one.states, one.seen, strict=True)
        ]
        for row, (ahead, state, seen) in enumerate(faces):
            if ahead:
                own.append(state.around.read_features(seen, feature_BTD[row], mask_BT[row]))
            else:
                state.clip.read_features(feature_BTD[row], mask_BT[row])
                own.append(state.clip.newest)
            if seen.motion is not None:
                has_motion[row] = seen.motion_weight
                for head, predicted in seen.motion.items():
                    motion[head][row] = predicted
        batch = {
            "feature": feature_BTD,
            "mask": mask_BT,
            "has_motion": has_motion,
            **{motion_input(head): predicted for head, predicted in motion.items()},
        }
        return batch, own

    def forget(self, source: str | None) -> None:
        """Drop the clips of one source, or of all."""
        if source is None:
            self._faces.clear()
            self._ahead.clear()
            self._blinks.clear()
        else:
            self._faces.pop(source, None)
            self._ahead.pop(source, None)
            self._blinks.pop(source, None)

    def _new(self) -> FaceState:
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
        return FaceState(clip, Around(manifest.clip_frames, manifest.clip_duration_s))


# N frames remembered, W frames chosen


BLIP_S = 0.1
"""The frames' own readings are averaged over so long on both sides: what flickers is no edge."""
OTHERWISE = 0.5
"""So far apart (total variation, 0..1) two averaged readings are of two expressions."""
_MOST = 256


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One face in one frame: the networks' outputs, to be fused with the frames around it."""

    time_s: float
    outputs: Mapping[str, NDArray[Any]]
    """The spatial network's, a row of each."""
    basic8: NDArray[np.float32]
    """(8,) probabilities of this frame alone."""
    motion: Mapping[str, NDArray[Any]] | None
    """The temporal network's last predictions, by head."""
    motion_weight: float
    """How far the motion counts, 0..1."""


class Around:
    """One face over the last moments, for windows that reach to both sides of a frame.

    Args:
        frames: how many a window holds at most.
        duration_s: how long it is, half on either side.
    """

    def __init__(self, frames: int, duration_s: float) -> None:
        self.half_s = duration_s / 2
        self._most = (frames - 1) // 2
        self._spacing_s = duration_s / frames
        self._seen: deque[Seen] = deque(maxlen=_MOST)

    def add(self, seen: Seen) -> None:
        """Remember a frame; a time that does not follow the last one begins anew."""
        if self._seen and seen.time_s <= self._seen[-1].time_s:
            self._seen.clear()
        self._seen.append(seen)
        # A frame is read when half a window has followed it, and looks back for another half.
        oldest_s = seen.time_s - 2 * (self.half_s + BLIP_S)
        while self._seen[0].time_s < oldest_s and len(self._seen) > 1:
            self._seen.popleft()

    def read_features(
        self, centre: Seen, feature_TD: NDArray[np.float32], mask_T: NDArray[np.float32]
    ) -> int:
        """Write the window's features (T, D) and their mask (T,) into a batch, 0 where nothing is;
        returns the centre's row."""
        window = self.window(centre)
        feature_TD[len(window) :] = 0
        for row, seen in enumerate(window):
            feature_TD[row] = seen.outputs["feature"]
        mask_T[:] = np.arange(len(mask_T)) < len(window)
        return window.index(centre)

    def window(self, centre: Seen) -> list[Seen]:
        """The frames to read `centre` with, in the order of time, itself among them.

        None is farther away than half the duration, none lies beyond an edge or a gap, and they
        are at least an even share of the duration apart.
        """
        if centre not in self._seen:  # more frames came within half a window than are remembered
            return [centre]
        at = self._seen.index(centre)
        time_N = np.array([seen.time_s for seen in self._seen])
        basic8_NK = np.stack([seen.basic8 for seen in self._seen])
        near_NN = np.abs(time_N[:, None] - time_N) <= BLIP_S + CLOCK_S
        steady_NK = (near_NN @ basic8_NK) / near_NN.sum(1, keepdims=True)
        apart_N = np.abs(steady_NK - steady_NK[at]).sum(1) / 2
        like_N = (apart_N <= OTHERWISE) & (np.abs(time_N - centre.time_s) <= self.half_s + CLOCK_S)
        before = self._walk(range(at - 1, -1, -1), at, time_N, like_N)
        after = self._walk(range(at + 1, len(time_N)), at, time_N, like_N)
        return [self._seen[row] for row in (*reversed(before), at, *after)]

    def _walk(
        self, rows: range, at: int, time_N: NDArray[np.float64], like_N: NDArray[np.bool_]
    ) -> list[int]:
        """The rows chosen on one side, from the centre outwards."""
        chosen: list[int] = []
        kept_s = last_s = time_N[at]
        for row in rows:
            time_s = time_N[row]
            if not like_N[row] or abs(time_s - last_s) > APART_S or len(chosen) == self._most:
                break
            last_s = time_s
            if abs(time_s - kept_s) >= self._spacing_s - CLOCK_S:
                chosen.append(row)
                kept_s = time_s
        return chosen
