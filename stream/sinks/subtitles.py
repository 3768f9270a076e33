"""Subtitles: the leading word of each face and its changes, WebVTT or SRT.

In WebVTT every face has cues of its own, which players stack. Many players of SRT show only one
cue at a time: there a cue holds a line per face, and cues never overlap. Cues are written as soon
as no earlier one can follow; the file is complete whenever the run ends.
"""

from __future__ import annotations

import html
import re
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from ..emotions import NEUTRAL, colour_of
from ..errors import SinkError
from ..frame import Frame
from ..result import Result
from .base import SHORT_NOTICE, BaseSink, SinkInfo, SinkOptions, WholeLines, notice_lines, suffix_of
from .episodes import Episode, Episodes, ShownEpisodes

_LONGEST_S = 20.0
"""A cue that goes on for longer is cut, so that it is on disk soon."""
_NOTICE_S = 2.5
_MOST_UNWRITTEN = 1_000_000


class SubtitleSink(BaseSink):
    """Writes a .vtt or .srt file; the times of a live source count from its first frame.

    Raises `SinkError` for another ending of the name.
    """

    def __init__(self, path: Path) -> None:
        suffix = suffix_of(path)
        if suffix not in _FORMATS:
            raise SinkError(f"{path} is no name for subtitles: end it with .vtt or .srt")
        self._path = path
        self._format = _FORMATS[suffix]()
        self._file: WholeLines | None = None
        self._episodes: ShownEpisodes | None = None
        self._waiting: list[Episode] = []
        self._unwritten = ""

    def open(self, info: SinkInfo) -> None:
        """Make the file and write its head."""
        self._episodes = ShownEpisodes(info, Episodes(longest_s=_LONGEST_S))
        self._file = WholeLines(self._path, self._format.head(info))

    def write(self, frame: Frame, result: Result) -> None:
        """Add one frame; write the cues that are final by now."""
        if self._file is None or self._episodes is None:
            raise ValueError("open the sink before writing to it")
        self._put(self._episodes.add(result), self._episodes.sure_s)

    def close(self) -> None:
        """Write the last cues, and close the file."""
        file = self._file
        if file is None or self._episodes is None:
            return
        try:
            self._put(self._episodes.finish(), None)
        finally:
            self._file = None
            file.close()

    def _put(self, ended: list[Episode], before_s: float | None) -> None:
        """Write what starts before this time; None for all."""
        assert self._file is not None
        waiting = [*self._waiting, *ended]
        waiting.sort(key=lambda episode: (episode.start_s, episode.face_id))
        text, self._waiting = self._format.cues(waiting, before_s)
        # What there was no room for comes with the next cues, as far as it is not too much.
        self._unwritten = (self._unwritten + text)[-_MOST_UNWRITTEN:]
        if self._unwritten:
            self._file.write(self._unwritten)
            self._unwritten = ""


class _Format(Protocol):
    """A format of subtitle files."""

    def head(self, info: SinkInfo) -> str:
        """The text before the cues."""

    def cues(self, waiting: list[Episode], before_s: float | None) -> tuple[str, list[Episode]]:
        """The final cues of episodes, in order, and the episodes that are still needed.

        No episode that starts before `before_s` can follow; None where none at all will.
        """


def _class(name: str) -> str:
    """A family as the name of a class of cues."""
    return re.sub(r"\W", "_", name)


class _Vtt:
    """WebVTT: a cue per face and episode, in the colour of its family."""

    def __init__(self) -> None:
        self._count = 0

    def head(self, info: SinkInfo) -> str:
        note = "\n".join(line.replace("-->", "->") for line in notice_lines(info))
        families = (*info.labels.words.families, *info.labels.basic.families, NEUTRAL)
        colours = "\n".join(
            "::cue(.{}) {{ color: rgb({}, {}, {}) }}".format(
                _class(name), *colour_of(name, info.labels)
            )
            for name in dict.fromkeys(families)
        )
        title = "WEBVTT - expressions as estimated by ferstream"
        return f"{title}\n\nNOTE\n{note}\n\nSTYLE\n{colours}\n\n"

    def cues(self, waiting: list[Episode], before_s: float | None) -> tuple[str, list[Episode]]:
        ready = [e for e in waiting if before_s is None or e.start_s <= before_s]
        return "".join(map(self._cue, ready)), waiting[len(ready) :]

    def _cue(self, episode: Episode) -> str:
        self._count += 1
        start, end = (_clock(time_s, ".") for time_s in (episode.start_s, episode.end_s))
        name = f"Face {episode.face_id}"
        words = html.escape(_words(episode), quote=False)
        colour = _class(NEUTRAL if episode.uncertain else episode.family or NEUTRAL)
        return f"{self._count}\n{start} --> {end}\n<v {name}><c.{colour}>{words}</c></v>\n\n"


class _Srt:
    """SRT: cues one after the other, a line per face; the notice is the first one's first line."""

    def __init__(self) -> None:
        self._count = 0
        self._written_s = 0.0
        self._notice = ""

    def head(self, info: SinkInfo) -> str:
        purpose = info.about.get("purpose")
        self._notice = _plain(f"[{SHORT_NOTICE}]" + (f" [{purpose}]" if purpose else ""))
        return ""

    def cues(self, waiting: list[Episode], before_s: float | None) -> tuple[str, list[Episode]]:
        if before_s is not None and before_s < _NOTICE_S:
            return "", waiting
        # Up to here everything is known: an end, or the start of an episode that still goes on.
        last_s = max([_NOTICE_S, *(e.end_s for e in waiting)])
        until_s = last_s if before_s is None else min(before_s, last_s)
        edges = {time_s for e in waiting for time_s in (e.start_s, e.end_s)}
        edges |= {self._written_s, _NOTICE_S, until_s}
        times_s = sorted(time_s for time_s in edges if self._written_s <= time_s <= until_s)
        text = "".join(self._cue(*between, waiting) for between in pairwise(times_s))
        self._written_s = max(self._written_s, until_s)
        return text, [e for e in waiting if e.end_s > self._written_s]

    def _cue(self, start_s: float, end_s: float, waiting: list[Episode]) -> str:
        shown = [e for e in waiting if e.start_s <= start_s and e.end_s >= end_s]
        lines = [_plain(_words(e)) for e in sorted(shown, key=lambda e: e.face_id)]
        if end_s <= _NOTICE_S:
            lines.insert(0, self._notice)
        start, end = _clock(start_s, ","), _clock(end_s, ",")
        if not lines or start == end:
            return ""
        self._count += 1
        return "\n".join([str(self._count), f"{start} --> {end}", *lines]) + "\n\n"


_FORMATS: dict[str, type[_Vtt] | type[_Srt]] = {".vtt": _Vtt, ".srt": _Srt}
SUFFIXES = tuple(_FORMATS)
"""Endings of the names that `SubtitleSink` takes."""


def _words(episode: Episode) -> str:
    """The text of an episode."""
    reading = f"uncertain ({episode.label}?)" if episode.uncertain else episode.label
    return f"Face {episode.face_id}: {reading}"


def _plain(text: str) -> str:
    """Text without what players of SRT take for markup, on one line."""
    table = str.maketrans({"<": "(", ">": ")", "{": "(", "}": ")", "\\": "/"})
    return re.sub(r"\s+", " ", text.replace("-->", "->").translate(table)).strip()


def _clock(time_s: float, point: str) -> str:
    """hh:mm:ss with milliseconds."""
    ms = max(0, round(time_s * 1000))
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def make(options: SinkOptions) -> SubtitleSink:
    """For `stream.formats`."""
    return SubtitleSink(options.path)
