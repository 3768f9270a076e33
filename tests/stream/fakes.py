"""A recogniser that invents its results, for tests of what is around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ferstream.engines.labels import BUILT_IN
from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.emotions import Emotions
from ferstream.stream.errors import SinkError
from ferstream.stream.faces.quality import Quality
from ferstream.stream.faces.track import Face
from ferstream.stream.frame import Frame
from ferstream.stream.result import FaceResult, Result
from ferstream.stream.sinks.base import BaseSink, SinkInfo
from ferstream.stream.sinks.jsonl import JsonlFile
from ferstream.stream.sinks.rows import FrameRows, RowSink
from ferstream.stream.sources.base import BaseSource

Box = tuple[float, float, float, float]


def emotions(label: str = "happiness", strength: float = 0.8) -> Emotions:
    """Emotions whose best basic label is `label`, with probabilities that sum to 1."""
    basic8 = load_taxonomy("basic8")
    words = load_taxonomy("emo135")
    rest = (1 - strength) / (len(basic8.labels) - 1)
    probabilities = {name: strength if name == label else rest for name in basic8.labels}
    family_at = basic8.family_of[basic8.index(label)]
    family = words.families[family_at] if family_at >= 0 else words.families[0]
    members = words.members(family)
    best = [(word, 0.3 * 0.8**place) for place, word in enumerate(members[:10])]
    others = [(word, 0.0001) for word in words.labels if word not in dict(best)]
    return Emotions(
        basic8=probabilities,
        ranked=(*best, *others),
        families={name: 0.7 if name == family else 0.06 for name in words.families},
        intensity=1 - probabilities["neutral"],
        uncertain=False,
        label="neutral" if label == "neutral" else best[0][0],
        supervision={"basic8": "trained", "emo135": "weakly supervised"},
    )


def face(
    face_id: int = 1,
    box: Box = (20.0, 20.0, 60.0, 60.0),
    label: str = "happiness",
    attention: float = 0.5,
    strength: float = 0.8,
) -> FaceResult:
    """One face somewhere in the frame."""
    x, y, w, h = box
    angles = np.linspace(0, 2 * np.pi, 468, endpoint=False)
    outline = np.stack((x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))), 1)
    quality = Quality(w, 0.9, 3.0, -2.0, 0.99, 0.5, 0.98, 0.87)
    read = emotions(label, strength)
    return FaceResult(
        face=Face(face_id, box, outline.astype(np.float32), quality, np.zeros((64, 64), np.uint8)),
        emotions=read,
        frame_emotions=read,
        blendshape_values=np.zeros(52, np.float32),
        attention=attention,
        zoom=np.full(2, 0.5, np.float32),
    )


class FakeRecognizer:
    """Answers each frame with what `faces_in` makes of it."""

    labels = BUILT_IN

    def __init__(self, faces_in: Callable[[Frame], list[FaceResult]] | None = None) -> None:
        self._faces_in = faces_in or (lambda frame: [face()])
        self.seen: list[Frame] = []
        self.ended: list[str] = []

    def find(self, frame: Frame) -> Frame:
        """Nothing is found yet."""
        return frame

    def find_many(self, frames: Sequence[Frame]) -> list[Frame | Exception]:
        """Nothing is found yet, or `find` fails."""
        found: list[Frame | Exception] = []
        for frame in frames:
            try:
                found.append(self.find(frame))
            except Exception as error:
                found.append(error)
        return found

    def score(self, detected: Sequence[Frame]) -> list[Result]:
        """The invented results; remembers the frames."""
        return [self.process(frame) for frame in detected]

    def finish(self, source: str) -> list[Result]:
        """Nothing waits."""
        return []

    def process(self, frame: Frame) -> Result:
        """The invented result of one frame."""
        self.seen.append(frame)
        faces = self._faces_in(frame)
        return Result(frame.index, frame.time_s, frame.source, faces, {"detect": 1.0})

    def forget(self, source: str) -> None:
        """Remember that a source is done, by its name."""
        self.ended.append(source.partition("\0")[0])


class FakeSource(BaseSource):
    """Frames with given times, black 64 by 48, and a failure at the end if one is given."""

    def __init__(
        self,
        times_s: Sequence[float] = (0.0, 0.1, 0.2),
        *,
        name: str = "fake",
        live: bool = False,
        error: Exception | None = None,
        before_each: Callable[[int], object] = lambda index: None,
    ) -> None:
        self.name, self.live = name, live
        self.rate_hz: float | None = 10.0
        self.size: tuple[int, int] | None = (64, 48)
        self.duration_s: float | None = None
        self.closed = 0
        self._times_s, self._error, self._before_each = times_s, error, before_each

    def frames(self) -> Iterator[Frame]:
        """The frames, then the failure."""
        for index, time_s in enumerate(self._times_s):
            self._before_each(index)
            if self.closed:
                return
            yield Frame(np.zeros((48, 64, 3), np.uint8), time_s, index, self.name)
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Count the closings."""
        self.closed += 1


class ListSink(BaseSink):
    """Keeps what it is given."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.info: SinkInfo | None = None
        self.rows: list[Result] = []
        self.closed = 0
        self._fail_at = fail_at

    def open(self, info: SinkInfo) -> None:
        """Keep the info."""
        self.info = info

    def write(self, frame: Frame, result: Result) -> None:
        """Keep the result, or fail as asked."""
        if len(self.rows) == self._fail_at:
            raise SinkError("the disk is full")
        self.rows.append(result)

    def close(self) -> None:
        """Count the closings."""
        self.closed += 1


def jsonl_sink(path: Path, top: int = 10) -> RowSink:
    """Writes a row per frame to a .jsonl file."""
    return RowSink(FrameRows(top), JsonlFile(path))
