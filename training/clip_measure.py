"""What TMSAU-Net is measured by: each stream, their fusion, and what the attention looks at.

Paper 003: Table II (videos), V-D (six classes), V-F (the fusion's weight, Fig. 7).
N clips, T frames, D features, K labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ferstream.calibration.probability import softmax

from .clip_plots import draw_attention, draw_fusion_curve
from .data.clip_sets import middle_stack, whole_clip
from .data.clip_splits import ClipSplits
from .data.learning_clips import LearningClips
from .late_fusion import FusionCurve, fused, fusion_curve
from .metrics import classifier_figures, confusion_matrix
from .networks.clip_streams import ClipNetwork
from .networks.tmsau import EvenAttention
from .run_folder import RunFolder
from .six_classes import six_class_figures
from .system import Found

Array = npt.NDArray[np.float32]
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
