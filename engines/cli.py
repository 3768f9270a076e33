"""`ferstream bundle` and its commands, `build` and `triton` among them.

`ferstream bundle build` and `ferstream bundle triton`.

`ferstream bundle`: what is in a bundle, whether it holds, how fast its networks run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from .bench_cli import bench
from .bundle import Bundle, load_bundle
from .card import card as card_text
from .contract import Array
from .engine import open_engine, present_backends, runnable_backends
from .errors import EnginesError
from .manifest import Manifest
from .terminal import plain_console
from .triton import write_repository


class Precision(str, Enum):
    """What may be asked for."""

    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"
    fp8 = "fp8"


class Form(str, Enum):
    """What a Triton repository's models are."""

    onnx = "onnx"
    plan = "plan"


BundleArgument = Annotated[str, typer.Argument(help="A bundle's folder, or `default`.")]
PrecisionOption = Annotated[
    Precision, typer.Option(help="A form of the networks; auto: each that is there.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, nothing else.")]


def build(
    path: BundleArgument = "default",
    precision: PrecisionOption = Precision.auto,
    max_batch: Annotated[int, typer.Option(min=1, help="Faces at once, at most.")] = 32,
    opt_batch: Annotated[
        int, typer.Option(min=1, help="The batch to be fastest at; no more than --max-batch.")
    ] = 16,
    workspace_mb: Annotated[int, typer.Option(min=1, help="Memory a kernel may work in.")] = 1024,
    force: Annotated[bool, typer.Option("--force", help="Also what is there and fits.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build TensorRT plans of a bundle's networks for the GPU of this machine."""
    from .build import BuildOptions, build_bundle

    options = BuildOptions(max_batch, min(opt_batch, max_batch), workspace_mb)
    rows = []
    columns = TextColumn("{task.description}", markup=False), BarColumn()
    screen = plain_console(stderr=True)
    hidden = not screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=hidden) as bar:
        task = bar.add_task("looking", total=1.0)
        for built in build_bundle(
            load_bundle(path),
            precision.value,
            options,
            force=force,
            progress=lambda what, share: bar.update(task, description=what, completed=share),
        ):
            rows.append(built)
    if as_json:
        print(json.dumps({"path": path, "networks": [row.to_json() for row in rows]}))
    else:
        table = Table("network", "precision", "", "note")
        for row in rows:
            table.add_row(row.network, row.precision, row.state, row.note)
        plain_console().print(table)
    # In "auto" a form that TensorRT cannot take is no failure while another one is there.
    usable = {row.network for row in rows if row.state != "failed"}
    if any(row.network not in usable for row in rows):
        raise typer.Exit(1)


def triton(
    folder: Annotated[Path, typer.Argument(help="Where the repository goes.")],
    bundle: Annotated[str, typer.Option(help="A bundle's folder, or `default`.")] = "default",
    form: Annotated[Form, typer.Option(help="ONNX files, or this machine's plans.")] = Form.onnx,
    precision: PrecisionOption = Precision.auto,
    max_batch: Annotated[int, typer.Option(min=1, help="Batch limit of ONNX models.")] = 32,
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server."""
    names = write_repository(
        load_bundle(bundle),
        folder,
        form=form.value,
        precision=precision.value,
        max_batch=max_batch,
    )
    print(f"{folder}: {', '.join(names)}; serve it with tritonserver --model-repository={folder}")


app = typer.Typer(no_args_is_help=True, help="Look into a bundle of networks, check it, time it.")


_TOLERANCE = {"fp32": 1e-3, "fp16": 0.1}
"""How far backends may differ from ONNX Runtime on the same file, absolute; int8 is only shown."""


@app.command()
def info(path: BundleArgument = "default", as_json: JsonOption = False) -> None:
    """Show what a bundle says of itself."""
    bundle = load_bundle(path)
    if as_json:
        print(json.dumps({"path": str(bundle.path), **bundle.manifest.to_json()}))
        return
    manifest = bundle.manifest
    facts = {
        "bundle": f"{manifest.name} {manifest.version}",
        "path": str(bundle.path),
        "made": " ".join(filter(None, (manifest.created, manifest.commit[:12]))),
        "size": f"{bundle.size_bytes / 1e6:.1f} MB",
        "crop": f"{manifest.crop.px} px, {manifest.crop.colour}, {manifest.crop.template}",
        "clip": f"{manifest.clip_duration_s:g} s, {manifest.clip_frames} frames at most",
        "motion": f"{manifest.motion.fields} fields {manifest.motion.gap_s:g} s apart, "
        f"{manifest.motion.px} px",
        "networks": "; ".join(f"{n} {', '.join(bundle.precisions(n))}" for n in manifest.held),
        "faces": _faces(manifest),
        "trained on": manifest.training_data,
        "licence": manifest.licence,
        "measured": json.dumps(manifest.measured),
    }
    summary = Table(show_header=False, box=None)
    for name, value in facts.items():
        summary.add_row(name, value)
    heads = Table("head", "labels", "supervision", "temperature", "note")
    for head in manifest.heads:
        heads.add_row(
            *(head.name, str(len(head.labels)), head.supervision),
            *(f"{head.temperature:.3g}", head.note),
        )
    _print(summary, heads)


def _faces(manifest: Manifest) -> str:
    """What the networks that find faces are like."""
    faces = manifest.faces
    if faces is None:
        return "found by other programs' networks"
    text = f"{faces.points} points of crops of {faces.crop_px} px"
    return (
        f"{text}; not as good yet as wanted: {'; '.join(faces.short_of)}" * bool(faces.short_of)
        or text
    )


@app.command()
def card(path: BundleArgument = "default") -> None:
    """Print the model card, as Markdown: what it knows, how well, what it is not for."""
    print(card_text(load_bundle(path).manifest), end="")


@app.command()
def check(path: BundleArgument = "default", as_json: JsonOption = False) -> None:
    """Verify hashes and contract, run every network on every backend, compare them."""
    bundle = load_bundle(path)
    rows = [_checked(bundle, *form) for form in _forms(bundle)]
    if as_json:
        print(json.dumps({"path": str(bundle.path), "ok": _all_ok(rows), "networks": rows}))
    else:
        table = Table("network", "precision", "backend", "difference", "")
        for row in rows:
            difference = "" if row["difference"] is None else f"{row['difference']:.1e}"
            table.add_row(
                *(row["network"], row["precision"], row["backend"], difference),
                "ok" if row["ok"] else row["problem"],
            )
        _print(table)
    if not _all_ok(rows):
        raise typer.Exit(1)


app.command()(bench)
app.command()(build)
app.command()(triton)


def _forms(bundle: Bundle) -> Iterator[tuple[str, str, str]]:
    """Every (network, precision, backend) that can run here."""
    for network in bundle.manifest.held:
        for precision in bundle.precisions(network):
            for backend in runnable_backends(bundle, network, precision):
                yield network, precision, backend


def _checked(bundle: Bundle, network: str, precision: str, backend: str) -> dict[str, Any]:
    """One row of `check`; the difference is to the first backend, None for that one itself."""
    row = {"network": network, "precision": precision, "backend": backend}
    try:
        outputs = _answer(bundle, network, precision, backend)
        reference = _answer(bundle, network, precision, present_backends()[0])
    except EnginesError as error:
        return {**row, "ok": False, "difference": None, "problem": str(error)}
    difference = max(float(np.abs(outputs[name] - reference[name]).max()) for name in reference)
    agrees = difference <= _TOLERANCE.get(precision, np.inf)
    return {
        **row,
        "ok": agrees,
        "difference": None if backend == present_backends()[0] else difference,
        "problem": "" if agrees else f"differs by more than {_TOLERANCE[precision]:g}",
    }


def _answer(bundle: Bundle, network: str, precision: str, backend: str) -> dict[str, Array]:
    engine = open_engine(bundle, network, precision=precision, backend=backend)
    try:
        outputs = engine.run(engine.spec.example(B=2, T=bundle.manifest.clip_frames))
    finally:
        engine.close()
    engine.spec.check_outputs(outputs, ranges=True)
    return outputs


def _all_ok(rows: list[dict[str, Any]]) -> bool:
    return all(row["ok"] for row in rows)


def _print(*tables: Table) -> None:
    console = plain_console()
    for table in tables:
        console.print(table)
