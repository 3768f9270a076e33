"""FER2013 and FER+: the csv files as they are handed out, and this project's packed form.

fer2013.csv (Goodfellow et al. 2013; Kaggle's "Challenges in Representation Learning"): columns
emotion, pixels (2,304 numbers), Usage (Training, PublicTest, PrivateTest); 0 anger, 1 disgust,
2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral. fer2013new.csv (Barsoum et al. 2016,
github.com/microsoft/FERPlus): the same rows in the same order, with Usage, Image name and ten
raters' votes. Both confirmed in FERPlus' own generate_training_data.py.

With the votes the measuring protocol is that of `training.datasets.fer`: votes for unknown and for
no face dropped, single votes dropped as noise, at least five of ten raters, the label is the
majority. The packed form leaves out twins across splits; the csv files have them, and `ferstream
data check` shows them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..fer import BASIC8, MIN_VOTES, SPLITS, load_fer_plus
from .errors import LabelError
from .faceset import Stack
from .layout import Found, Layout

_PIXELS, _VOTES = "fer2013.csv", "fer2013new.csv"
_SIDE_PX = 48
_USAGE = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
_PACKED = "fer2013plus"

Votes = npt.NDArray[np.int64]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            yield line, {(key or "").strip(): (value or "") for key, value in row.items()}


def _load(path: Path, lines: list[int]) -> npt.NDArray[np.uint8]:
    """The pixels of the rows at these lines, (N, 48, 48)."""
    wanted = set(lines)
    pixels = np.empty((len(lines), _SIDE_PX, _SIDE_PX), np.uint8)
    at = 0
    for line, row in _rows(path):
        if line in wanted:
            try:
                numbers = np.array(row["pixels"].split(), np.int64)
            except (ValueError, OverflowError):
                numbers = np.array([-1])
            if numbers.min() < 0 or numbers.max() > 255:
                raise LabelError(f"{path}:{line}: pixels are numbers from 0 to 255")
            pixels[at] = numbers.reshape(_SIDE_PX, _SIDE_PX)
            at += 1
    return pixels


def _read_csv(found: Found) -> None:
    pixels_csv, votes_csv = found.root / _PIXELS, found.root / _VOTES
    with_votes = found.layout.name == "fer+"
    for path in (pixels_csv, votes_csv)[: 1 + with_votes]:
        if not path.is_file():
            raise found.missing(path)
    all_votes = [_votes(found, line, row) for line, row in _rows(votes_csv)] if with_votes else []
    found.labels = BASIC8 if with_votes else _EMOTIONS
    lines: list[int] = []
    unrated = rows = 0
    for rows, (line, row) in enumerate(_rows(pixels_csv), start=1):
        where = f"{_PIXELS}:{line}"
        split = _USAGE.get(row.get("Usage", "").strip())
        if row.get("pixels", "").count(" ") != _SIDE_PX**2 - 1 or split is None:
            found.wrong("label", where, "no row of emotion, 2304 pixels and Usage")
            continue
        votes = all_votes[rows - 1] if rows <= len(all_votes) else None
        kept = _kept(votes) if with_votes else None
        label = int(np.argmax(kept)) if kept else _emotion(found, where, row, with_votes)
        if label is None:
            unrated += with_votes
            continue
        more = {"name": f"{_PIXELS}#{line}", "frames": (len(lines), len(lines) + 1), "votes": kept}
        found.add(pixels_csv, split, label, **more)
        lines.append(line)
    if with_votes and len(all_votes) != rows:
        what = f"{len(all_votes)} rows of votes for {rows} rows of {_PIXELS}"
        found.wrong("length", _VOTES, what)
    if unrated:
        found.notes.append(f"{unrated} photographs with fewer than {MIN_VOTES} votes left out")
    found.stack = Stack(lambda: _load(pixels_csv, lines))


def _emotion(found: Found, where: str, row: dict[str, str], with_votes: bool) -> int | None:
    """FER2013's own label; None where it is none, and for a row that has to have votes."""
    if with_votes:
        return None
    text = row.get("emotion", "").strip()
    if text.isdigit() and int(text) < len(_EMOTIONS):
        return int(text)
    found.wrong("label", where, f"emotion {text!r} is not one of 0 to 6")
    return None


def _kept(votes: Votes | None) -> tuple[int, ...] | None:
    """Votes without the single ones; None where there are too few."""
    if votes is None or votes.sum() < MIN_VOTES or votes.max() < 2:
        return None
    return tuple(int(count) for count in np.where(votes > 1, votes, 0))


def _votes(found: Found, line: int, row: dict[str, str]) -> Votes | None:
    """Votes for BASIC8 (8,), or None for a row that tells none."""
    try:
        return np.array([int(float(row[name])) for name in BASIC8])
    except (KeyError, ValueError):
        found.wrong("label", f"{_VOTES}:{line}", f"no votes in columns {', '.join(BASIC8)}")
        return None


def _read_packed(found: Found) -> None:
    root = _packed_root(found.root)
    found.labels = BASIC8
    parts: list[npt.NDArray[np.uint8]] = []
    for split in SPLITS:
        photographs = load_fer_plus(split, root)
        rated = photographs.subset(photographs.rated)
        found.notes.append(
            f"{split}: {len(photographs) - len(rated)} photographs with fewer than {MIN_VOTES} "
            "votes left out"
        )
        kept = np.where(rated.raw_votes > 1, rated.raw_votes, 0).astype(int)
        start = sum(len(part) for part in parts)
        for row, (votes, label) in enumerate(zip(kept.tolist(), rated.majority, strict=True)):
            place = {"name": f"{split}#{row}", "frames": (start + row, start + row + 1)}
            path = root / _PACKED / "labels.npz"
            found.add(path, split, int(label), votes=tuple(votes), **place)
        parts.append(rated.pixels)
    found.stack = Stack(lambda: np.concatenate(parts))


def _packed_root(root: Path) -> Path:
    return root.parent if root.name == _PACKED else root


def _is_packed(root: Path) -> bool:
    folder = _packed_root(root) / _PACKED
    return (folder / "labels.npz").is_file() and (folder / "pixels_a.npz").is_file()


FER2013 = Layout(
    "fer2013",
    "FER2013",
    f"{_PIXELS} with columns emotion, pixels, Usage",
    lambda root: (root / _PIXELS).is_file() and not (root / _VOTES).is_file(),
    _read_csv,
)
FER_PLUS = Layout(
    "fer+",
    "FER2013 with FER+ votes",
    f"{_PIXELS} (emotion, pixels, Usage) and {_VOTES} (Usage, Image name, ten columns of votes)",
    lambda root: (root / _PIXELS).is_file() and (root / _VOTES).is_file(),
    _read_csv,
)
PACKED = Layout(
    "fer+packed",
    "packed FER+ data",
    f"{_PACKED}/ with labels.npz, pixels_a.npz, pixels_b.npz and teacher.npz",
    _is_packed,
    _read_packed,
)
