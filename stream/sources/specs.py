"""What the words of a command line mean as sources: kinds of them, and lists of many."""

from __future__ import annotations

import glob
import ipaddress
import os
import re
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import SourceMissing, SourceUnreadable
from .base import is_address, with_variables, without_password

_VIDEOS = (
    "264 265 3g2 3gp apng asf avi divx dv f4v flv gif h264 h265 hevc ivf m2ts m2v m4v mjpeg mjpg "
    "mkv mov mp4 mpeg mpg mts mxf ogm ogv ts vob webm wmv y4m"
)
_IMAGES = "avif bmp heic heif hif jfif jpe jpeg jpg jp2 mpo pgm png ppm tif tiff webp"
MEDIA_SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_VIDEOS} {_IMAGES}".split())
"""What a folder of clips is searched for."""
LIST_SUFFIX = ".streams"
"""A text file with one source per line; empty lines and lines that begin with # are skipped.
Passwords in it are not in the list of processes."""
PIPELINE_PREFIX = "gst:"
"""What begins a GStreamer pipeline's description."""


def camera_device(spec: str) -> str | None:
    """The device of a webcam's number or /dev/videoN; None where `spec` is something else."""
    if re.fullmatch(r"\d+", spec) and not Path(spec).exists():
        return f"/dev/video{spec}"
    return spec if re.fullmatch(r"/dev/video\w+", spec) else None


def is_rtsp(spec: str) -> bool:
    """Whether `spec` is the address of an RTSP camera."""
    return re.match(r"rtsps?://", spec, re.I) is not None


def is_pipeline(spec: str) -> bool:
    """Whether `spec` describes a GStreamer pipeline."""
    return spec.startswith(PIPELINE_PREFIX)


def is_camera(spec: str) -> bool:
    """Whether `spec` is certainly a live source; an http(s) address can be a clip as well."""
    return camera_device(spec) is not None or is_rtsp(spec) or is_pipeline(spec)


def sources_from(
    specs: Sequence[str], *, recursive: bool = False, skipped: list[str] | None = None
) -> list[str]:
    """The sources that words of a command line mean, live ones and clips, each once, in order.

    Folders (with those in them where `recursive`), patterns and .streams files are expanded, p2
    before p10. `skipped` gets what lies in the folders and is no video or image by its name.
    Raises `SourceMissing` for a name, pattern or folder that yields nothing and `SourceUnreadable`
    for a list that cannot be read; an error in a list names its line.
    """
    search = _Search(recursive, [] if skipped is None else skipped)
    entries = (entry for spec in specs for entry in _entries(spec))
    return _each_once(name for where, spec in entries for name in search.at(where, spec))


def clips_from(
    specs: Sequence[str], *, recursive: bool = False, skipped: list[str] | None = None
) -> list[str]:
    """`sources_from` for scoring: raises `SourceUnreadable` for a camera, which has no end."""
    search = _Search(recursive, [] if skipped is None else skipped)
    clips: list[str] = []
    for spec in specs:
        for where, name in _entries(spec):
            if is_camera(name):
                shown = without_password(name)
                raise SourceUnreadable(f"{where}{shown} is a camera: use `ferstream live {shown}`")
            clips.extend(search.at(where, name))
    return _each_once(clips)


def natural(path: str | Path) -> list[tuple[bool, int, str]]:
    """A key by which numbers in names are sorted as numbers."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _each_once(names: Iterable[str]) -> list[str]:
    """Every source once, under the first of its names."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(os.path.realpath(name) if Path(name).is_file() else name, name)
    return list(first.values())


def _entries(spec: str) -> Iterator[tuple[str, str]]:
    """What stands in a list, each with where it stands; a spec that is no list is itself."""
    path = Path(spec)
    if path.suffix.lower() != LIST_SUFFIX or is_address(spec) or is_pipeline(spec):
        yield "", with_variables(spec)
        return
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        raise SourceMissing(f"no list of sources {spec}: check the name") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnreadable(f"{spec} cannot be read as a text of sources ({error})") from error
    entries = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    entries = [(number, line) for number, line in entries if line and not line.startswith("#")]
    if not entries:
        raise SourceMissing(f"no source in {spec}: write one on each line")
    for number, line in entries:
        where = f"{spec} line {number}: "
        if line.lower().endswith(LIST_SUFFIX) and not is_address(line):
            raise SourceUnreadable(f"{where}{line} is a list itself: name its sources here")
        yield where, with_variables(_from_list(path, line))


def _from_list(path: Path, line: str) -> str:
    """A line of a list; names of files are meant from the list's own folder."""
    if line == "sample" or is_address(line) or is_camera(line):
        return line
    return str(path.parent / line)


class _Search:
    """Finds what a word means; `skipped` gets what lies in folders and is not read."""

    def __init__(self, recursive: bool, skipped: list[str]) -> None:
        self._recursive, self._skipped = recursive, skipped

    def at(self, where: str, spec: str) -> list[str]:
        """One entry expanded; its failure names where it stands."""
        if spec == "sample" or is_address(spec) or is_camera(spec) or Path(spec).is_file():
            return [spec]
        if Path(spec).is_dir():
            return self._in_folder(where, Path(spec))
        if glob.has_magic(spec):
            found = [Path(name) for name in glob.glob(spec, recursive=True)]
            matches = sorted((str(path) for path in found if path.is_file()), key=natural)
            if not matches:
                raise SourceMissing(f"{where}nothing matches {spec}: check the pattern")
            return matches
        raise SourceMissing(f"{where}no file or folder {spec}: check the name")

    def _in_folder(self, where: str, folder: Path) -> list[str]:
        """Videos and images in a folder by name, those of its own folders after them."""
        clips = list(self._walk(folder))
        if not clips:
            more = "" if self._recursive else ", or --recursive for its folders"
            raise SourceMissing(
                f"{where}no video or image in the folder {folder}: name another{more}"
            )
        return clips

    def _walk(self, folder: Path) -> Iterator[str]:
        try:
            inside = sorted(folder.iterdir(), key=natural)
        except OSError as error:
            self._skipped.append(f"{folder} ({(error.strerror or str(error)).lower()})")
            return
        inside = [path for path in inside if not path.name.startswith(".")]
        for path in inside:
            if path.is_file() and path.suffix.lower() in MEDIA_SUFFIXES:
                yield str(path)
            elif not path.is_dir():
                self._skipped.append(str(path))
        for path in inside:
            # A link could lead back up.
            if path.is_dir() and self._recursive and not path.is_symlink():
                yield from self._walk(path)
            elif path.is_dir():
                self._skipped.append(f"{path}{os.sep}")


def own_names(more: Iterable[str] = ()) -> frozenset[str]:
    """localhost, the machine's own name, and those that were given."""
    return frozenset(("localhost", socket.gethostname().lower(), *(name.lower() for name in more)))


def is_known(host: str, names: Collection[str]) -> bool:
    """Whether a Host header is an address or one of these names, with a port or without."""
    try:
        parts = urlsplit(f"//{host}")
        plain = parts.netloc == host and "@" not in host and (parts.port or 1) > 0
    except ValueError:
        return False
    name = parts.hostname or ""
    return plain and (name in names or is_ip_address(name))


def is_ip_address(name: str) -> bool:
    """Whether this is an IPv4 or IPv6 address, no name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
