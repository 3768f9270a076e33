"""Runs side by side: their figures, and the options in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from ferstream.calibration.document import document, table

from ..learning.options import Options
from ..learning.run_folder import RunFolder, open_run
from .report import SHOWN, figure_text

FIGURES = ("top1", "macro_recall", "macro_f1", "ece", "nll")
SHORT = {"top1": "top-1", "macro_recall": "recall", "macro_f1": "F1", "ece": "ECE", "nll": "NLL"}
"""In a terminal's narrow columns; recall and F1 are means over the classes."""
LOW_IS_GOOD = ("ece", "nll", "kl")
_RESAMPLES = 1_000


@dataclass(frozen=True)
class Row:
    """One run, or several that differ in their seed alone."""

    name: str
    system: str
    runs: tuple[RunFolder, ...]
    options: dict[str, Any]
    """Those in which the compared runs differ, without the seed."""
    test: dict[str, float]
    """Means over the runs."""
    spread: dict[str, float]
    """Standard deviations over the runs; empty for a single one."""
    interval: tuple[float, float] | None
    """95 % of bootstrap resamples of the test faces give a top-1 in here; None for several."""


@dataclass(frozen=True)
class Comparison:
    """Rows, and which data they were measured on."""

    rows: tuple[Row, ...]
    data: tuple[str, ...]
    """Name and fingerprint of each data set in use; more than one: figures do not compare."""

    def best(self, figure: str) -> float:
        """The best mean of a figure."""
        values = [row.test[figure] for row in self.rows]
        return min(values) if figure in LOW_IS_GOOD else max(values)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "schema": 1,
            "data": list(self.data),
            "rows": [
                {
                    "name": row.name,
                    "system": row.system,
                    "runs": [str(run.path) for run in row.runs],
                    "seeds": [run.about["options"]["seed"] for run in row.runs],
                    "options": row.options,
                    "test": row.test,
                    "spread": row.spread,
                    "top1_interval": list(row.interval) if row.interval else None,
                }
                for row in self.rows
            ],
        }


def compare(paths: Sequence[Path], *, by_seed: bool = True) -> Comparison:
    """Finished runs side by side; those that differ in the seed alone become one row.

    Raises:
        RunUnfinished: one is no run or was not trained to its end.
    """
    runs = [open_run(path) for path in paths]
    for run in runs:
        run.metrics()
    differing = _differing(runs)
    groups: dict[str, list[RunFolder]] = {}
    for number, run in enumerate(runs):
        key = repr((run.system, _options(run, differing), run.about["data"]["fingerprint"]))
        groups.setdefault(key if by_seed else str(number), []).append(run)
    rows = tuple(_row(group, differing) for group in groups.values())
    data = dict.fromkeys(
        f"{r.about['data']['name']} {r.about['data']['fingerprint']}" for r in runs
    )
    return Comparison(rows, tuple(data))


def cells(row: Row) -> list[tuple[str, str]]:
    """Each figure of a row with its text: mean, and spread or interval where known."""
    found = []
    for name in FIGURES:
        text = figure_text(name, row.test[name])
        if name in row.spread:
            bare = figure_text(name, row.spread[name]).removesuffix(" %")
            text = text.replace(" %", f" ± {bare} %") if "%" in text else f"{text} ± {bare}"
        elif name == "top1" and row.interval:
            low, high = row.interval
            text += f" ({100 * low:.1f}-{100 * high:.1f})"
        found.append((name, text))
    return found


def table_of(comparison: Comparison) -> Table:
    """The comparison for a terminal; the best of each figure in bold."""
    shown = Table(show_lines=True)
    shown.add_column("run", overflow="fold")
    for name in FIGURES:
        shown.add_column(SHORT[name], justify="right", overflow="fold")
    for row in comparison.rows:
        figures = [
            f"[bold]{lines}[/bold]" if row.test[name] == comparison.best(name) else lines
            for name, text in cells(row)
            for lines in (text.replace(" (", "\n("),)
        ]
        options = [f"{name} {value}" for name, value in row.options.items()]
        shown.add_row("\n".join([f"{row.name} ({row.system})", *options]), *figures)
    return shown


def html(comparison: Comparison) -> str:
    """The comparison as a page of its own; the best of each figure stands out."""
    names = list(dict.fromkeys(name for row in comparison.rows for name in row.options))
    head = ["run", "system", *names, *(SHOWN[name] for name in FIGURES)]
    rows, first = [], len(head) - len(FIGURES)
    for row in comparison.rows:
        options = [str(row.options.get(name, "")) for name in names]
        rows.append([row.name, row.system, *options, *(text for _, text in cells(row))])
    best = {
        (at, first + column)
        for at, row in enumerate(comparison.rows)
        for column, (name, _) in enumerate(cells(row))
        if row.test[name] == comparison.best(name)
    }
    grid = table(head, rows, len(FIGURES), best=best)
    where = table(("data", ""), [name.rsplit(" ", 1) for name in comparison.data])
    note = (
        "Test faces. Behind ±: the standard deviation over seeds; in brackets: what 95 % of "
        "bootstrap resamples of the test faces give."
    )
    if len(comparison.data) > 1:
        note += " These runs were measured on different data: their figures do not compare."
    return document(
        "Runs side by side",
        f"<h1>Runs side by side</h1>\n<p>{escape(note)}</p>\n{grid}\n<h2>Measured on</h2>\n{where}",
    )


def _differing(runs: Sequence[RunFolder]) -> list[str]:
    """Names of options that are not alike in all runs, the seed apart."""
    names = dict.fromkeys(name for run in runs for name in run.about["options"])
    aside = {"seed", *Options.ASIDE}
    return [
        name
        for name in names
        if name not in aside and len({repr(run.about["options"].get(name)) for run in runs}) > 1
    ]


def _options(run: RunFolder, names: Sequence[str]) -> dict[str, Any]:
    return {n: run.about["options"][n] for n in names if n in run.about["options"]}


def _row(runs: Sequence[RunFolder], differing: Sequence[str]) -> Row:
    found = [run.metrics()["test"] for run in runs]
    values = {name: np.array([one[name] for one in found]) for name in FIGURES}
    several = len(runs) > 1
    return Row(
        name=runs[0].path.name + (f" and {len(runs) - 1} more seeds" if several else ""),
        system=runs[0].system,
        runs=tuple(runs),
        options=_options(runs[0], differing),
        test={name: float(value.mean()) for name, value in values.items()},
        spread={n: float(v.std(ddof=1)) for n, v in values.items()} if several else {},
        interval=None if several else _interval(runs[0].predictions()),
    )


def _interval(predictions: dict[str, npt.NDArray[Any]]) -> tuple[float, float]:
    """The middle 95 % of top-1 over resampled test faces."""
    label = predictions["test_target"].argmax(axis=1)
    right = predictions["test_logits"].argmax(axis=1) == label
    drawn = np.random.default_rng(0).binomial(len(right), right.mean(), _RESAMPLES) / len(right)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
