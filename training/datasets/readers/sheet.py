"""A contact sheet: the classes in rows, some faces of each, names and counts beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.engines.files import written_whole

from .errors import DataError, PictureError
from .faceset import FaceSet
from .pixels import VIDEOS, Picture

Canvas = npt.NDArray[np.uint8]

_PAPER, _INK, _FAINT, _GAP_INK = (250, 250, 248), (30, 30, 34), (125, 125, 130), (232, 232, 228)
_LARGE, _SMALL = cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_SIMPLEX
_SMALL_UNDER = 0.46
"""Sizes of text under which the bolder font's strokes run together."""
_MARGIN_PX, _GAP_PX = 24, 4
_ROWS_A_COLUMN = 36
_TRIES = 4
"""Where a picture cannot be read another is taken, so many times as many as are shown."""


@dataclass(frozen=True)
class SheetOptions:
    """How a contact sheet is drawn."""

    faces: int = 12
    """Of each class."""
    tile_px: int = 72
    seed: int = 0
    """Which faces are picked."""


@dataclass(frozen=True)
class _Row:
    name: str
    count: int
    pictures: list[Picture]


def draw_sheet(
    faces: FaceSet,
    options: SheetOptions | None = None,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> Canvas:
    """The sheet, RGB (H, W, 3); of a set of action units a row shows where the unit is on.

    `progress` is told how many rows are done. Raises DataError for a set without an item.
    """
    options = options or SheetOptions()
    if not faces.items:
        raise DataError(f"{faces.root} ({faces.layout}) has not one face to show")
    rng = np.random.default_rng(options.seed)
    groups = _groups(faces)
    picks = [rng.permutation(m)[: options.faces * _TRIES].tolist() for _, m in groups]
    held = _held(faces, [at for some in picks for at in some[: options.faces]])
    rows = []
    for (name, members), picked in zip(groups, picks, strict=True):
        rows.append(_Row(name, len(members), _pictures(faces, picked, options.faces, held)))
        progress(len(rows))
    return _drawn(_title(faces), rows, options)


def write_sheet(path: str | Path, sheet: Canvas) -> None:
    """Write it as PNG; the file appears only when whole. Raises DataError where it cannot be."""
    place = Path(path).expanduser()
    if place.suffix.lower() != ".png":
        raise DataError(f"{place}: a contact sheet is a .png")
    done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    try:
        with written_whole(place) as fresh:
            fresh.write_bytes(data.tobytes() if done else b"")
    except OSError as error:
        raise DataError(f"{place} cannot be written: {error.strerror}") from None


def row_count(faces: FaceSet) -> int:
    """How many rows a sheet has."""
    return len(_groups(faces))


def _groups(faces: FaceSet) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Rows' names and the positions of their items."""
    if faces.labels:
        index = faces.label_index
        return [(name, np.flatnonzero(index == at)) for at, name in enumerate(faces.labels)]
    on = faces.unit_labels > 0
    return [(name, np.flatnonzero(on[:, at])) for at, name in enumerate(faces.units)]


def _held(faces: FaceSet, picked: list[int]) -> dict[int, Picture] | None:
    """Where items are single frames of videos, the picked ones, each video decoded once; None
    for other sets, whose pictures are read one by one."""
    places = sorted(set(picked))
    videos = any(faces.items[at].path.suffix.lower() in VIDEOS for at in places)
    if faces.kind == "clips" or not videos:
        return None
    part = replace(faces, items=tuple(faces.items[at] for at in places))
    seen = zip(places, part.pictures(), strict=True)
    return {at: pixels for at, (_, pixels) in seen if not isinstance(pixels, Exception)}


def _pictures(
    faces: FaceSet, picked: list[int], most: int, held: dict[int, Picture] | None
) -> list[Picture]:
    if held is not None:
        return [held[at] for at in picked[:most] if at in held]
    found: list[Picture] = []
    for at in picked:
        if len(found) == most:
            break
        try:
            found.append(faces.picture(at))
        except PictureError:
            continue
    return found


def _title(faces: FaceSet) -> tuple[str, str]:
    what = "clips" if faces.kind == "clips" else "faces"
    counts = {split: sum(item.split == split for item in faces.items) for split in faces.splits}
    parts = [f"{count:,} {split}" for split, count in counts.items() if split != "all"]
    people = [f"{len(faces.subjects)} people"] if faces.subjects else []
    name = faces.root.name
    title = name if name == faces.layout else f"{name} ({faces.layout})"
    return title, ", ".join([f"{len(faces):,} {what}", *parts, *people])


def _drawn(title: tuple[str, str], rows: list[_Row], options: SheetOptions) -> Canvas:
    tile = options.tile_px
    text = max(tile / 150, 0.38)
    names_px = max(_text_px(row.name, text) for row in rows) + 28
    head_px = 84
    columns = -(-len(rows) // _ROWS_A_COLUMN)
    deep = -(-len(rows) // columns)
    faces_px = options.faces * (tile + _GAP_PX)
    column_px = names_px + faces_px + 2 * _MARGIN_PX
    titles_px = max(_text_px(title[0], 0.8), _text_px(title[1], 0.5)) + 2 * _MARGIN_PX
    width = max(columns * column_px, titles_px)
    sheet = np.full((head_px + deep * (tile + _GAP_PX) + _MARGIN_PX, width, 3), _PAPER, np.uint8)
    _write(sheet, title[0], _MARGIN_PX, 38, 0.8, _INK)
    _write(sheet, title[1], _MARGIN_PX, 64, 0.5, _FAINT)
    for at, row in enumerate(rows):
        x = at // deep * column_px + _MARGIN_PX
        y = head_px + at % deep * (tile + _GAP_PX)
        _write(sheet, row.name, x, y + tile // 2 - 2, text, _INK)
        _write(sheet, f"{row.count:,}", x, y + tile // 2 + round(36 * text), text * 0.8, _FAINT)
        for place in range(options.faces):
            left = x + names_px + place * (tile + _GAP_PX)
            if place < len(row.pictures):
                sheet[y : y + tile, left : left + tile] = _tile(row.pictures[place], tile)
            else:
                sheet[y : y + tile, left : left + tile] = _GAP_INK
    return sheet


def _tile(picture: Picture, side: int) -> Canvas:
    """The picture as a square, cut at its longer side."""
    if picture.ndim == 2:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
    height, width = picture.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = picture[top : top + short, left : left + short]
    how = cv2.INTER_AREA if short > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (side, side), interpolation=how), np.uint8)


def _text_px(text: str, size: float) -> int:
    return int(cv2.getTextSize(_plain(text), _font(size), size, 1)[0][0])


def _font(size: float) -> int:
    return int(_SMALL if size < _SMALL_UNDER else _LARGE)


def _plain(text: str) -> str:
    """OpenCV's font knows ASCII only."""
    return text.encode("ascii", "replace").decode()


def _write(
    sheet: Canvas, text: str, x: int, y: int, size: float, ink: tuple[int, int, int]
) -> None:
    cv2.putText(sheet, _plain(text), (x, y), _font(size), size, ink, 1, cv2.LINE_AA)
