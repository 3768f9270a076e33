"""`ferstream calibrate`: smaller networks, honest probabilities, each proved before it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from ferstream.engines.bundle import Bundle, load_bundle
from ferstream.engines.labels import labels_of
from ferstream.engines.manifest import NETWORKS
from ferstream.engines.terminal import plain_console

from .gate import Budget
from .quantize import Lower, Options, fp16_tried, int8_tried, taken
from .ranges import LEAST

app = typer.Typer(no_args_is_help=True, help="Lower precisions, probabilities, reliability.")


class MethodName(str, Enum):
    """How ranges of activations are found."""

    minmax = "minmax"
    entropy = "entropy"
    percentile = "percentile"


class TargetName(str, Enum):
    """Whom a lower precision is for."""

    cpu = "cpu"
    tensorrt = "tensorrt"


class SplitName(str, Enum):
    """Which labelled faces."""

    validation = "validation"
    test = "test"


_B = Budget()
BundleArgument = Annotated[str, typer.Argument(help="A bundle's folder, or `default`.")]
Data = Annotated[
    str | None, typer.Option(help="Data folder; else FERSTREAM_DATA, else ../shared/data.")
]
Out = Annotated[
    Path | None, typer.Option(help="Folder of the bundle to write; else it is changed in place.")
]
Samples = Annotated[int, typer.Option(min=LEAST, help="Faces that stand for the work.")]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, nothing else.")]
ReportFile = Annotated[Path | None, typer.Option(help="Write an HTML page with all figures.")]
Networks = Annotated[
    list[str] | None, typer.Option("--network", help="spatial, temporal, fusion; repeatable.")
]
Top1 = Annotated[float, typer.Option(help="Top-1 that may be lost, as a share.")]
Recall = Annotated[float, typer.Option(help="Macro recall that may be lost, as a share.")]
Overlap = Annotated[float, typer.Option(help="Least share of the ten best words that stay.")]
Kl = Annotated[float, typer.Option(help="Most divergence from float, nats.")]
Ece = Annotated[float, typer.Option(help="Calibration error that may be added.")]
Speedup = Annotated[float, typer.Option(help="Least speed against float's; 0: do not ask.")]


@app.command()
def int8(
    bundle: BundleArgument = "default",
    data: Data = None,
    out: Out = None,
    method: Annotated[
        MethodName, typer.Option(help="How activations' ranges are found.")
    ] = MethodName.minmax,
    target: Annotated[
        TargetName, typer.Option(help="cpu, or tensorrt, whose int8 has no zero point.")
    ] = TargetName.cpu,
    samples: Samples = 768,
    network: Networks = None,
    seed: Seed = 0,
    top1: Top1 = _B.top1,
    macro_recall: Recall = _B.macro_recall,
    overlap: Overlap = _B.overlap,
    kl: Kl = _B.kl,
    ece: Ece = _B.ece,
    speedup: Speedup = _B.speedup,
    report: ReportFile = None,
    as_json: JsonOption = False,
) -> None:
    """Make INT8 forms of the networks; keep those that cost next to nothing and are faster."""
    budget = Budget(top1, macro_recall, overlap, kl, ece, speedup)
    options = Options(method.value, target.value, budget)
    chosen = network or ["spatial", "temporal"]
    _lower("int8", bundle, data, out, chosen, samples, seed, options, report, as_json)


@app.command()
def fp16(
    bundle: BundleArgument = "default",
    data: Data = None,
    out: Out = None,
    target: Annotated[TargetName, typer.Option(help="cpu, or tensorrt: any GPU.")] = TargetName.cpu,
    samples: Samples = LEAST,
    network: Networks = None,
    seed: Seed = 0,
    top1: Top1 = _B.top1,
    macro_recall: Recall = _B.macro_recall,
    overlap: Overlap = _B.overlap,
    kl: Kl = _B.kl,
    ece: Ece = _B.ece,
    speedup: Speedup = _B.speedup,
    report: ReportFile = None,
    as_json: JsonOption = False,
) -> None:
    """Make FP16 forms of the networks; keep those that cost next to nothing and are faster."""
    budget = Budget(top1, macro_recall, overlap, kl, ece, speedup)
    options = Options(target=target.value, budget=budget)
    chosen = network or list(NETWORKS)
    _lower("fp16", bundle, data, out, chosen, samples, seed, options, report, as_json)


def _lower(
    precision: Lower,
    name: str,
    data: str | None,
    out: Path | None,
    networks: list[str],
    samples: int,
    seed: int,
    options: Options,
    report: Path | None,
    as_json: bool,
) -> None:
    from .data import calibration_data

    for network in networks:
        if network not in NETWORKS:
            raise typer.BadParameter(f"no network {network!r}: {', '.join(NETWORKS)}")
    opened = load_bundle(name)
    labels_of(opened.manifest).require_built_in("these photographs")
    make = int8_tried if precision == "int8" else fp16_tried
    with _progress() as progress:
        found = calibration_data(
            opened, networks, data, samples=samples, seed=seed, progress=progress
        )
        tried = [make(opened, n, found[n], options, progress) for n in networks]
    written = taken(opened, out or opened.path, precision, tried, found, options)
    if report is not None:
        from .page import lower_page

        lower_page(report, opened, tried, found, options)
    if as_json:
        document = {
            "bundle": str(opened.path),
            "written": str(written.path) if written else None,
            "networks": [
                {**form.to_json(options, found[form.network].samples)}
                | {"layers": [row.to_json() for row in form.layers]}
                for form in tried
            ],
        }
        print(json.dumps(document))
    else:
        for form in tried:
            print(form.verdict.line())
            if form.kept:
                print(f"  left in float: {', '.join(form.kept)}")
        print(f"{written.path} written" if written else f"{opened.path} stays as it was")
    if not all(form.verdict.passed for form in tried):
        raise typer.Exit(1)


@app.command()
def probabilities(
    bundle: BundleArgument = "default",
    data: Data = None,
    out: Out = None,
    coverage: Annotated[
        float, typer.Option(min=0.5, max=0.99, help="How often the label is in the set named.")
    ] = 0.9,
    as_json: JsonOption = False,
) -> None:
    """Fit calibrators, families and prediction sets anew, on the deployed engines' outputs."""
    from .data import labelled_faces, photographs
    from .heads import calibrated
    from .quantize import kept_files, stored
    from .ranges import hold_fit

    opened = load_bundle(bundle)
    labels_of(opened.manifest).require_built_in("these photographs")
    with _progress() as progress:
        progress("reading labelled faces", 0.0)
        faces = photographs("validation", data, opened.manifest.crop.px)
        hold_fit(faces.data.majority)
        progress("fitting", 0.3)
        manifest = calibrated(opened, labelled_faces(faces, data), coverage)
    written = stored(out or opened.path, manifest, kept_files(opened))
    if as_json:
        print(json.dumps({"bundle": str(written.path), "heads": _heads(written)}))
        return
    table = Table("head", "calibrator", "temperature")
    for row in _heads(written):
        table.add_row(row["head"], row["calibrator"], f"{row['temperature']:g}")
    plain_console().print(table)
    sets = written.manifest.sets
    assert sets is not None
    print(
        f"sets of {sets.head} promise {sets.coverage:g} (threshold {sets.threshold:g}, penalty "
        f"{sets.penalty:g}); check them with `ferstream calibrate check {bundle}`"
    )


