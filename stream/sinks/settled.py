"""Outputs of a recording with final ids: a person has one id in the whole recording.

A person who comes back turned away or covered gets a new id at first and is recognised by the end
of the recording. So from the first new id on that may be a known person's, results are kept on
disk; at the end all sinks get them with the final ids. Until then, and in a recording without such
an id, sinks get results at once. The file on disk has no name and is deleted with the process.
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
    """Passes results to sinks once their ids are final.

    Args:
        sinks: the sinks to write to; nobody else may use them.
        reopen: opens the recording again, for the pictures of results that were kept; None: no
            sink uses pictures, and each gets black ones.
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
        """Pass a result on, or keep it until the end."""
        self._joined = result.joined or self._joined
        if self._spool is None:
            seen = {found.face.id for found in result.faces}
            sure = seen <= self._known or self._known <= seen
            self._known |= seen
            if sure:
                self._forward(frame, result)
                return
            with _disk_errors():
                self._spool = Spool()
            self._closing.callback(self._spool.close)
        with _disk_errors():
            self._spool.put(frame, result)

    def close(self) -> None:
        """Pass on the results that were kept, with final ids, and close the sinks."""
        with self._closing:
            if self._spool is not None:
                self._replay(self._spool)

    def abandon(self) -> None:
        """Close the sinks and drop the results that were kept."""
        self._closing.close()

    def _replay(self, spool: Spool) -> None:
        with ExitStack() as closing:
            pictures: Iterator[Frame] = iter(())
            if self._reopen is not None:
                source = self._reopen()
                closing.callback(source.close)
                pictures = source.frames()
            for waiting in spool:
                result = waiting.result
                frame = self._frame(pictures, result, waiting.shape)
                self._forward(frame, result.with_ids(self._joined))

    def _frame(
        self, pictures: Iterator[Frame], result: Result, shape: tuple[int, int, int]
    ) -> Frame:
        """The frame that a result is of."""
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

    def _forward(self, frame: Frame, result: Result) -> None:
        for sink in self._sinks:
            sink.write(frame, result)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn an OSError of the temporary file into a SinkError."""
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
    """Stores results in order and reads them back: some 6 kB for each face of a frame.

    Stage times and the aligned crops of faces, which only the tracker needs, are not stored.
    Raises OSError where the disk is full.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`
        self._template: FaceResult | None = None  # for what all faces have in common

    def put(self, frame: Frame, result: Result) -> None:
        """Add a result."""
        numbers: list[NDArray[np.float32]] = []
        faces = [self._packed(found, numbers) for found in result.faces]
        fields = [result.frame, result.time_s, result.source, result.left_out, frame.pixels.shape]
        text = json.dumps([*fields, faces]).encode()
        data = b"".join(one.tobytes() for one in numbers)
        self._file.write(_HEAD.pack(len(text), len(data)) + text + data)

    def __iter__(self) -> Iterator[Waiting]:
        """All results, from the first on."""
        self._file.seek(0)
        while head := self._file.read(_HEAD.size):
            text_bytes, data_bytes = _HEAD.unpack(head)
            *fields, shape, faces = json.loads(self._file.read(text_bytes))
            numbers = _NumberReader(np.frombuffer(self._file.read(data_bytes), np.float32))
            frame, time_s, source, left_out = fields
            found = [self._unpacked(face, numbers) for face in faces]
            yield Waiting(Result(frame, time_s, source, found, left_out=left_out), tuple(shape))

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _packed(self, found: FaceResult, numbers: list[NDArray[np.float32]]) -> list[Any]:
        """A face's fields for JSON; its arrays are appended to `numbers`."""
        readings = (found.emotions, found.frame_emotions)
        self._template = found
        for one in readings:
            numbers.append(Numbers.of(one).values.astype(np.float32))
            numbers.append(np.fromiter(one.fine.values(), np.float32))
        numbers += [found.blendshape_values, found.zoom, found.face.landmarks_xy]
        face = [found.face.id, found.face.box, astuple(found.face.quality)]
        eyes = None if found.eyes is None else astuple(found.eyes)
        more = [found.face.posed, found.attention, found.among, eyes]
        return [*face, *more, *([o.label, o.one_of] for o in readings)]

    def _unpacked(self, fields: list[Any], numbers: _NumberReader) -> FaceResult:
        assert self._template is not None
        identity, box, quality, posed, attention, among, eyes, *readings = fields
        emotions, frame_emotions = (self._reading(name, some, numbers) for name, some in readings)
        movements, zoom = numbers.take(len(self._template.blendshape_values)), numbers.take(2)
        landmarks_xy = numbers.take(math.prod(_LANDMARKS)).reshape(_LANDMARKS)
        no_crop = np.empty((0, 0), np.uint8)
        face = Face(identity, tuple(box), landmarks_xy, Quality(*quality), no_crop, posed)
        values = (movements, attention, zoom, among, self._template.blendshape_names, _eyes(eyes))
        return FaceResult(face, emotions, frame_emotions, *values)

    def _reading(self, label: str, one_of: list[str], numbers: _NumberReader) -> Emotions:
        assert self._template is not None
        template = self._template.emotions
        values_R = numbers.take(Numbers.count(template.labels)).astype(np.float64)
        fine_C = numbers.take(len(template.fine)).tolist()
        one = Reading.of(Numbers(values_R, template.labels))
        return Emotions(
            basic8=one.basic8,
            ranked=one.ranked,
            families=one.families,
            intensity=one.intensity,
            uncertain=one.uncertain > 0.5,
            label=label,
            supervision=template.supervision,
            valence=one.valence,
            arousal=one.arousal,
            fine=dict(zip(template.fine, fine_C, strict=True)),
            one_of=tuple(one_of),
            labels=template.labels,
        )


def _eyes(fields: list[Any] | None) -> Eyes | None:
    if fields is None:
        return None
    right, left, watched_s, blink, gaze_deg = fields
    ended = None if blink is None else Blink(*blink)
    return Eyes(right, left, watched_s, ended, None if gaze_deg is None else tuple(gaze_deg))


class _NumberReader:
    """Reads the numbers of one result from the first on."""

    def __init__(self, all_of_them: NDArray[np.float32]) -> None:
        self._rest = all_of_them

    def take(self, count: int) -> NDArray[np.float32]:
        """The next `count` numbers."""
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken
