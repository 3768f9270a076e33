"""The attention over a clip's frames, learned for any image system on spoiled pictures.

There is no labelled video: a clip is one face shown several times, some of them as a poor camera
would, and what is worth attending to is what is fit to be judged. The system's own features and
head stay as they are.  N clips, T frames, D features, K labels.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ferstream.stream.align import warp

from .checkpoint import LAST, read_checkpoint
from .data.augment import Augmentation, random_matrix, vary_light
from .data.face_splits import Splits
from .data.hardships import HARDSHIPS, worsened
from .data.learning_faces import LearningFaces
from .fit import fit
from .networks.fusion import CascadedAttention
from .systems.attention import AttentionOptions, AttentionTraining, FeatureClips, clip_loader

VIEWS = Augmentation(erase_share=0.0)
DEFAULTS = AttentionOptions(clips=1_500)
VALIDATED = 400
"""Faces at most on which the attention is watched while it learns."""


def learned_attention(
    network: Any,
    data: Splits,
    crop_px: int,
    run: Path,
    options: AttentionOptions = DEFAULTS,
) -> CascadedAttention:
    """The attention of a run, learned where ``run``/attention does not hold it yet.

    Raises:
        LossNotFinite, DoesNotFit, CheckpointDamaged: see `training.fit`.
    """
    attend = CascadedAttention(int(network.features))
    done = run / "attention" / "learned"
    if done.exists():
        return _loaded(attend, done.with_name(LAST))
    train = spoiled_clips(network, data.train, crop_px, options, clips=options.clips)
    validation = spoiled_clips(network, data.validation, crop_px, options, clips=None)
    batch = min(options.batch, len(train.votes))
    loader = clip_loader(train, batch, shuffle=True)
    # A copy: the moving average of weights would go through the head's too, and round them.
    head = copy.deepcopy(network.head)
    steps = len(loader) * options.epochs
    module = AttentionTraining(head, int(network.features), options, steps)
    checkpoint = fit(
        module,
        loader,
        clip_loader(validation, 512, shuffle=False),
        run=run / "attention",
        epochs=options.epochs,
        seed=options.seed,
        average_decay=0.99,
    )
    done.touch()
    return _loaded(attend, checkpoint)


def _loaded(attend: CascadedAttention, checkpoint: Path) -> CascadedAttention:
    stored = read_checkpoint(checkpoint)["state_dict"]
    attend.load_state_dict(
        {n.removeprefix("network."): v for n, v in stored.items() if n.startswith("network.")}
    )
    return attend.eval()


@torch.no_grad()
def spoiled_clips(
    network: Any, faces: LearningFaces, crop_px: int, options: AttentionOptions, clips: int | None
) -> FeatureClips:
    """Features (N, T, D) of clips, which frames are spoiled (N, T), and targets (N, K).

    ``clips`` None takes faces once, VALIDATED at most, with half of their frames spoiled.
    """
    rng = np.random.default_rng([options.seed, len(faces)])
    few = rng.permutation(len(faces))[:VALIDATED]
    rows = np.sort(few) if clips is None else rng.integers(0, len(faces), clips)
    features, marks = [], []
    for row in rows.tolist():
        bad = options.views // 2 if clips is None else int(rng.integers(1, options.views))
        crops, mark = _clip(faces, row, crop_px, options.views, bad, rng)
        features.append(network.recognise(torch.from_numpy(crops)).feature.float())
        marks.append(torch.from_numpy(mark))
    return FeatureClips(
        torch.stack(features), torch.stack(marks), torch.from_numpy(faces.target[rows])
    )


def _clip(
    faces: LearningFaces, row: int, crop_px: int, views: int, bad: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """One face's views (T, 1, S, S), ``bad`` of them spoiled in one way, and which (T,)."""
    how = HARDSHIPS[int(rng.integers(len(HARDSHIPS)))]
    mark = np.zeros(views, np.float32)
    mark[rng.permutation(views)[:bad]] = 1
    plain = faces.matrix(row, crop_px)
    crops = []
    for spoiled in mark:
        varied = random_matrix(rng, VIEWS, False, crop_px)[:2] @ np.vstack([plain, [0, 0, 1]])
        crop = vary_light(warp(faces.pixels[row], varied, crop_px), rng, VIEWS)[None]
        crops.append(worsened(crop[None], how, int(rng.integers(2**31)))[0] if spoiled else crop)
    return np.stack(crops), mark
