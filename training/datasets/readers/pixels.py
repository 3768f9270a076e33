"""Pixels of pictures, of video files and of folders of frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.errors import StreamError
from ferstream.stream.sources import open_source
from ferstream.stream.sources.image import decode_picture

from .errors import PictureError

if TYPE_CHECKING:
    from .faceset import Item

Picture = npt.NDArray[np.uint8]

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm")
VIDEOS = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".wmv", ".mpg", ".mpeg", ".m4v")
USUAL_RATE_HZ = 25.0
"""Taken for folders of frames whose rate nobody wrote down."""
_MAX_PIXELS = 200_000_000
"""A scanned photograph has fewer; a picture that claims more is damaged or a trap."""


def read_picture(path: Path) -> Picture:
    """RGB (H, W, 3), upright as its Exif says. Raises PictureError: one line with the cause."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{path} is missing") from None
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise PictureError(f"{path} is empty")
    if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
        return _common(path, data)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise PictureError(f"{path} is damaged, or no {path.suffix.lstrip('.')} picture")
    return np.asarray(decoded, np.uint8)


def _common(path: Path, data: bytes) -> Picture:
    if data.startswith(b"\x89PNG") and b"IEND" not in data[-64:]:
        raise PictureError(f"{path} is cut off")
    try:
        return decode_picture(data, _MAX_PIXELS)
    except StreamError as error:
        raise PictureError(f"{path}: {str(error).partition(':')[0]}") from None


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a folder of frames in the order of their numbers: 2 comes before 10."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in PICTURES and f.name[0] != "."]
    return sorted(files, key=lambda file: natural(file.name))


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that counts numbers as numbers."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def spread(length: int, most: int) -> list[int]:
    """At most so many of the positions 0..length-1, evenly: one is the middle, two are the ends."""
    if most == 1:
        return [length // 2] if length else []
    if length <= most:
        return list(range(length))
    return [round(at) for at in np.linspace(0, length - 1, most)]


def item_frames(
    path: Path, frames: tuple[int, int] | None, most: int, rate_hz: float | None
) -> list[tuple[float, Picture]]:
    """Frames of a picture, a video file or a folder of frames, with their times in seconds."""
    if path.is_dir():
        files = frame_files(path)
        first, end = frames or (0, len(files))
        if not files[first:end]:
            raise PictureError(f"{path} holds no frames")
        chosen = spread(len(files[first:end]), most)
        rate = rate_hz or USUAL_RATE_HZ
        return [(at / rate, read_picture(files[first + at])) for at in chosen]
    if path.suffix.lower() not in VIDEOS:
        return [(0.0, read_picture(path))]
    first, end = frames or (0, clip_length(path))
    wanted = {first + at for at in spread(end - first, most)}
    taken = []
    for at, time_s, pixels in video_frames(path):
        if at in wanted:
            taken.append((time_s, pixels))
        if at >= max(wanted, default=-1):
            break
    if len(taken) < len(wanted) or not taken:
        raise PictureError(f"{path} has no frame {max(wanted, default=0)}")
    return taken


def clip_length(path: Path) -> int:
    """How many frames a folder or a video file has; the file is decoded to count them."""
    if path.is_dir():
        return len(frame_files(path))
    return sum(1 for _ in video_frames(path))


def video_frames(path: Path) -> Iterator[tuple[int, float, Picture]]:
    """Number, time and RGB pixels of each frame of a video file. Raises PictureError."""
    try:
        with closing(open_source(str(path))) as source:
            for at, frame in enumerate(source.frames()):
                yield at, frame.time_s, frame.pixels
    except StreamError as error:
        raise PictureError(f"{path} cannot be played: {' '.join(str(error).split())}") from None


def read_in_order(items: Sequence[Item]) -> Iterator[tuple[Item, Picture | Exception]]:
    """Each item's picture, or the PictureError that reading it ended in.

    Frames of one video that stand in a row and ascend are decoded in one pass.
    """
    at = 0
    while at < len(items):
        item = items[at]
        if item.frames is None or item.path.suffix.lower() not in VIDEOS:
            try:
                yield item, read_picture(item.path)
            except PictureError as error:
                yield item, error
            at += 1
            continue
        end = at + 1
        while end < len(items) and _goes_on(items[end - 1], items[end]):
            end += 1
        yield from _of_one_video(items[at:end])
        at = end


def _goes_on(before: Item, item: Item) -> bool:
    return (
        item.path == before.path
        and item.frames is not None
        and before.frames is not None
        and item.frames[0] > before.frames[0]
    )


def _of_one_video(items: Sequence[Item]) -> Iterator[tuple[Item, Picture | Exception]]:
    waiting = list(reversed(items))
    failure: Exception | None = None
    try:
        for at, _, pixels in video_frames(items[0].path):
            while waiting and waiting[-1].frames is not None and waiting[-1].frames[0] == at:
                yield waiting.pop(), pixels
            if not waiting:
                return
    except PictureError as error:
        failure = error
    for item in reversed(waiting):
        frame = item.frames[0] if item.frames else 0
        yield item, failure or PictureError(f"{item.path} has no frame {frame}")
