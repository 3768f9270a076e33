"""The benchmark tables of the papers' systems: which runs they are made of, and as Markdown.

Every row is a run of `ferstream train SYSTEM --fast` with options of its own, in a folder of its
own. `table_runs.py` trains what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong, RunUnfinished
from ..learning.run_folder import RUN, open_run
from .report import figure_text

SPLITS = ("test", "validation")
_RESAMPLES = 2_000
FIGURES = {"top1": "top-1", "macro_recall": "macro recall", "ece": "ECE"}


def run_path(folder: Path, row: Row, seed: int) -> Path:
    """Where a row's run of this seed lies."""
    return folder / row.table / f"{row.name}-{seed}"


def command(folder: Path, row: Row, seed: int, data: str | None = None) -> list[str]:
    """The row's command line; it reproduces the row alone, once what it builds on is there."""
    options = dict(row.options)
    if row.after:
        options[row.after_option] = str(run_path(folder, row_named(row.table, row.after), seed))
    words = ["ferstream", "train", row.system, "--fast", "--seed", str(seed)]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--data", data] if data else []
    return [*words, "--run", str(run_path(folder, row, seed))]


def chosen_rows(beginnings: str) -> list[Row]:
    """Rows whose table/name begins so; of several beginnings, with commas between them, in their
    order.

    Raises:
        OptionsWrong: none does.
    """
    found: dict[Row, None] = {}
    for beginning in beginnings.split(","):
        some = [row for row in ROWS if f"{row.table}/{row.name}".startswith(beginning.strip())]
        if not some:
            names = ", ".join(f"{row.table}/{row.name}" for row in ROWS)
            raise OptionsWrong(f"no row begins with {beginning!r}: there are {names}")
        found |= dict.fromkeys(some)
    return list(found)


