"""`ferstream score`, `live` and `bench`."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import SinkError, SourceError

if TYPE_CHECKING:
    from .frame import Frame
    from .recognize import Recognizer
    from .result import Result
    from .sinks.base import Sink

_INTERRUPTED = 130


class EngineName(str, Enum):
    """What runs the networks."""

    auto = "auto"
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    tensorrt = "tensorrt"


BundleOption = Annotated[str, typer.Option(help="A bundle's folder, or `default`.")]
JsonlOption = Annotated[
    Path | None, typer.Option(help="Write JSON lines; a folder for several sources.")
]
CsvOption = Annotated[Path | None, typer.Option(help="Write CSV; a folder for several sources.")]
VideoOption = Annotated[
    Path | None, typer.Option(help="Write annotated video; a folder for several sources.")
]
TopOption = Annotated[int, typer.Option(min=1, max=135, help="Words per face.")]
EngineOption = Annotated[EngineName, typer.Option(help="What runs the networks.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, nothing else.")]


def score(
    clips: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP...", help="Videos, images, folders or patterns of them; or `sample`."
        ),
    ],
    bundle: BundleOption = "default",
    jsonl: JsonlOption = None,
    csv: CsvOption = None,
    video: VideoOption = None,
    top: TopOption = 10,
    engine: EngineOption = EngineName.auto,
    as_json: JsonOption = False,
) -> None:
    """Score clips: which emotion words fit each face, over time and over the clip."""
    from .outputs import Outputs
    from .sources import clips_from, open_source

    names = clips_from(clips)
    outputs = Outputs(jsonl, csv, video).for_sources(names)
    # A single clip that cannot be read says so before the networks are loaded.
    first = open_source(names[0]) if len(names) == 1 else None

    from . import report
    from .interrupt import stopping_on_signals
    from .loop import run
    from .sinks.tally import TallySink

    documents: list[dict[str, Any]] = []
    failed = False
    stop = threading.Event()
    with _recognizer(bundle, engine) as recognizer, stopping_on_signals(stop):
        facts = report.about(recognizer)
        manifest = recognizer.bundle.manifest
        for name, files in zip(names, outputs, strict=True):
            tally = TallySink(manifest.clip_frames, manifest.clip_duration_s)
            try:
                source = first or open_source(name)
                with _progress(name, source.duration_s) as on_result:
                    summary = run(
                        source,
                        recognizer,
                        [*files.sinks(top), tally],
                        about=facts,
                        stop=stop,
                        on_result=on_result,
                    )
            except SourceError as error:
                if len(names) == 1:
                    raise
                failed = True
                documents.append(report.failure_json(name, error))
                _complain(error)
                continue
            faces = tally.faces()
            documents.append(report.summary_json(summary, faces, top))
            if not as_json:
                print(report.clip_text(summary, faces, top))
            if stop.is_set():
                break
    if as_json:
        print(json.dumps({"schema": 1, **facts, "clips": documents}))
    _leave(stop.is_set(), failed)


def live(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Webcams (0, /dev/video0), rtsp:// or http:// addresses, clips at their pace.",
        ),
    ],
    bundle: BundleOption = "default",
    window: Annotated[
        bool | None,
        typer.Option("--window/--no-window", help="Show a window; default: if there is a display."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds.")
    ] = None,
    jsonl: JsonlOption = None,
    csv: CsvOption = None,
    video: VideoOption = None,
    top: TopOption = 10,
    engine: EngineOption = EngineName.auto,
    as_json: JsonOption = False,
) -> None:
    """Watch webcams, network cameras or clips live; q in the window or Ctrl-C ends."""
    from .outputs import Outputs
    from .sinks.window import WindowSink, check_display
    from .sources import open_live

    names = list(dict.fromkeys(sources))
    outputs = Outputs(jsonl, csv, video).for_sources(names)
    if window is not False:
        try:
            check_display()
            window = True
        except SinkError:
            if window:
                raise
            window = False

    from . import report
    from .interrupt import stopping_on_signals
    from .loop import Route, run_many
    from .sinks.lines import LinesSink

    stop = threading.Event()
    with _recognizer(bundle, engine) as recognizer, stopping_on_signals(stop):
        routes = []
        quitting = threading.Event()

        def leave() -> None:
            quitting.set()
            stop.set()

        for name, files in zip(names, outputs, strict=True):
            sinks: list[Sink] = list(files.sinks(top))
            if window:
                sinks.append(WindowSink(leave, min(top, 10)))
            elif not files.any and not as_json:
                sinks.append(LinesSink())
            routes.append(Route(open_live(name), sinks))
        facts = report.about(recognizer)
        summaries = run_many(routes, recognizer, about=facts, seconds=seconds, stop=stop)
    for summary in summaries:
        if not as_json:
            print(report.live_text(summary))
        if summary.failure is not None:
            _complain(summary.failure)
    if as_json:
        parts = [report.summary_json(summary) for summary in summaries]
        print(json.dumps({"schema": 1, **facts, "sources": parts}))
    failed = any(summary.failure is not None for summary in summaries)
    _leave(stop.is_set() and not quitting.is_set(), failed)


def bench(
    clip: Annotated[str, typer.Argument(help="A video, or `sample`.")] = "sample",
    bundle: BundleOption = "default",
    engine: EngineOption = EngineName.auto,
    as_json: JsonOption = False,
) -> None:
    """Measure speed end to end: as fast as it goes, then at the clip's own pace."""
    from .sources import clips_from, open_source

    (name,) = clips_from([clip])[:1]
    open_source(name).close()

    from . import report
    from .bench import measure, since_process_start_s

    with _recognizer(bundle, engine) as recognizer:
        found = measure(lambda: open_source(name), recognizer, since_process_start_s)
        facts = report.about(recognizer)
    print(json.dumps({**found.to_json(), **facts}) if as_json else report.bench_text(found))


@contextmanager
def _recognizer(bundle: str, engine: EngineName) -> Iterator[Recognizer]:
    """The recogniser, closed at the end."""
    from .recognize import Recognizer

    with Recognizer(bundle, engine.value) as recognizer:
        yield recognizer


@contextmanager
def _progress(
    name: str, duration_s: float | None
) -> Iterator[Callable[[Frame, Result], None] | None]:
    """A bar on standard error while a clip is scored, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(Path(name).name, total=duration_s)
        yield lambda frame, result: progress.update(task, completed=frame.time_s)


def _complain(error: Exception) -> None:
    """One line on standard error."""
    print(f"ferstream: {' '.join(str(error).split())}", file=sys.stderr)


def _leave(interrupted: bool, failed: bool) -> None:
    """Exit with the status that fits."""
    if interrupted:
        raise typer.Exit(_INTERRUPTED)
    if failed:
        raise typer.Exit(1)
