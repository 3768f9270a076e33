"""Faces made unrecognisable in everything that a sink writes or shows.

A mask leaves about five blocks of colour across a face, smoothed into each other. A face that is
missed in a frame stays masked at its last place. A face that was just found is masked in the frames
before as well: frames are held back for that, as the detector looks for new faces only now and
then. A face that is never found stays visible, and colours alone can still tell two known people
apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..faces.search import DETECT_S
from ..faces.track import LOST_S
from ..frame import Frame
from ..result import FaceResult, Result
from ..sources.base import SourceEvent
from .base import BaseSink, Delivery, Sink, SinkInfo

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]

LEAD_S = DETECT_S + 0.1
"""How long frames are held back for faces that are about to be found, seconds."""
_MARGIN = 0.3
"""The mask reaches this far beyond the face's box on every side, in sides of the box."""
_DRIFT_PER_S = 0.6
"""So much further for each second from when the face was seen: it may have moved."""
_BLOCKS = 5
"""Colours across a face."""
_MOST_WAITING_BYTES = 200_000_000
"""Above this frames go on early, with less knowledge of what follows."""


class BlurSink(BaseSink):
    """Passes frames to another sink with every face masked; results stay as they are.

    Args:
        sink: what writes or shows the frames.
        lead_s: how long frames are held back to mask faces before they are found. 0 passes them on
            at once: a new face may then be visible for up to `LEAD_S`.
    """

    def __init__(self, sink: Sink, *, lead_s: float = LEAD_S) -> None:
        self._sink = sink
        self._lead_s = lead_s
        self._waiting: deque[tuple[Frame, Result]] = deque()
        self._waiting_bytes = 0
        self._seen: dict[int, deque[tuple[float, Box]]] = {}

    def open(self, info: SinkInfo) -> None:
        """Open the other sink."""
        self._sink.open(info)

    def write(self, frame: Frame, result: Result) -> None:
        """Take one frame; pass on those that need not be held back any longer."""
        if self._waiting and frame.time_s < self._waiting[-1][0].time_s:
            self._give_all()
            self._seen.clear()
        for found in result.faces:
            self._seen.setdefault(found.face.id, deque()).append((frame.time_s, found.face.box))
        self._waiting.append((frame, result))
        self._waiting_bytes += frame.pixels.nbytes
        while self._waiting and (
            frame.time_s - self._waiting[0][0].time_s >= self._lead_s
            or self._waiting_bytes > _MOST_WAITING_BYTES
        ):
            self._give()

    def on_event(self, event: SourceEvent) -> None:
        """Pass a change of the source's state on."""
        self._sink.on_event(event)

    @property
    def delivery(self) -> Delivery | None:
        """The other sink's."""
        return self._sink.delivery

    def close(self) -> None:
        """Pass on the frames held back, and close the other sink."""
        try:
            self._give_all()
        finally:
            self._sink.close()

    def _give_all(self) -> None:
        while self._waiting:
            self._give()

    def _give(self) -> None:
        """Pass the oldest frame on, masked."""
        frame, result = self._waiting.popleft()
        self._waiting_bytes -= frame.pixels.nbytes
        self._forget(frame.time_s - LOST_S)
        masks = list(self._masks(frame.time_s))
        if masks:
            frame = replace(frame, pixels=masked(frame.pixels, masks))
        self._sink.write(frame, result)

    def _masks(self, now_s: float) -> Iterator[Box]:
        """Boxes of faces at this time, and of those seen before or after it."""
        for sights in self._seen.values():
            before = [sight for sight in sights if sight[0] <= now_s]
            here = [box for time_s, box in before if time_s == now_s]  # several where times repeat
            if here:
                yield from (enlarged(box, _MARGIN) for box in here)
                continue
            after = [sight for sight in sights if sight[0] > now_s][:1]
            for time_s, box in (*before[-1:], *after):
                yield enlarged(box, _MARGIN + _DRIFT_PER_S * abs(now_s - time_s))

    def _forget(self, before_s: float) -> None:
        """Drop what was seen before this time."""
        for face_id in list(self._seen):
            sights = self._seen[face_id]
            while sights and sights[0][0] < before_s:
                sights.popleft()
            if not sights:
                del self._seen[face_id]


def blurred(pixels: Image, faces: Iterable[FaceResult]) -> Image:
    """A copy of `pixels` (H, W, 3) with these faces masked; one frame knows no others."""
    return masked(pixels, (enlarged(found.face.box, _MARGIN) for found in faces))


def enlarged(box: Box, margin: float) -> Box:
    """The box with `margin` of its longer side added on every side."""
    x, y, w, h = box
    reach = margin * max(w, h)
    return x - reach, y - reach, w + 2 * reach, h + 2 * reach


def masked(pixels: Image, boxes: Iterable[Box]) -> Image:
    """A copy of `pixels` (H, W, 3) in which little more than colours is left within the boxes."""
    canvas = pixels.copy()
    height_px, width_px = pixels.shape[:2]
    for x, y, w, h in boxes:
        left, right = max(int(np.floor(x)), 0), min(int(np.ceil(x + w)), width_px)
        top, bottom = max(int(np.floor(y)), 0), min(int(np.ceil(y + h)), height_px)
        if left >= right or top >= bottom:
            continue
        part = pixels[top:bottom, left:right]
        # The box holds the margins too: of its blocks, `_BLOCKS` fall on the face itself.
        block_px = max(max(w, h) / (_BLOCKS * (1 + 2 * _MARGIN)), 1.0)
        columns = max(1, round((right - left) / block_px))
        rows = max(1, round((bottom - top) / block_px))
        few = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
        # Fewer levels too: fine steps of colour say more than they seem to.
        few = (few.astype(np.int32) // 16 * 16 + 8).astype(np.uint8)
        smooth = cv2.resize(few, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        canvas[top:bottom, left:right] = smooth
    return canvas
