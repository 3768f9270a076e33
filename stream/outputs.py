"""Which files a run writes, decided and checked before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import SinkError
from .sinks.base import Sink, check_writable


@dataclass(frozen=True, slots=True)
class Outputs:
    """The places asked for; with more than one source each names a folder."""

    jsonl: Path | None = None
    csv: Path | None = None
    video: Path | None = None

    @property
    def any(self) -> bool:
        """Whether anything is to be written."""
        return any((self.jsonl, self.csv, self.video))

    def for_sources(self, sources: Sequence[str]) -> list[Outputs]:
        """One set of files per source; makes the folders and checks that files can be made.

        Raises `SinkError`.
        """
        if len(sources) == 1:
            each = [self]
        else:
            stems = _stems(sources)
            each = [
                Outputs(
                    self.jsonl and _inside(self.jsonl, f"{stem}.jsonl"),
                    self.csv and _inside(self.csv, f"{stem}.csv"),
                    self.video and _inside(self.video, f"{stem}.mp4"),
                )
                for stem in stems
            ]
        for source, outputs in zip(sources, each, strict=True):
            for path in filter(None, (outputs.jsonl, outputs.csv, outputs.video)):
                check_writable(path)
                if Path(source).exists() and path.exists() and path.samefile(source):
                    raise SinkError(f"{path} is the clip itself: name another file to write to")
        return each

    def sinks(self, top: int) -> list[Sink]:
        """The sinks that write these files; `top` words per face."""
        sinks: list[Sink] = []
        if self.jsonl:
            from .sinks.jsonl import jsonl_sink

            sinks.append(jsonl_sink(self.jsonl, top))
        if self.csv:
            from .sinks.csv import CsvSink

            sinks.append(CsvSink(self.csv, top))
        if self.video:
            from .sinks.video import VideoSink

            sinks.append(VideoSink(self.video, min(top, 10)))
        return sinks


def _inside(folder: Path, name: str) -> Path:
    """A file in a folder, which is made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SinkError(
            f"{folder} is a file, and there are several sources: name a folder"
        ) from error
    except OSError as error:
        raise SinkError(
            f"cannot make the folder {folder}: {(error.strerror or str(error)).lower()}"
        ) from error
    return folder / name


def _stems(sources: Sequence[str]) -> list[str]:
    """A file name without suffix for each source, all different."""
    plain = [re.sub(r"[^\w.-]+", "_", _name(source)).strip("_.") or "source" for source in sources]
    short = [Path(name).stem for name in plain]
    chosen: list[str] = []
    for name, stem in zip(plain, short, strict=True):
        candidate = stem if short.count(stem) == 1 else name
        number = 2
        while candidate in chosen:
            candidate = f"{name}-{number}"
            number += 1
        chosen.append(candidate)
    return chosen


def _name(source: str) -> str:
    """The last part of a path; host and path of an address, without user and password."""
    if "://" in source:
        return re.sub(r"^\w+://(?:[^@/]*@)?|[?#].*$", "", source)
    return Path(source).name or source
