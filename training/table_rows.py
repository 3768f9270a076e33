"""The rows of the benchmark tables: which system, with which options beside --fast."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

TITLES = {
    "faces": "FER+ photographs, 8,000 to learn from",
    "words": "Judged words of FER+ photographs, 8,000 to learn from",
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
    """Paper 000, Table 2, on sets of words that a vision-language model named."""
    labels = {"faces": "fer2013plus:words", "blendshape_share": 0.0}
    figures = ("top5", "top10", "macro_f1", "top1_among", "recall_at_10", "distance_top1")
    return Row(
        "words",
        f"emo135-{name}",
        "emo135",
        {**FACES, **labels, **options},
        figures=(*figures, "distance_top10"),
        against="emo135-full",
    )


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
