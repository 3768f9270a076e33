"""The commands of the training side: train, evaluate, export, compare."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ferstream.engines.terminal import plain_console

from .cli_systems import SystemGroup

app = typer.Typer(
    cls=SystemGroup,
    no_args_is_help=True,
    help="Train the default bundle, or one of the papers' systems.",
)

Run = Annotated[Path, typer.Option(help="Folder of this training; a stopped one goes on there.")]
Data = Annotated[
    str | None, typer.Option(help="Data folder; else FERSTREAM_DATA, else ../shared/data.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Instead of the default number.")]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]


def _chosen(options: Any, epochs: int | None, seed: int) -> Any:
    return replace(options, seed=seed, **({"epochs": epochs} if epochs else {}))


@app.command()
def landmarks(
    run: Run = Path("runs/front/landmarks"),
    faces: Annotated[
        Path, typer.Option(help="Folder that `ferstream data landmarks` made.")
    ] = Path("runs/front/faces"),
    epochs: Epochs = None,
    seed: Seed = 0,
    start: Annotated[str, typer.Option(help="Run whose weights it begins with.")] = "",
) -> None:
    """The project's own landmark network, on points of MediaPipe's mesh and of the 3D face."""
    from .systems.front import LandmarkOptions, train_landmarks

    train_landmarks(run, _chosen(LandmarkOptions(faces=str(faces), start=start), epochs, seed))


@app.command()
def detector(
    run: Run = Path("runs/front/detector"),
    faces: Annotated[
        Path, typer.Option(help="Folder that `ferstream data landmarks` made.")
    ] = Path("runs/front/faces"),
    epochs: Epochs = None,
    seed: Seed = 0,
    start: Annotated[str, typer.Option(help="Run whose weights it begins with.")] = "",
) -> None:
    """The project's own face detector, on scenes made of those faces."""
    from .systems.front import DetectorOptions, train_detector

    train_detector(run, _chosen(DetectorOptions(faces=str(faces), start=start), epochs, seed))


@app.command()
def front(
    run: Annotated[
        Path, typer.Option(help="Folder of the trainings landmarks/ and detector/, and of faces/.")
    ] = Path("runs/front"),
    data: Data = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="The landmarks' training, where it lies elsewhere.")
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(help="The detector's training, where it lies elsewhere.")
    ] = None,
    export: Annotated[
        bool, typer.Option(help="Write the ONNX files anew from the latest checkpoints.")
    ] = True,
    measure: Annotated[
        bool, typer.Option(help="Measure anew, else the figures that lie there count.")
    ] = True,
    precision: Annotated[
        str, typer.Option(help="int8 or fp32: what is measured, and put into a bundle.")
    ] = "int8",
    into: Annotated[
        str, typer.Option(metavar="BUNDLE", help="Put both networks into this bundle.")
    ] = "",
) -> None:
    """Export the face front end as far as it is trained, measure it, write figures.json."""
    from .exporting.front import export_detector, export_landmarks, put_into_bundle
    from .measuring.front_figures import front_figures

    out, faces = run / "onnx", run / "faces"
    if export:
        for place, write in (
            (landmarks or run / "landmarks", export_landmarks),
            (detector or run / "detector", export_detector),
        ):
            if place.is_dir():
                write(place, faces, out)
    kept = out / f"figures.{precision}.json"
    if measure:
        figures = front_figures(out, faces, data, precision=precision)
        kept.write_text(jsonlib.dumps(figures, indent=1) + "\n", "utf-8")
    text = kept.read_text("utf-8")
    if into:
        print(f"{put_into_bundle(into, out, jsonlib.loads(text), precision).path} written")
    else:
        print(text, end="")