@app.command()
def check(
    bundle: BundleArgument = "default",
    data: Data = None,
    split: Annotated[SplitName, typer.Option(help="Faces to check on.")] = SplitName.test,
    clips: Annotated[
        int, typer.Option(min=0, help="Photographs made into clips, at most; 0: no clips.")
    ] = 600,
    resamples: Annotated[int, typer.Option(min=20, help="Resamples behind each interval.")] = 500,
    seed: Seed = 0,
    report: ReportFile = None,
    as_json: JsonOption = False,
) -> None:
    """Measure whether a bundle's probabilities mean what they say."""
    from .check import checked

    opened = load_bundle(bundle)
    with _progress() as progress:
        found = checked(
            opened,
            data,
            split.value,
            clips=clips,
            resamples=resamples,
            seed=seed,
            progress=progress,
        )
    if report is not None:
        from .page import check_page

        check_page(report, opened, found)
    if as_json:
        print(json.dumps(found.to_json()))
        return
    console = plain_console()
    for table in found.tables():
        console.print(_table(*table))


def _heads(bundle: Bundle) -> list[dict[str, Any]]:
    return [
        {
            "head": head.name,
            "calibrator": head.calibrator.kind if head.calibrator else "temperature",
            "temperature": head.temperature,
        }
        for head in bundle.manifest.heads
    ]


def _table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


@contextmanager
def _progress() -> Iterator[Any]:
    """A function that shows what is being done and how far it is, on a terminal."""
    screen = plain_console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn()
    with Bar(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("looking", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)
