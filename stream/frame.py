"""A frame, the unit that travels from a source to a sink, and frames of callers' pictures.

Arrays, PIL images, encoded pictures and paths each become a checked frame of a source of its own.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np
from numpy.typing import NDArray

from .errors import SourceError, SourceUnreadable

if TYPE_CHECKING:
    from PIL import Image

    from .sources.base import Source


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture with its place in time; a bare array never travels alone.

    Frames of one source come in the order of their times and share faces, ids and clips. Where a
    time is not after the last one, motion and clips begin anew, and faces are known by their looks.
    """

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, C-contiguous, upright. Not to be written to. A sink that takes no pictures
    is given one black pixel for all."""
    time_s: float
    """Files: seconds from where the container begins, which sound may do before the pictures.
    Live: the monotonic clock at capture."""
    index: int
    """Place in the source's order, from 0; a gap means that frames were dropped."""
    source: str
    """Name of the source, free of passwords."""
    restart: bool = False
    """The first frame after a break (a camera that was lost and came back): motion and clips begin
    anew with it, and faces are known by their looks alone."""
    ahead: bool = False
    """Whether its reading may wait for what follows, as in a recording: see `stream.memory`."""
    dense: bool = False
    """Whether pictures follow each other within a fraction of a second, for a second or more: what
    is overlooked in one is found in the next."""
    region: tuple[int, int, int, int] | None = None
    """x, y, width, height in pixels: where faces are looked for. None: in all of the picture."""

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for pixels or a time that no network can take."""
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            what = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise TypeError(f"a frame of {what}: its pixels are a NumPy array of uint8, 0 to 255")
        if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"a frame of shape {pixels.shape}: (H, W, 3), RGB, at least one pixel")
        if not pixels.flags.c_contiguous and any(pixels.strides):  # one pixel for all is as good
            raise ValueError("a frame's pixels lie in one piece: numpy.ascontiguousarray(pixels)")
        if not math.isfinite(self.time_s):
            raise ValueError(f"a frame at {self.time_s} s: a number of seconds")

    @property
    def height_px(self) -> int:
        """Rows of the picture."""
        return int(self.pixels.shape[0])

    @property
    def width_px(self) -> int:
        """Columns of the picture."""
        return int(self.pixels.shape[1])


Picture = Union[
    Frame,
    "NDArray[Any]",
    "Image.Image",
    bytes,
    bytearray,
    memoryview,
    str,
    "os.PathLike[str]",
]
"""A frame; an array (H, W, 3) RGB, (H, W, 4) with transparency or (H, W) grey, uint8 or floats from
0 to 1; a PIL image; a picture file's bytes; its path."""

_ROUNDING = 1e-3
"""So far beyond 0 and 1 a float may lie: resizing and arithmetic do that."""
_numbers = count()


class PictureFrame(NamedTuple):
    """One picture as the networks take it."""

    frame: Frame
    name: str | None
    """What its result calls its source; None for a caller's own frame, whose source goes on."""


def picture_frames(pictures: Iterable[Picture]) -> Iterator[PictureFrame]:
    """Frames of pictures, one by one.

    Raises TypeError for what is no picture, ValueError for an array of another shape or range and
    for a clip, and a SourceError (`SourceUnreadable`, a ValueError, `SourceMissing`, a
    FileNotFoundError) for bytes and paths that hold none. Of several it says which.
    """
    items = pictures if isinstance(pictures, list | tuple) else list(pictures)
    for at, item in enumerate(items):
        yield picture_frame(item, at, len(items))


def picture_frame(item: object, at: int, among: int | None) -> PictureFrame:
    """The frame of one picture of a list.

    Args:
        at: its place in the list, from 0.
        among: length of the list; None: unknown.

    Raises as `picture_frames`.
    """
    try:
        return _picture_frame(item, at)
    except SourceError as error:
        error.args = (_placed(error, at, among),)
        raise
    except (TypeError, ValueError) as error:
        raise type(error)(_placed(error, at, among)) from None


