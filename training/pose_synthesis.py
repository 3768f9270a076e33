"""Augmentation by synthesised poses: FaPE-GAN's faces beside the real ones (paper 004, Fig. 5).

N images, M made, C channels, S side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .data.pose_pairs import Wanted, landmark_picture

Image = npt.NDArray[np.uint8]


@torch.no_grad()
def synthesised(
    generator: nn.Module,
    wanted: Wanted,
    faces: Callable[[npt.NDArray[np.int64]], Image],
    landmarks_NL2: npt.NDArray[np.floating[Any]],
    *,
    batch: int = 32,
) -> Image:
    """The faces wanted, (M, C, S, S) uint8.

    Args:
        generator: a trained `FaPEGenerator`, on any device; it is put into evaluation mode.
        wanted: which face to turn to whose pose, by `data.pose_pairs.balancing_pairs`.
        faces: gives rows' crops (M, C, S, S) uint8.
        landmarks_NL2: 68 landmarks of every image in the crop's pixels; targets' are read.

    A made face keeps its source's subject and expression and has its target's pose.
    """
    generator.eval()
    device = next(generator.parameters()).device
    made = []
    for start in range(0, len(wanted.source), batch):
        rows = slice(start, start + batch)
        crops = faces(wanted.source[rows])
        side = crops.shape[-1]
        poses = np.stack([landmark_picture(landmarks_NL2[at], side) for at in wanted.target[rows]])
        out = generator(
            centred(torch.from_numpy(crops)).to(device),
            centred(torch.from_numpy(poses[:, None])).to(device),
        )
        made.append(pixels(out).cpu().numpy())
    if not made:
        return np.asarray(faces(wanted.source)[:0], np.uint8)
    return np.concatenate(made)


def centred(pixels_BCSS: Tensor) -> Tensor:
    """uint8 pixels to -1..1."""
    return pixels_BCSS.float() / 127.5 - 1


def pixels(face_BCSS: Tensor) -> Tensor:
    """-1..1 to uint8 pixels."""
    return ((face_BCSS.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
