"""Measure a bundle, as deployed, on clips made from the test photographs.

There is no labelled video here, so these figures are of photographs spoiled or set in motion, and
are called so. T frames of a clip, N clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track

from calibration.reliability import expected_calibration_error, negative_log_likelihood
from engines.bundle import Bundle
from engines.engine import Engine, open_engine
from stream.flow import motion_share

from .data.augment import CROP_PX
from .data.fer import FerPlus
from .data.motion import FaceShape, MotionMaker, motion_target
from .data.views import SPOILS, ViewMaker

Array = npt.NDArray[np.float32]
VIEWS = 8
BATCH = 128


class ClipScorer:
    """The bundle's engines on whole clips: (N, T) crops and, where given, motion stacks."""

    def __init__(self, bundle: Bundle, engine: str = "auto", precision: str = "auto") -> None:
        self.head = bundle.manifest.head("basic8")
        self._heard = bundle.manifest.motion
        self._engines: dict[str, Engine] = {
            network: open_engine(bundle, network, backend=engine, precision=choice)
            for network, choice in (
                ("spatial", precision),
                ("temporal", precision),
                ("fusion", "auto"),
            )
        }

    def features(self, crops: npt.NDArray[np.uint8]) -> Array:
        """Crops (N, T, 48, 48) to features (N, T, D)."""
        flat = crops.reshape(-1, 1, *crops.shape[2:])
        parts = [
            self._engines["spatial"].run({"crop": flat[at : at + BATCH]})["feature"]
            for at in range(0, len(flat), BATCH)
        ]
        return np.concatenate(parts).reshape(*crops.shape[:2], -1)

    def motion(self, stacks: Array) -> Array:
        """Stacks (N, 2F, 32, 32) to logits (N, 8)."""
        return np.concatenate(
            [
                self._engines["temporal"].run({"motion": stacks[at : at + BATCH]})["basic8"]
                for at in range(0, len(stacks), BATCH)
            ]
        )

    def shares(self, stacks: Array) -> Array:
        """How far each of the stacks (N, 2F, 32, 32) is heard, as at run time (N, 1)."""
        shares = [motion_share(stack, self._heard.still, self._heard.moving) for stack in stacks]
        return np.array(shares, np.float32)[:, None]

    def clips(
        self, feature: Array, motion: Array | None = None, share: Array | None = None
    ) -> tuple[Array, Array]:
        """Features (N, T, D), temporal logits (N, 8) and how far they are heard (N, 1), to
        probabilities (N, 8) and attention (N, T)."""
        count, frames = feature.shape[:2]
        out = self._engines["fusion"].run(
            {
                "feature": feature,
                "mask": np.ones((count, frames), np.float32),
                "temporal": np.zeros((count, 8), np.float32) if motion is None else motion,
                "has_motion": np.zeros((count, 1), np.float32) if share is None else share,
            }
        )
        return self.head.probabilities(out["basic8"]), out["attention"]

    def single(self, feature: Array) -> Array:
        """Features (N, D), each taken as a clip of one frame, to probabilities (N, 8)."""
        return self.clips(feature[:, None])[0]


def attention_figures(
    scorer: ClipScorer, data: FerPlus, shape: FaceShape, seed: int = 2
) -> dict[str, Any]:
    """Clips of eight views of each photograph, four of them spoiled: attention or averaging.

    ``mixed`` spoils each of the four in a way of its own; the others spoil all four in one way,
    each on a share of the photographs, and ``one_way`` is all of those together.
    """
    maker = ViewMaker(data, shape, seed)
    ways = np.array([SPOILS[row % len(SPOILS)] for row in range(len(data))])
    mixed = _attended(scorer, maker, data, [None] * len(data), "each in its own way")
    one_way = _attended(scorer, maker, data, list(ways), "in one way")
    by_way = {way: one_way.figures(ways == way) for way in SPOILS if way in ways}
    every = np.ones(len(data), dtype=bool)
    return {"mixed": mixed.figures(every), "one_way": one_way.figures(every), **by_way}


@dataclass(frozen=True)
class _Attended:
    """Whether each clip was named right by attention, by averaging and by averaging only the good
    views; and the attention's weight on the spoiled ones."""

    attention: npt.NDArray[np.bool_]
    averaging: npt.NDArray[np.bool_]
    good_views_only: npt.NDArray[np.bool_]
    weight_on_spoiled: Array

    def figures(self, rows: npt.NDArray[np.bool_]) -> dict[str, float]:
        """Shares over some of the clips."""
        return {"n": int(rows.sum())} | {
            name: float(value[rows].mean()) for name, value in self.__dict__.items()
        }


def _attended(
    scorer: ClipScorer, maker: ViewMaker, data: FerPlus, ways: Sequence[str | None], what: str
) -> _Attended:
    half = VIEWS // 2
    made = [
        maker.clip(row, VIEWS, half, ways[row])
        for row in _counted(len(data), f"Spoiling half the views, {what}")
    ]
    crops, spoiled = np.stack([c for c, _ in made]), np.stack([m for _, m in made])
    feature = scorer.features(crops)
    attended, attention = scorer.clips(feature)
    averaged = scorer.single(feature.mean(axis=1))
    best = scorer.single((feature * ~spoiled[..., None]).sum(axis=1) / np.float32(half))
    label = data.majority
    return _Attended(
        attended.argmax(axis=1) == label,
        averaged.argmax(axis=1) == label,
        best.argmax(axis=1) == label,
        (attention * spoiled).sum(axis=1),
    )


def motion_figures(
    scorer: ClipScorer, data: FerPlus, shape: FaceShape, kind: str | None, seed: int = 3
) -> dict[str, Any]:
    """Photographs set in motion: each stream alone, and both fused, as deployed."""
    maker = MotionMaker(data, shape, seed)
    crops, stacks, targets = [], [], []
    for row in _counted(len(data), f"Setting photographs in motion ({kind or 'all kinds'})"):
        clip = maker.clip(row, kind or maker.any_kind(), CROP_PX)
        crops.append(np.stack(clip.crops))
        stacks.append(maker.motion(clip))
        targets.append(motion_target(data.votes[row], clip.level))
    target = np.stack(targets)
    stack = np.stack(stacks)
    motion = scorer.motion(stack)
    feature = scorer.features(np.stack(crops))
    scores = {
        "temporal": scorer.head.probabilities(motion),
        "spatial": scorer.clips(feature)[0],
        "fused": scorer.clips(feature, motion, scorer.shares(stack))[0],
    }
    label = target.argmax(axis=1)
    return {
        "n": len(data),
        **{
            name: {
                "top1": _top1(probability, label),
                "nll": negative_log_likelihood(probability, target),
                "ece": expected_calibration_error(probability, label),
            }
            for name, probability in scores.items()
        },
    }


def clip_figures(bundle: Bundle, data: FerPlus, shape: FaceShape) -> dict[str, Any]:
    """Attention and motion on the photographs of ``data`` that have landmarks."""
    cv2.setNumThreads(1)
    scorer = ClipScorer(bundle)
    return {
        "attention": attention_figures(scorer, data, shape),
        "onset": motion_figures(scorer, data, shape, "onset"),
        "all_kinds": motion_figures(scorer, data, shape, None),
    }


def _top1(probability: Array, label: npt.NDArray[np.int64]) -> float:
    return float((probability.argmax(axis=1) == label).mean())


def _counted(count: int, what: str) -> Iterable[int]:
    from rich.console import Console

    console = Console(stderr=True)
    return track(range(count), what, console=console, disable=not console.is_terminal)
