"""What the Recognizer hands to sinks and callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .emotions import Emotions
from .quality import Quality
from .track import Face

SCHEMA = 2
"""Of result rows. 2 (0.2.0) has each word on its own, valence and arousal, families weighed by what
is not neutral, and the frame's own reading."""
Stages = dict[str, float]
"""Milliseconds by stage."""


def left_out_notes(most: int) -> tuple[str, ...]:
    """What a summary says where faces were left out, at most so many at a time; nothing at 0."""
    if not most:
        return ()
    count = "1 face" if most == 1 else f"up to {most} faces at a time"
    return (f"more faces than are followed at once: {count} left out; raise --max-faces",)


@dataclass(frozen=True, slots=True)
class FaceResult:
    """What one face expresses in one frame."""

    face: Face
    """Where the face is: id, box, landmarks, quality."""
    emotions: Emotions
    """The emotions of the window about this frame (attention over its frames, motion, fused): up
    to this frame live, in a recording as far ahead as back."""
    frame_emotions: Emotions
    """The emotions of this frame's crop alone."""
    au: NDArray[np.float32]
    """(52,) estimates of the face's muscle actions (blendshapes), 0..1."""
    attention: float
    """This frame's share of the window's attention, 0..1; all its frames sum to 1."""
    zoom: NDArray[np.float32]
    """(2,) centre x, y of the region the network zoomed into, 0..1 of the crop."""
    among: int = 1
    """How many frames share the attention."""
    units: tuple[str, ...] = ()
    """Names of `au`; one that begins with _ is none."""

    @property
    def id(self) -> int:
        """Stays the same while the face is followed, and when the person comes back."""
        return self.face.id

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height in pixels; may reach beyond the picture's edges."""
        return self.face.box

    @property
    def quality(self) -> Quality:
        """How much the view of the face is worth."""
        return self.face.quality

    @property
    def landmarks_xy(self) -> NDArray[np.float32]:
        """(468, 2) points of the face in pixels."""
        return self.face.landmarks_xy

    @property
    def blendshapes(self) -> dict[str, float]:
        """The muscle actions by name."""
        named = zip(self.units, self.au.tolist(), strict=False)
        return {name: value for name, value in named if not name.startswith("_")}

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """One entry of a row's `faces` (schema 2): plain types, `top` words at most."""
        return {
            "id": self.id,
            "box": [round(float(value), 1) for value in self.box],
            "quality": self.quality.to_json(),
            **self.emotions.to_json(top),
            "attention": round(self.attention, 4),
            "frame_emotions": self.frame_emotions.to_json(top),
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
    stages_ms: Stages = field(default_factory=dict)
    """Milliseconds spent in detect, align, flow, spatial, temporal, fusion. Of frames scored
    together, the last three are each frame's even share."""
    left_out: int = 0
    """Faces seen beyond those that are followed at most, when new ones were last looked for."""
    joined: Mapping[int, int] = field(default_factory=dict)
    """With a recording's last frame: ids that the whole of it shows to be of somebody else, and
    that one's id."""

    def to_json(self, top: int = 10) -> dict[str, Any]:
        """One row of a .jsonl file (schema 2); a frame without a face gives a row too."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "frame": self.frame,
            "time_s": round(self.time_s, 6),
            "faces": [face.to_json(top) for face in self.faces],
            **({"left_out": self.left_out} if self.left_out else {}),
        }
