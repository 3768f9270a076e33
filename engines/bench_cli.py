"""`ferstream bundle bench`: its options, its table and its plot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from .bench import Report, Timing, measure
from .bundle import load_bundle
from .errors import EnginesError
from .terminal import plain_console

BundleArgument = Annotated[str, typer.Argument(help="A bundle's folder, or `default`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, nothing else.")]

_FILE_COLUMNS = 110  # width of the table where it is not shown on a terminal


def bench(
    path: BundleArgument = "default",
    as_json: JsonOption = False,
    engines: Annotated[
        str, typer.Option(help="Backends with commas between; all: those that run here.")
    ] = "all",
    batch: Annotated[str, typer.Option(help="Faces at once, such as 1,2,4,8.")] = "1",
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each row.")] = 200,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0: the engine decides.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it to this file: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Time every network in each precision on each backend, by turns."""
    batches = _numbers(batch)
    if plot is not None:
        import matplotlib  # noqa: F401  # missing: better known before the minutes of measuring
    bundle = load_bundle(path)
    names = tuple(name.strip() for name in engines.split(",") if name.strip()) or ("all",)
    columns = (TextColumn("{task.description}", markup=False), BarColumn())
    with Progress(
        *columns,
        console=plain_console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("timing")
        report = measure(
            bundle,
            engines=names,
            batches=batches,
            runs=runs,
            threads=threads or None,
            on_round=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if plot is not None:
        from .bench_plot import draw

        try:
            draw(report, plot)
        except (OSError, ValueError) as error:
            raise EnginesError(f"the plot cannot be written to {plot}: {error}") from error
    if as_json:
        print(json.dumps({"runs": runs, "batches": batches, **report.to_json()}))
        return
    print_report(report)


def print_report(report: Report) -> None:
    """Machine, threads and ceilings in words, the rows as a table."""
    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=_FILE_COLUMNS)
    console.print("\n".join(about_lines(report)), highlight=False, soft_wrap=True)
    table = Table("network", "form", "engine", box=SIMPLE_HEAD)
    for name in ("batch", "median ms", "p95 ms", "faces/s", "Gop/s", "of ceiling"):
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for timing in report.timings:
        if before not in (None, timing.network):
            table.add_section()
        before = timing.network
        table.add_row(*_cells(timing))
    console.print(table)


def about_lines(report: Report) -> list[str]:
    """What the figures depend on."""
    machine, threads, ceilings = report.machine, report.threads, report.ceilings
    versions = ", ".join(f"{name} {version}" for name, version in threads["versions"].items())
    environment = ", ".join(f"{name}={value}" for name, value in threads["environment"].items())
    products = ", ".join(f"{kind} {rate:.0f}" for kind, rate in ceilings.product_gops.items())
    copies = ", ".join(f"{rate:.0f} at {mb} MB" for mb, rate in ceilings.copy_gbps.items())
    return [
        f"{machine['processor']}, {machine['usable_cores']} of {machine['cores']} cores, "
        f"{machine['system']}, Python {machine['python']}",
        f"threads: {threads['asked']}, waiting without spinning; {versions}"
        + (f"; {environment}" if environment else ""),
        f"ceilings: matrix product {products} Gop/s; copy {copies}, GB/s",
    ]


def _cells(timing: Timing) -> list[str]:
    share = "" if timing.share is None else f"{100 * timing.share:.0f} % {timing.bound}"
    return [
        *(timing.network, timing.precision, timing.engine, str(timing.batch)),
        *(f"{timing.median_ms:.3f}", f"{timing.p95_ms:.3f}"),
        f"{timing.batch / timing.median_ms * 1e3:,.0f}",
        f"{timing.cost.total / timing.median_ms / 1e6:,.1f}",
        share,
    ]


def _numbers(text: str) -> list[int]:
    """Batches from "1,2,4"; each once, in order."""
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise typer.BadParameter(f"{text!r}: numbers from 1 on with commas between, such as 1,2,4")
    return numbers
