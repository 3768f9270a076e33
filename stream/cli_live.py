"""`ferstream live`: cameras watched for as long as one likes."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import SinkError
from .faces.options import REMEMBER_S
from .options import (
    AggregateOption,
    BackendName,
    BackendOption,
    BlurOption,
    BundleOption,
    ColumnsOption,
    ConfidenceOption,
    CroppedOption,
    CsvOption,
    EndOption,
    FacesOption,
    JsonlOption,
    JsonOption,
    MaxFacesOption,
    MinFaceOption,
    OverwriteOption,
    PurposeOption,
    RecursiveOption,
    RegionOption,
    RememberOption,
    RotateName,
    RotateOption,
    RowsName,
    RowsOption,
    StartOption,
    StrideOption,
    ToOption,
    TopOption,
    TrackOption,
    VideoOption,
    WindowOption,
    complain,
    face_options,
    facts,
    leave,
    part_of,
    read_beside,
    recogniser,
    report_skipped,
)

if TYPE_CHECKING:
    from .formats import Place
    from .outputs import Notify, Outputs
    from .sinks.base import Sink
    from .sinks.prometheus import Metrics
    from .sources.base import SourceEvent


class CaptureName(str, Enum):
    """What decodes live sources."""

    auto = "auto"
    pyav = "pyav"
    gstreamer = "gstreamer"


class PolicyName(str, Enum):
    """Which frames are recognised."""

    auto = "auto"
    latest = "latest"
    every = "every"


def live(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Webcams (0, /dev/video0), rtsp:// or http(s):// addresses, gst:PIPELINE, clips "
            "at their pace, folders and patterns of them, a .streams file with one on each line, "
            "or `sample`.",
        ),
    ],
    bundle: BundleOption = "default",
    capture: Annotated[
        CaptureName, typer.Option(help="What decodes; auto: GStreamer for RTSP where it is.")
    ] = CaptureName.auto,
    policy: Annotated[
        PolicyName,
        typer.Option(help="latest: late frames are dropped; every: the source waits."),
    ] = PolicyName.auto,
    max_staleness: Annotated[
        float | None, typer.Option(min=0.0, help="Drop frames that waited longer, seconds.")
    ] = None,
    stall: Annotated[
        float, typer.Option(min=0.1, help="Open a source anew that is silent so long, seconds.")
    ] = 3.0,
    retries: Annotated[
        int | None, typer.Option(min=0, help="Attempts to reach a lost source; default: no end.")
    ] = None,
    latency_ms: Annotated[
        int, typer.Option(min=0, help="How long GStreamer waits for late RTSP packets.")
    ] = 0,
    show: Annotated[
        bool | None,
        typer.Option("--show/--no-show", help="Show a window; default: if there is a display."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds.")
    ] = None,
    to: ToOption = None,
    jsonl: JsonlOption = None,
    csv: CsvOption = None,
    video: VideoOption = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="[HOST:]PORT", help="Serve Prometheus metrics there, at /metrics."),
    ] = None,
    top: TopOption = 10,
    columns: ColumnsOption = None,
    rows: RowsOption = RowsName.frames,
    window_s: WindowOption = 10.0,
    min_face: MinFaceOption = 12.0,
    max_faces: MaxFacesOption = 100,
    faces: FacesOption = "auto",
    rotate: RotateOption = RotateName.auto,
    cropped: CroppedOption = False,
    stride: StrideOption = 1,
    start: StartOption = 0.0,
    end: EndOption = None,
    region: RegionOption = "",
    min_confidence: ConfidenceOption = 0.0,
    remember: RememberOption = REMEMBER_S,
    blur: BlurOption = False,
    aggregate_only: AggregateOption = False,
    purpose: PurposeOption = "",
    track: TrackOption = None,
    recursive: RecursiveOption = False,
    overwrite: OverwriteOption = False,
    backend: BackendOption = BackendName.auto,
    as_json: JsonOption = False,
) -> None:
    """Watch webcams, network cameras or clips live; q in the window or Ctrl-C ends."""
    from .outputs import Outputs
    from .process import few_arenas
    from .sources import open_live, sources_from

    few_arenas()
    part = part_of(stride, start, end, region, blur=blur, confidence=min_confidence)
    skipped: list[str] = []
    names = sources_from(sources, recursive=recursive, skipped=skipped)
    report_skipped(skipped)
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
        inputs=read_beside(sources, bundle),
    )
    if as_json and outputs.on_standard_output:
        raise typer.BadParameter("--json and rows both want standard output: name a file for one")
    each = outputs.for_sources(names)
    windowed = _windowed(show, aggregate_only)
    # A single source that is not there says so at once; of many, one may come later.
    opened = [
        part.of(
            open_live(
                name,
                capture=capture.value,
                retries=retries,
                stall_s=stall,
                latency_ms=latency_ms,
                strict_start=len(names) == 1,
                track=track,
            )
        )
        for name in names
    ]

    from . import report
    from .process import Stop, stopping_on_signals
    from .result import SCHEMA
    from .run import Route, run_many

    stop = Stop()

    def on_reader_gone(line: str) -> None:
        complain(line)
        stop.set()

    served = _served(metrics)
    wanted = face_options(min_face, max_faces, rotate, cropped, remember, min_confidence, faces)
    with recogniser(bundle, backend, faces=wanted) as recognizer, stopping_on_signals(stop):
        manifest = recognizer.bundle.manifest
        routes = []
        for source, places in zip(opened, each, strict=True):
            sinks = _sinks(outputs, places, served, on_reader_gone)
            if windowed:
                from .sinks.screen import WindowSink

                sinks.append(outputs.masked(WindowSink(stop.set, min(top, 10))))
            elif not (outputs.any or as_json or served):
                sinks.append(_on_terminal(outputs, on_reader_gone))
            routes.append(Route(source, sinks))
        # The times of live frames are a clock's that says nothing by itself.
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        about = {
            **facts(recognizer, purpose, part, wanted),
            "clock": {"time_s": time.monotonic(), "utc": now},
        }
        try:
            summaries = run_many(
                routes,
                recognizer,
                about=about,
                seconds=seconds,
                stop=stop,
                on_event=_StateLines(),
                policy=None if policy is PolicyName.auto else policy.value,
                max_staleness_s=max_staleness,
            )
        finally:
            outputs.finish([place for places in each for place in places])
            if served is not None:
                served.close()
    for summary in summaries:
        silent = as_json or outputs.on_standard_output
        if not silent and (summary.frames or summary.failure is None):
            print(report.live_text(summary, manifest.clip_duration_s))
        if summary.failure is not None:
            complain(summary.failure)
    if as_json:
        parts = [report.summary_json(summary) for summary in summaries]
        print(json.dumps({"schema": SCHEMA, **about, "sources": parts}))
    deliveries = [sink.delivery for route in routes for sink in route.sinks]
    lost = any(one is not None and (one.lost or one.failure) for one in deliveries)
    failed = lost or any(summary.failure is not None for summary in summaries)
    leave(stop.status, failed)


def _windowed(asked: bool | None, aggregate_only: bool) -> bool:
    """Whether to show windows. Raises `SinkError` where one was asked for and cannot be."""
    from .sinks.screen import check_display

    if aggregate_only:
        if asked:
            raise SinkError("a window shows single people: leave --show or --aggregate-only out")
        return False
    if asked is False:
        return False
    try:
        check_display()
    except SinkError:
        if asked:
            raise
        return False
    return True


def _served(address: str | None) -> Metrics | None:
    """The metrics, served at the address; None where none was given."""
    if address is None:
        return None
    from .sinks.prometheus import Metrics

    metrics = Metrics()
    metrics.serve(address)
    return metrics


def _sinks(
    outputs: Outputs,
    places: list[Place],
    metrics: Metrics | None,
    on_reader_gone: Notify,
) -> list[Sink]:
    """The sinks of one source."""
    sinks = outputs.sinks(places, complain, live=True, on_hang_up=on_reader_gone)
    if metrics is None:
        return sinks
    from .sinks.metrics_sink import MetricsSink

    deliveries = [one for sink in sinks if (one := sink.delivery) is not None]
    return [MetricsSink(metrics, deliveries), *sinks]


def _on_terminal(outputs: Outputs, on_reader_gone: Notify) -> Sink:
    """What is printed where nothing else was asked for."""
    if outputs.aggregate_only:
        from .formats import LINES, STANDARD_OUTPUT, Place

        place = Place(LINES, STANDARD_OUTPUT)
        (sink,) = outputs.sinks([place], complain, live=True, on_hang_up=on_reader_gone)
        return sink
    from .sinks.screen import LinesSink

    return LinesSink()


class _StateLines:
    """A line when a source is lost and tried again, and one when it is back.

    What ends a source is said at the end, by its summary.
    """

    def __init__(self) -> None:
        self._losses: dict[str, SourceEvent] = {}
        self._away: set[str] = set()

    def __call__(self, event: SourceEvent) -> None:
        from .sources.base import State

        name, loss = event.source, self._losses.pop(event.source, None)
        if event.state in (State.lost, State.stalled):
            self._losses[name] = event
        elif event.state is State.connecting and loss is not None and name not in self._away:
            complain(f"{loss.message or name} ({loss.code}); trying again")
            self._away.add(name)
        elif event.state is State.live and name in self._away:
            self._away.remove(name)
            complain(f"{name} is back")