@app.command()
def tables(
    run: Annotated[Path, typer.Option(help="Folder of all the tables' runs.")] = Path(
        "runs/tables"
    ),
    data: Data = None,
    seeds: Annotated[str, typer.Option(help="With commas between them.")] = "0,1,2",
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at the same time.")] = 2,
    only: Annotated[
        str, typer.Option(help="Rows whose table/name begins so, with commas between.")
    ] = "",
    show: Annotated[
        bool, typer.Option("--show", help="Train nothing, show what is there.")
    ] = False,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
) -> None:
    """The papers' benchmark tables: trains the runs that are missing (hours), shows the rest."""
    from .measuring.table_runs import run_rows
    from .measuring.tables import chosen_rows, markdown, seeds_of

    rows, numbers = chosen_rows(only), seeds_of(seeds)
    console = plain_console(stderr=True)
    failed = []
    if not show:
        failed = run_rows(run, rows, numbers, data=data, jobs=jobs, told=console.print)
    typer.echo(markdown(run, rows, numbers, split))
    if failed:
        console.print(f"{len(failed)} runs failed: {', '.join(map(str, failed))}")
        raise typer.Exit(1)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training.")],
    out: Annotated[Path, typer.Argument(help="Folder of the bundle to write.")],
    data: Data = None,
    frames: Annotated[
        str, typer.Option(help="Of a paper's image system: a clip by mean or by attention.")
    ] = "mean",
) -> None:
    """Write a trained run as a bundle: ONNX, INT8, temperatures, measured figures."""
    from .exporting.export import export as exported

    bundle, report = exported(run, out, data, frames=frames)
    console = plain_console(stderr=True)
    if "fusion" in report:
        table = Table("spatial weight", "top-1", "NLL", "ECE", title="Fusion on validation clips")
        for weight, row in report["fusion"].items():
            table.add_row(f"{weight}", *(f"{row[name]:.3f}" for name in ("top1", "nll", "ece")))
        console.print(table)
    test = bundle.manifest.measured["basic8"]
    told = ", ".join(f"{name} {_shown(test[name])}" for name in ("top1", "ece", "n"))
    console.print(f"test faces, as deployed: {told}", highlight=False)
    console.print(f"{bundle.path}: {bundle.size_bytes / 1e6:.1f} MB")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished trainings.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page to look at.")] = None,
    apart: Annotated[
        bool, typer.Option("--apart", help="A row for every seed, not one for all of them.")
    ] = False,
) -> None:
    """Put trained runs side by side."""
    from .measuring.compare import compare as compared
    from .measuring.compare import html as page
    from .measuring.compare import table_of

    found = compared(runs, by_seed=not apart)
    if html is not None:
        html.write_text(page(found), "utf-8")
    if json:
        typer.echo(jsonlib.dumps(found.to_json(), indent=1))
        return
    plain_console().print(table_of(found))
    if len(found.data) > 1:
        plain_console(stderr=True).print("measured on different data: these figures do not compare")


def evaluate(
    bundle: Annotated[str, typer.Option(help="Folder of a bundle, or default.")] = "default",
    data: Data = None,
    split: Annotated[str, typer.Option(help="validation or test.")] = "test",
    backend: Annotated[str, typer.Option(help="auto, onnxruntime or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or int8.")] = "auto",
    clips: Annotated[
        bool, typer.Option("--clips", help="Also clips made from the photographs (minutes).")
    ] = False,
    real: Annotated[
        Path | None,
        typer.Option(metavar="CLIPS", help="Also whole clips: a folder with their judged.npz."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Measure a bundle on photographs with crowd labels (FER+) and on machine-judged faces."""
    from ferstream.engines.bundle import load_bundle
    from ferstream.engines.labels import labels_of

    from .datasets.fer import load_fer_plus
    from .measuring.evaluate import figures, judged_sections

    if split not in ("validation", "test"):
        raise typer.BadParameter(f"there is no split {split!r} to measure on: validation, test")
    opened = load_bundle(bundle)
    labels_of(opened.manifest).require_built_in("these photographs")
    photographs = load_fer_plus(split, data)
    photographs = photographs.subset(photographs.rated)
    told = plain_console(stderr=True).print
    found = figures(opened, photographs, backend=backend, precision=precision)
    found |= judged_sections(opened, split, data, backend=backend, precision=precision, told=told)
    if real is not None:
        from .measuring.real_figures import real_section

        found["real"] = real_section(opened, real, backend=backend, precision=precision)
    if clips:
        from .datasets.motion import fit_face_shape
        from .measuring.evaluate_clips import clip_figures

        train = load_fer_plus("train", data)
        shape = fit_face_shape(train.subset(train.rated & train.seen))
        found |= clip_figures(opened, photographs.subset(photographs.seen), shape, data)
    if json:
        typer.echo(jsonlib.dumps(found, indent=1))
        return
    plain_console().print(_table(found))


def _table(found: dict[str, Any]) -> Table:
    title = f"{found['basic8']['n']} photographs, {found['engine']}, {found['precision']}"
    table = Table("figure", "value", "95 %", title=title)
    for head, values in found.items():
        if isinstance(values, dict):
            for row in _rows(head, values):
                table.add_row(*row)
    return table


def _rows(head: str, values: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, value and interval of each figure, those of inner dictionaries under its name."""
    intervals = values.get("intervals", {})
    for name, value in values.items():
        if name == "intervals":
            continue
        if isinstance(value, dict):
            yield from _rows(f"{head} {name}", value)
        elif not isinstance(value, list):
            between = " to ".join(_shown(end) for end in intervals.get(name, ()))
            yield f"{head} {name}", _shown(value), between


def _shown(value: float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
