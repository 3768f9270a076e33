"""The rows of the benchmark tables: which system, with which options beside --fast."""

from __future__ import annotations

from dataclasses import dataclass, field
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


FACES = {"limit": 8000, "crop_px": 48, "precision": "fp32"}
"""What all systems share on photographs."""

ROWS: tuple[Row, ...] = (
    *(
        Row("faces", f"slfer-{variant}", "slfer", {**FACES, "variant": variant, "epochs": 4})
        for variant in ("baseline", "ct", "st", "ct+st", "proposed")
    ),
)
