"""A recording's outputs with final ids: a person has one id in the whole recording.

Who comes back turned away or behind a hand is a stranger at first, and known by the recording's
end. So from the first stranger on who may be somebody known, results wait on disk; at the end all
outputs are told them with the ids that are sure by then. Until then, and in a recording without
such a stranger, they are told at once. The disk's file has no name and is gone with the process.
"""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..emotions import Emotions
from ..errors import SinkError
from ..eyes import Blink, Eyes
from ..faces.quality import Quality
from ..faces.sight import Face
from ..frame import Frame
from ..result import FaceResult, Result
from ..sources.base import Source, SourceEvent
from .base import BaseSink, Sink, SinkInfo
from .mean import Numbers, Reading


class SettledSink(BaseSink):
    """Hands results on to sinks once their ids are sure.

    Args:
        sinks: not to be used by anybody else.
        reopen: opens the recording again, for the pictures of what waited; None: no sink takes
            pictures, and each gets a black one.
    """

    def __init__(self, sinks: Sequence[Sink], reopen: Callable[[], Source] | None) -> None:
        self._sinks = sinks
        self._reopen = reopen
        self._closing = ExitStack()
        self._spool: Spool | None = None
        self._known: set[int] = set()
        self._joined: Mapping[int, int] = {}

    def open(self, info: SinkInfo) -> None:
        """Open the sinks."""
        for sink in self._sinks:
            self._closing.callback(sink.close)
            sink.open(info)

    def write(self, frame: Frame, result: Result) -> None:
        """Hand a result on, or keep it until the end."""
        self._joined = result.joined or self._joined
        if self._spool is None:
            seen = {found.face.id for found in result.faces}
            sure = seen <= self._known or self._known <= seen
            self._known |= seen
            if sure:
                self._hand_on(frame, result)
                return
            with _told_of_the_disk():
                self._spool = Spool()
            self._closing.callback(self._spool.close)
        with _told_of_the_disk():
            self._spool.put(frame, result)

    def close(self) -> None:
        """Hand on what waited, with the ids that are sure by now, and close the sinks."""
        with self._closing:
            if self._spool is not None:
                self._tell(self._spool)

    def abandon(self) -> None:
        """Close the sinks and drop the results that waited."""
        self._closing.close()

    def _tell(self, spool: Spool) -> None:
        with ExitStack() as closing:
            pictures: Iterator[Frame] = iter(())
            if self._reopen is not None:
                source = self._reopen()
                closing.callback(source.close)
                pictures = source.frames()
            for waiting in spool:
                result = waiting.result
                frame = self._frame(pictures, result, waiting.shape)
                self._hand_on(frame, result.with_ids(self._joined))

    def _frame(
        self, pictures: Iterator[Frame], result: Result, shape: tuple[int, int, int]
    ) -> Frame:
        """The picture that a result is of."""
        if self._reopen is None:
            black = np.broadcast_to(np.zeros((), np.uint8), shape)
            return Frame(black, result.time_s, result.frame, result.source)
        for frame in pictures:
            if frame.index == result.frame:
                return frame
        raise SinkError(f"{result.source} has changed while it was scored: score it again")

    def on_event(self, event: SourceEvent) -> None:
        """Pass a change of the source's state on."""
        for sink in self._sinks:
            sink.on_event(event)

    def _hand_on(self, frame: Frame, result: Result) -> None:
        for sink in self._sinks:
            sink.write(frame, result)


@contextmanager
def _told_of_the_disk() -> Iterator[None]:
    """Raises SinkError for a disk without room."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SinkError(
            f"cannot keep results in {tempfile.gettempdir()}: {why}; make room there, or name "
            "another folder in TMPDIR"
        ) from error


# R numbers of a reading, as `sinks.mean.Numbers` has them; C fine classes


_HEAD = struct.Struct("<II")  # bytes of the text and of the numbers of one result
_LANDMARKS = (468, 2)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One result, and the shape (H, W, 3) of its picture."""

    result: Result
    shape: tuple[int, int, int]


