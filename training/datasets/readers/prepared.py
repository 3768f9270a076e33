"""Prepared faces: aligned grey crops and their landmarks in a folder of shards.

    set.json             what it was made of and how, counts, fingerprint; `complete` when it is
    shard-00000.npz ...  arrays of one stretch of items; each file appears only when whole
    dropped.csv          every item that is not in it, and why

N items of a shard, F frames (one an item for pictures), L = 468 landmarks, K labels, U units.
Shard arrays: crops (F, px, px) uint8; landmarks (F, L, 2) float16, pixels of the crop;
times_s (F,); offset (N + 1,) where each item's frames begin; name, split, subject, pose (N,);
label (N,) int16, -1 for none; votes (N, K) uint8; units (N, U) int8; dropped (D, 2) name and why.

A shard's arrays put together, written so that a file is whole or not there.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.files import written_whole

from ..arrays import stored_arrays
from .errors import PreparedError
from .faceset import FaceSet, Item, Stack
from .finder import Crop
from .layout import Found, Layout

FORMAT = 1
SET, DROPPED = "set.json", "dropped.csv"
_COLUMNS = ("name", "split", "subject", "pose", "label", "votes", "units", "offset")

Arrays = dict[str, npt.NDArray[Any]]


def shard_path(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"shard-{number:05d}.npz"


def read_facts(folder: Path) -> dict[str, Any]:
    """What set.json says. Raises PreparedError where it cannot be used."""
    path = folder / SET
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise PreparedError(
            f"{folder} holds no prepared faces: make them with ferstream data prepare DIR {folder}"
        ) from None
    except ValueError:
        raise PreparedError(f"{path} is damaged: prepare the set again in a new folder") from None
    if facts.get("format") != FORMAT:
        raise PreparedError(
            f"{path} is of format {facts.get('format')!r}, this version reads {FORMAT}: "
            "prepare the set again"
        )
    return facts


@dataclass(frozen=True)
class Prepared:
    """Prepared faces, read when asked for; all of a column is held in memory then."""

    folder: Path
    facts: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Of the pixels, landmarks and labels: equal sets have equal ones."""
        return str(self.facts["fingerprint"])

    @property
    def crop_px(self) -> int:
        """Side of the crops."""
        return int(self.facts["options"]["crop_px"])

    @property
    def crops(self) -> npt.NDArray[np.uint8]:
        """(F, px, px) of all frames."""
        return self.stack.pixels

    @cached_property
    def landmarks(self) -> npt.NDArray[np.float16]:
        """(F, 468, 2) in pixels of the crop."""
        return self.column("landmarks")

    @cached_property
    def times_s(self) -> npt.NDArray[np.float32]:
        """(F,) seconds from the clip's beginning; zeros for pictures. Folders of frames, whose
        rate nobody wrote down, count as 25 a second."""
        return self.column("times_s")

    @cached_property
    def faces(self) -> FaceSet:
        """The set: items in order, their crops as its stack, `Item.frames` their frames there."""
        found = Found(self.folder, PREPARED)
        _fill(found, self)
        return found.faceset()

    @cached_property
    def stack(self) -> Stack:
        """The crops, unread."""
        return Stack(lambda: self.column("crops"))

    def column(self, name: str) -> npt.NDArray[Any]:
        """One array over all shards. Raises PreparedError where a shard is missing or damaged."""
        parts = [self.shard(number, name)[name] for number in range(self.facts["shards"])]
        return np.concatenate(parts)

    def shard(self, number: int, *names: str) -> Arrays:
        """These arrays of one shard."""
        path = shard_path(self.folder, number)
        try:
            return stored_arrays(path, names)
        except (OSError, ValueError) as error:
            raise PreparedError(f"{path} is missing or damaged: prepare the set again") from error


def load_prepared(folder: str | Path) -> Prepared:
    """Open what `ferstream data prepare` made.

    Raises PreparedError where there is nothing, or where it was not finished.
    """
    place = Path(folder).expanduser().resolve()
    facts = read_facts(place)
    if not facts.get("complete"):
        raise PreparedError(
            f"{place} is not finished: run the same ferstream data prepare again, it goes on"
        )
    return Prepared(place, facts)


def _fill(found: Found, prepared: Prepared) -> None:
    facts = prepared.facts
    found.labels, found.units = tuple(facts["labels"]), tuple(facts["units"])
    found.stack, found.kind = prepared.stack, facts["kind"]
    found.notes.append(f"prepared from {facts['about']}, crops of {prepared.crop_px} pixels")
    start = 0
    for number in range(facts["shards"]):
        columns = prepared.shard(number, *_COLUMNS)
        votes, units = columns["votes"], columns["units"]
        offset = columns["offset"].astype(int)
        for at, name in enumerate(columns["name"].tolist()):
            label = int(columns["label"][at])
            found.add(
                shard_path(prepared.folder, number),
                str(columns["split"][at]),
                label if label >= 0 else None,
                name=name,
                votes=tuple(votes[at].tolist()) if votes[at].any() else None,
                units=tuple(units[at].tolist()) if units.shape[1] else None,
                subject=str(columns["subject"][at]),
                pose=str(columns["pose"][at]),
                frames=(start + int(offset[at]), start + int(offset[at + 1])),
            )
        start += int(offset[-1])


def _read(found: Found) -> None:
    prepared = load_prepared(found.root)
    _fill(found, prepared)


PREPARED = Layout(
    "prepared",
    "prepared faces",
    f"{SET} and shard-*.npz, as ferstream data prepare makes them",
    lambda root: (root / SET).is_file() and shard_path(root, 0).is_file(),
    _read,
)


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
