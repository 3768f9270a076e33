"""Measure a bundle, as deployed, on clips made from the test photographs.

There is no labelled video here, so these figures are of photographs spoiled or set in motion, and
are called so. T frames of a clip, N clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track

from ferstream.calibration.reliability import expected_calibration_error, negative_log_likelihood
from ferstream.engines.bundle import Bundle
from ferstream.engines.contract import heard_input
from ferstream.engines.engine import Engine, open_engine
from ferstream.stream.flow import motion_share

from .data.augment import CROP_PX
from .data.fer import FerPlus, data_folder
from .data.judged import GRADES, Judgements, load_judged_photographs
from .data.motion import FaceShape, MotionMaker, motion_target
from .data.views import SPOILS, ViewMaker
from .judged_figures import expressive, measured
from .word_figures import ranking

Array = npt.NDArray[np.float32]
Said = dict[str, Array]
VIEWS = 8
BATCH = 128


class ClipScorer:
    """The bundle's engines on whole clips: (N, T) crops and, where given, motion stacks."""

    def __init__(self, bundle: Bundle, engine: str = "auto", precision: str = "auto") -> None:
        self.head = bundle.manifest.head("basic8")
        self.words = bundle.manifest.head("emo135")
        self._heard, self._recency_s = bundle.manifest.motion, bundle.manifest.clip_recency_s
        self._rest = {
            tensor.name: int(tensor.shape[-1])
            for tensor in bundle.manifest.networks["fusion"].inputs
            if tensor.name not in ("feature", "mask")
        }
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

    def motion(self, stacks: Array) -> Said:
        """Stacks (N, 2F, 32, 32) to what the temporal network says: basic8 (N, 8) logits, and those
        of the other heads that it has."""
        parts = [
            self._engines["temporal"].run({"motion": stacks[at : at + BATCH]})
            for at in range(0, len(stacks), BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def heard(self, motion: Said) -> dict[str, Array]:
        """What the temporal network says under the names of the fusion network's inputs."""
        return {heard_input(head): said for head, said in motion.items()}

    def shares(self, stacks: Array) -> Array:
        """How far each of the stacks (N, 2F, 32, 32) is heard, as at run time (N, 1)."""
        shares = [motion_share(stack, self._heard.still, self._heard.moving) for stack in stacks]
        return np.array(shares, np.float32)[:, None]

    def fused(
        self,
        feature: Array,
        motion: Said | None = None,
        share: Array | None = None,
        age_s: Array | None = None,
    ) -> dict[str, Array]:
        """Features (N, T, D), temporal scores, how far they are heard (N, 1) and how old each frame
        is (N, T), to all that the fusion network gives; without ages all frames count alike."""
        count, frames = feature.shape[:2]
        mask = np.ones((count, frames), np.float32)
        if age_s is not None and self._recency_s:
            mask = np.exp(-age_s / self._recency_s).astype(np.float32)
        inputs = {name: np.zeros((count, width), np.float32) for name, width in self._rest.items()}
        inputs |= {"feature": feature, "mask": mask}
        if motion is not None and share is not None:
            inputs |= {"has_motion": share, **self.heard(motion)}
        return dict(self._engines["fusion"].run(inputs))

    def clips(
        self, feature: Array, motion: Said | None = None, share: Array | None = None
    ) -> tuple[Array, Array]:
        """The same, to probabilities (N, 8) and attention (N, T)."""
        out = self.fused(feature, motion, share)
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
    scorer: ClipScorer,
    data: FerPlus,
    shape: FaceShape,
    kind: str | None,
    seed: int = 3,
    judged: JudgedRows | None = None,
) -> dict[str, Any]:
    """Photographs set in motion: each stream alone, and both fused, as deployed live; and their
    words, where a judge described some of them."""
    maker = MotionMaker(data, shape, seed)
    crops, stacks, targets, levels, gaps_s = [], [], [], [], []
    for row in _counted(len(data), f"Setting photographs in motion ({kind or 'all kinds'})"):
        clip = maker.clip(row, kind or maker.any_kind(), CROP_PX)
        crops.append(np.stack(clip.crops))
        stacks.append(maker.motion(clip))
        targets.append(motion_target(data.votes[row], clip.level))
        levels.append(clip.level)
        gaps_s.append(clip.gap_s)
    target = np.stack(targets)
    stack = np.stack(stacks)
    motion = scorer.motion(stack)
    feature = scorer.features(np.stack(crops))
    age_s = np.stack([gap_s * np.arange(feature.shape[1] - 1, -1, -1) for gap_s in gaps_s])
    frames = scorer.fused(feature, age_s=age_s)
    both = scorer.fused(feature, motion, scorer.shares(stack), age_s=age_s)
    said = {"temporal": motion, "spatial": frames, "fused": both}
    label = target.argmax(axis=1)
    found: dict[str, Any] = {"n": len(data)}
    for name, out in said.items():
        probability = scorer.head.probabilities(out["basic8"])
        found[name] = {
            "top1": _top1(probability, label),
            "nll": negative_log_likelihood(probability, target),
            "ece": expected_calibration_error(probability, label),
        }
    if judged is not None and scorer.words.kind == "independent":
        on = np.array(levels)[judged.rows] >= ON
        rows, words = judged.rows[on], judged.judged.take(on)
        ranked = {
            name: np.argsort(-scorer.words.probabilities(out["emo135"][rows]), axis=1)
            for name, out in said.items()
        }
        found["words"] = words_in_motion(ranked, words)
    return found


ON = 0.5
"""Words are measured where the expression is on by so much at the clip's end."""


@dataclass(frozen=True)
class JudgedRows:
    """Which of some photographs a judge found expressive, (M,) rows, and what it said of them."""

    rows: npt.NDArray[np.int64]
    judged: Judgements


def judged_rows(data: FerPlus, folder: str | Path | None) -> JudgedRows | None:
    """Those of a split's photographs; None where the set has no judgements."""
    if not (data_folder(folder) / "fer2013plus" / "words.npz").is_file():
        return None
    found = load_judged_photographs(data.split, folder)
    place = np.full(data.total, -1, np.int64)
    place[data.image] = np.arange(len(data))
    rows = place[found.photographs.image]
    kept = (rows >= 0) & expressive(found.judged)
    return JudgedRows(rows[kept], found.judged.take(kept))


def words_in_motion(
    ranked: Mapping[str, npt.NDArray[np.int64]], judged: Judgements
) -> dict[str, Any]:
    """How often the judge's first word is among ten of each stream's, and by how much the fused
    words are better than the frames' alone, with 95 % intervals over the faces."""
    hits = {
        name: ranking(order, judged.words, GRADES)["first_in_top10"]
        for name, order in ranked.items()
    }
    hits["gain"] = hits["fused"] - hits["spatial"]

    def figure(hit: npt.NDArray[np.floating[Any]]) -> Callable[[npt.NDArray[np.int64]], float]:
        return lambda at: float(hit[at].mean())

    figures = {name: figure(hit) for name, hit in hits.items()}
    return {"n": len(judged), **measured(figures, len(judged), least=-1.0)}


def clip_figures(
    bundle: Bundle, data: FerPlus, shape: FaceShape, folder: str | Path | None = None
) -> dict[str, Any]:
    """Attention and motion on the photographs of ``data`` that have landmarks."""
    cv2.setNumThreads(1)
    scorer, judged = ClipScorer(bundle), judged_rows(data, folder)
    return {
        "attention": attention_figures(scorer, data, shape),
        "onset": motion_figures(scorer, data, shape, "onset", judged=judged),
        "all_kinds": motion_figures(scorer, data, shape, None, judged=judged),
    }


def _top1(probability: Array, label: npt.NDArray[np.int64]) -> float:
    return float((probability.argmax(axis=1) == label).mean())


def _counted(count: int, what: str) -> Iterable[int]:
    from ferstream.engines.terminal import plain_console

    console = plain_console(stderr=True)
    return track(range(count), what, console=console, disable=not console.is_terminal)