class Spool:
    """Takes results in their order and gives them back: some 6 kB for each face of a frame.

    What does not come back: stages' times, and the aligned crops of the faces, which are for the
    tracker. Raises OSError where the disk is full.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`
        self._like: FaceResult | None = None  # whatever is the same of all faces

    def put(self, frame: Frame, result: Result) -> None:
        """Add a result."""
        numbers: list[NDArray[np.float32]] = []
        faces = [self._packed(found, numbers) for found in result.faces]
        told = [result.frame, result.time_s, result.source, result.left_out, frame.pixels.shape]
        text = json.dumps([*told, faces]).encode()
        data = b"".join(one.tobytes() for one in numbers)
        self._file.write(_HEAD.pack(len(text), len(data)) + text + data)

    def __iter__(self) -> Iterator[Waiting]:
        """All of them, from the first on."""
        self._file.seek(0)
        while head := self._file.read(_HEAD.size):
            text_bytes, data_bytes = _HEAD.unpack(head)
            *told, shape, faces = json.loads(self._file.read(text_bytes))
            numbers = _Rest(np.frombuffer(self._file.read(data_bytes), np.float32))
            frame, time_s, source, left_out = told
            found = [self._unpacked(face, numbers) for face in faces]
            yield Waiting(Result(frame, time_s, source, found, left_out=left_out), tuple(shape))

    def close(self) -> None:
        """Give the disk's room back."""
        self._file.close()

    def _packed(self, found: FaceResult, numbers: list[NDArray[np.float32]]) -> list[Any]:
        """A face's text; its numbers are added to the others."""
        readings = (found.emotions, found.frame_emotions)
        self._like = found
        for one in readings:
            numbers.append(Numbers.of(one).values.astype(np.float32))
            numbers.append(np.fromiter(one.fine.values(), np.float32))
        numbers += [found.blendshape_values, found.zoom, found.face.landmarks_xy]
        face = [found.face.id, found.face.box, astuple(found.face.quality)]
        eyes = None if found.eyes is None else astuple(found.eyes)
        told = [found.face.posed, found.attention, found.among, eyes]
        return [*face, *told, *([o.label, o.one_of] for o in readings)]

    def _unpacked(self, told: list[Any], numbers: _Rest) -> FaceResult:
        assert self._like is not None
        identity, box, quality, posed, attention, among, eyes, *readings = told
        emotions, frame_emotions = (self._reading(name, some, numbers) for name, some in readings)
        movements, zoom = numbers.take(len(self._like.blendshape_values)), numbers.take(2)
        landmarks_xy = numbers.take(math.prod(_LANDMARKS)).reshape(_LANDMARKS)
        no_crop = np.empty((0, 0), np.uint8)
        face = Face(identity, tuple(box), landmarks_xy, Quality(*quality), no_crop, posed)
        told_of = (movements, attention, zoom, among, self._like.blendshape_names, _eyes(eyes))
        return FaceResult(face, emotions, frame_emotions, *told_of)

    def _reading(self, label: str, one_of: list[str], numbers: _Rest) -> Emotions:
        assert self._like is not None
        like = self._like.emotions
        values_R = numbers.take(Numbers.count(like.labels)).astype(np.float64)
        fine_C = numbers.take(len(like.fine)).tolist()
        one = Reading.of(Numbers(values_R, like.labels))
        return Emotions(
            basic8=one.basic8,
            ranked=one.ranked,
            families=one.families,
            intensity=one.intensity,
            uncertain=one.uncertain > 0.5,
            label=label,
            supervision=like.supervision,
            valence=one.valence,
            arousal=one.arousal,
            fine=dict(zip(like.fine, fine_C, strict=True)),
            one_of=tuple(one_of),
            labels=like.labels,
        )


def _eyes(told: list[Any] | None) -> Eyes | None:
    if told is None:
        return None
    right, left, watched_s, blink, gaze_deg = told
    ended = None if blink is None else Blink(*blink)
    return Eyes(right, left, watched_s, ended, None if gaze_deg is None else tuple(gaze_deg))


class _Rest:
    """The numbers of one result, read from the first on."""

    def __init__(self, all_of_them: NDArray[np.float32]) -> None:
        self._rest = all_of_them

    def take(self, count: int) -> NDArray[np.float32]:
        """The next ones."""
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken
