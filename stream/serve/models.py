"""The service's answers as models, for its OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorText(_Answer):
    """What is wrong."""

    code: str = Field(description="For programs; one word that stays the same.")
    message: str = Field(description="For people: what is wrong and what to do, in one line.")


class Error(_Answer):
    """How every failure looks."""

    error: ErrorText


class Word(_Answer):
    """An emotion word and how likely it is named; words do not exclude each other."""

    word: str
    p: Share


class Quality(_Answer):
    """How well a face can be seen."""

    size_px: float
    sharpness: float
    yaw_deg: float
    pitch_deg: float
    presence: float
    brightness: float
    clear: float
    score: float


class Reading(_Answer):
    """What an expression looks like to people; not what is felt."""

    label: str = Field(description="`neutral`, or the best word.")
    neutral: Share
    valence: Signed | None = Field(
        None, description="-1 unpleasant, 1 pleasant; left out where the bundle does not tell."
    )
    arousal: Signed | None = Field(
        None, description="-1 sleepy, 1 agitated; left out where the bundle does not tell."
    )
    intensity: Share
    basic8: dict[str, Share] = Field(description="The basic expressions; they sum to 1.")
    families: dict[str, Share] = Field(
        description="The words summed up by family; with neutral they sum to 1."
    )
    top: list[Word] = Field(description="The most fitting words, best first.")


class Face(Reading):
    """One face in one frame."""

    id: int = Field(description="Stays the same while the face is followed.")
    box: tuple[float, float, float, float] = Field(
        description="x, y, width, height in pixels; may reach beyond the picture's edges."
    )
    quality: Quality
    uncertain: bool = Field(description="Whether the reading is too spread out to name one word.")
    attention: Share = Field(
        description="The frame's share of the attention of those it is read with."
    )
    frame_emotions: Reading = Field(description="The same from this frame alone.")


class Blink(_Answer):
    """Both eyes closed and opened again; times are where they are half way."""

    from_s: float
    to_s: float


class Gaze(_Answer):
    """How far the eyes are turned in the head; null where they are hardly seen."""

    yaw_deg: float | None = Field(description="To the picture's right.")
    pitch_deg: float | None = Field(description="Down.")


class Eyes(_Answer):
    """How far the eyes are open, blinks, and gaze; estimates."""

    right: Share = Field(description="The person's right eye, 0 closed to 1 fully open.")
    left: Share
    watched_s: float = Field(
        description="Time since the frame before in which a blink would have been seen; 0 where "
        "frames are more than 0.09 s apart."
    )
    blink: Blink | None = Field(description="The blink that this frame shows to be over.")
    gaze: Gaze


class FaceWithBlendshapes(Face):
    """One face with its movements and eyes."""

    eyes: Eyes | None = Field(None, description="Null where no landmarks were found.")

    blendshapes: dict[str, float] = Field(
        description="The strongest movements of the face by name, 0..1, strongest first."
    )


class Row(_Answer):
    """One frame (schema 2)."""

    schema_: Literal[2] = Field(alias="schema")
    source: str
    frame: int
    time_s: float
    faces: list[Face]


class FaceSummary(Reading):
    """One face over a whole clip: means over its moments of expression, weighted by attention and
    intensity; over all of it where none showed, `top` then being the hint of one word."""

    id: int
    frames: int
    from_s: float
    to_s: float
    expressive: Share = Field(description="Share of the frames that belong to an expression.")
    uncertain: Share = Field(description="Share of those frames whose reading was uncertain.")
    episodes: int = Field(description="Stretches of a basic expression other than neutral.")


class Clip(_Answer):
    """A clip in numbers, and its faces."""

    source: str
    frames: int
    duration_s: float
    wall_s: float
    fps: float
    faces_seen: int
    faces_per_frame: float
    notes: list[str]
    faces: list[FaceSummary]


class About(_Answer):
    """What produced an answer."""

    schema_: Literal[2] = Field(alias="schema")
    bundle: dict[str, str]
    engines: dict[str, dict[str, str]]
    heads: dict[str, dict[str, str]] = Field(
        description="How each head came by its knowledge: trained, machine-judged, weakly "
        "supervised or derived."
    )
    purpose: str | None = None


class ServiceAbout(About):
    """What the service is and what it takes."""

    version: str
    notice: str
    limits: dict[str, float]


class ImageAnswer(About):
    """The faces of an image."""

    source: str
    size: tuple[int, int] = Field(description="Width and height of the upright image, pixels.")
    faces: list[FaceWithBlendshapes]


class ClipAnswer(About):
    """A clip's summary, and a row for each frame unless they were not asked for."""

    clip: Clip
    rows: list[Row] | None = None


class SourceState(_Answer):
    """A watched source."""

    id: str = Field(description="Its place in addresses: /v1/sources/ID/latest.")
    source: str
    state: Literal["connecting", "live", "stalled", "lost", "ended"]
    code: str = Field(description="Why, for programs; empty for no failure.")
    message: str
    frames: int = Field(description="Frames recognised so far.")
    age_s: float | None = Field(description="Seconds since the latest result; null before it.")


class Sources(_Answer):
    """The watched sources."""

    sources: list[SourceState]


class Latest(Row):
    """The latest result of a watched source."""

    faces: list[FaceWithBlendshapes]  # type: ignore[assignment]
    size: tuple[int, int]
    age_s: float
    state: str


class Health(_Answer):
    """Whether the service is there."""

    status: str


_READING: dict[str, Any] = {
    "label": "bliss",
    "neutral": 0.05,
    "valence": 0.78,
    "arousal": 0.31,
    "intensity": 0.74,
    "uncertain": False,
    "basic8": {
        "neutral": 0.05,
        "happiness": 0.92,
        "surprise": 0.01,
        "sadness": 0.01,
        "anger": 0.01,
        "disgust": 0.0,
        "fear": 0.0,
        "contempt": 0.0,
    },
    "families": {
        "love": 0.1,
        "joy": 0.83,
        "surprise": 0.02,
        "anger": 0.0,
        "sadness": 0.0,
        "fear": 0.0,
    },
    "top": [{"word": "bliss", "p": 0.61}, {"word": "elation", "p": 0.47}],
}

EXAMPLE_FACE: dict[str, Any] = {
    "id": 1,
    "box": [230.5, 126.4, 187.5, 215.8],
    "quality": {
        "size_px": 183.3,
        "sharpness": 0.84,
        "yaw_deg": -1.1,
        "pitch_deg": 9.9,
        "presence": 1.0,
        "brightness": 0.56,
        "score": 0.96,
    },
    **_READING,
    "attention": 1.0,
    "frame_emotions": _READING,
    "blendshapes": {"mouthSmileRight": 0.89, "mouthSmileLeft": 0.88},
    "eyes": {
        "right": 0.83,
        "left": 0.85,
        "watched_s": 0.0,
        "blink": None,
        "gaze": {"yaw_deg": 2.1, "pitch_deg": -4.0},
    },
}
"""A face as an answer tells it."""

EXAMPLE_IMAGE: dict[str, Any] = {
    "schema": 2,
    "bundle": {"name": "default", "version": "1"},
    "engines": {"spatial": {"backend": "onnxruntime", "precision": "int8"}},
    "heads": {"basic8": {"supervision": "trained", "note": "people's votes"}},
    "purpose": None,
    "source": "photo.jpg",
    "size": [640, 480],
    "faces": [EXAMPLE_FACE],
}
"""The answer to an image."""
