"""A shard's arrays put together, written so that a file is whole or not there."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ferstream.engines.whole import written_whole

from .faceset import FaceSet, Item
from .finder import Crop
from .prepared import Arrays


def shard_arrays(
    part: FaceSet,
    kept: list[tuple[Item, list[Crop]]],
    dropped: list[tuple[str, str]],
    crop_px: int,
) -> Arrays:
    """The arrays of a shard: the items that are kept with their crops, the others with why."""
    crops = [crop for _, some in kept for crop in some]
    labels, units = len(part.labels), len(part.units)
    items = [item for item, _ in kept]

    def texts(values: list[str]) -> np.ndarray[Any, Any]:
        return np.array(values, dtype=str) if values else np.zeros(0, "<U1")

    return {
        "crops": np.array([c.pixels for c in crops], np.uint8).reshape(
            len(crops), crop_px, crop_px
        ),
        "landmarks": np.array([c.landmarks_xy for c in crops], np.float16).reshape(
            len(crops), 468, 2
        ),
        "times_s": np.array([c.time_s for c in crops], np.float32),
        "offset": np.cumsum([0, *(len(some) for _, some in kept)]).astype(np.int64),
        "name": texts([item.name for item in items]),
        "split": texts([item.split for item in items]),
        "subject": texts([item.subject for item in items]),
        "pose": texts([item.pose for item in items]),
        "label": np.array([-1 if i.label is None else i.label for i in items], np.int16),
        "votes": np.array([i.votes or (0,) * labels for i in items], np.uint8).reshape(
            len(items), labels
        ),
        "units": np.array([i.units or (0,) * units for i in items], np.int8).reshape(
            len(items), units
        ),
        "dropped": np.array(dropped, dtype=str).reshape(len(dropped), 2),
    }


def is_whole(path: Path) -> bool:
    """Whether a shard is there and can be read; a damaged one is made again."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False


def write_shard(path: Path, arrays: Arrays) -> None:
    """Write a shard; it appears only when whole and on disk."""
    with written_whole(path) as fresh, fresh.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_text(path: Path, text: str) -> None:
    """Write a small file; it appears only when whole."""
    with written_whole(path) as fresh:
        fresh.write_text(text, encoding="utf-8")
