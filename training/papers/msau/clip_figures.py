"""Figures of the video system (paper 003, V).

The fusion-weight study: how much of the spatial stream serves best (paper 003, V-F, Fig. 7).

N clips, K classes.

What TMSAU-Net is measured by: each stream, their fusion, and what the attention looks at.

Paper 003: Table II (videos), V-D (six classes), V-F (the fusion's weight, Fig. 7).
N clips, T frames, D features, K labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ferstream.calibration.probability import softmax

from ...datasets.learning_clips import ClipSplits, LearningClips
from ...learning.drawn_sets import middle_stack, whole_clip
from ...learning.run_folder import RunFolder
from ...learning.system import Found
from ...measuring.metrics import classifier_figures, confusion_matrix
from ...measuring.report import ACCENT, COLOURS, FAINT, canvas, save
from ...networks.clip_streams import ClipNetwork
from ...networks.tmsau import EvenAttention
from .figures import six_class_figures

Array = npt.NDArray[np.floating[Any]]

WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
"""Shares of the spatial stream that are tried: 0, 0.1 ... 1."""


@dataclass(frozen=True)
class FusionCurve:
    """Figures over the weight of the spatial stream."""

    weights: tuple[float, ...]
    top1: tuple[float, ...]
    """Share of clips whose class was found"""
    macro_recall: tuple[float, ...]
    """Mean over the classes that occur: the paper's average accuracy over all classes"""

    @property
    def best(self) -> float:
        """The weight of the highest macro recall; of several the one nearest to a half."""
        top = max(self.macro_recall)
        found = zip(self.weights, self.macro_recall, strict=True)
        return min((weight for weight, value in found if value == top), key=lambda w: abs(w - 0.5))


def fused(spatial_NK: Array, temporal_NK: Array, weight: float) -> Array:
    """Both streams' probabilities mixed, `weight` of the spatial one: (N, K)."""
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}: the spatial stream's share is 0 to 1")
    return np.asarray(weight * spatial_NK + (1 - weight) * temporal_NK)


def fusion_curve(
    spatial_NK: Array,
    temporal_NK: Array,
    label_N: npt.NDArray[np.integer[Any]],
    weights: tuple[float, ...] = WEIGHTS,
) -> FusionCurve:
    """Sweeps the weight over both streams' probabilities (N, K)."""
    classes = [label_N == k for k in np.unique(label_N)]
    top1, recall = [], []
    for weight in weights:
        hit = fused(spatial_NK, temporal_NK, weight).argmax(1) == label_N
        top1.append(float(hit.mean()))
        recall.append(float(np.mean([hit[there].mean() for there in classes])))
    return FusionCurve(weights, tuple(top1), tuple(recall))


_BINS = 10


def draw_fusion_curve(path: Path, curves: Mapping[str, FusionCurve], weight: float) -> None:
    """Mean recall over the weight of the spatial stream (paper 003, Fig. 7, right)."""
    figure, axes = canvas(4.4, 3.4)
    axes.axvline(weight, color=FAINT, linewidth=0.8)
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(curve.weights, curve.macro_recall, "o-", color=colour, markersize=3.5, label=name)
    axes.set_xlabel("weight of the spatial stream")
    axes.set_ylabel("macro recall")
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def draw_attention(
    path: Path, attention_NT: npt.NDArray[np.float32], level_NT: npt.NDArray[np.float32]
) -> None:
    """Left: mean attention of frames by how far the expression is on, 1 being an even share.
    Right: mean attention and mean level over the frames of a clip."""
    figure, (left, right) = canvas(8.2, 3.2, 2)
    frames = attention_NT.shape[1]
    share, level = attention_NT.ravel() * frames, level_NT.ravel()
    place = np.minimum((level * _BINS).astype(int), _BINS - 1)
    there = [k for k in range(_BINS) if (place == k).any()]
    left.axhline(1, color=FAINT, linewidth=0.8)
    left.plot(
        [float(level[place == k].mean()) for k in there],
        [float(share[place == k].mean()) for k in there],
        "o-",
        color=ACCENT,
        markersize=4,
    )
    left.set_xlabel("how far the expression is on")
    left.set_ylabel("attention, even share = 1")
    at = np.arange(frames)
    right.plot(at, frames * attention_NT.mean(axis=0), "o-", color=ACCENT, markersize=3.5)
    right.plot(at, level_NT.mean(axis=0), color=COLOURS[1], linewidth=1.4)
    right.set_xlabel("frame")
    right.legend(["attention, even share = 1", "expression's level"], frameon=False, fontsize=8)
    save(figure, path)


VALIDATION = "validation"
"""The fusion's weight is chosen there."""
CURVE, ATTENTION = "fusion_curve.png", "attention.png"
PAPERS = (0.5, 0.7)
"""Weights that the paper trains with and finds best."""


