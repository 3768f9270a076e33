"""`ferstream bundle bench`: its options, its table and its plot.

The bench drawn: how the networks' speed grows with the batch, and what the machine could do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from .bench import Report, Timing, measure
from .bundle import load_bundle
from .errors import EnginesError
from .terminal import plain_console

_COLOURS = {
    "onnxruntime": "#0b6e99",
    "openvino": "#c2571a",
    "tensorrt": "#4c8c2b",
    "onnxruntime-cuda": "#7a4fa3",
    "onnxruntime-tensorrt": "#98823c",
}
_LINES = {"fp32": "-", "fp16": "-.", "int8": "--", "fp8": ":"}


def draw(report: Report, file: Path) -> None:
    """Writes the picture; the file's ending says which kind.

    Raises OSError for a place that cannot be written and ValueError for an unknown ending.
    """
    # Not pyplot: it would look for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(timing.network for timing in report.timings))
    figure = Figure(figsize=(4.2 * len(networks) + 2.2, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for number, network in enumerate(networks):
        axes = figure.add_subplot(1, len(networks), number + 1)
        _network(axes, [timing for timing in report.timings if timing.network == network])
        axes.set_title(network, loc="left", fontsize=11, fontweight="bold")
        if number == 0:
            axes.set_ylabel("faces per second")
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False)
    machine, threads = report.machine, report.threads
    figure.suptitle(
        f"{machine['processor']}, {machine['usable_cores']} cores; threads: {threads['asked']}",
        x=0.01,
        ha="left",
        fontsize=9,
        color="0.35",
    )
    figure.savefig(file, dpi=140)


def _network(axes: Any, timings: list[Timing]) -> None:
    """One network's lines, and in grey what the ceilings allow its forms."""
    from matplotlib.ticker import LogLocator, NullFormatter

    forms = dict.fromkeys((timing.backend, timing.precision) for timing in timings)
    limits: dict[str, list[tuple[int, float]]] = {}
    for backend, precision in forms:
        rows = [t for t in timings if (t.backend, t.precision) == (backend, precision)]
        axes.plot(
            [row.batch for row in rows],
            [row.batch / row.median_ms * 1e3 for row in rows],
            _LINES[precision],
            color=_COLOURS.get(backend, "0.3"),
            marker="o",
            markersize=4,
            label=f"{backend} {precision}",
        )
        limits[precision] = [
            (row.batch, row.batch / row.least_ms * 1e3) for row in rows if row.least_ms
        ] or limits.get(precision, [])
    for precision, points in limits.items():
        if points:
            axes.plot(
                *zip(*points, strict=True),
                _LINES[precision],
                color="0.75",
                label=f"ceiling {precision}",
                zorder=0,
            )
    batches = sorted({timing.batch for timing in timings})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("faces at once")
    axes.grid(True, which="major", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)


BundleArgument = Annotated[str, typer.Argument(help="A bundle's folder, or `default`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, nothing else.")]

_FILE_COLUMNS = 110  # width of the table where it is not shown on a terminal


def bench(
    path: BundleArgument = "default",
    as_json: JsonOption = False,
    backends: Annotated[
        str, typer.Option(help="Backends with commas between; all: those that run here.")
    ] = "all",
    batch: Annotated[str, typer.Option(help="Faces at once, such as 1,2,4,8.")] = "1",
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each row.")] = 200,
    threads: Annotated[int, typer.Option(min=0, help="Threads; 0: the backend decides.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it to this file: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Time every network in each precision on each backend, by turns."""
    batches = _numbers(batch)
    if plot is not None:
        import matplotlib  # noqa: F401  # missing: better known before the minutes of measuring
    bundle = load_bundle(path)
    names = tuple(name.strip() for name in backends.split(",") if name.strip()) or ("all",)
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
            backends=names,
            batches=batches,
            runs=runs,
            threads=threads or None,
            on_round=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if plot is not None:
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
    table = Table("network", "form", "backend", box=SIMPLE_HEAD)
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
        *(timing.network, timing.precision, timing.backend, str(timing.batch)),
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
