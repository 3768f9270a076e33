"""TMSAU-Net's options, and the frames' network that they name.

Hyper-parameters of TMSAU-Net (paper 003, IV-B, V-B and V-F).

The network of frames in a run of TMSAU-Net: MSAU-Net of this run or another, or GoogLeNet.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..errors import OptionsWrong
from ..learning.checkpoint import load_weights
from ..learning.options import Options, option
from ..learning.run_folder import RunFolder, open_run
from ..learning.system import trained_network
from ..networks.clip_streams import SIDES, USUAL_PX, GoogLeNetFrames
from ..networks.tmsau import BACK_ENDS
from .msau import JOINT, msau_network
from .msau import SYSTEM as MSAU
from .msau_options import DETECTIONS, OPTIMIZERS, MsauOptions

VARIANTS = ("tmsau", "two-stream", "nan")
"""Table II, the rows of videos that are networks."""


@dataclass(frozen=True)
class TmsauOptions(Options):
    """The default values are the paper's, where it names any."""

    faces: str = option(
        "synthetic:fg33",
        "Clips: synthetic:fg33 (the 3D face), synthetic, or a folder that `ferstream data "
        "prepare` made of clips",
    )
    variant: str = option(
        "tmsau",
        "tmsau, two-stream (GoogLeNet, no attention) or nan (attention, no motion): Table II",
    )
    back_end: str = option("flow", "Stream of motion: flow, vgg16-lstm or c3d-lstm (Table V)")
    attention: str = option("cascaded", "How frames are weighted: cascaded (eq. 3 to 5) or mean")
    fusion: str = option(
        "validation",
        "The spatial stream's weight: validation (the best of 0, 0.1 ... 1 there), or a number "
        "such as the paper's 0.5",
    )
    msau: str = option(
        "",
        "Run folder of a finished msau or tmsau whose MSAU-Net is taken; none: it is trained here",
    )
    frames: int = option(16, "Frames of a clip, spread evenly over it")
    clip_px: int = option(128, "Side of synthetic clips' crops as they are rendered")
    stills: int = option(
        5,
        "Frames about each clip's key frame from which the frames' network learns",
    )
    crop_px: int = option(
        170,
        "Side of a frame's crop where the frames' network is trained here; for MSAU-Net less 10 "
        "a multiple of 16",
    )
    unit_detection: str = option(
        "fixed",
        "MSAU-Net's action units in its second stage: fixed (IV-A) or learning (V-B)",
    )
    unit_epochs: int = option(40, "Of MSAU-Net's first stage")
    frames_epochs: int = option(40, "Of MSAU-Net's second stage, or of GoogLeNet")
    frames_batch: int = option(8, "Frames behind one step of the frames' network")
    frames_rate: float = option(1e-4, "Learning rate of the frames' network")
    frames_width: float = option(
        1.0,
        "Of MSAU-Net's convolutions beside the paper's; its square, of the fully connected layers",
    )
    basic_classes: int = option(
        6,
        "Outputs of the second softmax: at least as many as there are basic classes",
    )
    temporal_epochs: int = option(40, "Of the stream of motion; `epochs` are the attention's")
    fields: int = option(10, "Motion fields in a stack")
    stream_px: int = option(
        0,
        "Side of what the stream of motion is given; 0: flow and vgg16-lstm 224, c3d-lstm 112",
    )
    width: float = option(1.0, "Of the back ends' and GoogLeNet's layers, beside their authors'")
    reduced: int = option(256, "Values of a frame that the attention reads")
    dropout: float = option(0.5, "Before the streams' classifiers")
    optimizer: str = option("sgd", "sgd or adamw")
    momentum: float = option(0.9, "Of sgd")
    one_cycle: float = option(
        0.0,
        "Share of steps in which a rate climbs before it falls to nothing; 0: it stays",
    )
    rate: float = option(1e-4, "Learning rate of both streams")
    weight_decay: float = option(5e-4, "Of all weights")
    epochs: int = option(40, "Times that the attention is shown every clip")
    batch: int = option(8, "Clips behind one step of the optimizer, over all processes")

    @classmethod
    def fast(cls) -> TmsauOptions:
        """Small networks on 660 small clips: a look, not a result."""
        return cls(
            limit=495,
            precision="fp32",
            frames=12,
            clip_px=64,
            crop_px=74,
            unit_detection="learning",
            unit_epochs=2,
            frames_epochs=16,
            frames_batch=32,
            frames_rate=1e-3,
            frames_width=0.25,
            epochs=30,
            temporal_epochs=24,
            batch=32,
            stream_px=64,
            width=0.125,
            reduced=64,
            dropout=0.0,
            optimizer="adamw",
            one_cycle=0.3,
            rate=3e-3,
        )

    @property
    def fixed_weight(self) -> float | None:
        """The spatial stream's share where it is told, not chosen."""
        return None if self.fusion == "validation" else float(self.fusion)

    @property
    def input_px(self) -> int:
        """Side of what the stream of motion is given."""
        return self.stream_px or USUAL_PX[self.back_end]

    @property
    def moves(self) -> bool:
        """Whether there is a stream of motion."""
        return self.variant != "nan"

    @property
    def attends(self) -> bool:
        """Whether frames are weighted by what they show."""
        return self.variant != "two-stream" and self.attention == "cascaded"

    def check(self) -> None:
        super().check()
        for name, known in (
            ("variant", VARIANTS),
            ("back_end", BACK_ENDS),
            ("attention", ("cascaded", "mean")),
            ("optimizer", OPTIMIZERS),
            ("unit_detection", DETECTIONS),
        ):
            if (value := getattr(self, name)) not in known:
                raise OptionsWrong(f"{name} {value!r}: there are {', '.join(known)}")
        self.at_least(1, "stills", "fields", "reduced", "unit_epochs", "frames_epochs")
        self.at_least(1, "temporal_epochs", "frames_batch")
        self.at_least(2, "frames", "basic_classes")
        self.at_least(16, "clip_px")
        self.at_least(0, "stream_px", "dropout", "weight_decay", "momentum", "one_cycle")
        if self.fusion != "validation" and not _is_share(self.fusion):
            raise OptionsWrong(f"fusion {self.fusion!r}: it is validation, or a number from 0 to 1")
        for name in ("rate", "frames_rate", "width", "frames_width"):
            if not getattr(self, name) > 0:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.msau and self.variant == "two-stream":
            raise OptionsWrong("msau is named, but two-stream has GoogLeNet: leave --msau out")
        if self.moves and self.back_end == "flow" and self.fields >= self.frames:
            raise OptionsWrong(
                f"fields is {self.fields}: clips of {self.frames} frames have "
                f"{self.frames - 1}; choose fewer --fields or more --frames"
            )
        if self.moves:
            self._check_stream_px()
        if self.variant != "two-stream" and not self.msau:
            msau_options(self)

    def _check_stream_px(self) -> None:
        least, step = SIDES[self.back_end]
        if self.input_px < least or self.input_px % step:
            many = f", a multiple of {step}" if step > 1 else ""
            raise OptionsWrong(
                f"stream_px is {self.stream_px}: {self.back_end} takes {least} pixels or more{many}"
            )


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


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
        RunUnfinished, CheckpointForeign, CheckpointDamaged: see `training.learning.run_folder`.
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
