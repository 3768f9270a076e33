"""Faces to emotions: the Recognizer, and the results it hands to sinks and callers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .emotions import Emotions
from .frame import Frame
from .track import Face


@dataclass(frozen=True, slots=True)
class FaceResult:
    """What one face expresses in one frame."""

    face: Face
    """Where the face is: id, box, landmarks, quality."""
    emotions: Emotions
    """The clip's emotions up to this frame (attention over the frames, motion, fused)."""
    frame_emotions: Emotions
    """The emotions of this frame's crop alone."""
    au: NDArray[np.float32]
    """(52,) estimates of the face's muscle actions (blendshapes), 0..1."""
    attention: float
    """This frame's share of the clip's attention, 0..1; all frames of the clip sum to 1."""
    zoom: NDArray[np.float32]
    """(2,) centre x, y of the region the network zoomed into, 0..1 of the crop."""

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """One entry of a row's `faces` (schema 1): plain types, `top` words at most."""
        return {
            "id": self.face.id,
            "box": [round(float(value), 1) for value in self.face.box],
            "quality": self.face.quality.to_json(),
            **self.emotions.to_json(top),
            "attention": round(self.attention, 4),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """All the faces of one frame."""

    frame: int
    """The frame's index in its source."""
    time_s: float
    """The frame's time on its source's clock, seconds."""
    source: str
    faces: list[FaceResult]
    """Ordered by id; empty where nobody is seen."""
    stages_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds spent in detect, align, flow, spatial, temporal, fusion."""

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """One row of a .jsonl file (schema 1); a frame without a face gives a row too."""
        return {
            "schema": 1,
            "source": self.source,
            "frame": self.frame,
            "time_s": round(self.time_s, 6),
            "faces": [face.to_json(top) for face in self.faces],
        }


class Recognizer:
    """Scores the frames of one or many sources (being written; the signatures stand)."""

    def __init__(
        self,
        bundle: Any = "default",
        engine: str = "auto",
        precision: str = "auto",
        max_faces: int = 20,
    ) -> None:
        """Open the bundle's three networks."""
        raise NotImplementedError

    def process(self, frame: Frame) -> Result:
        """Score one frame; frames of one source come in the order of their times."""
        raise NotImplementedError

    def process_many(self, frames: Sequence[Frame]) -> list[Result]:
        """Score one frame of each of several sources, batched over all their faces."""
        raise NotImplementedError

    def reset(self, source: str | None = None) -> None:
        """Forget clips and motion of one source (all without a name) after a gap; ids go on."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the engines and the face tracking."""
        raise NotImplementedError
