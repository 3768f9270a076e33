"""Pictures that a set holds more than once: byte for byte, or nearly.

Exact twins have the same digest of their bytes. Near twins have difference hashes (which of two
neighbouring cells of a 16 x 17 thumbnail is the brighter: 256 bits) at most 7 bits apart: copies
that were scaled, compressed or brightened, not two takes of one face. Two hashes so close agree
in at least one of eight 32-bit pieces, so only those that share a piece are compared, block by
block: 700,000 pictures take 22 MB of hashes, and not 245 billion comparisons.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from .faceset import FaceSet, Item
from .pixels import PICTURES, Picture

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