def seeds_of(text: str) -> list[int]:
    """Seeds from a text such as "0,1,2".

    Raises:
        OptionsWrong: it is no list of whole numbers.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise OptionsWrong(
            f"seeds {text!r}: give whole numbers with commas between them"
        ) from error


def row_named(table: str, name: str) -> Row:
    """The row of this name."""
    (found,) = [row for row in ROWS if (row.table, row.name) == (table, name)]
    return found


def finished(path: Path) -> bool:
    """Whether the run there was trained to its end and measured."""
    try:
        return (path / RUN).is_file() and open_run(path).finished
    except RunUnfinished:
        return False


def markdown(folder: Path, rows: Sequence[Row], seeds: Sequence[int], split: str = "test") -> str:
    """What is finished as Markdown tables: means over seeds with their standard deviations.

    ``split`` "validation" shows what choices may rest on.

    Raises:
        OptionsWrong: another split.
    """
    if split not in SPLITS:
        raise OptionsWrong(f"split {split!r}: there are {', '.join(SPLITS)}")
    parts = []
    for table, title in TITLES.items():
        chosen = [row for row in rows if row.table == table]
        measured = {row: found for row in chosen if (found := _measured(folder, row, seeds, split))}
        if not measured:
            continue
        more = dict.fromkeys(name for row in measured for name in row.figures)
        named = [name.replace("_", " ") for name in more]
        head = ["run", "seeds", *FIGURES.values(), "top-1 gained, points", *named]
        parts.append(f"### {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row, found in measured.items():
            own = [_figure(found, name) if name in row.figures else "" for name in more]
            cells = [row.name, str(len(found)), *(_figure(found, name) for name in FIGURES)]
            parts.append(f"| {' | '.join([*cells, gained(folder, row, seeds, split), *own])} |")
        parts.append("")
    return "\n".join(parts)


def _measured(folder: Path, row: Row, seeds: Sequence[int], split: str) -> list[dict[str, Any]]:
    """A split's figures of a row's finished runs."""
    paths = [run_path(folder, row, seed) for seed in seeds]
    return [open_run(path).metrics()[split] for path in paths if finished(path)]


def gained(folder: Path, row: Row, seeds: Sequence[int], split: str = "test") -> str:
    """Points of top-1 that a row gains over the one that it is held against: the mean over seeds,
    and in brackets what 95 % of resamplings of the split's faces give. Empty where either lacks.

    Both runs of a seed judged the same faces: their answers are compared face by face. Seeds that
    judged the same faces are resampled together; a protocol draws others for every seed.
    """
    if row.against in ("", row.name):
        return ""
    differences: dict[bytes, list[npt.NDArray[np.float32]]] = {}
    for seed in seeds:
        paths = [run_path(folder, r, seed) for r in (row, row_named(row.table, row.against))]
        if all(map(finished, paths)):
            (one, faces), (other, _) = (_hits(path, split) for path in paths)
            differences.setdefault(faces, []).append(one - other)
    if not differences:
        return ""
    count = sum(map(len, differences.values()))
    rng, mean, resampled_R = np.random.default_rng(0), 0.0, np.zeros(_RESAMPLES)
    for alike in differences.values():
        points_N = 100 * np.mean(alike, axis=0)
        drawn_RN = rng.integers(0, len(points_N), (_RESAMPLES, len(points_N)))
        mean += len(alike) / count * float(points_N.mean())
        resampled_R += len(alike) / count * points_N[drawn_RN].mean(axis=1)
    low, high = np.quantile(resampled_R, (0.025, 0.975))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _hits(path: Path, split: str) -> tuple[npt.NDArray[np.float32], bytes]:
    """1 where a run was right about a face of a split, else 0, (N,); and what tells these faces
    from others: their targets."""
    found = open_run(path).predictions()
    target = found[f"{split}_target"]
    right = found[f"{split}_logits"].argmax(axis=1) == target.argmax(axis=1)
    return np.asarray(right, np.float32), target.tobytes()


def _figure(measured: Sequence[dict[str, Any]], name: str) -> str:
    """Mean and, of several, standard deviation."""
    values = np.array([found[name] for found in measured if name in found], np.float64)
    if not len(values):
        return ""
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    text = figure_text(name, float(values.mean()))
    if spread is None:
        return text
    bare = figure_text(name, spread).removesuffix(" %")
    return text.replace(" %", f" ± {bare} %") if "%" in text else f"{text} ± {bare}"


TITLES = {
    "faces": "FER+ photographs, 8,000 to learn from",
    "words": "Judged words of FER+ photographs, 4,000 to learn from",
    "clips": "Synthetic clips of 33 words",
    "poses": "Synthetic faces of 54 words in four poses, by protocol",
}
"""The tables by the name of their folder."""


@dataclass(frozen=True)
class Row:
    """One row of a table: a run of a system for each seed."""

    table: str
    name: str
    system: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    after: str = ""
    """A row of the same table whose run this one builds on"""
    after_option: str = ""
    """The option that names that run"""
    figures: tuple[str, ...] = ()
    """What of metrics["test"] is shown beside the usual figures"""
    against: str = ""
    """A row of the same table that this one's top-1 is held against, test face by test face"""


FACES = {"limit": 8000, "precision": "fp32"}
"""What all systems share on photographs."""


FA_NET: dict[str, Any] = {
    "faces": "fer2013plus",
    "protocol": "none",
    "synthesis": "no",
    "epochs": 8,
    "rate": 2e-3,
    "dropout": 0.3,
    "augmentation": "rich",
}


PROTOCOLS = ("er-ss", "er-ue", "er-up", "er-zid")


def _faces(name: str, system: str, against: str, *figures: str, **options: Any) -> Row:
    return Row("faces", name, system, {**FACES, **options}, figures=figures, against=against)


def _slfer(variant: str) -> Row:
    """Paper 002, Table 1."""
    options = {"variant": variant, "crop_px": 48, "epochs": 3}
    return _faces(f"slfer-{variant}", "slfer", "slfer-baseline", **options)


