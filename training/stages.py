"""The stages of the default bundle's training, each resumable, each one command.

A run folder holds spatial/, temporal/ and attention/, each with last.ckpt and its log.
"""

from __future__ import annotations

from pathlib import Path

import torch

from .data.fer import load_fer_plus
from .fit import fit
from .networks.compact_msau import CompactMSAU
from .networks.fusion import CascadedAttention
from .networks.motion_net import MotionNet
from .systems.attention import AttentionOptions, AttentionTraining, clip_loader, view_clips
from .systems.spatial import SpatialOptions, SpatialTraining, spatial_loaders
from .systems.temporal import (
    TemporalOptions,
    TemporalTraining,
    face_shape,
    make_motion_sets,
    temporal_loaders,
)


class StageMissing(FileNotFoundError):
    """A stage was asked for whose forerunner has not run."""


def train_spatial(run: Path, folder: str | None, options: SpatialOptions) -> Path:
    """Both stages of the spatial network; returns the last checkpoint."""
    train, validation = spatial_loaders(options, folder)
    module = SpatialTraining(options, len(train))
    module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    epochs = options.unit_epochs + options.epochs
    place = run / "spatial"
    return fit(module, train, validation, run=place, epochs=epochs, seed=options.seed)


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
    module = AttentionTraining(network.basic8, network.features, options, steps)
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
    """The spatial network of a run, averaged weights, in evaluation mode."""
    network = CompactMSAU()
    network.load_state_dict(averaged_weights(run / "spatial" / "last.ckpt", "network."))
    return network.eval()


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


def blendshape_names(folder: str | None) -> tuple[str, ...]:
    """The 52 action units' names, in the order of the network's outputs."""
    return load_fer_plus("validation", folder).blendshape_names
