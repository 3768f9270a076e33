"""One self-contained HTML page of figures, for people: of a check, or of a lower precision."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

from ferstream.engines.bundle import Bundle

from .check import Checked, Page
from .document import document, figure, table
from .quantize import CalibrationData, Options, Tried
from .ranges import fingerprint

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
    from . import document as diagrams

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
        figure(
            diagrams.reliability(facts["bins"]["equal_width"]),
            "Equal width: where a bar ends below the dashed line, the network was too sure.",
        ),
        figure(
            diagrams.reliability(facts["bins"]["equal_mass"]),
            "Equal mass: as many faces in each bin.",
        ),
        tables[1],
        figure(
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
            figure(
                diagrams.coverage(facts["sets"]["promised"], facts["sets"]["measured"]),
                "Prediction sets, clean and spoiled: the promise holds for faces like those they "
                "were fitted on; under corruption it is an observation.",
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
    data: Mapping[str, CalibrationData],
    options: Options,
) -> None:
    """Writes the page of a lower precision: the gate's figures, each layer's error.

    Raises:
        OSError: the file cannot be written.
    """
    from . import document as diagrams

    precision = tried[0].verdict.precision.upper()
    title = f"{precision} of {bundle.manifest.name} {bundle.manifest.version}"
    parts = [
        _lead(title, f"For {options.target}; a form is kept only if it stays within the budget.")
    ]
    for form in tried:
        verdict = form.verdict
        state = "good" if verdict.passed else "bad"
        samples = data[form.network].samples
        count = len(next(iter(samples.values())))
        parts += [
            f"<h2>{html.escape(form.network)}</h2>",
            f'<p class="{state}">{html.escape(verdict.line())}</p>',
            f'<p class="faint">{count} samples, sha256 <code>{fingerprint(samples)}</code>'
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
            parts.append(figure(picture, caption))
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
                f"time on {speed.backend}, ms",
                *(f"{speed.float_ms:.3f}", f"{speed.lower_ms:.3f}"),
                f"{budget.speedup:g} times as fast",
            ]
        )
    return rows


def _lead(title: str, text: str) -> str:
    return f'<h1>{html.escape(title)}</h1><p class="faint">{html.escape(text)}</p>'


def _table(page: Page) -> str:
    title, columns, rows = page
    heading = f"<h2>{html.escape(title)}</h2>" if title else ""
    return heading + table([_WORDS.get(c, c) for c in columns], rows, len(columns) - 1)


def _write(file: Path, title: str, parts: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document(title, "\n".join(parts)), "utf-8")
