"""A run as one page to look at: report.html, with its pictures inside.

The page stands alone: one file, no script, nothing fetched.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ferstream.calibration.probability import softmax

from .options import field_docs
from .plots import draw_confusion, draw_curves, draw_reliability
from .run_folder import REPORT, RunFolder

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

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --faint: #616e7c; --line: #d9e2ec;
  --card: #f7f9fb; --page: #ffffff; --accent: #1d6fb8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --faint: #9aa5b1; --line: #323f4b;
  --card: #1f2933; --page: #161c22; --accent: #6cb2eb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.25rem 4rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.6rem 0 .8rem; }
p { max-width: 42rem; } .faint { color: var(--faint); }
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


def document(title: str, body: str) -> str:
    """A whole page around a body."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n"
        "</body></html>\n"
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0, *, prose: bool = False
) -> str:
    """A table of escaped cells; the last ``numbers`` columns stand right, or hold prose."""

    def line(cells: Sequence[str], tag: str) -> str:
        first = len(cells) - numbers
        return "".join(
            f"<{tag}{' class=n' if at >= first else ''}>{escape(cell)}</{tag}>"
            for at, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>\n" for row in rows)
    kind = ' class="prose"' if prose else ""
    return f'<div class="wide"><table{kind}><tr>{line(head, "th")}</tr>\n{body}</table></div>'


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
    from .system import open_system

    return f"Paper {open_system(run.system).paper}"


def _figures(run: RunFolder, pictures: Iterable[tuple[str, str]]) -> str:
    parts = []
    for name, caption in pictures:
        encoded = base64.b64encode((run.path / name).read_bytes()).decode()
        parts.append(
            f'<figure><img src="data:image/png;base64,{encoded}" alt="{escape(caption)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    return "\n".join(parts)


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
    from .system import open_system

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
