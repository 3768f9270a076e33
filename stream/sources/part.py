"""A part of a source: every Nth frame, from one time to another, a region of the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..errors import PartInvalid, PartMissing
from ..frame import Frame
from .base import BaseSource, DerivedSource, Listener, Source, is_dense

Region = tuple[float, float, float, float]
"""x, y, width, height: shares of the picture where none is above 1, else pixels."""

LEAST_PX = 16
"""Narrower regions hold no face."""
_SLACK_S = 1e-6
# A declared length may be a little less than what there is.
_DECLARED_SLACK_S = 1.0


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a source is recognised. Raises PartInvalid for what means nothing."""

    stride: int = 1
    """Every so many-th frame, counted from the first of the part."""
    start_s: float = 0.0
    """The first time, seconds on a recording's clock, or since a live source's first frame."""
    end_s: float | None = None
    """The time before which it ends; None: where the source does."""
    region: Region | None = None
    """Where faces are looked for; None: all of the picture. Boxes stay those of the picture."""

    def __post_init__(self) -> None:
        if isinstance(self.stride, bool) or not isinstance(self.stride, int) or self.stride < 1:
            raise PartInvalid(f"stride {self.stride}: a whole number, 1 (every frame) or more")
        ends = [] if self.end_s is None else [("end", self.end_s)]
        for name, value in (("start", self.start_s), *ends):
            if not _is_number(value) or value < 0:
                raise PartInvalid(f"{name} {value}: seconds, 0 or more")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise PartInvalid(
                f"start {self.start_s:g} s and end {self.end_s:g} s: the end comes after the start"
            )
        if self.region is not None:
            _check_region(self.region)

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return not self.to_json()

    def of(self, source: Source) -> Source:
        """That part of a source. Raises PartMissing, the source closed, where it is known not to
        have it."""
        if self.is_all:
            return source
        try:
            return PartSource(source, self)
        except PartMissing:
            source.close()
            raise

    def region_px(self, size: tuple[int, int], name: str) -> tuple[int, int, int, int] | None:
        """The region of a picture of this width and height, pixels. Raises PartMissing."""
        if self.region is None:
            return None
        x, y, width, height = self.region
        if max(self.region) <= 1:
            left, right = (round(share * size[0]) for share in (x, x + width))
            top, bottom = (round(share * size[1]) for share in (y, y + height))
            x, y, width, height = left, top, right - left, bottom - top
        x, y, width, height = round(x), round(y), round(width), round(height)
        shown = ",".join(f"{value:g}" for value in self.region)
        if x + width > size[0] or y + height > size[1]:
            raise PartMissing(
                f"region {shown} reaches beyond the picture of {name}, which has {size[0]} x "
                f"{size[1]} pixels"
            )
        if min(width, height) < LEAST_PX:
            raise PartMissing(
                f"region {shown} has {width} x {height} pixels of {name}: {LEAST_PX} x "
                f"{LEAST_PX} at least"
            )
        return x, y, width, height

    def to_json(self) -> dict[str, Any]:
        """What differs from all of the source: plain types, for headers."""
        usual = {"stride": 1, "start_s": 0.0, "end_s": None, "region": None}
        chosen = {name: getattr(self, name) for name in usual}
        return {
            name: list(value) if name == "region" else value
            for name, value in chosen.items()
            if value != usual[name]
        }


def region_of(text: str) -> Region:
    """The region that a text such as "0.25,0,0.5,1" means. Raises PartInvalid."""
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 4:
        raise PartInvalid(f"region {text}: x,y,width,height in pixels, or in shares of 0 to 1")
    region = (values[0], values[1], values[2], values[3])
    _check_region(region)
    return region


class PartSource(DerivedSource):
    """The wanted frames of a source, their indices and times its own.

    A recording is decoded up to the part's end, from its beginning where `clock.skipped_before`
    finds no later place. Frames are whole pictures that say where faces are looked for.
    """

    def __init__(self, source: Source, part: Part) -> None:
        super().__init__(source)
        self._part = part
        self._note, self._closed = "", False
        length_s = source.duration_s
        if not source.live and length_s is not None and part.start_s > length_s + _DECLARED_SLACK_S:
            raise self._too_late(length_s)
        if source.size is not None:
            part.region_px(source.size, source.name)
        if part.start_s and isinstance(source, BaseSource):
            source.skip_to(part.start_s)

    @property
    def live(self) -> bool:
        """As the source."""
        return self._source.live

    @property
    def rate_hz(self) -> float | None:
        """The source's rate by the stride."""
        rate_hz = self._source.rate_hz
        return None if rate_hz is None else rate_hz / self._part.stride

    @property
    def duration_s(self) -> float | None:
        """Where the part ends on the source's clock."""
        known = [s for s in (self._source.duration_s, self._part.end_s) if s is not None]
        return min(known, default=None)

    @property
    def notes(self) -> tuple[str, ...]:
        """The source's notes, and whether it ended before the part does."""
        return (*self._source.notes, *([self._note] if self._note else []))

    def listen(self, on_event: Listener) -> None:
        """As the source."""
        self._source.listen(on_event)

    def frames(self) -> Iterator[Frame]:
        """The part's frames. Raises PartMissing where the source ends before it, or a picture is
        too small for the region."""
        part, source = self._part, self._source
        first_s = last_s = None
        wanted = 0
        restart = False
        for frame in source.frames():
            if first_s is None:
                first_s = frame.time_s if source.live else 0.0
            last_s = frame.time_s - first_s
            # The frame that says so may be left out.
            restart |= frame.restart
            if last_s < part.start_s - _SLACK_S:
                continue
            if part.end_s is not None and last_s >= part.end_s - _SLACK_S:
                return
            wanted += 1
            if (wanted - 1) % part.stride == 0:
                size = (frame.width_px, frame.height_px)
                region = part.region_px(size, self.name)
                dense = frame.dense and is_dense(self.rate_hz, self.duration_s)
                yield replace(frame, restart=restart, region=region, dense=dense)
                restart = False
        if last_s is None or self._closed:
            return
        if not wanted:
            raise self._too_late(last_s)
        step_s = 1 / source.rate_hz if source.rate_hz else 0.0
        if part.end_s is not None and last_s + step_s < part.end_s - 1e-3:
            self._note = (
                f"ends at {last_s + step_s:.2f} s, before the end of {part.end_s:g} s that was "
                "asked for"
            )

    def close(self) -> None:
        """Close the source."""
        self._closed = True
        self._source.close()

    def _too_late(self, length_s: float) -> PartMissing:
        return PartMissing(
            f"{self.name} ends at {length_s:.2f} s, before the start of {self._part.start_s:g} s: "
            "start earlier"
        )


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def _check_region(region: Region) -> None:
    shown = ",".join(str(value) for value in region) if isinstance(region, tuple | list) else region
    if not isinstance(region, tuple | list) or len(region) != 4 or not all(map(_is_number, region)):
        raise PartInvalid(f"region {shown}: x, y, width, height in pixels, or in shares of 0 to 1")
    x, y, width, height = region
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise PartInvalid(f"region {shown}: x and y from 0 on, width and height above 0")
    if max(region) <= 1 and (x + width > 1 + 1e-9 or y + height > 1 + 1e-9):
        raise PartInvalid(
            f"region {shown}: shares of the picture, x + width and y + height up to 1"
        )
