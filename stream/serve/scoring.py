"""An uploaded image or clip to the JSON that answers it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import SourceTimeout, SourceTooLarge, SourceUnreadable
from ..frame import Frame
from ..picture import picture_head
from ..pipeline import Pipeline
from ..report import summary_json
from ..result import SCHEMA, Result
from ..sandbox import untrusted as sandbox
from ..sinks.base import BaseSink, SinkInfo
from ..sinks.settled import SettledSink
from ..sinks.tally import TallySink
from ..sources.adapters import GivenFrames
from .guard import Limits
from .live import live_json
from .uploads import Refusal, Upload

# Rows of a clip that stay in memory until all are there.
_MAX_ROWS_BYTES = 64 * 2**20


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """What it takes to answer an upload; its methods block, and are safe in several threads."""

    pipeline: Pipeline
    about: Mapping[str, Any]
    """Facts that stand in every answer."""
    limits: Limits = field(default_factory=Limits)
    decoder: sandbox.PictureDecoder = field(
        default_factory=lambda: sandbox.PictureDecoder(workers=1, timeout_s=15)
    )
    """For images; apart from the live one's, so that a large image holds nobody up."""

    def image(self, upload: Upload, top: int) -> bytes:
        """The answer to a JPEG, PNG or WebP.

        Raises Refusal for what is no picture, SourceUnreadable and its kin, PipelineFull,
        PipelineClosed, FrameFailed.
        """
        data = upload.file.read()
        try:
            picture_head(data)
        except SourceUnreadable as error:
            raise Refusal(415, "unsupported", str(error)) from None
        pixels = self.decoder.decode(data, self.limits.image_pixels)
        picture = GivenFrames(upload.name, [Frame(pixels, 0.0, 0, upload.name)])
        with self.pipeline.score(picture, counted=True) as run:
            ((frame, result),) = run
        row = live_json(result, (frame.width_px, frame.height_px), top)
        told: dict[str, Any] = {
            name: row[name] for name in ("source", "size", "faces", "left_out") if name in row
        }
        return as_json({"schema": SCHEMA, **self.about, **told})

    def clip(self, upload: Upload, top: int, rows: bool, stop: threading.Event) -> bytes:
        """The answer to a video or an image of any kind that is read from strangers.

        Raises Refusal for what is no clip, SourceUnreadable for what turns out to be damaged,
        SourceTooLarge, Abandoned once `stop` is set, SourceTimeout after `limits.score_s`, and
        what a pipeline raises.
        """
        bounds = sandbox.Limits(
            max_bytes=self.limits.upload_bytes,
            max_pixels=self.limits.clip_pixels,
            max_duration_s=self.limits.clip_duration_s,
            max_frames=self.limits.clip_frames,
        )
        begun_s = time.monotonic()
        tally, told = TallySink(), _Rows(top)
        try:
            source = sandbox.open_untrusted(upload.file, bounds, name=upload.name)
        except SourceTooLarge:
            raise
        except SourceUnreadable as error:
            raise Refusal(415, "unsupported", str(error)) from None
        with source, ExitStack() as failed:
            sink = SettledSink([tally, *([told] if rows else [])], None)
            failed.callback(sink.abandon)
            sink.open(SinkInfo(source.name, source.size, source.rate_hz))
            with self.pipeline.score(source, counted=True) as run:
                for frame, result in run:
                    if stop.is_set():
                        raise Abandoned
                    if time.monotonic() - begun_s > self.limits.score_s:
                        raise SourceTimeout(
                            f"{upload.name} is not scored within {self.limits.score_s:g} s: "
                            "the service is busy, or the clip long; send a shorter one"
                        )
                    sink.write(frame, result)
            sink.close()
            (summary,) = run.summaries()
        people = tally.faces()
        clip = summary_json(replace(summary, faces=len(people)), people, top)
        head = as_json({"schema": SCHEMA, **self.about, "clip": clip})
        return head[:-1] + b',"rows":[' + b",".join(told.rows) + b"]}" if rows else head

    def close(self) -> None:
        """End the decoder."""
        self.decoder.close()


class _Rows(BaseSink):
    """The rows of a clip, in memory."""

    def __init__(self, top: int) -> None:
        self._top = top
        self.rows: list[bytes] = []
        self._bytes = 0

    def write(self, frame: Frame, result: Result) -> None:
        """Add a row. Raises SourceTooLarge."""
        self.rows.append(as_json(result.to_json(self._top)))
        self._bytes += len(self.rows[-1])
        if self._bytes > _MAX_ROWS_BYTES:
            raise SourceTooLarge(
                f"the rows of {result.source} are too many for one answer: "
                "ask with rows=false, or send a shorter clip"
            )


def as_json(content: Mapping[str, Any]) -> bytes:
    """Compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
