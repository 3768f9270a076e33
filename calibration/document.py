"""Pages of figures and their diagrams.

Pages of figures for people: one file each that stands alone, without scripts or anything
fetched.

Diagrams of reliability as SVG, drawn by Matplotlib without a screen.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .reliability import binned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .int8 import LayerError

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --faint: #616e7c; --line: #d9e2ec;
  --card: #f7f9fb; --page: #ffffff; --accent: #1d6fb8; --bad: #b3401e; --good: #23744a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --faint: #9aa5b1; --line: #323f4b;
  --card: #1f2933; --page: #161c22; --accent: #6cb2eb; --bad: #f08a63; --good: #6fcf9b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.6rem 0 .8rem; }
p { max-width: 42rem; } .faint { color: var(--faint); }
.bad { color: var(--bad); } .good { color: var(--good); }
.whole { white-space: nowrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem;
  margin: 1.6rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .8rem 1rem; }
.card b { display: block; font-size: 1.55rem; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.card span { color: var(--faint); font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--faint); font-weight: 500; } td.n, th.n { text-align: right; }
figure { margin: 0 0 1.4rem; } figcaption { color: var(--faint); font-size: .88rem; }
img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: .6rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.2rem; }
table.prose td:last-child { min-width: 16rem; }
td.best { font-weight: 650; color: var(--accent); }
code { font-size: .9em; overflow-wrap: anywhere; }
"""


def document(title: str, body: str) -> str:
    """A whole page around a body."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n"
        "</body></html>\n"
    )


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: int = 0,
    *,
    prose: bool = False,
    best: Collection[tuple[int, int]] = (),
) -> str:
    """A table of escaped cells; the last ``numbers`` columns stand right, or hold prose. The cells
    ``best``, by row and column, stand out."""
    first = len(head) - numbers

    def cell(tag: str, text: str, row: int, column: int) -> str:
        kinds = ["n"] * (column >= first) + ["best"] * ((row, column) in best)
        kind = f' class="{" ".join(kinds)}"' if kinds else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    def line(tag: str, cells: Sequence[str], row: int) -> str:
        inner = "".join(cell(tag, text, row, column) for column, text in enumerate(cells))
        return f"<tr>{inner}</tr>\n"

    body = "".join(line("td", cells, row) for row, cells in enumerate(rows))
    kind = ' class="prose"' if prose else ""
    return f'<div class="wide"><table{kind}>{line("th", head, -1)}{body}</table></div>'


def figure(source: str, caption: str) -> str:
    """A picture, such as `encoded_png` gives, with its caption."""
    text = escape(caption)
    return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def encoded_png(content: bytes) -> str:
    """A PNG file as the address of a picture within the page."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


Array = npt.NDArray[np.floating[Any]]

_SAID, _SO, _GAP, _INK = "#8a93a3", "#2f6fb0", "#d9793b", "#2b3038"


def reliability(bins: list[dict[str, float]]) -> str:
    """What was right beside what was predicted, one bar a bin; below, how many faces."""
    figure = _figure(4.6, 4.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    low = np.array([b["low"] for b in bins])
    width = np.array([b["high"] for b in bins]) - low
    predicted, so = (np.array([b[name] for b in bins]) for name in ("confidence", "accuracy"))
    above.bar(low, so, width, align="edge", color=_SO, edgecolor="white", label="right")
    above.vlines(
        predicted,
        np.minimum(predicted, so),
        np.maximum(predicted, so),
        color=_GAP,
        lw=3,
        label="gap",
    )
    above.plot([0, 1], [0, 1], color=_SAID, lw=1, ls="--", label="as said")
    above.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    above.legend(frameon=False, loc="upper left")
    below.bar(low, [b["n"] for b in bins], width, align="edge", color=_SAID, edgecolor="white")
    below.set(xlabel="probability of the best expression", ylabel="faces")
    for axes in (above, below):
        _plain(axes)
    return _svg(figure)


def by_class(probability_NK: Array, label_N: npt.NDArray[np.int64], names: list[str]) -> str:
    """Each class against the rest, what is so over what is said; bins under five left out."""
    columns = 4
    rows = -(-len(names) // columns)
    figure = _figure(8.6, 2.3 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for k, axes in enumerate(grid.flat):
        if k >= len(names):
            axes.set_axis_off()
            continue
        is_N = (label_N == k).astype(np.float64)
        bins = [b for b in binned(probability_NK[:, k], is_N, 10) if b.n >= 5]
        size = [8 + 60 * (b.n / len(label_N)) ** 0.5 for b in bins]
        axes.plot([0, 1], [0, 1], color=_SAID, lw=1, ls="--")
        axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=_SO, lw=1)
        axes.scatter([b.confidence for b in bins], [b.accuracy for b in bins], size, color=_SO)
        axes.set_title(f"{names[k]} ({int(is_N.sum())})", fontsize=9, color=_INK)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        _plain(axes)
    figure.supxlabel("said", fontsize=9)
    figure.supylabel("so", fontsize=9)
    return _svg(figure)


def coverage(promised: float, measured: dict[str, dict[str, float]]) -> str:
    """How often the label is in the set, and how large the sets are."""
    figure = _figure(5.2, 2.6)
    one, other = figure.subplots(1, 2, sharey=True)
    names, at = list(measured), np.arange(len(measured))[::-1]
    one.barh(at, [row["covered"] for row in measured.values()], color=_SO, height=0.6)
    one.axvline(promised, color=_GAP, lw=1.5)
    one.set(xlim=(0.5, 1), xlabel=f"label in the set (promised {promised:g})")
    one.set_yticks(at, names)
    other.barh(at, [row["size"] for row in measured.values()], color=_SAID, height=0.6)
    other.set(xlabel="expressions in a set")
    for axes in (one, other):
        _plain(axes)
    return _svg(figure)


def layers(errors: list[LayerError], kept: tuple[str, ...], budget: float) -> str:
    """What each layer alone costs in eight bits, beside the whole budget."""
    figure = _figure(7.2, 0.6 + 0.21 * len(errors))
    axes = figure.subplots()
    at = np.arange(len(errors))[::-1]
    colours = [_GAP if row.layer in kept else _SO for row in errors]
    axes.barh(at, [max(row.kl, 1e-9) for row in errors], color=colours, height=0.7)
    axes.axvline(budget, color=_GAP, lw=1.2, ls="--")
    axes.set_xscale("log")
    axes.set_yticks(at, [row.layer for row in errors], fontsize=7)
    axes.set(xlabel="KL to float with this layer alone in eight bits, nats (dashed: the budget)")
    axes.margins(y=0.01)
    _plain(axes)
    return _svg(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def _svg(figure: Figure) -> str:
    """An address that holds the whole picture, for an <img>; the same each time."""
    import matplotlib

    target = io.BytesIO()
    # Letters as letters: a tenth of the size, in the reader's own font.
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "svg.hashsalt": "ferstream",
    }
    with matplotlib.rc_context(settings):
        figure.savefig(target, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(target.getvalue()).decode()