@dataclass(frozen=True)
class Heard:
    """What the network says of clips: logits (N, K) of each stream, temporal None without one,
    and the attention (N, T). `otherwise` holds the spatial stream's logits with its frames
    weighted in other ways."""

    spatial: Array
    temporal: Array | None
    attention: Array
    otherwise: dict[str, Array]


@torch.no_grad()
def frame_features(
    frames: Any, clips: LearningClips, crop_px: int, *, mirrored: bool = False, batch: int = 16
) -> npt.NDArray[np.float16]:
    """A frame network's features (N, T, D) of all frames of clips, on the crops of run time."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    frames = frames.to(device).eval()
    parts = []
    for start in range(0, len(clips), batch):
        crops = clips.crops(np.arange(start, min(start + batch, len(clips))), crop_px)
        shown = np.ascontiguousarray(crops[..., ::-1]) if mirrored else crops
        flat = torch.from_numpy(shown.reshape(-1, *shown.shape[2:])).to(device)
        found = frames.recognise(flat).feature.half().cpu().numpy()
        parts.append(found.reshape(*shown.shape[:2], -1))
    frames.cpu()
    return np.concatenate(parts)


@torch.no_grad()
def heard(network: ClipNetwork, clips: LearningClips, options: Any, crop_px: int) -> Heard:
    """Both streams on clips, as run time would hear them."""
    spatial, temporal = network.eval().streams.spatial, network.streams.temporal
    feature = torch.from_numpy(frame_features(network.frames, clips, crop_px)).float()
    mask = torch.from_numpy(clips.mask)
    scores, attention = spatial(feature, mask)
    reduced = spatial.reduce(feature)
    last = torch.zeros_like(mask)
    last[torch.arange(len(clips)), mask.sum(1).long() - 1] = 1
    peak = torch.zeros_like(mask)
    peak[torch.arange(len(clips)), torch.from_numpy(clips.peak)] = 1
    ways = {"mean of the frames": mask, "last frame alone": last, "key frame alone": peak}
    otherwise = {
        name: spatial.heads(EvenAttention()(reduced, frames)[0]).leaf.numpy()
        for name, frames in ways.items()
    }
    said = None
    if temporal is not None:
        parts = [
            temporal(torch.from_numpy(motion_of(clips, rows, options))).leaf
            for rows in np.array_split(np.arange(len(clips)), -(-len(clips) // 16))
        ]
        said = torch.cat(parts).numpy()
    return Heard(scores.leaf.numpy(), said, attention.numpy(), otherwise)


def motion_of(clips: LearningClips, rows: npt.NDArray[np.int64], options: Any) -> npt.NDArray[Any]:
    """What the back end that options name is given of some clips."""
    if options.back_end != "flow":
        return np.stack([whole_clip(clips, row, options.input_px) for row in rows.tolist()])
    stacks = []
    for row in rows.tolist():
        room = max(int(clips.mask[row].sum()) - 1 - options.fields, 0)
        stacks.append(middle_stack(clips.motion[row], room // 2, options.fields))
    return np.stack(stacks).reshape(len(rows), -1, *clips.motion.shape[3:])


def measure_clips(
    network: ClipNetwork, options: Any, data: ClipSplits, run: RunFolder, crop_px: int
) -> Found:
    """Figures, tables and pictures of a run, the fusion's weight chosen on validation clips."""
    found = {split: heard(network, getattr(data, split), options, crop_px) for split in SPLITS}
    curves = {split: _curve(found[split], getattr(data, split)) for split in SPLITS}
    chosen = curves[VALIDATION]
    weight = 1.0 if chosen is None else options.fixed_weight
    if weight is None:
        assert chosen is not None
        weight = chosen.best
    metrics: dict[str, Any] = {
        "labels": list(data.labels),
        "fusion": {"spatial_weight": weight},
        "tables": {},
        "pictures": {},
    }
    predictions: dict[str, npt.NDArray[Any]] = {}
    for split in SPLITS:
        clips, said = getattr(data, split), found[split]
        metrics[split], logits = _figures(said, clips, data.labels, weight)
        predictions |= {f"{split}_logits": logits, f"{split}_target": clips.target}
        predictions |= {f"{split}_spatial": said.spatial, f"{split}_attention": said.attention}
        if said.temporal is not None:
            predictions[f"{split}_temporal"] = said.temporal
    _show_streams(metrics, found, data, weight)
    kind = "synthetic clips" if data.train.name.startswith("synthetic") else "clips"
    if curves["test"] is not None and chosen is not None:
        draw_fusion_curve(run.path / CURVE, {"validation": chosen, "test": curves["test"]}, weight)
        metrics["pictures"][CURVE] = (
            f"Mean recall over the spatial stream's weight (Fig. 7), {kind}. The line is the "
            "weight that is used."
        )
        metrics["tables"][f"Fusion's weight (Fig. 7), test, {kind}"] = _curve_table(curves["test"])
    if data.test.level is not None:
        metrics["attention"] = _attention_figures(found["test"], data.test)
        metrics["test"]["attention_follows_level"] = metrics["attention"]["correlation"]
        draw_attention(run.path / ATTENTION, found["test"].attention, data.test.level)
        metrics["pictures"][ATTENTION] = (
            f"Attention of a frame against how far the expression is on, {kind}: correlation "
            f"{metrics['attention']['correlation']:.2f}."
        )
    return metrics, predictions


