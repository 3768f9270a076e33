"""A run as one page to look at, and its plots.

Figures of a run as PNG, drawn without a screen.  K classes.

A run as one page to look at: report.html, with its pictures inside.

The page stands alone: one file, no script, nothing fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from collections.abc import Iterable
from html import escape

from ferstream.calibration.document import document, encoded_png, figure, table
from ferstream.calibration.probability import softmax

from ..learning.options import field_docs
from ..learning.run_folder import REPORT, RunFolder

INK, FAINT, ACCENT = "#1f2933", "#9aa5b1", "#1d6fb8"
COLOURS = ("#1d6fb8", "#d1495b", "#3a9d6e", "#e0962f", "#7b5ea7", "#5c6f82", "#b0578d", "#2a9d9d")
Curve = Sequence[tuple[int, float]]

_SHARES = ("top1", "macro_recall", "validation_top1", "triplet_accuracy")
_NAMES = {
    "loss_step": "training loss, by step",
    "loss": "training loss",
    "validation_loss": "validation loss",
    "top1": "top-1",
    "macro_recall": "macro recall",
    "nll": "validation cross entropy (nats)",
}


def draw_confusion(path: Path, matrix_KK: npt.NDArray[Any], labels: Sequence[str]) -> None:
    """Label by row, guess by column; shares of each row in colour, counts in figures."""
    shares = matrix_KK / np.maximum(matrix_KK.sum(axis=1, keepdims=True), 1)
    figure, axes = square_canvas(shares, labels, vmax=1.0)
    axes.set_xlabel("guessed")
    axes.set_ylabel("label")
    if len(labels) <= 20:
        for row, column in np.ndindex(*matrix_KK.shape):
            if matrix_KK[row, column]:
                colour = "white" if shares[row, column] > 0.5 else INK
                text = f"{matrix_KK[row, column]}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    save(figure, path)


def draw_curves(path: Path, curves: Mapping[str, Curve]) -> None:
    """Losses on the left, shares on the right, over the optimizer's steps."""
    drawn = {name: curve for name, curve in curves.items() if not name.startswith("lr")}
    shares = [name for name in drawn if name in _SHARES]
    losses = [name for name in drawn if "loss" in name or name == "nll"]
    others = [name for name in drawn if name not in shares and name not in losses]
    panels = [(n, t) for n, t in ((losses, "loss"), (shares, "share"), (others, "other")) if n]
    figure, axes = canvas(4.6 * max(len(panels), 1), 3.6, max(len(panels), 1))
    for place, (names, title) in zip(np.atleast_1d(np.asarray(axes)), panels, strict=False):
        for name, colour in zip(names, COLOURS * 4, strict=False):
            steps, values = zip(*drawn[name], strict=True)
            faint = name == "loss_step"
            place.plot(
                steps,
                values,
                color=FAINT if faint else colour,
                linewidth=0.8 if faint else 1.6,
                marker="o" if len(steps) < 12 and not faint else "",
                markersize=3,
                label=_NAMES.get(name, name.replace("_", " ")),
            )
        place.set_xlabel("step")
        if title == "share":
            place.set_ylim(0, 1)
        place.legend(
            frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncol=2
        )
    save(figure, path)


def draw_reliability(
    path: Path, confidence_N: npt.NDArray[Any], right_N: npt.NDArray[np.bool_], bins: int = 10
) -> None:
    """How often a guess of some confidence is right; points on the line are honest."""
    figure, axes = canvas(3.8, 3.4)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    place = np.minimum((confidence_N * bins).astype(int), bins - 1)
    there = [k for k in range(bins) if (place == k).any()]
    said = [float(confidence_N[place == k].mean()) for k in there]
    true = [float(right_N[place == k].mean()) for k in there]
    share = [float((place == k).mean()) for k in there]
    axes.bar(said, share, width=0.8 / bins, color="#d9e2ec", label="share of faces")
    axes.plot(said, true, "o-", color=ACCENT, markersize=4, label="share that is right")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("confidence")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    save(figure, path)


def square_canvas(
    values_KK: npt.NDArray[Any], labels: Sequence[str], vmax: float
) -> tuple[Figure, Any]:
    """Labels by labels in shades of blue, white for 0; many labels in small letters."""
    many = len(labels) > 40
    side = max(4.2, (0.13 if many else 0.52) * len(labels) + 1.6)
    figure, axes = canvas(side, side * 0.92)
    axes.imshow(values_KK, cmap="Blues", vmin=0, vmax=vmax)
    turn, side_of = (90, "center") if many else (45, "right")
    axes.set_xticks(range(len(labels)), labels, rotation=turn, ha=side_of)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, labelsize=6 if many else 8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def canvas(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of so many inches and its axes, quiet ones: one, or ``columns`` of them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, columns)
    for one in np.atleast_1d(np.asarray(axes)):
        _quiet(one)
    return figure, axes


