"""Checks of a labelled set: what is wrong with it, and what it holds more than once.

Pictures that a set holds more than once: byte for byte, or nearly.

Exact twins have the same digest of their bytes. Near twins have difference hashes (which of two
neighbouring cells of a 16 x 17 thumbnail is the brighter: 256 bits) at most 7 bits apart: copies
that were scaled, compressed or brightened, not two takes of one face. Two hashes so close agree
in at least one of eight 32-bit pieces, so only those that share a piece are compared, block by
block: 700,000 pictures take 22 MB of hashes, and not 245 billion comparisons.

What is wrong with a set, found before anything is trained on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .errors import PictureError
from .faceset import FaceSet, Item, Problem
from .pixels import PICTURES, VIDEOS, Picture

NEAR_BITS = 7
_PIECES = 8
_SIDE = 16
_BLOCK = 1 << 20
_FLAT = 3.0
"""Standard deviation of grey levels under which a picture shows nothing to compare."""

Hashes = npt.NDArray[np.uint8]
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1).astype(np.uint8)


def digest(faces: FaceSet, item: Item) -> bytes | None:
    """Of the bytes of an item: its file, its folder's frames, its part of the stack; None for
    single frames of a video, and where a file is missing."""
    seen = hashlib.blake2b(digest_size=16)
    if faces.stack is not None:
        first, end = item.frames or (0, 0)
        seen.update(faces.stack.pixels[first:end].tobytes())
        return seen.digest()
    if item.frames is not None:
        return None
    try:
        for path in _files(item.path):
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    seen.update(block)
    except OSError:
        return None
    return seen.digest()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)


def difference_hash(picture: Picture) -> Hashes | None:
    """(32,) bytes; None for a picture without contrast."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    if small.std() < _FLAT:
        return None
    return np.packbits(small[:, 1:] > small[:, :-1])


def twins(digests: list[bytes | None]) -> list[list[int]]:
    """Groups of positions with equal digests, each of two and more."""
    groups: dict[bytes, list[int]] = {}
    for at, one in enumerate(digests):
        if one is not None:
            groups.setdefault(one, []).append(at)
    return [group for group in groups.values() if len(group) > 1]


def leaking(faces: FaceSet, groups: list[list[int]]) -> dict[int, int]:
    """Which items to leave out so that no twin is in two splits, and the twin that stays:
    test keeps its pictures, then validation, then training."""
    rank = {"test": 0, "validation": 1}
    out: dict[int, int] = {}
    for group in groups:
        if len({faces.items[at].split for at in group}) > 1:
            stays = min(group, key=lambda at: (rank.get(faces.items[at].split, 2), at))
            split = faces.items[stays].split
            out |= {at: stays for at in group if faces.items[at].split != split}
    return out


def near_pairs(
    hashes_N32: Hashes, keys_N: npt.NDArray[np.int64], bits: int = NEAR_BITS
) -> Iterator[tuple[int, int, int]]:
    """Pairs of positions with different keys whose hashes are at most `bits` (< 8) apart, and by
    how many bits; each pair once."""
    if bits >= _PIECES:
        raise ValueError(f"{bits} bits: fewer than {_PIECES}, or pairs would be missed")
    pieces = np.ascontiguousarray(hashes_N32).view(np.uint32)
    for piece in range(_PIECES):
        order = np.argsort(pieces[:, piece], kind="stable")
        values = pieces[order, piece]
        edges = np.flatnonzero(np.r_[True, values[1:] != values[:-1], True])
        for start in np.flatnonzero(np.diff(edges) > 1):
            group = order[edges[start] : edges[start + 1]]
            if len(np.unique(keys_N[group])) > 1:
                yield from _within(hashes_N32, pieces, keys_N, group, piece, bits)