SPLITS = ("validation", "test")


def _figures(
    said: Heard, clips: LearningClips, labels: tuple[str, ...], weight: float
) -> tuple[dict[str, Any], Array]:
    """Figures of the fused probabilities and the logits behind them."""
    logits = _fused(said, weight)
    figures = classifier_figures(logits, clips.target, labels)
    guess = logits.argmax(axis=1)
    figures["confusion"] = confusion_matrix(clips.label, guess, len(labels)).tolist()
    six = six_class_figures(guess, clips.label, labels)
    figures["six_classes"] = six
    figures |= {"six_top1": six["top1"], "six_macro_recall": six["macro_recall"]}
    for name, stream in (("spatial", said.spatial), ("temporal", said.temporal)):
        if stream is not None:
            alone = classifier_figures(stream, clips.target, labels)
            figures |= {f"{name}_{key}": alone[key] for key in ("top1", "macro_recall")}
    return figures, logits


def _fused(said: Heard, weight: float) -> Array:
    if said.temporal is None:
        return said.spatial
    mixed = fused(softmax(said.spatial), softmax(said.temporal), weight)
    return np.asarray(np.log(mixed + 1e-9), np.float32)


def _curve(said: Heard, clips: LearningClips) -> FusionCurve | None:
    if said.temporal is None:
        return None
    return fusion_curve(softmax(said.spatial), softmax(said.temporal), clips.label)


def _show_streams(
    metrics: dict[str, Any], found: dict[str, Heard], data: ClipSplits, weight: float
) -> None:
    """A row for each stream, their fusion, and other ways of weighting frames."""
    rows = []
    said = {split: found[split] for split in SPLITS}
    ways: list[tuple[str, dict[str, Array]]] = [
        ("spatial stream", {s: said[s].spatial for s in SPLITS})
    ]
    if said["test"].temporal is not None:
        temporal = {s: heard.temporal for s, heard in said.items() if heard.temporal is not None}
        ways.append(("temporal stream", temporal))
        for share in dict.fromkeys((weight, *PAPERS)):
            name = f"both, spatial weight {share:g}" + (" (used)" if share == weight else "")
            ways.append((name, {s: _fused(said[s], share) for s in SPLITS}))
    for other in said["test"].otherwise:
        ways.append((f"spatial stream, {other}", {s: said[s].otherwise[other] for s in SPLITS}))
    for name, logits in ways:
        cells = [name]
        for split in SPLITS:
            clips: LearningClips = getattr(data, split)
            figures = classifier_figures(logits[split], clips.target, data.labels)
            six = six_class_figures(logits[split].argmax(axis=1), clips.label, data.labels)
            cells += [_share(figures["top1"]), _share(figures["macro_recall"]), _share(six["top1"])]
        rows.append(cells)
    head = ["what", *(f"{s} {f}" for s in SPLITS for f in ("top-1", "macro recall", "six classes"))]
    title = f"Streams on {data.train.name} clips; other weightings of frames are not trained anew"
    metrics["tables"][title] = {"head": head, "rows": rows}


def _curve_table(curve: FusionCurve) -> dict[str, Any]:
    rows = [
        [f"{weight:g}", _share(top1), _share(recall)]
        for weight, top1, recall in zip(curve.weights, curve.top1, curve.macro_recall, strict=True)
    ]
    return {"head": ["spatial weight", "top-1", "macro recall"], "rows": rows}


def _attention_figures(said: Heard, clips: LearningClips) -> dict[str, float]:
    """How the attention goes with the expression's level, over the frames of all clips: the
    correlation, and the mean level under the attention, evenly, and in the last frame."""
    assert clips.level is not None
    there = clips.mask > 0
    share = (said.attention * clips.mask.sum(axis=1, keepdims=True))[there]
    level = clips.level[there]
    constant = share.std() < 1e-6 or level.std() < 1e-6
    count = clips.mask.sum(axis=1).astype(int)
    return {
        "correlation": 0.0 if constant else float(np.corrcoef(share, level)[0, 1]),
        "level_attended": float((said.attention * clips.level).sum(axis=1).mean()),
        "level_mean": float(level.mean()),
        "level_last": float(clips.level[np.arange(len(clips)), count - 1].mean()),
    }


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
