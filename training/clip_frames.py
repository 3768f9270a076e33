"""The network of frames in a run of TMSAU-Net: MSAU-Net of this run or another, or GoogLeNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from .checkpoint import load_weights
from .errors import OptionsWrong
from .networks.clip_streams import GoogLeNetFrames
from .run_folder import RunFolder, open_run
from .system import trained_network
from .systems.msau import JOINT, msau_network
from .systems.msau import SYSTEM as MSAU
from .systems.msau_options import MsauOptions

if TYPE_CHECKING:
    from .systems.tmsau_options import TmsauOptions

FRAMES = "frames"
"""The stage in which GoogLeNet learns."""
TMSAU = "tmsau"


def msau_options(options: TmsauOptions) -> MsauOptions:
    """MSAU-Net's options in a run that trains it itself; what is not named here is the paper's.

    ``frames_width`` scales its convolutions (its root the slender ones in the middle), and its
    square the fully connected layers.
    """
    width, paper = options.frames_width, MsauOptions()

    def scaled(value: int, by: float) -> int:
        return max(round(value * by), 2)

    return MsauOptions(
        faces=options.faces,
        seed=options.seed,
        precision=options.precision,
        unit_epochs=options.unit_epochs,
        epochs=options.frames_epochs,
        batch=options.frames_batch,
        unit_detection=options.unit_detection,
        basic_classes=options.basic_classes,
        optimizer=options.optimizer,
        rate=options.frames_rate,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        one_cycle=options.one_cycle,
        crop_px=options.crop_px,
        stem=scaled(paper.stem, width),
        middle=scaled(paper.middle, width**0.5),
        last=scaled(paper.last, width),
        hidden=scaled(paper.hidden, width * width),
        full=scaled(paper.full, width * width),
        dropout=options.dropout,
    )


def taken_options(options: TmsauOptions) -> MsauOptions:
    """Those of the MSAU-Net that sees this run's frames: its own, or of the run it is taken from.

    Raises:
        RunUnfinished, OptionsWrong: that run is none of msau or tmsau with an MSAU-Net.
    """
    if not options.msau:
        return msau_options(options)
    other = _other(options)
    if other.system == MSAU.name:
        return MsauOptions.from_json(other.about["options"])
    return msau_options(type(options).from_json(other.about["options"]))


def frames_px(options: TmsauOptions) -> int:
    """Side of the crops that the frames' network sees."""
    two_stream = options.variant == "two-stream"
    return options.crop_px if two_stream else taken_options(options).crop_px


def frames_network(options: TmsauOptions, classes: int) -> nn.Module:
    """It, fresh, for K labels."""
    if options.variant == "two-stream":
        return GoogLeNetFrames(classes, options.basic_classes, options.width, options.dropout)
    return msau_network(taken_options(options), classes)


def trained_frames(options: TmsauOptions, labels: tuple[str, ...], run: RunFolder) -> nn.Module:
    """It with the weights that this run's earlier stages left, or another run's; nothing in it
    learns any more.

    Raises:
        RunUnfinished, CheckpointForeign, CheckpointDamaged: see `training.checkpoint`.
        OptionsWrong: the other run knows other labels.
    """
    if not options.msau:
        network = frames_network(options, len(labels))
        stage = FRAMES if options.variant == "two-stream" else JOINT
        load_weights(network, run.checkpoint(stage), run.system, stage)
        return network.requires_grad_(False).eval()
    other = _other(options)
    if (known := tuple(other.metrics()["labels"])) != labels:
        raise OptionsWrong(
            f"{options.msau} tells {len(known)} labels apart ({known[0]}, ...), these clips have "
            f"{len(labels)} ({labels[0]}, ...): name a run on the same labels with --msau"
        )
    if other.system == MSAU.name:
        network = trained_network(MSAU, other, len(labels))
    else:
        network = frames_network(options, len(labels))
        load_weights(network, other.checkpoint(JOINT), TMSAU, JOINT)
    return network.requires_grad_(False).eval()


def _other(options: TmsauOptions) -> RunFolder:
    other = open_run(options.msau)
    has = other.system == MSAU.name or (
        other.system == TMSAU
        and other.about["options"]["variant"] != "two-stream"
        and not other.about["options"]["msau"]
    )
    if not has:
        raise OptionsWrong(
            f"{options.msau} has trained no MSAU-Net: name a run of msau, or one of tmsau that "
            "was started without --msau"
        )
    return other
