"""Results that wait in a file without a name: on disk, not in memory, and gone with the process."""

# R numbers of a reading, as `sinks.mean.Numbers` has them; C fine classes

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .emotions import Emotions
from .frame import Frame
from .quality import Quality
from .result import FaceResult, Result
from .sight import Face
from .sinks.mean import Numbers, Reading

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
        numbers += [found.au, found.zoom, found.face.landmarks_xy]
        face = [found.face.id, found.face.box, astuple(found.face.quality)]
        return [*face, found.attention, found.among, *([o.label, o.one_of] for o in readings)]

    def _unpacked(self, told: list[Any], numbers: _Rest) -> FaceResult:
        assert self._like is not None
        identity, box, quality, attention, among, *readings = told
        emotions, frame_emotions = (self._reading(name, some, numbers) for name, some in readings)
        au, zoom = numbers.take(len(self._like.au)), numbers.take(2)
        landmarks_xy = numbers.take(math.prod(_LANDMARKS)).reshape(_LANDMARKS)
        no_crop = np.empty((0, 0), np.uint8)
        face = Face(identity, tuple(box), landmarks_xy, Quality(*quality), no_crop)
        told_of = (au, attention, zoom, among, self._like.units)
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


class _Rest:
    """The numbers of one result, read from the first on."""

    def __init__(self, all_of_them: NDArray[np.float32]) -> None:
        self._rest = all_of_them

    def take(self, count: int) -> NDArray[np.float32]:
        """The next ones."""
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken
