"""The model card: what a bundle's manifest says of it, as Markdown for people.

Everything that is measured, taught or licensed is taken from the manifest; what no manifest knows,
what the output means and what it must not be used for, stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .calibrator import PredictionSets
from .manifest import Head, Manifest

AI_ACT = (
    "Under the European Union's AI Act, Regulation (EU) 2024/1689, this is to be treated as an "
    "emotion recognition system. Art. 5(1)(f) prohibits inferring the emotions of people at work "
    "or in education, save for medical or safety reasons; it applies since 2 February 2025. "
    "Art. 50(3) obliges whoever uses such a system to inform the people exposed to it, and to "
    "process their data as data protection law says; it applies since 2 August 2026."
)
"""What the law of the European Union asks, with the dates; one paragraph."""

MEANING = (
    "The output says which words people would choose for the expression that a face shows. "
    "It does not say what anybody feels, wants or is."
)
"""What the numbers mean; one paragraph."""

_SUPERVISION = {
    "trained": "learned from labels of its own",
    "machine-judged": "learned from what a vision-language model said of each face, not people",
    "weakly supervised": "derived from other labels, nobody labelled faces with these",
    "derived": "computed from another list",
}
_FIGURES = {
    "n": "samples",
    "top1": "top-1 accuracy",
    "top3": "top-3 accuracy",
    "uncertain": "called uncertain",
    "top1_where_uncertain": "top-1 accuracy of those",
    "top1_where_certain": "top-1 accuracy of the others",
    "macro_recall": "mean recall of the classes",
    "recall": "recall",
    "ece": "expected calibration error",
    "kl": "divergence from the raters' votes (KL)",
    "nll": "negative log-likelihood",
    "family_top1": "likeliest family",
    "family_ece": "expected calibration error of the families",
    "basic8_family_top1": "the same from the eight basic expressions",
    "second_n": "samples with a second emotion",
    "second_family_in_top10": "a word of the second emotion's family among the ten",
    "intensity_rank_correlation": "rank correlation of intensity",
    "top1_among": "our first word is one of the judge's",
    "first_in_top5": "the judge's first word is among our five",
    "first_in_top10": "the judge's first word is among our ten",
    "recall_at_10": "the judge's words found among our ten",
    "ndcg_at_10": "order of our ten (NDCG)",
    "judges": "one judge against the other",
    "words_used": "different words among all tens",
    "r2_from_basic": "how much of the words the basic expressions explain (R2)",
    "valence_ccc": "agreement on valence (CCC)",
    "valence_r": "correlation of valence",
    "arousal_ccc": "agreement on arousal (CCC)",
    "arousal_r": "correlation of arousal",
    "intensity_r": "correlation of intensity",
    "basic_top1": "top-1 accuracy of the basic expression",
    "basic_macro_recall": "mean recall of the basic expressions",
}
_NATS = {"kl", "nll"}
_PLAIN = {
    "intensity_rank_correlation",
    *("ndcg_at_10", "r2_from_basic", "jaccard_within_family"),
    *("valence_ccc", "valence_r", "arousal_ccc", "arousal_r", "intensity_r"),
}


def card(manifest: Manifest) -> str:
    """The bundle's model card, Markdown; the same manifest gives the same text."""
    parts = (
        f"# Model card: {_line(manifest.name)} {_line(manifest.version)}",
        _what_it_is(manifest),
        "## What the numbers mean",
        MEANING,
        "## What it knows, and how it was taught",
        _heads(manifest.heads),
        "## How well it does",
        _measured(manifest.measured),
        *_one_of_these(manifest.sets),
        "## Intended use",
        _INTENDED,
        "## Not to be used for",
        _OUT_OF_SCOPE,
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(manifest)),
        "## The law of the European Union",
        AI_ACT,
        "## Training data and licence",
        f"- Training data: {_line(manifest.training_data) or 'not stated'}\n"
        f"- Licence: {_line(manifest.licence) or 'not stated'}",
        "## How it works",
        _how(manifest),
    )
    return "\n\n".join(parts) + "\n"


_INTENDED = """\
- Research and teaching about facial expressions, and tools that describe them to their own users.
- Annotating video with the consent of the people in it; a person should check what matters.
- Counts and shares over many people (`--aggregate-only`), where they have been told."""

_OUT_OF_SCOPE = """\
- Emotions of people at work or in education: prohibited in the European Union, see below.
- Decisions about a person: hiring, insurance, credit, policing, borders, health, credibility.
- Finding out who somebody is: the networks are not made to tell people apart.
- Watching people who do not know of it, or children without their guardians' consent."""


def _what_it_is(manifest: Manifest) -> str:
    counts = {head.name: len(head.labels) for head in manifest.heads}
    made = " ".join(filter(None, (manifest.created, manifest.commit and f"({manifest.commit})")))
    text = (
        f"Three small networks that name the expression of a face in video: "
        f"{counts.get('basic8', 0)} basic expressions with calibrated probabilities, and the most "
        f"fitting of {counts.get('emo135', 0)} finer words."
    )
    return f"{text} Made {_line(made)}." if made else text


def _heads(heads: Iterable[Head]) -> str:
    """A table of the label lists, and what its column of supervision says."""
    rows = [
        (head.name, str(len(head.labels)), f"**{head.supervision}**", _cell(head.note))
        for head in heads
    ]
    kinds = dict.fromkeys(head.supervision for head in heads)
    legend = "; ".join(f"*{kind}*: {_SUPERVISION[kind]}" for kind in kinds)
    return f"{_table(('list', 'labels', 'supervision', 'note'), rows)}\n\n{legend}."


def _measured(measured: Mapping[str, Any]) -> str:
    """Tables of what the manifest holds, whatever that is, one for each group."""
    if not measured:
        return "Nothing was measured."
    facts = [f"{_name(key)}: {_line(str(value))}" for key, value in _facts(measured)]
    text = "; ".join(facts)
    blocks = [f"{text[:1].upper()}{text[1:]}." if facts else ""]
    for key, group in measured.items():
        if isinstance(group, Mapping):
            blocks.append(f"**{_line(key)}**\n\n{_table(('figure', 'value'), _rows(group))}")
    return "\n\n".join(filter(None, blocks))


def _one_of_these(sets: PredictionSets | None) -> Iterator[str]:
    """What the prediction sets promise, and how they kept it."""
    if sets is None:
        return
    promise = (
        f"Beside the best expression a set is named (`one_of`) that holds the right one for "
        f"{100 * sets.coverage:.0f} % of faces like those it was fitted on."
    )
    rows = [
        (
            _cell(how),
            f"{100 * found['covered']:.1f} %",
            f"{found['size']:.2f}",
            f"{100 * found['single']:.0f} %",
        )
        for how, found in sets.measured.items()
        if {"covered", "size", "single"} <= set(found)
    ]
    header = ("faces", "covered", "expressions in a set", "sets of one")
    yield "\n\n".join(["**one_of**", promise, *([_table(header, rows)] if rows else [])])


def _facts(measured: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in measured.items() if not isinstance(value, Mapping))


def _rows(group: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in group.items():
        name = f"{prefix}{_name(key)}"
        if isinstance(value, Mapping):
            yield from _rows(value, f"{name}: ")
        else:
            yield _cell(name), _cell(_figure(key, value))


def _name(key: str) -> str:
    return _FIGURES.get(key, key.replace("_", " "))


def _figure(key: str, value: Any) -> str:
    """A number as people read it: shares in per cent, the rest as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if key in _NATS:
        return f"{value:.3f} nats"
    if key in _PLAIN or not 0 <= value <= 1:
        return f"{value:.3f}"
    return f"{100 * value:.1f} %"


def _limits(manifest: Manifest) -> Iterator[str]:
    """What to beware of, the measured weaknesses first."""
    recall = manifest.measured.get("basic8", {}).get("recall")
    if isinstance(recall, Mapping) and recall:
        worst = sorted(recall.items(), key=lambda pair: float(pair[1]))[:3]
        told = ", ".join(f"{_line(name)} ({100 * float(value):.0f} %)" for name, value in worst)
        yield f"Recognised worst, by recall: {told}."
    for head in manifest.heads:
        if head.supervision == "weakly supervised":
            yield (
                f"The {len(head.labels)} labels of {head.name} are weakly supervised: good for "
                "shades of what is measured, not evidence for a single word."
            )
    judged = [head.name for head in manifest.heads if head.supervision == "machine-judged"]
    if judged:
        yield (
            f"{', '.join(judged)} learned from a vision-language model's judgements of faces: they "
            "say what such a judge would, its habits and biases included; nobody asked people."
        )
    yield (
        "The figures are of the data named above; other faces, cameras and cultures were not "
        "measured."
    )
    groups = "fairface" in manifest.measured
    by_how_much = (
        "How it does by age and gender stands above."
        if groups
        else ("By how much was not measured.")
    )
    yield (
        "Faces and raters behind the data are not everyone's: expect it to do worse for some "
        f"groups of people than for others. {by_how_much}"
    )
    yield "Posed, hidden and polite expressions read like any other. Context is not seen."
    yield (
        f"Crops have {manifest.crop.px} pixels a side: small, dark, blurred and turned faces are "
        "read less well. Heed `quality` and `uncertain`."
    )


def _how(manifest: Manifest) -> str:
    crop, motion = manifest.crop, manifest.motion
    rows = [
        ("crop", f"{crop.px} px, {crop.colour}, aligned by {crop.template}"),
        ("clip", f"{manifest.clip_duration_s:g} s, {manifest.clip_frames} frames at most"),
        ("motion", f"{motion.fields} fields of {motion.px} px, {motion.gap_s:g} s apart"),
        ("temperatures", ", ".join(f"{h.name} {h.temperature:.3g}" for h in manifest.heads)),
    ]
    files = [(name, f"`{digest[:16]}`") for name, digest in sorted(manifest.files.items())]
    tables = [_table(("part", "value"), [(name, _cell(value)) for name, value in rows])]
    if files:
        tables.append(_table(("file", "sha256 begins"), files))
    return "\n\n".join(tables)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(text: str) -> str:
    """Text on one line, harmless in HTML that a page makes of it."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cell(text: str) -> str:
    """Text that fits a table's cell."""
    return _line(text).replace("|", "\\|")
