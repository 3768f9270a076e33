"""`ferstream score` and `bench`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import SourceError
from .options import (
    AggregateOption,
    BlurOption,
    BundleOption,
    ColumnsOption,
    CroppedOption,
    CsvOption,
    EngineName,
    EngineOption,
    JsonlOption,
    JsonOption,
    MaxFacesOption,
    MinFaceOption,
    OverwriteOption,
    PurposeOption,
    RecursiveOption,
    RotateName,
    RotateOption,
    RowsName,
    RowsOption,
    ToOption,
    TopOption,
    TrackOption,
    VideoOption,
    WindowOption,
    complain,
    face_options,
    facts,
    leave,
    read_beside,
    recogniser,
    tell_skipped,
)

if TYPE_CHECKING:
    from .frame import Frame
    from .place import Place
    from .result import Result
    from .sinks.base import Sink


def score(
    clips: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP...", help="Videos, images, folders or patterns of them; or `sample`."
        ),
    ],
    bundle: BundleOption = "default",
    to: ToOption = None,
    jsonl: JsonlOption = None,
    csv: CsvOption = None,
    video: VideoOption = None,
    top: TopOption = 10,
    columns: ColumnsOption = None,
    rows: RowsOption = RowsName.frames,
    window_s: WindowOption = 10.0,
    min_face: MinFaceOption = 12.0,
    max_faces: MaxFacesOption = 100,
    rotate: RotateOption = RotateName.auto,
    cropped: CroppedOption = False,
    blur: BlurOption = False,
    aggregate_only: AggregateOption = False,
    purpose: PurposeOption = "",
    track: TrackOption = None,
    recursive: RecursiveOption = False,
    overwrite: OverwriteOption = False,
    engine: EngineOption = EngineName.auto,
    as_json: JsonOption = False,
) -> None:
    """Score clips: which emotion words fit each face, over time and over the clip."""
    if as_json and "-" in (*(to or ()), str(jsonl)):
        raise typer.BadParameter("--json and rows both want standard output: name a file for one")
    from .outputs import Outputs
    from .sources import clips_from, open_clip

    skipped: list[str] = []
    names = clips_from(clips, recursive=recursive, skipped=skipped)
    tell_skipped(skipped)
    outputs = Outputs(
        jsonl=jsonl,
        csv=csv,
        video=video,
        to=tuple(to or ()),
        top=top,
        columns=tuple(one.value for one in dict.fromkeys(columns or ())),
        rows=rows.value,
        window_s=window_s,
        blur=blur,
        aggregate_only=aggregate_only,
        overwrite=overwrite,
        inputs=read_beside(clips, bundle),
    )
    each = outputs.for_sources(names)
    # A single clip that cannot be read says so before the networks are loaded.
    first = open_clip(names[0], track) if len(names) == 1 else None

    from . import report
    from .interrupt import Stop, stopping_on_signals
    from .loop import run
    from .result import SCHEMA
    from .sinks.settled import SettledSink
    from .sinks.tally import TallySink

    documents: list[dict[str, Any]] = []
    failed = False
    stop = Stop()
    wanted = face_options(min_face, max_faces, rotate, cropped)
    with recogniser(bundle, engine, faces=wanted) as recognizer, stopping_on_signals(stop):
        about = facts(recognizer, purpose)
        for name, places in zip(names, each, strict=True):
            unfinished = [place.unfinished for place in places]
            clip = Path(name) if Path(name).is_file() else None
            tally = TallySink()
            try:
                source = first or open_clip(name, track)
                sinks: list[Sink] = [
                    *outputs.sinks(unfinished, complain, live=False, sound_of=clip),
                    tally,
                ]
                # What is read over the network may not come a second time.
                if clip is not None or name == "sample":
                    pictures = any(place.has_pictures for place in places)
                    again = partial(open_clip, name, track) if pictures else None
                    sinks = [SettledSink(sinks, again)]
                with _progress(name, source.duration_s) as on_result:
                    summary = run(
                        source,
                        recognizer,
                        sinks,
                        about=about,
                        stop=stop,
                        on_result=on_result,
                    )
            except SourceError as error:
                for place in places:
                    place.discard()
                if len(names) == 1:
                    raise
                failed = True
                documents.append(report.failure_json(name, error))
                complain(error)
                continue
            if summary.interrupted:
                _tell_unfinished(places)
            else:
                for place in places:
                    if not place.shared:
                        place.finish()
            summary = replace(summary, faces=len(tally.faces()))
            faces = None if aggregate_only else tally.faces()
            documents.append(report.summary_json(summary, faces, top))
            if not (as_json or outputs.on_standard_output):
                print(report.clip_text(summary, faces or [], top))
            if stop.is_set():
                break
    if not stop.is_set():
        outputs.finish([place for places in each for place in places])
    if as_json:
        print(json.dumps({"schema": SCHEMA, **about, "clips": documents}))
    leave(stop.status, failed)


def bench(
    clip: Annotated[str, typer.Argument(help="A video, or `sample`.")] = "sample",
    bundle: BundleOption = "default",
    engine: EngineOption = EngineName.auto,
    as_json: JsonOption = False,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds of decoding alone and the whole way.")
    ] = 3,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of each network; 0: as in other commands.")
    ] = 0,
) -> None:
    """Measure speed end to end: as fast as it goes, then at the clip's own pace."""
    from .sources import clips_from, open_source

    (name,) = clips_from([clip])[:1]
    open_source(name).close()

    from . import report
    from .bench import measure, since_process_start_s

    with recogniser(bundle, engine, threads or None) as recognizer:
        found = measure(lambda: open_source(name), recognizer, since_process_start_s, rounds)
        about = {**report.about(recognizer), "threads": threads or None}
    print(json.dumps({**found.to_json(), **about}) if as_json else report.bench_text(found))


def _tell_unfinished(places: Sequence[Place]) -> None:
    """Say where the outputs of a clip are that was not scored to its end."""
    parts = [place.unfinished.name for place in places if place.unfinished != place]
    if parts:
        complain(f"interrupted; what was written of it is in {', '.join(parts)}")


@contextmanager
def _progress(
    name: str, duration_s: float | None
) -> Iterator[Callable[[Frame, Result], None] | None]:
    """A bar on standard error while a clip is scored, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ferstream.engines.terminal import plain, plain_console

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as progress:
        task = progress.add_task(plain(Path(name).name), total=duration_s)
        yield lambda frame, result: progress.update(task, completed=frame.time_s)
