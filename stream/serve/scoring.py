"""An uploaded image or clip to the JSON that answers it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from ferstream.engines.manifest import Manifest

from .. import sandbox
from ..errors import SourceTimeout, SourceTooLarge, SourceUnreadable
from ..feed import Summary
from ..frame import Frame
from ..meter import Histogram, Meter
from ..picture import picture_head
from ..report import summary_json
from ..result import SCHEMA, Result, left_out_notes
from ..sinks.base import SinkInfo
from ..sinks.settled import SettledSink
from ..sinks.tally import TallySink
from .limits import Limits
from .live import live_json
from .rounds import Rounds
from .uploads import Refusal, Upload

# Rows of a clip that stay in memory until all are there.
_MAX_ROWS_BYTES = 64 * 2**20


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """What it takes to answer an upload; its methods block, and are safe in several threads."""

    rounds: Rounds
    manifest: Manifest
    about: Mapping[str, Any]
    """Facts that stand in every answer."""
    limits: Limits = field(default_factory=Limits)
    decoder: sandbox.PictureDecoder = field(
        default_factory=lambda: sandbox.PictureDecoder(workers=1, timeout_s=15)
    )
    """For images; apart from the live one's, so that a large image holds nobody up."""

    def image(self, upload: Upload, top: int) -> bytes:
        """The answer to a JPEG, PNG or WebP.

        Raises Refusal for what is no picture, SourceUnreadable and its kin, RoundsFull,
        RoundsClosed, RoundFailed.
        """
        data = upload.file.read()
        try:
            picture_head(data)
        except SourceUnreadable as error:
            raise Refusal(415, "unsupported", str(error)) from None
        pixels = self.decoder.decode(data, self.limits.image_pixels)
        frame = Frame(pixels, 0.0, 0, upload.name)
        ((_, result),) = self.rounds.score([frame])
        row = live_json(
            replace(result, source=upload.name),
            self.rounds.units,
            (frame.width_px, frame.height_px),
            top,
        )
        told: dict[str, Any] = {
            name: row[name] for name in ("source", "size", "faces", "left_out") if name in row
        }
        return as_json({"schema": SCHEMA, **self.about, **told})

    def clip(self, upload: Upload, top: int, rows: bool, stop: threading.Event) -> bytes:
        """The answer to a video or an image of any kind that is read from strangers.

        Raises Refusal for what is no clip, SourceUnreadable for what turns out to be damaged,
        SourceTooLarge, Abandoned once `stop` is set, SourceTimeout after `limits.score_s`, and
        what rounds raise.
        """
        bounds = sandbox.Limits(
            max_bytes=self.limits.upload_bytes,
            max_pixels=self.limits.clip_pixels,
            max_duration_s=self.limits.clip_duration_s,
            max_frames=self.limits.clip_frames,
        )
        begun_s = time.monotonic()
        tally = TallySink()
        try:
            source = sandbox.open_untrusted(upload.file, bounds, name=upload.name)
        except SourceTooLarge:
            raise
        except SourceUnreadable as error:
            raise Refusal(415, "unsupported", str(error)) from None
        with source, ExitStack() as failed:
            count, told = _Count(source.rate_hz), _Rows(upload.name, top)
            sink = SettledSink([tally, count, *([told] if rows else [])], None)
            failed.callback(sink.abandon)
            sink.open(SinkInfo(source.name, source.size, source.rate_hz))
            for frame, result in self.rounds.score(source.frames()):
                if stop.is_set():
                    raise Abandoned
                if time.monotonic() - begun_s > self.limits.score_s:
                    raise SourceTimeout(
                        f"{upload.name} is not scored within {self.limits.score_s:g} s: "
                        "the service is busy, or the clip long; send a shorter one"
                    )
                sink.write(frame, result)
            sink.close()
            summary = count.summary(upload.name, time.monotonic() - begun_s, source.notes)
        clip = summary_json(summary, tally.faces(), top)
        head = as_json({"schema": SCHEMA, **self.about, "clip": clip})
        return head[:-1] + b',"rows":[' + b",".join(told.rows) + b"]}" if rows else head

    def close(self) -> None:
        """End the decoder."""
        self.decoder.close()


class _Rows:
    """The rows of a clip, in memory."""

    def __init__(self, name: str, top: int) -> None:
        self._name, self._top = name, top
        self.rows: list[bytes] = []
        self._bytes = 0

    def open(self, info: SinkInfo) -> None:
        """Nothing comes before the rows."""

    def write(self, frame: Frame, result: Result) -> None:
        """Add a row. Raises SourceTooLarge."""
        self.rows.append(as_json(replace(result, source=self._name).to_json(self._top)))
        self._bytes += len(self.rows[-1])
        if self._bytes > _MAX_ROWS_BYTES:
            raise SourceTooLarge(
                f"the rows of {self._name} are too many for one answer: "
                "ask with rows=false, or send a shorter clip"
            )

    def close(self) -> None:
        """They stay."""


class _Count:
    """The numbers of a clip."""

    def __init__(self, rate_hz: float | None) -> None:
        self._step_s = 1 / rate_hz if rate_hz else 0.0
        self._meter = Meter()
        self._ids: set[int] = set()
        self._frames = self._faces = self._left_out = 0
        self._last_s = 0.0

    def open(self, info: SinkInfo) -> None:
        """All is 0."""

    def close(self) -> None:
        """They stay."""

    def write(self, frame: Frame, result: Result) -> None:
        """Count a frame."""
        self._frames += 1
        self._faces += len(result.faces)
        self._left_out = max(self._left_out, result.left_out)
        self._ids.update(found.face.id for found in result.faces)
        self._last_s = frame.time_s
        self._meter.add_all(result.stages_ms)

    def summary(self, name: str, wall_s: float, notes: tuple[str, ...]) -> Summary:
        return Summary(
            source=name,
            frames=self._frames,
            faces=len(self._ids),
            faces_per_frame=self._faces / max(self._frames, 1),
            duration_s=self._last_s + self._step_s,
            wall_s=wall_s,
            drops={},
            stages=self._meter.stages(),
            latency=Histogram().times(),
            notes=(*notes, *left_out_notes(self._left_out)),
            interrupted=False,
        )


def as_json(content: Mapping[str, Any]) -> bytes:
    """Compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
