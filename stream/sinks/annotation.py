"""Annotation files: one document, kept in memory and rewritten as a whole now and then.

They are meant for clips and hours, not for months: every episode is kept until the end, some
hundred bytes for each change of a face's expression.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ..frame import Frame
from ..result import Result
from .base import BaseSink, SinkInfo, write_failure, write_whole
from .episodes import Episode, Episodes, ShownEpisodes

_SAVE_EVERY_S = 5.0
_SAVE_SHARE = 0.05
"""The document is written again after this share of its own length: long ones more rarely."""


class Document(Protocol):
    """A format of annotation files."""

    def text(self, info: SinkInfo, episodes: list[Episode], length_s: float) -> str:
        """The document for these episodes, in the order of their starts."""


class AnnotationSink(BaseSink):
    """Writes a document of a source's episodes; the file is complete at every moment.

    Where the program is killed, the last seconds are missing.
    """

    def __init__(self, path: Path, document: Document) -> None:
        self._path = path
        self._document = document
        self._info: SinkInfo | None = None
        self._shown: ShownEpisodes | None = None
        self._episodes: list[Episode] = []
        self._first_s: float | None = None
        self._length_s = 0.0
        self._due_s = _SAVE_EVERY_S

    def open(self, info: SinkInfo) -> None:
        """Write a document without episodes."""
        self._info, self._shown = info, ShownEpisodes(info, Episodes())
        self._save()

    def write(self, frame: Frame, result: Result) -> None:
        """Add one frame; rewrite the document where that is due."""
        if self._shown is None:
            raise ValueError("open the sink before writing to it")
        if self._first_s is None:
            assert self._info is not None
            self._first_s = result.time_s if self._info.live else 0.0
        self._keep(self._shown.add(result))
        self._length_s = result.time_s - self._first_s
        if self._length_s >= self._due_s:
            # What goes on is written as if it ended here; a copy, for in truth it goes on.
            self._save(deepcopy(self._shown).finish())
            self._due_s = self._length_s + max(_SAVE_EVERY_S, _SAVE_SHARE * self._length_s)

    def close(self) -> None:
        """Write the final document."""
        if self._shown is None:
            return
        self._keep(self._shown.finish())
        self._shown = None
        self._save()

    def _keep(self, ended: list[Episode]) -> None:
        self._episodes += [replace(episode, top=(), mean=None) for episode in ended]

    def _save(self, going_on: Sequence[Episode] = ()) -> None:
        """Write the document, with the episodes that go on as if they ended here."""
        assert self._info is not None
        episodes = [*self._episodes, *(replace(episode, top=()) for episode in going_on)]
        episodes.sort(key=lambda episode: (episode.start_s, episode.face_id))
        text = self._document.text(self._info, episodes, self._length_s)
        try:
            write_whole(self._path, text.encode())
        except OSError as error:
            raise write_failure(self._path, error) from error


def media_file(info: SinkInfo) -> Path | None:
    """The file that an annotation is of: the source, if that is a file."""
    try:
        is_file = Path(info.source).is_file()
    except OSError:
        return None
    return Path(os.path.abspath(info.source)) if is_file else None


def mime_type(media: Path) -> str:
    """The MIME type of a file, by its name."""
    return mimetypes.guess_type(media.name)[0] or "video/*"


def relative_url(media: Path, document: Path) -> str:
    """The media file's URL relative to the document, so that both can be moved together."""
    relative = os.path.relpath(media, document.absolute().parent).replace(os.sep, "/")
    return relative if relative.startswith(".") else f"./{relative}"
