"""The stages of the default bundle's training, each resumable, each one command.

A run folder holds spatial/, a run of the system `compact`, and temporal/ and attention/, each with
last.ckpt and its log.
"""

from __future__ import annotations

from pathlib import Path

import torch

from .errors import RunUnfinished
from .fit import fit
from .networks.compact_msau import CompactMSAU
from .networks.fusion import CascadedAttention
from .networks.motion_net import MotionNet
from .run_folder import RunFolder, open_run
from .system import train_system, trained_network
from .systems.attention import AttentionOptions, AttentionTraining, clip_loader, view_clips
from .systems.compact import SYSTEM, CompactOptions
from .systems.temporal import (
    TemporalOptions,
    TemporalTraining,
    face_shape,
    make_motion_sets,
    temporal_loaders,
)


class StageMissing(FileNotFoundError):
    """A stage was asked for whose forerunner has not run."""


DEFAULT = CompactOptions(word_weight=0.5)
"""How the default bundle's spatial network is trained."""
CLASSES = 8


def train_spatial(run: Path, folder: str | None, options: CompactOptions) -> RunFolder:
    """The spatial network: blendshapes, then expressions and words; measured, with a report."""
    return train_system(SYSTEM, options, run / "spatial", folder)


def train_temporal(run: Path, folder: str | None, options: TemporalOptions) -> Path:
    """Make the motion sets, where they are not there yet, and learn from them."""
    place = run / "temporal"
    make_motion_sets(options, place, folder)
    train, validation = temporal_loaders(options, place)
    module = TemporalTraining(options, len(train))
    module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fit(
        module,
        train,
        validation,
        run=place,
        epochs=options.epochs,
        seed=options.seed,
        average_decay=0.995,
    )


def train_attention(run: Path, folder: str | None, options: AttentionOptions) -> Path:
    """Clips of views through the trained spatial network, then the attention over them."""
    network = trained_spatial(run)
    shape = face_shape(folder)
    train = view_clips(network, shape, "train", folder, options, clips=options.clips, spoiled=None)
    half = options.views // 2
    validation = view_clips(network, shape, "validation", folder, options, clips=None, spoiled=half)
    loader = clip_loader(train, options.batch, shuffle=True)
    steps = len(loader) * options.epochs
    module = AttentionTraining(network.head, network.features, options, steps)
    return fit(
        module,
        loader,
        clip_loader(validation, 512, shuffle=False),
        run=run / "attention",
        epochs=options.epochs,
        seed=options.seed,
        average_decay=0.99,
    )


def trained_spatial(run: Path) -> CompactMSAU:
    """The spatial network of a run, averaged weights, in evaluation mode, without what only kept
    it company in training.

    Raises:
        StageMissing: it has not been trained to its end.
    """
    try:
        network = trained_network(SYSTEM, open_run(run / "spatial"), CLASSES)
    except RunUnfinished as error:
        raise StageMissing(
            f"{run / 'spatial'} holds no finished training: run `ferstream train spatial` first"
        ) from error
    assert isinstance(network, CompactMSAU)
    network.segmentation = network.components = None
    return network


def trained_temporal(run: Path) -> MotionNet:
    """The temporal network of a run."""
    network = MotionNet()
    network.load_state_dict(averaged_weights(run / "temporal" / "last.ckpt", "network."))
    return network.eval()


def trained_attention(run: Path, features: int) -> CascadedAttention:
    """The attention of a run."""
    network = CascadedAttention(features)
    network.load_state_dict(averaged_weights(run / "attention" / "last.ckpt", "network."))
    return network.eval()


def averaged_weights(checkpoint: Path, prefix: str) -> dict[str, torch.Tensor]:
    """The averaged weights of one module in a checkpoint that `training.fit` wrote.

    Raises:
        StageMissing: the checkpoint is not there.
    """
    if not checkpoint.is_file():
        stage = checkpoint.parent.name
        raise StageMissing(f"{checkpoint} is missing: run `ferstream train {stage}` first")
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    return {
        name.removeprefix(prefix): value
        for name, value in stored.items()
        if name.startswith(prefix)
    }
