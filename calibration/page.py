"""One self-contained HTML page of figures, for people: of a check, or of a lower precision."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

from ferstream.engines.bundle import Bundle

from .check import Checked, Page
from .lower import Material, Options, Tried
from .samples import fingerprint

_STYLE = """
:root { color-scheme: light dark; --ink: #22262d; --dim: #667080; --line: #dde1e7; --back: #fff;
  --card: #f6f7f9; --bad: #b3401e; --good: #23744a }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --dim: #9aa3b2; --line: #353b46;
  --back: #16181d; --card: #1e2127; --bad: #f08a63; --good: #6fcf9b } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 62rem; color: var(--ink);
  background: var(--back); font: 16px/1.55 system-ui, sans-serif }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem }
p { max-width: 46rem } .dim { color: var(--dim) }
.scroll { overflow-x: auto } .bad { color: var(--bad) } .good { color: var(--good) }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums }
th, td { padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap }
th { color: var(--dim); font-weight: 500 }
th:first-child, td:first-child { text-align: left }
figure { margin: 1rem 0; padding: .8rem; background: #fff; border: 1px solid var(--line);
  border-radius: .6rem; display: inline-block; max-width: 100% }
figure img { display: block; max-width: 100%; height: auto }
figcaption { color: #667080; font-size: .85rem; margin-top: .5rem; max-width: 40rem }
code { overflow-wrap: anywhere; font-size: .88em }
"""

_WORDS = {
    "top1": "top-1",
    "ece": "ECE",
    "ece_equal_mass": "ECE, equal mass",
    "nll": "NLL",
    "kl_votes": "KL from votes",
    "set_size": "set size",
    "single": "one name",
    "single_right": "of these right",
    "covered": "label in set",
    "size": "names in a set",
}


def check_page(file: Path, bundle: Bundle, found: Checked) -> None:
    """Writes the page of a check.

    Raises:
        OSError: the file cannot be written.
    """
    from . import diagrams

    facts = found.document
    head = bundle.manifest.head("basic8")
    tables = [_table(page) for page in found.tables()]
    parts = [
        _lead(
            f"Calibration of {facts['bundle']}",
            f"{facts['n']} labelled faces of the {facts['split']} split, scored by "
            f"{facts['engine']} in {facts['precision']}, as deployed. "
            + (
                "Nothing was fitted on them."
                if facts["split"] == "test"
                else "The calibrators were fitted on these very faces: expect the test split to "
                "look worse."
            ),
        ),
        "<p>A probability is honest if, of all the faces given 0.7, seven in ten are what most "
        "raters say. ECE is the mean distance from that. The raters' own votes are softer than "
        "their majority; figures against both are given, and the calibrators were fitted to the "
        "majority.</p>",
        tables[0],
        _figure(
            diagrams.reliability(facts["bins"]["equal_width"]),
            "Equal width: where a bar ends below the dashed line, the network was too sure.",
        ),
        _figure(
            diagrams.reliability(facts["bins"]["equal_mass"]),
            "Equal mass: as many faces in each bin.",
        ),
        tables[1],
        _figure(
            diagrams.by_class(found.probability, found.label, list(head.labels)),
            "Each expression against the rest; larger points stand for more faces, bins with "
            "fewer than five are left out.",
        ),
        tables[2],
    ]
    rest = tables[3:]
    if "sets" in facts:
        parts += [
            rest.pop(0),
            _figure(
                diagrams.coverage(facts["sets"]["promised"], facts["sets"]["measured"]),
                "Prediction sets, clean and spoiled: the promise holds for faces like those they "
                "were fitted on; under hardship it is an observation.",
            ),
        ]
    if rest:
        parts += [
            "<p>Clips are photographs spoiled or set in motion: there is no labelled video "
            "here.</p>",
            *rest,
        ]
    _write(file, f"Calibration of {facts['bundle']}", parts)


def lower_page(
    file: Path,
    bundle: Bundle,
    tried: list[Tried],
    materials: Mapping[str, Material],
    options: Options,
) -> None:
    """Writes the page of a lower precision: the gate's figures, each layer's error.

    Raises:
        OSError: the file cannot be written.
    """
    from . import diagrams

    precision = tried[0].verdict.precision.upper()
    title = f"{precision} of {bundle.manifest.name} {bundle.manifest.version}"
    parts = [
        _lead(title, f"For {options.target}; a form is kept only if it stays within the budget.")
    ]
    for form in tried:
        verdict = form.verdict
        state = "good" if verdict.passed else "bad"
        samples = materials[form.network].samples
        count = len(next(iter(samples.values())))
        parts += [
            f"<h2>{html.escape(form.network)}</h2>",
            f'<p class="{state}">{html.escape(verdict.line())}</p>',
            f'<p class="dim">{count} samples, sha256 <code>{fingerprint(samples)}</code>'
            + (f", ranges by {options.method}" if precision == "INT8" else "")
            + f"; judged on {verdict.n} labelled examples.</p>",
            _table(("", ["", "float", precision, "budget"], _gate_rows(form, options))),
        ]
        if form.kept:
            kept = ", ".join(form.kept)
            parts.append(f"<p>Left in float: <code>{html.escape(kept)}</code></p>")
        if form.layers:
            picture = diagrams.layers(list(form.layers), form.kept, options.budget.kl)
            caption = "Orange: left in float." if form.kept else "No layer had to stay in float."
            parts.append(_figure(picture, caption))
            rows = [[r.layer, f"{r.kl:.2e}", f"{r.agree:.4f}"] for r in form.layers]
            columns = ["layer alone in eight bits", "KL to float", "same best"]
            parts.append(_table(("Per-layer error", columns, rows)))
    _write(file, title, parts)


def _gate_rows(form: Tried, options: Options) -> list[list[str]]:
    verdict, budget = form.verdict, options.budget
    exact, lower, change = verdict.exact, verdict.lower, verdict.change
    rows = [
        ["top-1", f"{exact.top1:.4f}", f"{lower.top1:.4f}", f"−{budget.top1:g}"],
        [
            *("macro recall", f"{exact.macro_recall:.4f}", f"{lower.macro_recall:.4f}"),
            f"−{budget.macro_recall:g}",
        ],
        ["ECE", f"{exact.ece:.4f}", f"{lower.ece:.4f}", f"+{budget.ece:g}"],
        ["KL to float, nats", "", f"{change.kl:.5f}", f"{budget.kl:g}"],
        ["same best expression", "", f"{change.agree:.4f}", ""],
    ]
    if change.overlap is not None:
        rows.insert(4, ["ten best words kept", "", f"{change.overlap:.4f}", f"{budget.overlap:g}"])
    if verdict.speed is not None:
        speed = verdict.speed
        rows.append(
            [
                f"time on {speed.engine}, ms",
                *(f"{speed.float_ms:.3f}", f"{speed.lower_ms:.3f}"),
                f"{budget.speedup:g} times as fast",
            ]
        )
    return rows


def _lead(title: str, text: str) -> str:
    return f'<h1>{html.escape(title)}</h1><p class="dim">{html.escape(text)}</p>'


def _table(page: Page) -> str:
    title, columns, rows = page
    head = "".join(f"<th>{html.escape(_WORDS.get(c, c))}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    heading = f"<h2>{html.escape(title)}</h2>" if title else ""
    return f'{heading}<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _figure(source: str, caption: str) -> str:
    text = html.escape(caption)
    return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _write(file: Path, title: str, parts: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "<!doctype html>\n"
        '<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>\n"
        + "\n".join(parts)
        + "\n</html>\n",
        "utf-8",
    )