def _msau(variant: str) -> Row:
    """Paper 003, Table II."""
    return _faces(variant, "msau", "plain-cnn", "unit_f1", variant=variant)


def _neighborhood(name: str, **options: Any) -> Row:
    """Paper 001, Tables VII and VIII; the autoencoder is one and the same."""
    figures = ("failure_cases", "consistent_failures")
    row = _faces(
        f"neighborhood-{name}", "neighborhood", "neighborhood-no-mask", *figures, **options
    )
    if name in ("batch", "no-mask"):
        return row
    return replace(row, after="neighborhood-batch", after_option="teacher")


def _emo135(variant: str) -> Row:
    """Paper 000, Table 2."""
    return _faces(f"emo135-{variant}", "emo135", "emo135-full", variant=variant)


def _words(name: str, **options: Any) -> Row:
    """Paper 000, Table 2, on sets of words that a vision-language model named.

    The embedding is one and the same: what differs comes after it.
    """
    labels = {"faces": "fer2013plus:words", "blendshape_share": 0.0, "limit": 4000, "epochs": 6}
    figures = ("top5", "top10", "macro_f1", "top1_among", "recall_at_10", "distance_top1")
    row = Row(
        "words",
        f"emo135-{name}",
        "emo135",
        {**FACES, **labels, **options},
        figures=(*figures, "distance_top10"),
        against="emo135-full",
    )
    return row if name == "full" else replace(row, after="emo135-full", after_option="embedding")


def _compact(name: str, **options: Any) -> Row:
    """The default bundle's network; nothing of it is a paper's table."""
    return _faces(name, "compact", "compact", **options)


def _clips(name: str, **options: Any) -> Row:
    """Paper 003, Tables II and V; MSAU-Net is one and the same."""
    figures = ("spatial_top1", "temporal_top1", "six_top1")
    row = Row("clips", name, "tmsau", options, figures=figures, against="tmsau")
    if name in ("tmsau", "two-stream"):
        return row
    return replace(row, after="tmsau", after_option="msau")


def _poses(protocol: str, synthesis: str) -> Row:
    """Paper 004, Table 5."""
    return Row(
        "poses",
        f"{protocol}-{'with' if synthesis == 'yes' else 'without'}-gan",
        "f2ed",
        {"faces": "synthetic:f2ed54:poses", "protocol": protocol, "synthesis": synthesis},
        figures=("rare_recall", "rare_pose_top1", "made_l1"),
        against=f"{protocol}-without-gan",
    )


ROWS: tuple[Row, ...] = (
    *map(_slfer, ("baseline", "ct", "st", "ct+st", "proposed")),
    *map(_msau, ("plain-cnn", "au-cnn", "au-z-cnn", "msau")),
    _neighborhood("no-mask", mask="none"),
    _neighborhood("batch", mask="batch"),
    _neighborhood("threshold", mask="threshold"),
    _neighborhood("unbalanced", balance="none"),
    *map(_emo135, ("full", "no-embedding", "no-layers", "no-label", "plain")),
    _faces("fa-net", "f2ed", "fa-net", **FA_NET),
    _faces("fa-net-pretrained", "f2ed", "fa-net", **FA_NET, pretrain="synthetic"),
    _compact("compact"),
    _compact("compact-ct+st", segmentation_weight=0.5, component_weight=0.5),
    _compact("compact-pretrained", pretrain="synthetic"),
    _compact("compact-longer", epochs=10),
    *(
        _words(variant, variant=variant)
        for variant in ("full", "no-embedding", "no-layers", "no-label", "plain")
    ),
    _words("no-cleaning", cleaning="no"),
    _clips("tmsau"),
    _clips("nan", variant="nan"),
    _clips("mean", attention="mean"),
    _clips("vgg16-lstm", back_end="vgg16-lstm"),
    _clips("c3d-lstm", back_end="c3d-lstm"),
    _clips("two-stream", variant="two-stream"),
    *(_poses(protocol, how) for protocol in PROTOCOLS for how in ("no", "yes")),
)
