"""The bench drawn: how the networks' speed grows with the batch, and what the machine could do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .bench import Report, Timing

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

    forms = dict.fromkeys((timing.engine, timing.precision) for timing in timings)
    limits: dict[str, list[tuple[int, float]]] = {}
    for engine, precision in forms:
        rows = [t for t in timings if (t.engine, t.precision) == (engine, precision)]
        axes.plot(
            [row.batch for row in rows],
            [row.batch / row.median_ms * 1e3 for row in rows],
            _LINES[precision],
            color=_COLOURS.get(engine, "0.3"),
            marker="o",
            markersize=4,
            label=f"{engine} {precision}",
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
