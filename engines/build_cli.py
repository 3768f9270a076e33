"""`ferstream bundle build` and `ferstream bundle triton`."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from .bundle import load_bundle
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
