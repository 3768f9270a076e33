"""The stages of the default bundle's training, each resumable, each one command.

A run folder holds spatial/, a run of the system `compact`, and heads/, temporal/ and attention/,
each with last.ckpt and its log. One that begins with a bundle holds start.ckpt instead of spatial/
and attention/.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ferstream.errors import FerstreamError

from .data.face_splits import load_splits
from .errors import RunUnfinished
from .fit import fit
from .networks.compact_msau import CompactMSAU
from .networks.fusion import CascadedAttention
from .networks.motion_net import MotionNet
from .run_folder import RunFolder, open_run
from .start import attention_from_bundle, start_from_bundle
from .system import train_system, trained_network
from .systems.attention import AttentionOptions, AttentionTraining, clip_loader, view_clips
from .systems.compact import SYSTEM, compact_faces, shown_weights
from .systems.compact_options import CompactOptions
from .systems.heads import (
    HeadsOptions,
    HeadsTraining,
    face_features,
    feature_loader,
    kept_features,
)
from .systems.temporal import (
    TemporalOptions,
    TemporalTraining,
    face_shape,
    make_motion_sets,
    temporal_loaders,
)


class StageMissing(FerstreamError, FileNotFoundError):
    """A stage was asked for whose forerunner has not run."""


DEFAULT = CompactOptions(word_weight=0.12, beside="wild", augmentation="varied")
"""How the default bundle's spatial network is trained from nothing."""
START = "start.ckpt"
"""In a run that begins with a bundle: its spatial network and attention."""
CLASSES = 8


def train_spatial(run: Path, folder: str | None, options: CompactOptions) -> RunFolder:
    """The spatial network: blendshapes, then expressions and words; measured, with a report."""
    return train_system(SYSTEM, options, run / "spatial", folder)


def take_over(run: Path, folder: str | None, bundle: str) -> Path:
    """Begin with a bundle's spatial network and attention as they are, instead of training them;
    returns where they are kept.

    Raises:
        BundleMissing, BundleCorrupt, OptionsWrong: see `training.start.start_from_bundle`.
    """
    torch.manual_seed(0)
    network = CompactMSAU(judged=True)
    start_from_bundle(network, bundle, load_splits("fer2013plus", folder).train)
    attention = CascadedAttention(network.features)
    attention_from_bundle(attention, bundle)
    run.mkdir(parents=True, exist_ok=True)
    learned = {f"network.{name}": value for name, value in network.state_dict().items()}
    learned |= {f"attention.{name}": value for name, value in attention.state_dict().items()}
    torch.save({"state_dict": learned}, run / START)
    return run / START


def train_heads(run: Path, folder: str | None, options: HeadsOptions) -> Path:
    """Features of the faces by the spatial network, then its heads on them."""
    network, learned = trained_spatial(run, heads=False), spatial_options(run)
    place, data = run / "heads", compact_faces(learned, folder)
    train = kept_features(
        place / "train.npz",
        lambda: face_features(network, data.train, options.views, options.seed),
    )
    validation = kept_features(
        place / "validation.npz",
        lambda: face_features(network, data.validation, 1, options.seed),
    )
    weights = shown_weights(data.train, learned.balance, learned.beside_share)
    loader = feature_loader(train, options.batch, weights=weights, seed=options.seed)
    module = HeadsTraining(network, options, len(loader) * options.epochs)
    return fit(
        module,
        loader,
        feature_loader(validation, len(validation.feature)),
        run=place,
        epochs=options.epochs,
        seed=options.seed,
        average_decay=0.99,
        precision="32-true",
    )


def spatial_options(run: Path) -> CompactOptions:
    """How a run's spatial network was trained; the default where a bundle's was taken over."""
    if (run / START).is_file():
        return DEFAULT
    return CompactOptions.from_json(open_run(run / "spatial").about["options"])


def train_temporal(run: Path, folder: str | None, options: TemporalOptions) -> Path:
    """Make the motion sets, where they are not there yet, and learn from them."""
    place = run / "temporal"
    make_motion_sets(options, place, folder)
    train, validation = temporal_loaders(options, place, folder)
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
        precision="32-true",
    )


def train_attention(run: Path, folder: str | None, options: AttentionOptions) -> Path:
    """Clips of views through the trained spatial network, then the attention over them."""
    network = trained_spatial(run)
    shape = face_shape(folder)
    train = view_clips(network, shape, "train", folder, options, clips=options.clips, spoiled=None)
    few, half = options.validation_clips, options.views // 2
    validation = view_clips(network, shape, "validation", folder, options, clips=few, spoiled=half)
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


def trained_spatial(run: Path, *, heads: bool = True) -> CompactMSAU:
    """The spatial network of a run, averaged weights, in evaluation mode, without what only kept
    it company in training; with its heads as their own stage left them, if ``heads``.

    Raises:
        StageMissing: it, or its heads, have not been trained to their end.
    """
    if (run / START).is_file():
        network: torch.nn.Module = CompactMSAU(judged=True)
        network.load_state_dict(averaged_weights(run / START, "network."))
    else:
        try:
            network = trained_network(SYSTEM, open_run(run / "spatial"), CLASSES)
        except RunUnfinished as error:
            raise StageMissing(
                f"{run / 'spatial'} holds no finished training: run `ferstream train spatial` first"
            ) from error
    assert isinstance(network, CompactMSAU) and network.judged is not None
    network.segmentation = network.components = None
    if heads:
        learned = run / "heads" / "last.ckpt"
        network.head.load_state_dict(averaged_weights(learned, "network.head."))
        network.judged.load_state_dict(averaged_weights(learned, "network.judged."))
    return network.eval()


def trained_temporal(run: Path) -> MotionNet:
    """The temporal network of a run."""
    network = MotionNet()
    network.load_state_dict(averaged_weights(run / "temporal" / "last.ckpt", "network."))
    return network.eval()


def trained_attention(run: Path, features: int) -> CascadedAttention:
    """The attention of a run."""
    network = CascadedAttention(features)
    if (run / START).is_file():
        network.load_state_dict(averaged_weights(run / START, "attention."))
    else:
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
