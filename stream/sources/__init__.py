"""Where frames come from: one word opens any source."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import SourceMissing, SourceUnreadable
from .base import Source, is_address, without_password

__all__ = ["Source", "clips_from", "open_live", "open_source", "without_password"]

_VIDEOS = "3gp avi flv gif m2ts m4v mjpeg mkv mov mp4 mpeg mpg mts ogv ts webm wmv y4m"
_IMAGES = "bmp jpeg jpg png ppm tif tiff webp"
MEDIA_SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_VIDEOS} {_IMAGES}".split())
"""What a folder of clips is searched for."""


def open_source(spec: str | int | Path) -> Source:
    """Open a source.

    `spec` is "sample", the path of a video or image, a webcam's number or /dev/videoN, or an
    rtsp://, http:// or https:// address. Raises a `SourceError` that says what to do.
    """
    from . import pyav

    text = str(spec)
    if text == "sample":
        from .sample import SampleSource

        return SampleSource()
    if is_address(text):
        return pyav.open_address(text)
    if re.fullmatch(r"\d+", text) and not Path(text).exists():
        return pyav.open_camera(f"/dev/video{text}")
    if re.fullmatch(r"/dev/video\w+", text):
        return pyav.open_camera(text)
    return pyav.open_file(Path(text))


def open_live(spec: str | int | Path) -> Source:
    """Open a source as a live one: cameras are reopened when lost, files play at their pace."""
    from .paced import PacedSource
    from .reopening import ReopeningSource

    source = open_source(spec)
    if source.live:
        return ReopeningSource(source, lambda: open_source(spec))
    return PacedSource(source)


def clips_from(specs: Sequence[str]) -> list[str]:
    """The clips that words of a command line mean: folders and globs expanded, in order.

    Raises `SourceMissing` for a pattern or folder that yields nothing, `SourceUnreadable` for a
    camera, which has no end to be scored.
    """
    clips: list[str] = []
    for spec in specs:
        if spec == "sample" or is_address(spec) or Path(spec).is_file():
            clips.append(spec)
        elif Path(spec).is_dir():
            clips.extend(_clips_in(Path(spec)))
        elif glob.has_magic(spec):
            found = [Path(name) for name in glob.glob(spec, recursive=True)]
            matches = sorted(str(path) for path in found if path.is_file())
            if not matches:
                raise SourceMissing(f"nothing matches {spec}: check the pattern")
            clips.extend(matches)
        elif re.fullmatch(r"\d+|/dev/video\w+", spec):
            raise SourceUnreadable(f"{spec} is a camera: use `ferstream live {spec}`")
        else:
            raise SourceMissing(f"no file or folder {spec}: check the name")
    return list(dict.fromkeys(clips))


def _clips_in(folder: Path) -> list[str]:
    """Videos and images directly in a folder, by name."""
    names = sorted(path for path in folder.iterdir() if path.suffix.lower() in MEDIA_SUFFIXES)
    clips = [str(path) for path in names if path.is_file()]
    if not clips:
        raise SourceMissing(f"no video or image in the folder {folder}: name another")
    return clips
