"""What is remembered of the faces that are being watched: their clips and their motion."""

# B faces of all sources, T frames a clip keeps, D features

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Manifest
from engines.contract import heard_input

from .clip import FaceClip
from .flow import MotionEstimator
from .result import Stages
from .track import Face

FORGET_S = 4.0
"""The clip of a face that has not been seen for so long is dropped."""

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


class Watched:
    """A face's clip, and what its motion last said."""

    __slots__ = ("clip", "fresh", "motion", "share")

    def __init__(self, clip: FaceClip) -> None:
        self.clip = clip
        self.fresh = False
        self.motion: Tensors | None = None
        """What the temporal network said, by head."""
        self.share = 0.0
        """How far the face moves, 0..1: so far its motion is heard."""

    def fresh_stack(self) -> NDArray[np.float32] | None:
        """The stack of motion fields, where it is new and long enough."""
        return self.clip.stack() if self.fresh else None


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

    def watch(self, sighting: Sighting) -> list[Watched]:
        """The clips of a sighting's faces, in order, with its motion added."""
        if sighting.restart:
            self.forget(sighting.source)
        faces = self._faces.setdefault(sighting.source, {})
        now_s = sighting.time_s
        for identity in [i for i, f in faces.items() if abs(now_s - f.clip.time_s) > FORGET_S]:
            del faces[identity]
        watched = []
        for face in sighting.faces:
            one = faces.get(face.id)
            if one is None:
                one = faces[face.id] = Watched(self._new_clip())
            one.fresh = one.clip.add_crop(now_s, face.crop)
            if not one.clip.has_motion:
                one.motion = None
            watched.append(one)
        return watched

    def batch(self, watched: list[Watched]) -> Tensors:
        """The inputs of the fusion network."""
        size, frames = len(watched), self._manifest.clip_frames
        feature_BTD = np.empty((size, frames, self._features), np.float32)
        mask_BT = np.empty((size, frames), np.float32)
        heard = {head: np.zeros((size, width), np.float32) for head, width in self._heard.items()}
        has_motion = np.zeros((size, 1), np.float32)
        for row, one in enumerate(watched):
            one.clip.read_features(feature_BTD[row], mask_BT[row])
            if one.motion is not None:
                has_motion[row] = one.share
                for head, said in one.motion.items():
                    heard[head][row] = said
        return {
            "feature": feature_BTD,
            "mask": mask_BT,
            "has_motion": has_motion,
            **{heard_input(head): said for head, said in heard.items()},
        }

    def forget(self, source: str | None) -> None:
        """Drop the clips of one source, or of all."""
        if source is None:
            self._faces.clear()
        else:
            self._faces.pop(source, None)

    def _new_clip(self) -> FaceClip:
        manifest, motion = self._manifest, self._manifest.motion
        return FaceClip(
            self._features,
            manifest.clip_frames,
            manifest.clip_duration_s,
            motion.fields,
            motion.gap_s,
            self._estimator,
        )
