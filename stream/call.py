"""What `recognizer(source, ...)` does: any source, picture, or list of them, to results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ferstream.engines.labels import Labels

from .errors import FrameFailed, PartInvalid
from .faces.options import FaceOptions
from .frame import Frame, PictureFrame, picture_frame
from .result import Result
from .sources import open_source
from .sources.base import Source
from .sources.part import Part

if TYPE_CHECKING:
    from .memory import DetectedFaces
    from .pipeline import Pipeline
    from .recognize import Recognizer

AT_ONCE = 8
"""Pictures of a list that are scored in one batch."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a Recognizer.

    Sources are read one after the other through one pipeline, whose threads end with the iterator;
    pictures are read by themselves.
    """

    recognizer: Recognizer
    given: Any
    part: Part
    faces: FaceOptions
    streamed: bool
    """Whether results are taken one by one, so that there may be no end in sight."""
    pictures: bool | None
    """Whether results keep their pictures; None: those of single pictures, and all where they are
    taken one by one."""

    def results(self) -> Iterator[Result]:
        """The results, in the order of what was given. Raises what `Recognizer.__call__` says."""
        several = isinstance(self.given, list | tuple | Iterator)
        items = self.given if several else [self.given]
        among = len(items) if isinstance(items, list | tuple) else None
        batch: list[PictureFrame] = []
        seen = 0
        with ExitStack() as closing:
            pipeline: Pipeline | None = None
            for at, item in enumerate(items):
                if not _is_source(item):
                    seen += 1
                    if (seen - 1) % self.part.stride == 0:
                        batch.append(self._picture_frame(item, at, among))
                    if len(batch) == AT_ONCE:
                        yield from self._scored(batch)
                        batch = []
                    continue
                yield from self._scored(batch)
                batch = []
                if pipeline is None:
                    from .pipeline import Pipeline

                    pipeline = closing.enter_context(Pipeline(_Chosen(self.recognizer, self.faces)))
                yield from self._read(pipeline, _opened(item))
            yield from self._scored(batch)

    def _read(self, pipeline: Pipeline, opened: Source) -> Iterator[Result]:
        """The results of one source, which is closed."""
        with opened, self.part.of(opened) as source:
            if source.live and self.part.end_s is None and not self.streamed:
                raise PartInvalid(f"{source.name} has no end: say stream=True, or an end_s")
            # A single picture, but for clips that do not know their own rate.
            single = source.rate_hz is None and not source.live
            keep = self._keeps(self.streamed or single)
            whole: list[Result] = []
            with pipeline.score(source, strict=True) as run:
                try:
                    for frame, result in run:
                        kept = replace(result, picture=frame.pixels) if keep else result
                        if self.streamed:
                            yield kept
                        else:
                            whole.append(kept)
                except FrameFailed as error:
                    raise error.__cause__ or error from None
            ids = whole[-1].joined if whole else {}
            for result in whole:
                yield result.with_ids(ids)

    def _scored(self, batch: Sequence[PictureFrame]) -> Iterator[Result]:
        """The results of pictures."""
        results = self.recognizer.score_pictures(batch, self.faces) if batch else []
        for one, result in zip(batch, results, strict=True):
            yield replace(result, picture=one.frame.pixels) if self._keeps(True) else result

    def _keeps(self, usual: bool) -> bool:
        return usual if self.pictures is None else self.pictures

    def _picture_frame(self, item: object, at: int, among: int | None) -> PictureFrame:
        if self.part.start_s or self.part.end_s is not None:
            raise PartInvalid("start_s and end_s are for clips and cameras: a picture has no time")
        one = picture_frame(item, at, among)
        size = (one.frame.width_px, one.frame.height_px)
        region = self.part.region_px(size, one.name or one.frame.source)
        return one if region is None else one._replace(frame=replace(one.frame, region=region))


def _is_source(item: object) -> bool:
    """Whether something is to be opened, or is a source: no picture in memory."""
    if isinstance(item, str | os.PathLike):
        return True
    is_number = isinstance(item, int) and not isinstance(item, bool)
    return is_number or isinstance(item, Source)


def _opened(item: Any) -> Source:
    if isinstance(item, str | int):
        return open_source(item)
    if isinstance(item, os.PathLike):
        return open_source(os.fspath(item))
    source: Source = item
    return source


class _Chosen:
    """A Recognizer that looks for the faces of one call, as a pipeline takes it."""

    def __init__(self, recognizer: Recognizer, faces: FaceOptions) -> None:
        self._recognizer, self._faces = recognizer, faces

    @property
    def labels(self) -> Labels:
        """The Recognizer's."""
        return self._recognizer.labels

    def find_many(self, frames: Sequence[Frame]) -> list[DetectedFaces | Exception]:
        """Faces as the call wants them."""
        return self._recognizer.find_many(frames, self._faces)

    def score(self, detected: Sequence[DetectedFaces]) -> list[Result]:
        """As the Recognizer."""
        return self._recognizer.score(detected)

    def finish(self, source: str) -> list[Result]:
        """As the Recognizer."""
        return self._recognizer.finish(source)

    def forget(self, source: str) -> None:
        """As the Recognizer."""
        self._recognizer.forget(source)
