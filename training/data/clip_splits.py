"""Sets of clips to learn from, in three splits that share nobody.

synthetic:fg33   clips of the 3D face, rendered once; "synthetic" shows the basic expressions
a folder         what `ferstream data prepare` made of clips (FG-Emotions, AFEW, DFEW, ...)

FG-Emotions has 825, 275 and 391 clips (paper 003, Table I), and so have the synthetic sets.
T frames of a clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionsWrong
from .face_splits import Splits, about_splits, completed, numbered
from .fer import SPLITS
from .learning_clips import LearningClips
from .readers.pixels import spread
from .readers.prepared import load_prepared
from .rendered import Arrays, rendered
from .synthetic import ACTION_UNITS, SyntheticFaces, SyntheticHead, SyntheticOptions
from .synthetic import load_synthetic_head as load_head
from .synthetic_splits import UNIT_OFF, UNIT_ON, synthetic_options

CLIPS = {"train": (825, (0, 80)), "validation": (275, (80, 20)), "test": (391, (100, 20))}
"""Clips, and the first person's number and how many there are, of each synthetic split."""
RATE_HZ = 10.0
"""Frames a second of synthetic clips: run time, too, measures motion over a tenth of a second."""
TREMBLING = 0.004
"""How far landmarks err in synthetic clips, in sides of the crop."""


@dataclass(frozen=True)
class ClipSplits:
    """The three splits of a set of clips."""

    train: LearningClips
    validation: LearningClips
    test: LearningClips

    @property
    def labels(self) -> tuple[str, ...]:
        """K names, the same in all splits."""
        return self.train.labels

    def about(self) -> dict[str, Any]:
        """What a run folder keeps of it: name, sizes, a fingerprint of all of it."""
        parts = {split: getattr(self, split) for split in SPLITS}
        return about_splits(f"{self.train.name} clips", parts)

    def stills(self, each: int) -> Splits:
        """The frames about the clips' key frames as an image system's data; one of each clip to
        validate and test."""
        counts = {"train": each, "validation": 1, "test": 1}
        return Splits(**{s: getattr(self, s).stills(n) for s, n in counts.items()})


def load_clips(
    name: str,
    folder: str | Path | None,
    *,
    frames: int,
    clip_px: int,
    limit: int = 0,
    seed: int = 0,
) -> ClipSplits:
    """All three splits, each clip with at most ``frames`` frames spread evenly over it.

    Args:
        name: synthetic, synthetic:WORDS, or a folder of prepared clips.
        folder: of the data, for the 3D face.
        frames: T.
        clip_px: side of the crops that are rendered; prepared ones have theirs.
        limit: at most so many training clips, the same share of the others; 0: all. Synthetic
            splits show each word once at least.
        seed: of what is left out, and of missing splits.

    Raises:
        OptionsWrong: no such set, or one that holds pictures.
        DataMissing, DataError: its files are not there or not as they should be.
    """
    if name.split(":")[0] == "synthetic":
        parts = {split: _synthetic(name, split, folder, frames, clip_px, limit) for split in CLIPS}
        return ClipSplits(**parts)
    if not Path(name).is_dir():
        raise OptionsWrong(
            f"no set of clips {name!r}: there are synthetic, synthetic:WORDS, and folders that "
            "`ferstream data prepare` made of clips"
        )
    parts = _prepared(Path(name), frames, seed)
    share = min(1.0, limit / len(parts["train"])) if limit else 1.0
    if share < 1:
        for number, split in enumerate(parts):
            part = parts[split]
            order = np.random.default_rng([seed, number]).permutation(len(part))
            parts[split] = part.take(np.sort(order[: max(1, round(share * len(part)))]))
    return ClipSplits(**parts)


def _synthetic(
    name: str, split: str, folder: str | Path | None, frames: int, clip_px: int, limit: int
) -> LearningClips:
    usual, people = CLIPS[split]
    changes: dict[str, Any] = {
        "framing": "crop",
        "size_px": clip_px,
        "frames": frames,
        "rate_hz": RATE_HZ,
        "trembling_px": TREMBLING * clip_px,
        "supersample": 1,
        "people": people,
        "seed": list(CLIPS).index(split),
    }
    options = SyntheticOptions(**{**synthetic_options(name).__dict__, **changes})
    head = load_head(folder)
    labels = SyntheticFaces(head, options).labels
    share = min(1.0, limit / CLIPS["train"][0]) if limit else 1.0
    count = max(len(labels), round(share * usual))
    columns = rendered(
        "clips", head, {**options.__dict__, "count": count}, lambda: _columns(head, options, count)
    )
    units = columns["action_units"]
    return LearningClips(
        name=name,
        labels=tuple(labels),
        names=tuple(f"{split}/{index:06d}" for index in range(count)),
        pixels=columns["pixels"],
        mask=np.ones((count, frames), np.float32),
        times_s=columns["times_s"],
        target=np.eye(len(labels), dtype=np.float32)[columns["label"]],
        level=columns["levels"],
        people=columns["person"],
        units=(units >= UNIT_ON).astype(np.int8) - (units < UNIT_OFF).astype(np.int8),
        unit_names=ACTION_UNITS,
        blendshapes=columns["blendshapes"],
    )


def _columns(head: SyntheticHead, options: SyntheticOptions, count: int) -> Arrays:
    maker = SyntheticFaces(head, options)
    names = ("pixels", "times_s", "levels", "action_units", "blendshapes", "label", "person")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for index in range(count):
        clip = maker.clip(index)
        for name, row in rows.items():
            row.append(getattr(clip, name))
    return {name: np.stack(row) for name, row in rows.items()}


def _prepared(folder: Path, frames: int, seed: int) -> dict[str, LearningClips]:
    """Prepared clips; their frames are aligned already."""
    prepared = load_prepared(folder)
    faces, crops, all_times_s = prepared.faces, prepared.crops, prepared.times_s
    if faces.kind != "clips":
        raise OptionsWrong(f"{folder} holds pictures: tmsau learns from clips")
    rows = np.flatnonzero(faces.label_index >= 0)
    if not len(rows):
        raise OptionsWrong(f"{folder} has no expression labels to learn from")
    side = crops.shape[1]
    pixels = np.zeros((len(rows), frames, side, side), np.uint8)
    mask = np.zeros((len(rows), frames), np.float32)
    times_s = np.zeros((len(rows), frames), np.float32)
    for at, row in enumerate(rows.tolist()):
        first, end = faces.items[row].frames or (0, 0)
        chosen = first + np.array(spread(end - first, frames))
        pixels[at, : len(chosen)], mask[at, : len(chosen)] = crops[chosen], 1
        times_s[at, : len(chosen)] = all_times_s[chosen] - all_times_s[chosen[0]]
    items = [faces.items[row] for row in rows.tolist()]
    whole = LearningClips(
        name=str(prepared.facts.get("about", folder.name)),
        labels=faces.labels,
        names=tuple(item.name for item in items),
        pixels=pixels,
        mask=mask,
        times_s=times_s,
        target=faces.targets[rows],
        people=numbered([item.subject for item in items]),
    )
    split: npt.NDArray[np.str_] = completed(
        np.array([item.split for item in items]),
        np.array([item.subject or item.name for item in items]),
        seed,
    )
    return {name: whole.take(np.flatnonzero(split == name)) for name in SPLITS}
