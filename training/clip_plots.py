"""Pictures of a video system's run, drawn without a screen.  N clips, T frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .late_fusion import FusionCurve
from .plots import ACCENT, COLOURS, FAINT, canvas, save

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
