"""What a run writes, decided and checked before anything is loaded, and the sinks that do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .claims import Claim, files_of
from .errors import SinkError
from .place import STANDARD_OUTPUT, Kind, Place, places_for, stems
from .sinks.base import Sink, make_folder
from .sinks.columns import Columns
from .sinks.rows import FrameRows, RowMaker, RowSink

if TYPE_CHECKING:
    from .sinks.csv import CsvTable

Rows = Literal["frames", "events", "windows"]
Say = Callable[[str], None]

_FINISH_S = 120.0
_FOLDERS: tuple[tuple[str, Kind, str], ...] = (
    ("jsonl", "rows", ".jsonl"),
    ("csv", "csv", ".csv"),
    ("video", "video", ".mp4"),
)


@dataclass(frozen=True, slots=True)
class Outputs:
    """The places asked for, and how results are written there.

    `jsonl`, `csv` and `video` name a file, or a folder with more than one source, for which `csv`
    may also be one table; `to` holds any places that `stream.place` knows.
    """

    jsonl: Path | None = None
    csv: Path | None = None
    video: Path | None = None
    to: tuple[str, ...] = ()
    top: int = 10
    """Words per face."""
    columns: tuple[Columns, ...] = ()
    """What rows of frames and CSV tell beside."""
    rows: Rows = "frames"
    """What a row of JSON tells of."""
    window_s: float = 10.0
    """Length of a window, where rows tell of those."""
    blur: bool = False
    """Whether faces are masked in every picture that is written or shown."""
    aggregate_only: bool = False
    """Whether nothing is written that is about one person: rows of windows alone."""
    overwrite: bool = False
    """Whether files that exist are written anew."""
    inputs: tuple[str | Path, ...] = ()
    """What is read beside the sources, and not to be replaced: lists, the bundle's folder."""

    _tables: dict[str, CsvTable] = field(default_factory=dict, init=False, repr=False)
    _claims: list[Claim] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def any(self) -> bool:
        """Whether anything is to be written."""
        return any((self.jsonl, self.csv, self.video, self.to))

    @property
    def on_standard_output(self) -> bool:
        """Whether standard output belongs to rows."""
        return STANDARD_OUTPUT in (*self.to, str(self.jsonl))

    def for_sources(self, sources: Sequence[str]) -> list[list[Place]]:
        """The places of each source; makes folders and checks that files can be made.

        The files are this object's alone from then on: see `Claim`.

        Raises `SinkError`.
        """
        each = places_for(self.to, sources)
        several = len(sources) > 1
        for name, kind, suffix in _FOLDERS:
            path: Path | None = getattr(self, name)
            if path is None:
                continue
            in_folder = several and str(path) != STANDARD_OUTPUT
            if in_folder and kind == "csv" and path.suffix.lower() == ".csv" and not path.is_dir():
                table = Place(kind, str(path), shared=True)
                for places in each:
                    places.append(table)
                continue
            if in_folder:
                make_folder(path)
            for places, stem in zip(each, stems(sources), strict=True):
                target = path / f"{stem}{suffix}" if in_folder else path
                places.append(Place(kind, str(target)))
        for places in each:
            if len(set(places)) < len(places):
                raise SinkError(f"the same place twice: {', '.join(p.name for p in places)}")
            for place in places:
                if self.aggregate_only and place.kind != "rows":
                    raise SinkError(
                        f"{place.name} would tell of single people: with --aggregate-only only "
                        "rows are written, to .jsonl, -, tcp, http or mqtt"
                    )
        files = files_of(each, sources, self.inputs)
        for places in each:
            for place in places:
                place.check(self.overwrite)
        self._claims.clear()
        self._claims.extend(map(Claim, files))
        return each

    def sinks(
        self,
        places: Sequence[Place],
        say: Say,
        *,
        live: bool,
        on_hang_up: Say | None = None,
        sound_of: Path | None = None,
    ) -> list[Sink]:
        """The sinks for one source's places.

        Those of a live source, and those that reach over the network, work in threads of their
        own and never make the capture wait; `say` is told in one line where they fail, and
        `on_hang_up` instead where it is the reader of standard output who has gone. Annotated
        video has the sound of the clip `sound_of`.
        """
        hung_up = on_hang_up or say
        return [
            self._sink(
                place,
                hung_up if place.target == STANDARD_OUTPUT else say,
                live,
                partial(self._sink_of, place, sound_of),
            )
            for place in places
        ]

    def masked(self, sink: Sink) -> Sink:
        """A sink of pictures, given masked ones where that was asked for."""
        if not self.blur:
            return sink
        from .sinks.blur import BlurSink

        return BlurSink(sink)

    def maker(self) -> RowMaker:
        """What makes the rows."""
        if self.aggregate_only or self.rows == "windows":
            from .sinks.window_rows import AT_LEAST, WindowRows

            # Rows of frames would tell of single people anyway where they are not forbidden.
            return WindowRows(self.window_s, AT_LEAST if self.aggregate_only else 1)
        if self.rows == "events":
            from .sinks.event_rows import EventRows

            return EventRows(min(self.top, 3))
        return FrameRows(self.top, self.columns)

    def finish(self, tables: Sequence[Place]) -> None:
        """Close the tables of several sources, whole as they are by now, and give them their
        names. Raises `SinkError`."""
        for place in dict.fromkeys(place for place in tables if place.shared):
            for written in (place.unfinished, place):
                table = self._tables.pop(written.target, None)
                if table is not None:
                    table.close()
                    if written != place:
                        place.finish()

    def _sink(self, place: Place, say: Say, live: bool, make: Callable[[], Sink]) -> Sink:
        from .sinks.background import CLOSE_S, BackgroundSink

        if place.kind == "rows":
            from .sinks.target import row_writer

            writer = row_writer(place.target, on_failure=say, on_return=say)
            sink: Sink = RowSink(self.maker(), writer)
            if not (live and place.is_file):
                return sink
        else:
            sink = make()
            if place.has_pictures:
                sink = self.masked(sink)
            if not (live or place.kind == "rtsp"):
                return sink
        pixels = place.has_pictures
        # Pictures that the encoder still holds are written at the end, and a file is finished,
        # which takes as long as copying it.
        within_s = _FINISH_S if pixels and place.is_file else CLOSE_S
        return BackgroundSink(
            sink,
            name=place.name,
            pixels=pixels,
            on_failure=say,
            on_return=say,
            close_s=within_s,
        )

    def _sink_of(self, place: Place, sound_of: Path | None) -> Sink:
        """A sink that writes one of the kinds that are no rows."""
        path, shown = Path(place.target), min(self.top, 10)
        if place.kind == "csv":
            from .sinks.csv import CsvSink, CsvTable

            table = None
            if place.shared:  # of several sources
                table = self._tables.setdefault(place.target, CsvTable(path))
            return CsvSink(path, self.top, table, columns=self.columns)
        if place.kind == "subtitles":
            from .sinks.subtitles import SubtitleSink

            return SubtitleSink(path)
        if place.kind == "elan":
            from .sinks.elan import EafSink

            return EafSink(path)
        if place.kind == "boris":
            from .sinks.boris import BorisSink

            return BorisSink(path)
        if place.kind == "video":
            from .sinks.video import VideoSink

            return VideoSink(path, shown, sound_of)
        if place.kind == "hls":
            from .sinks.hls import HlsSink

            return HlsSink(path, shown)
        from .sinks.rtsp import RtspSink

        return RtspSink(place.target, shown)
