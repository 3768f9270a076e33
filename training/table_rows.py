"""The rows of the benchmark tables: which system, with which options beside --fast."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

TITLES = {
    "faces": "FER+ photographs: 8,000 to learn from, the whole test split",
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
    said: str = ""
    """What the table calls it; the name by default"""


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


def _faces(name: str, system: str, figures: tuple[str, ...] = (), **options: Any) -> Row:
    return Row("faces", name, system, {**FACES, **options}, figures=figures)


def _after(row: Row, base: str, option: str) -> Row:
    return replace(row, after=base, after_option=option)


_CLIPS = ("spatial_top1", "temporal_top1", "six_top1")
_POSES = ("rare_recall", "rare_pose_top1", "made_l1")
PROTOCOLS = ("er-ss", "er-ue", "er-up", "er-zid")

ROWS: tuple[Row, ...] = (
    *(
        _faces(f"slfer-{variant}", "slfer", variant=variant, crop_px=48, epochs=3)
        for variant in ("baseline", "ct", "st", "ct+st", "proposed")
    ),
    *(
        _faces(name, "msau", ("unit_f1",) if "cnn" not in name[:9] else (), variant=name)
        for name in ("plain-cnn", "au-cnn", "au-z-cnn", "msau")
    ),
    _faces(
        "neighborhood-batch", "neighborhood", ("failure_cases", "consistent_failures"), mask="batch"
    ),
    *(
        _after(row, "neighborhood-batch", "teacher")
        for row in (
            _faces(
                "neighborhood-threshold",
                "neighborhood",
                ("failure_cases", "consistent_failures"),
                mask="threshold",
            ),
            _faces(
                "neighborhood-unbalanced",
                "neighborhood",
                ("failure_cases", "consistent_failures"),
                balance="none",
            ),
        )
    ),
    _faces(
        "neighborhood-no-mask",
        "neighborhood",
        ("failure_cases", "consistent_failures"),
        mask="none",
    ),
    *(
        _faces(f"emo135-{variant}", "emo135", variant=variant)
        for variant in ("full", "no-embedding", "no-layers", "no-label", "plain")
    ),
    _faces("fa-net", "f2ed", **FA_NET),
    _faces("fa-net-pretrained", "f2ed", **FA_NET, pretrain="synthetic"),
    Row("clips", "tmsau", "tmsau", figures=_CLIPS),
    *(
        Row("clips", name, "tmsau", options, "tmsau", "msau", _CLIPS)
        for name, options in (
            ("nan", {"variant": "nan"}),
            ("mean", {"attention": "mean"}),
            ("vgg16-lstm", {"back_end": "vgg16-lstm"}),
            ("c3d-lstm", {"back_end": "c3d-lstm"}),
        )
    ),
    Row("clips", "two-stream", "tmsau", {"variant": "two-stream"}, figures=_CLIPS),
    *(
        Row(
            "poses",
            f"{protocol}-{'with' if synthesis == 'yes' else 'without'}-gan",
            "f2ed",
            {"faces": "synthetic:f2ed54:poses", "protocol": protocol, "synthesis": synthesis},
            figures=_POSES,
        )
        for protocol in PROTOCOLS
        for synthesis in ("no", "yes")
    ),
)