def _placed(error: Exception, at: int, among: int | None) -> str:
    text = " ".join(str(error).split())
    if among == 1:
        return text
    return f"picture {at + 1}{f' of {among}' if among else ''}: {text}"


def _picture_frame(item: object, at: int) -> PictureFrame:
    if isinstance(item, Frame):
        return PictureFrame(item, None)
    name = f"picture {at + 1}"
    if isinstance(item, np.ndarray):
        pixels = rgb_of(item)
    elif isinstance(item, bytes | bytearray | memoryview):
        pixels = _decoded(bytes(item))
    elif isinstance(item, str | os.PathLike):
        name = str(os.fspath(item))
        pixels = _read(Path(name))
    else:
        pixels = _of_image(item)
    return PictureFrame(Frame(pixels, 0.0, at, f"\0picture-{next(_numbers)}"), name)


def rgb_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of an array as `Picture` describes it.

    Raises TypeError for another dtype, ValueError for another shape and for floats beyond 0..1.
    """
    shape, kind = array.shape, array.dtype
    if array.ndim == 4:
        raise ValueError(f"an array of shape {shape}: one picture has (H, W, 3); pass list(array)")
    if array.ndim == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        raise ValueError(
            f"an array of shape {shape}: channels come last, (H, W, 3); "
            "pass numpy.moveaxis(array, 0, -1)"
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise ValueError(
            f"an array of shape {shape}: a picture has (H, W, 3) RGB, (H, W, 4) or (H, W)"
        )
    if 0 in shape:
        raise ValueError(f"an array of shape {shape} holds no pixel")
    if kind.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("an array of floats with NaN or infinity: pixels are from 0 to 1")
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ValueError(
                f"an array of floats from {low:g} to {high:g}: pixels are from 0 to 1; "
                "divide by 255, or pass uint8"
            )
        array = np.rint(np.clip(array.astype(np.float32), 0, 1) * 255).astype(np.uint8)
    elif kind != np.uint8:
        raise TypeError(f"an array of {kind}: pixels are uint8, 0 to 255, or floats from 0 to 1")
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] == 4:  # on white, as pictures with transparency are shown
        share = array[..., 3:].astype(np.float32) / 255
        array = np.rint(array[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array)


def _of_image(item: object) -> NDArray[np.uint8]:
    """The pixels of a PIL image, upright."""
    from PIL import Image

    from .sources.image import DAMAGE, upright_rgb

    if not isinstance(item, Image.Image):
        raise TypeError(
            f"{type(item).__name__} is no picture: pass a NumPy array (H, W, 3), a PIL image, "
            "bytes, a path, a Frame, or a list of them"
        )
    if 0 in item.size:
        raise ValueError(f"a PIL image of {item.width} x {item.height} holds no pixel")
    try:
        return upright_rgb(item)
    except DAMAGE as error:
        raise SourceUnreadable(f"this PIL image cannot be read: {error}") from error


def _decoded(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a picture file's bytes; only Pillow reads them, as they may be untrusted."""
    from .sources.image import open_image, open_simple

    name = "this picture"
    file = io.BytesIO(data)
    source = open_image(file, name) or open_simple(file, name)
    if source is None:
        what = f"these {len(data)} bytes are" if data else "0 bytes are"
        raise SourceUnreadable(
            f"{what} no picture that can be read: JPEG, PNG, WebP, TIFF, AVIF, HEIC, GIF, BMP"
        )
    return _only(source)


def _read(path: Path) -> NDArray[np.uint8]:
    """The pixels of a picture file."""
    from .sources import pyav
    from .sources.image import open_picture

    return _only(open_picture(path) or pyav.open_file(path))


def _only(source: Source) -> NDArray[np.uint8]:
    """The only frame of a source, which is closed."""
    frames = source.frames()
    try:
        first = next(frames, None)
        if first is None:
            raise SourceUnreadable(f"{source.name} holds no picture that can be decoded")
        if next(frames, None) is not None:
            raise ValueError(
                f"{source.name} is a clip, no picture: for frame in open_source(path).frames()"
            )
        return first.pixels
    finally:
        frames.close()  # type: ignore[attr-defined]
        source.close()
