"""What every reader returns: labelled faces, as they lie on disk, their pixels unread.

N items, K labels, U action units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from .errors import LabelError, PictureError
from .pixels import USUAL_RATE_HZ, Picture, clip_length, item_frames, read_in_order, spread

Kind = Literal["images", "clips"]
SPLITS = ("train", "validation", "test", "all")
"""Names of splits; a set that is handed out without splits is one split, "all"."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled picture, or one labelled clip."""

    name: str
    """Unique in its set: the path below the set's folder, and #frame where that is not enough."""
    path: Path
    """A picture, a video file or a folder of frames; where the set has a stack, its file."""
    split: str = "all"
    label: int | None = None
    """Number among the set's labels; None where only action units or nothing is known."""
    votes: tuple[int, ...] | None = None
    """How many raters chose each label."""
    units: tuple[int, ...] | None = None
    """Action units: 1 on, -1 off, 0 unknown (paper 003, eq. 2)."""
    subject: str = ""
    pose: str = ""
    frames: tuple[int, int] | None = None
    """Which frames of the video or of the stack, the last one not included; None: all."""
    box: tuple[float, float, float, float] | None = None
    """x, y, width, height of the labelled face in the picture, where the set tells."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a set that a reader saw and went past."""

    kind: Literal["label", "length", "empty", "missing", "unreadable"]
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Stack:
    """Pixels of a set that lies in a few large files, read when first asked for."""

    def __init__(self, load: Callable[[], npt.NDArray[np.uint8]]) -> None:
        self._load = load
        self._pixels: npt.NDArray[np.uint8] | None = None

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """(F, H, W) grey."""
        if self._pixels is None:
            self._pixels = self._load()
        return self._pixels


@dataclass(frozen=True)
class FaceSet:
    """A labelled set. Picking a part of it (`split`, `where`) copies no pixels."""

    layout: str
    root: Path
    kind: Kind
    labels: tuple[str, ...]
    """The label map in order: an item's label is a position here. Emotions that the project
    knows have its names (anger, happiness), whatever the set calls them."""
    items: tuple[Item, ...]
    units: tuple[str, ...] = ()
    """Names of the action units, such as AU12."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out on purpose, and what else to know."""
    stack: Stack | None = field(default=None, compare=False)
    rate_hz: float | None = None
    """Frames per second of clips that are folders of frames, where it is known."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have items, in the order of SPLITS."""
        here = {item.split for item in self.items}
        return tuple(split for split in SPLITS if split in here)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The people, sorted; empty where the set does not say."""
        return tuple(sorted({item.subject for item in self.items} - {""}))

    @property
    def label_index(self) -> npt.NDArray[np.int64]:
        """(N,) labels; -1 where there is none."""
        return np.array([-1 if i.label is None else i.label for i in self.items], dtype=np.int64)

    @property
    def unit_labels(self) -> npt.NDArray[np.int8]:
        """(N, U) action units, 1 on, -1 off, 0 unknown."""
        unknown = (0,) * len(self.units)
        rows = [item.units or unknown for item in self.items]
        return np.array(rows, dtype=np.int8).reshape(len(rows), len(self.units))

    @property
    def targets(self) -> npt.NDArray[np.float32]:
        """(N, K) the votes as a distribution; one-hot where there are none, zeros without label."""
        rows = np.zeros((len(self), len(self.labels)), dtype=np.float32)
        for row, item in zip(rows, self.items, strict=True):
            if item.votes is not None and any(item.votes):
                row[:] = np.array(item.votes, dtype=np.float32) / sum(item.votes)
            elif item.label is not None:
                row[item.label] = 1
        return rows

    def counts(self) -> dict[str, dict[str, int]]:
        """Items per split and label; of a set of action units, how often each is on."""
        found: dict[str, dict[str, int]] = {}
        for split in self.splits:
            here = [item for item in self.items if item.split == split]
            if self.labels:
                tally = Counter(item.label for item in here)
                found[split] = {name: tally[at] for at, name in enumerate(self.labels)}
            else:
                on = self._with(here).unit_labels > 0
                found[split] = dict(zip(self.units, on.sum(0).tolist(), strict=True))
        return found

    def split(self, name: str) -> FaceSet:
        """One split. Raises LabelError where the set has none of that name."""
        if name not in self.splits:
            raise LabelError(
                f"{self.root} ({self.layout}) has no split {name!r}: it has "
                f"{', '.join(self.splits) or 'no faces at all'}"
            )
        return self.where(lambda item: item.split == name)

    def where(self, keep: Callable[[Item], bool]) -> FaceSet:
        """The items that `keep` wants."""
        return self._with(item for item in self.items if keep(item))

    def picture(self, index: int) -> Picture:
        """An item's pixels, RGB (H, W, 3) or grey (H, W) uint8; of a clip the middle frame.

        Raises PictureError where it cannot be read.
        """
        item = self.items[index]
        return self.clip(index, 1)[0][1] if self.kind == "clips" else self._frames(item)[0][1]

    def pictures(self) -> Iterator[tuple[Item, Picture | Exception]]:
        """All items in order with their pixels, or with the PictureError that reading ended in.

        Frames of one video that follow each other are decoded in one go.
        """
        if self.stack is not None or self.kind == "clips":
            for index, item in enumerate(self.items):
                try:
                    yield item, self.picture(index)
                except PictureError as error:
                    yield item, error
        else:
            yield from read_in_order(self.items)

    def clip(self, index: int, most: int) -> list[tuple[float, Picture]]:
        """At most so many frames of a clip, spread evenly over it, with their times in seconds.

        Raises PictureError where it cannot be read.
        """
        return self._frames(self.items[index], most)

    def clip_length(self, index: int) -> int:
        """How many frames a clip has; a video file is decoded for that."""
        item = self.items[index]
        if item.frames is not None:
            return item.frames[1] - item.frames[0]
        return clip_length(item.path)

    def _frames(self, item: Item, most: int = 1) -> list[tuple[float, Picture]]:
        if self.stack is None:
            return item_frames(item.path, item.frames, most, self.rate_hz)
        first, end = item.frames or (0, len(self.stack.pixels))
        chosen = spread(end - first, most)
        return [
            (at / (self.rate_hz or USUAL_RATE_HZ), self.stack.pixels[first + at]) for at in chosen
        ]

    def _with(self, items: Iterable[Item]) -> FaceSet:
        return replace(self, items=tuple(items))