def _quiet(axes: Axes) -> None:
    """Plain axes: two thin lines and small, dark letters."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(labelsize=8, colors=INK, color=FAINT)
    axes.xaxis.label.set_color(INK)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def save(figure: Figure, path: Path) -> None:
    """Write it as PNG."""
    figure.savefig(path, dpi=144, facecolor="white")


HEADLINES = ("top1", "macro_recall", "macro_f1", "ece", "nll")
SHOWN = {
    "top1": "top-1",
    "top5": "top-5",
    "top10": "top-10",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "ece": "calibration error",
    "nll": "cross entropy, nats",
    "kl": "divergence, nats",
    "n": "faces",
}
"""What figures are called where people read them."""


def write_report(run: RunFolder, stages: Sequence[str]) -> Path:
    """Draw a finished run's pictures and its page; returns the page's path.

    Raises:
        RunUnfinished: the run is not finished.
    """
    metrics, predictions = run.metrics(), run.predictions()
    labels = tuple(metrics["labels"])
    pictures = []
    for split in ("test", "validation"):
        name = f"confusion_{split}.png"
        draw_confusion(run.path / name, np.array(metrics[split]["confusion"]), labels)
        pictures.append((name, f"Confusion on {split} faces: label by row, guess by column."))
    probability = softmax(predictions["test_logits"])
    right = probability.argmax(axis=1) == predictions["test_target"].argmax(axis=1)
    draw_reliability(run.path / "reliability.png", probability.max(axis=1), right)
    pictures.append(("reliability.png", "How sure it is, and how often it is right (test)."))
    curves = []
    for stage in stages:
        if found := run.curves(stage):
            draw_curves(run.path / f"curves_{stage}.png", found)
            curves.append((f"curves_{stage}.png", f"Stage {stage}."))
    page = run.path / REPORT
    page.write_text(_page(run, metrics, curves, pictures), "utf-8")
    return page


def figure_text(name: str, value: Any) -> str:
    """A figure as people read it: shares in per cent."""
    if isinstance(value, int):
        return f"{value:,}"
    if name in ("nll", "kl"):
        return f"{value:.3f}"
    return f"{100 * value:.1f} %"


def _page(
    run: RunFolder,
    metrics: dict[str, Any],
    curves: list[tuple[str, str]],
    pictures: list[tuple[str, str]],
) -> str:
    test, about = metrics["test"], run.about
    cards = "".join(
        f'<div class="card"><b>{figure_text(name, test[name])}</b><span>{SHOWN[name]}</span></div>'
        for name in HEADLINES
    )
    data = about["data"]
    intro = (
        f"Trained on {data['train']:,} faces of {data['name']}, validated on "
        f"{data['validation']:,}, and measured on {data['test']:,} test faces that it has not "
        "learned from. It says which expression people would see, not what is felt."
    )
    return document(
        f"{run.system}: {run.path.name}",
        f"<h1>{escape(run.system)}</h1>\n"
        f'<p class="faint">{escape(_paper(run))} · '
        f'<span class="whole">finished {escape(about["finished"][:10])}</span></p>\n'
        f"<p>{escape(intro)}</p>\n"
        f'<div class="cards">{cards}</div>\n'
        f"<h2>Training</h2>\n{_figures(run, curves)}\n"
        f"<h2>Where it errs</h2>\n<div class=pair>{_figures(run, pictures)}</div>\n"
        f"{_findings(run, metrics)}"
        f"<h2>Class by class</h2>\n{_classes(metrics)}\n"
        f"<h2>All figures</h2>\n{_all_figures(metrics)}\n"
        f"<h2>Options</h2>\n{_options(run)}\n"
        f"<h2>Made of</h2>\n{_origin(run, metrics)}\n",
    )


def _paper(run: RunFolder) -> str:
    from ..learning.system import open_system

    return f"Paper {open_system(run.system).paper}"


def _figures(run: RunFolder, pictures: Iterable[tuple[str, str]]) -> str:
    return "\n".join(
        figure(encoded_png((run.path / name).read_bytes()), caption) for name, caption in pictures
    )


def _findings(run: RunFolder, metrics: dict[str, Any]) -> str:
    """What a system measured besides: its own tables and pictures."""
    parts = [
        f"<h2>{escape(title)}</h2>\n{table(found['head'], found['rows'])}\n"
        for title, found in metrics.get("tables", {}).items()
    ]
    if pictures := metrics.get("pictures", {}):
        parts.append(f"<h2>To look at</h2>\n{_figures(run, pictures.items())}\n")
    return "".join(parts)


def _classes(metrics: dict[str, Any]) -> str:
    matrix = np.array(metrics["test"]["confusion"])
    recall = metrics["test"]["recall"]
    rows = []
    for at, label in enumerate(metrics["labels"]):
        said = int(matrix[:, at].sum())
        precision = f"{100 * matrix[at, at] / said:.1f} %" if said else "never said"
        found = figure_text("recall", recall[label]) if label in recall else "no face"
        rows.append((label, f"{int(matrix[at].sum()):,}", found, precision))
    return table(("class", "test faces", "recall", "precision"), rows, numbers=3)


def _all_figures(metrics: dict[str, Any]) -> str:
    validation = metrics["validation"]
    rows = [
        (
            SHOWN.get(name, name),
            figure_text(name, validation[name]) if name in validation else "",
            figure_text(name, value),
        )
        for name, value in metrics["test"].items()
        if isinstance(value, int | float)
    ]
    return table(("figure", "validation", "test"), rows, numbers=2)


def _options(run: RunFolder) -> str:
    from ..learning.system import open_system

    kind = open_system(run.system).options
    docs, paper = field_docs(kind), kind.paper().to_json()
    rows = []
    for name, value in run.about["options"].items():
        usual = paper.get(name)
        usual = list(usual) if isinstance(usual, tuple) else usual
        value = list(value) if isinstance(value, tuple) else value
        rows.append((name, _shown(value), "" if value == usual else _shown(usual), docs[name]))
    return table(("option", "value", "paper", "what it is"), rows, prose=True)


def _origin(run: RunFolder, metrics: dict[str, Any]) -> str:
    about = run.about
    rows = [
        ("data", f"{about['data']['name']}, fingerprint {about['data']['fingerprint']}"),
        ("parameters", f"{metrics['parameters']:,}"),
        ("commit", about["commit"] or "not from a repository"),
        ("device", f"{about['device']}, {about['processes']} process(es)"),
        ("versions", ", ".join(f"{n} {v}" for n, v in about["versions"].items())),
        ("started", about["started"]),
    ]
    return table(("", ""), rows)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value == "" else str(value)
