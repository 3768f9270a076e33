"""`ferstream score` and `bench`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from .faces.options import FaceOptions
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
    RotateName,
    RotateOption,
    RowsName,
    RowsOption,
    StartOption,
    StrideOption,
    SummaryOption,
    ToOption,
    TopOption,
    TrackOption,
    VideoOption,
    WindowOption,
    face_options,
    part_of,
    read_beside,
    recogniser,
    report_skipped,
    running_of,
)


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
    summary: SummaryOption = None,
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
    blur: BlurOption = False,
    aggregate_only: AggregateOption = False,
    purpose: PurposeOption = "",
    track: TrackOption = None,
    recursive: RecursiveOption = False,
    overwrite: OverwriteOption = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that score, each on a core; default: this one alone, or all cores "
            "of the cluster.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a batch that was stopped or killed; put its shards together.",
        ),
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Score the I-th of N shares of the clips; other runs score the others.",
        ),
    ] = "",
    on: Annotated[
        str,
        typer.Option(
            metavar="ray[:ADDRESS]",
            help="Score on a Ray cluster: `ray` starts one here, ray:auto and ray:HOST:PORT exist.",
        ),
    ] = "",
    backend: BackendOption = BackendName.auto,
    as_json: JsonOption = False,
) -> None:
    """Score clips: which emotion words fit each face, over time and over the clip."""
    if as_json and "-" in (*(to or ()), str(jsonl)):
        raise typer.BadParameter("--json and rows both want standard output: name a file for one")
    running = running_of(jobs, resume, shard, on)
    from .batch.command import score_all
    from .batch.remote import copied_here
    from .batch.task import Settings
    from .outputs import Outputs
    from .sources import clips_from

    part = part_of(stride, start, end, region, blur=blur, confidence=min_confidence)
    skipped: list[str] = []
    names = clips_from(clips, recursive=recursive, skipped=skipped)
    report_skipped(skipped)
    settings = Settings(
        bundle=bundle,
        backend=backend.value,
        purpose=purpose,
        track=track,
        part=part.to_json(),
        faces=asdict(
            face_options(
                *(min_face, max_faces, rotate, cropped),
                min_confidence=min_confidence,
                front_end=faces,
            )
        ),
        top=top,
        columns=tuple(one.value for one in dict.fromkeys(columns or ())),
        rows=rows.value,
        window_s=window_s,
        blur=blur,
        aggregate_only=aggregate_only,
    )
    outputs = Outputs(
        jsonl=jsonl,
        csv=csv,
        video=video,
        summary=summary,
        to=tuple(to or ()),
        aggregate_only=aggregate_only,
        overwrite=overwrite,
        inputs=read_beside(clips, bundle),
    )
    with copied_here(outputs, running) as (outputs, remote):
        score_all(names, settings, outputs, running, as_json=as_json, remote=remote)


def bench(
    clip: Annotated[str, typer.Argument(help="A video, or `sample`.")] = "sample",
    bundle: BundleOption = "default",
    backend: BackendOption = BackendName.auto,
    faces: FacesOption = "auto",
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
    from .report import measure, since_process_start_s

    wanted = FaceOptions(front_end=faces)
    with recogniser(bundle, backend, threads or None, wanted) as recognizer:
        found = measure(lambda: open_source(name), recognizer, since_process_start_s, rounds)
        about = {**report.about(recognizer), "threads": threads or None}
    print(json.dumps({**found.to_json(), **about}) if as_json else report.bench_text(found))
