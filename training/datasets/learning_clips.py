"""Labelled clips of aligned faces, and their splits.

Labelled clips of aligned faces as the video system takes them, whichever set they come from.

N clips, T frames of a clip, S side of a crop, K labels, F motion fields, P side of a field.

Sets of clips to learn from, in three splits that share nobody.

synthetic:fg33   clips of the 3D face, rendered once; "synthetic" shows the basic expressions
a folder         what `ferstream data prepare` made of clips (FG-Emotions, AFEW, DFEW, ...)

FG-Emotions has 825, 275 and 391 clips (paper 003, Table I), and so have the synthetic sets.
T frames of a clip.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ferstream.stream.clip import MOTION_CROP_PX, MOTION_FIELD_PX, MotionEstimator
from ferstream.stream.faces.align import ANCHOR_TEMPLATE

from ..errors import OptionsWrong
from .face_splits import Splits, about_splits, completed, numbered
from .fer import SPLITS
from .learning_faces import LearningFaces
from .readers.pixels import spread
from .readers.prepared import load_prepared
from .synthetic import ACTION_UNITS, SyntheticFaces, SyntheticHead, SyntheticOptions
from .synthetic import load_synthetic_head as load_head
from .synthetic_splits import UNIT_OFF, UNIT_ON, Arrays, rendered, synthetic_options

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LearningClips:
    """N labelled clips of one split.

    Args:
        name: of the data set.
        labels: K names.
        names: N names, unique among all splits.
        pixels: (N, T, S, S) uint8 grey crops, aligned as at run time.
        mask: (N, T) 1 where a frame is, 0 behind the end of a shorter clip.
        times_s: (N, T) seconds from the clip's beginning.
        target: (N, K) float32, each row a distribution over the labels.
        level: (N, T) 0..1 how far the expression is on; None where nobody knows.
        people: (N,) whose face it is; None where nobody knows.
        units: (N, T, U) int8 action units 1 on, -1 off, 0 unknown; None where there are none.
        unit_names: U names.
        blendshapes: (N, T, 52) float32 0..1; None where there are none.
    """

    name: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    pixels: Image
    mask: Floats
    times_s: Floats
    target: Floats
    level: Floats | None = None
    people: npt.NDArray[np.int64] | None = None
    units: npt.NDArray[np.int8] | None = None
    unit_names: tuple[str, ...] = ()
    blendshapes: Floats | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def frames(self) -> int:
        """T."""
        return self.pixels.shape[1]

    @property
    def label(self) -> npt.NDArray[np.int64]:
        """The largest part of each target, (N,)."""
        return np.asarray(self.target.argmax(axis=1), np.int64)

    @property
    def peak(self) -> npt.NDArray[np.int64]:
        """The key frame of each clip (N,): where the expression is on most, else the middle one.

        Of several alike the middle one; the paper's annotators chose them by eye (III).
        """
        middle = (self.mask.sum(axis=1) - 1) / 2
        if self.level is None:
            return np.asarray(middle.round(), np.int64)
        top = (self.level >= self.level.max(axis=1, keepdims=True) - 1e-3) & (self.mask > 0)
        found = [np.flatnonzero(row) for row in top]
        return np.array([row[len(row) // 2] for row in found], np.int64)

    def crops(self, rows: npt.NDArray[np.int64], crop_px: int) -> Image:
        """Crops (n, T, 1, crop_px, crop_px) of some clips."""
        flat = self.pixels[rows].reshape(-1, *self.pixels.shape[2:])
        if flat.shape[1] != crop_px:
            how = cv2.INTER_AREA if flat.shape[1] > crop_px else cv2.INTER_LINEAR
            flat = np.stack(
                [cv2.resize(one, (crop_px, crop_px), interpolation=how) for one in flat]
            )
        return np.asarray(flat, np.uint8).reshape(len(rows), self.frames, 1, crop_px, crop_px)

    @cached_property
    def motion(self) -> npt.NDArray[np.float16]:
        """(N, T - 1, 2, P, P): what the run-time estimator sees from each frame to the next, in
        face widths per second; zeros behind the end of a clip."""
        shape = (len(self), self.frames - 1, 2, MOTION_FIELD_PX, MOTION_FIELD_PX)
        fields, estimator = np.zeros(shape, np.float16), MotionEstimator()
        for row in range(len(self)):
            crops = self.crops(np.array([row]), MOTION_CROP_PX)[0, :, 0]
            for at in range(int(self.mask[row].sum()) - 1):
                gap_s = float(self.times_s[row, at + 1] - self.times_s[row, at])
                fields[row, at] = estimator.field(crops[at], crops[at + 1], gap_s)
        return fields

    def stills(self, each: int) -> LearningFaces:
        """The ``each`` frames of every clip that are nearest to its key frame, as faces: how the
        paper makes its set of images from its clips (III)."""
        distance = np.abs(np.arange(self.frames)[None] - self.peak[:, None]).astype(np.float64)
        distance[self.mask == 0] = np.inf
        order = np.argsort(distance, axis=1, kind="stable")[:, :each]
        near = np.take_along_axis(distance, order, 1) < np.inf
        row = np.repeat(np.arange(len(self)), near.sum(axis=1))
        at = order[near]
        side = self.pixels.shape[2]
        anchors = (ANCHOR_TEMPLATE * side - 0.5).astype(np.float32)
        return LearningFaces(
            name=self.name,
            labels=self.labels,
            names=tuple(
                f"{self.names[n]}#{t}" for n, t in zip(row.tolist(), at.tolist(), strict=True)
            ),
            pixels=self.pixels[row, at],
            target=self.target[row],
            anchors_xy=np.repeat(anchors[None], len(row), axis=0),
            seen=np.ones(len(row), np.bool_),
            landmarks_xy=np.zeros((len(row), 0, 2), np.float32),
            landmark_index=np.zeros(0, np.int16),
            people=None if self.people is None else self.people[row],
            units=None if self.units is None else self.units[row, at],
            unit_names=self.unit_names,
            blendshapes=None if self.blendshapes is None else self.blendshapes[row, at],
        )

    def take(self, rows: npt.NDArray[np.int64]) -> LearningClips:
        """The chosen rows only."""
        return replace(
            self,
            names=tuple(self.names[row] for row in rows.tolist()),
            pixels=self.pixels[rows],
            mask=self.mask[rows],
            times_s=self.times_s[rows],
            target=self.target[rows],
            level=None if self.level is None else self.level[rows],
            people=None if self.people is None else self.people[rows],
            units=None if self.units is None else self.units[rows],
            blendshapes=None if self.blendshapes is None else self.blendshapes[rows],
        )

    @cached_property
    def fingerprint(self) -> str:
        """Twelve letters that change with any picture, time or label."""
        digest = hashlib.sha256("\n".join((self.name, *self.labels)).encode())
        for part in (self.pixels, self.mask, self.times_s, self.target):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:12]


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
        raise OptionsWrong(
            f"{folder} holds pictures: tmsau learns from clips; prepare a folder of clips, or "
            "train msau on these"
        )
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