def _within(
    hashes: Hashes,
    pieces: npt.NDArray[np.uint32],
    keys: npt.NDArray[np.int64],
    group: npt.NDArray[np.int64],
    piece: int,
    bits: int,
) -> Iterator[tuple[int, int, int]]:
    """Near pairs among positions that share a piece, some rows of the comparison at a time."""
    rows = max(_BLOCK // len(group), 1)
    for start in range(0, len(group), rows):
        part = group[start : start + rows]
        apart = np.zeros((len(part), len(group)), np.uint16)
        for byte in range(hashes.shape[1]):
            apart += _BITS[hashes[part, byte][:, None] ^ hashes[group, byte][None]]
        later = (start + np.arange(len(part)))[:, None] < np.arange(len(group))[None]
        close = (apart <= bits) & later & (keys[part][:, None] != keys[group][None])
        for row, column in np.argwhere(close):
            one, other = int(part[row]), int(group[column])
            if not (pieces[one, :piece] == pieces[other, :piece]).any():
                yield min(one, other), max(one, other), int(apart[row, column])


SHOWN = 1000
"""So many pairs of each sort are listed; all are counted."""
_WORKERS = 4
_AHEAD = 64

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Pair:
    """Two items that are, or nearly are, one picture."""

    first: str
    second: str
    across: str
    """"train / test" where they are in two splits, or their two labels where they are in one."""
    bits: int = 0
    """How far the hashes are apart; 0 and exact where the bytes are equal."""
    exact: bool = False


@dataclass
class Report:
    """What `check` found."""

    root: str
    layout: str
    kind: str
    items: int
    labels: tuple[str, ...]
    units: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    subjects: int
    notes: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Labels without a single item."""
    shared_people: list[str] = field(default_factory=list)
    """People who are in more than one split."""
    twins_in_a_split: int = 0
    """Items that have an exact twin before them in their own split, with the same label."""
    exact: list[Pair] = field(default_factory=list)
    exact_count: int = 0
    near: list[Pair] = field(default_factory=list)
    near_count: int = 0
    read: bool = False
    """Whether the pictures were read; the counts of unreadable and twins say nothing if not."""

    @property
    def ok(self) -> bool:
        """Nothing that would spoil a training: near twins, absent classes and people in several
        splits are to be judged, and leave it True."""
        return not self.problems and not self.exact_count

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"ok": self.ok, **asdict(self)}


def check(faces: FaceSet, *, read: bool = True, progress: Progress = lambda done: None) -> Report:
    """Look through a set (read with strict=False); `progress` is told how many items are done.

    With `read` every picture is decoded, and of every clip its middle frame; else only labels and
    files' places are looked at.
    """
    report = Report(
        str(faces.root),
        faces.layout,
        faces.kind,
        len(faces),
        faces.labels,
        faces.units,
        faces.counts(),
        len(faces.subjects),
        faces.notes,
        list(faces.problems),
    )
    totals = {name: 0 for name in faces.labels}
    for counts in report.counts.values():
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    report.absent = [name for name in faces.labels if not totals[name]]
    of_person: dict[str, set[str]] = {}
    for item in faces.items:
        of_person.setdefault(item.subject, set()).add(item.split)
    report.shared_people = sorted(p for p, splits in of_person.items() if p and len(splits) > 1)
    if read:
        _read_all(faces, report, progress)
    return report


def _read_all(faces: FaceSet, report: Report, progress: Progress) -> None:
    report.read = True
    digests: list[bytes | None] = []
    hashes: list[Hashes | None] = []
    for done, (one, other, problem) in enumerate(_looks(faces), start=1):
        digests.append(one)
        hashes.append(other)
        if problem is not None:
            report.problems.append(problem)
        progress(done)
    keys = _keys(faces)
    _exact(faces, report, digests)
    seen = np.array([at for at, one in enumerate(hashes) if one is not None], dtype=np.int64)
    if not len(seen):
        return
    known = np.stack([one for one in hashes if one is not None])
    for first, second, bits in near_pairs(known, keys[seen]):
        at, than = int(seen[first]), int(seen[second])
        if digests[at] is not None and digests[at] == digests[than]:
            continue
        report.near_count += 1
        if len(report.near) < SHOWN:
            report.near.append(_pair(faces, at, than, bits, exact=False))


Look = tuple[bytes | None, Hashes | None, Problem | None]


def _looks(faces: FaceSet) -> Iterator[Look]:
    """Digest, hash and what is wrong, of each item in order; files are read side by side."""
    one_by_one = faces.kind == "images" and any(
        item.frames is not None and item.path.suffix.lower() in VIDEOS for item in faces.items
    )
    if faces.stack is not None or one_by_one:
        for item, picture in faces.pictures():
            if isinstance(picture, Exception):
                yield None, None, Problem("unreadable", item.name, str(picture))
            else:
                yield digest(faces, item), difference_hash(picture), None
        return
    with ThreadPoolExecutor(_WORKERS) as pool:
        numbers = iter(range(len(faces)))
        while ahead := list(islice(numbers, _AHEAD)):
            yield from pool.map(lambda at: _look(faces, at), ahead)


def _look(faces: FaceSet, at: int) -> Look:
    item = faces.items[at]
    try:
        return digest(faces, item), difference_hash(faces.picture(at)), None
    except PictureError as error:
        return None, None, Problem("unreadable", item.name, str(error))


def _keys(faces: FaceSet) -> np.ndarray[Any, np.dtype[np.int64]]:
    """What must differ for a near pair to matter: the splits, or in a single split the labels."""
    if len(faces.splits) > 1:
        return np.array([faces.splits.index(i.split) for i in faces.items], dtype=np.int64)
    return faces.label_index


def _exact(faces: FaceSet, report: Report, digests: list[bytes | None]) -> None:
    for group in twins(digests):
        first = group[0]
        for other in group[1:]:
            same = faces.items[first].split == faces.items[other].split
            if same and faces.items[first].label == faces.items[other].label:
                report.twins_in_a_split += 1
                continue
            report.exact_count += 1
            if len(report.exact) < SHOWN:
                report.exact.append(_pair(faces, first, other, 0, exact=True))


def _pair(faces: FaceSet, one: int, other: int, bits: int, *, exact: bool) -> Pair:
    first, second = faces.items[one], faces.items[other]
    if first.split != second.split:
        across = f"{first.split} / {second.split}"
    else:
        names = ["" if i.label is None else faces.labels[i.label] for i in (first, second)]
        across = " / ".join(names)
    return Pair(first.name, second.name, across, bits, exact)
