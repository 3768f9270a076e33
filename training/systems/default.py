"""The default bundle's own training: all three of its networks, stage by stage.

blendshapes, joint  the spatial network, as `compact` trains it, with words; or that of ``start``
heads               its heads anew, on features that are computed once
temporal            the network of motion, on photographs set in motion
attention           the weights of a clip's frames, on spoiled clips; or the bundle's

`exporting/assemble.py` puts what they leave together.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import nn
from typing_extensions import Self

from ..datasets.augment import CROP_PX
from ..datasets.fer import BASIC8
from ..datasets.motion import face_shape
from ..datasets.task_faces import TaskFaces
from ..errors import OptionsWrong
from ..learning.default_learners import (
    AttentionLearner,
    AttentionOptions,
    HeadsLearner,
    HeadsOptions,
    MotionLearner,
    MotionOptions,
    MotionRows,
    face_features,
    heads_of,
    view_clips,
)
from ..learning.draws import KeptRows, shown_weights
from ..learning.from_bundles import attention_from_bundle
from ..learning.options import option
from ..learning.run_folder import RunFolder
from ..learning.system import Found, Stage, System, measured, trained_network, with_weights
from ..networks.compact_msau import CompactMSAU
from ..networks.fusion import CascadedAttention, MotionNet
from .compact import (
    JOINT,
    CompactOptions,
    compact_faces,
    compact_network,
    compact_stages,
    told_blendshapes,
)

HEADS, TEMPORAL, ATTENTION = "heads", "temporal", "attention"
CLASSES = len(BASIC8)
PHOTOGRAPHS = "fer2013plus"


@dataclass(frozen=True)
class DefaultOptions(CompactOptions):
    """Those of `compact`, with the words, and those of the stages behind the spatial network."""

    word_weight: float = option(0.12, "Of the losses of what a judge said, summed over words")
    beside: str = option("wild", "Another set of judged faces to learn from at the same time")
    augmentation: str = option("varied", "How training faces are varied, as `train compact` has it")
    start: str = option(
        "",
        "A bundle whose spatial network and attention are kept, such as default, unless "
        "--start-epochs has them learn on; none: both are trained from nothing (hours)",
    )
    start_epochs: int = option(
        0,
        "Times that every face is shown to a spatial network that begins with a bundle; its "
        "attention is then learned anew",
    )
    heads_epochs: int = option(12, "Times that as many features are drawn as there are")
    heads_batch: int = option(256, "Features behind one step of the heads")
    stacks: int = option(24_000, "Motion stacks made from the training photographs")
    motion_epochs: int = option(14, "Times that every stack is shown")
    motion_batch: int = option(128, "Stacks behind one step of the temporal network")
    clips: int = option(4_000, "Clips that the attention learns from")
    attention_epochs: int = option(20, "Times that every clip is shown")
    attention_batch: int = option(128, "Clips behind one step of the attention")

    POSITIVE: ClassVar[tuple[str, ...]] = (
        *("heads_epochs", "heads_batch", "stacks", "motion_epochs", "motion_batch"),
        *("clips", "attention_epochs", "attention_batch"),
    )

    @classmethod
    def fast(cls) -> Self:
        """Few faces, stacks and clips, shown few times: a look, not a result."""
        return replace(
            super().fast(),
            limit=4_000,
            epochs=4,
            heads_epochs=6,
            stacks=2_000,
            motion_epochs=6,
            clips=500,
        )

    def check(self) -> None:
        super().check()
        self.at_least(1, *self.POSITIVE)
        self.at_least(0, "start_epochs")
        if self.faces != PHOTOGRAPHS or self.taxonomy:
            raise OptionsWrong(
                f"the default bundle learns motion and eight expressions from {PHOTOGRAPHS} alone: "
                "train its network on other faces or labels with `ferstream train compact`"
            )
        for name in ("word_weight", "blendshape_weight"):
            if not getattr(self, name):
                raise OptionsWrong(
                    f"{name} is 0, but the default bundle has these heads: train its network "
                    "without them with `ferstream train compact`"
                )
        if self.start and self.pretrain:
            raise OptionsWrong("start keeps a bundle's network, so pretrain has nothing to teach")

    @property
    def heads(self) -> HeadsOptions:
        """Of the heads' stage."""
        return HeadsOptions(
            epochs=self.heads_epochs,
            batch=self.heads_batch,
            word_weight=self.word_weight,
            affect_weight=self.affect_weight,
            seed=self.seed,
        )

    @property
    def motion(self) -> MotionOptions:
        """Of the temporal stage."""
        return MotionOptions(
            stacks=self.stacks,
            epochs=self.motion_epochs,
            batch=self.motion_batch,
            word_weight=self.word_weight,
            affect_weight=self.affect_weight,
            seed=self.seed,
        )

    @property
    def attention(self) -> AttentionOptions:
        """Of the attention's stage; it validates on a quarter as many clips."""
        return AttentionOptions(
            clips=self.clips,
            validation_clips=-(-self.clips // 4),
            epochs=self.attention_epochs,
            batch=self.attention_batch,
            seed=self.seed,
        )


@dataclass(frozen=True)
class DefaultFaces(TaskFaces):
    """The faces of the spatial network, and the data folder of the photographs behind them."""

    folder: str | None = None


def default_faces(options: DefaultOptions, folder: str | None) -> DefaultFaces:
    """What all stages learn from. Raises what `compact_faces` does."""
    faces = compact_faces(options, folder)
    return DefaultFaces(
        **{one.name: getattr(faces, one.name) for one in fields(faces)}, folder=folder
    )


def default_stages(options: DefaultOptions, data: DefaultFaces, run: RunFolder) -> Sequence[Stage]:
    """The spatial network's stages, then heads, motion and attention."""
    spatial = list(compact_stages(options, data, run))
    if options.start:
        spatial = [replace(spatial[-1], epochs=options.start_epochs)]
    return [
        *spatial,
        _heads(options, data, run),
        _temporal(options, data, run),
        _attention(options, data, run),
    ]


def _heads(options: DefaultOptions, data: DefaultFaces, run: RunFolder) -> Stage:
    chosen, place = options.heads, run.stage(HEADS)
    weights = shown_weights(data.train, options.balance, options.beside_share)

    def learner() -> HeadsLearner:
        network = trained_spatial(options, run, heads=False)
        return HeadsLearner(heads_of(network), chosen, CLASSES)

    def rows(split: str) -> KeptRows:
        faces, training = getattr(data, split), split == "train"
        views = chosen.views if training else 1
        return KeptRows(
            views * len(faces),
            lambda: face_features(
                trained_spatial(options, run, heads=False), faces, views, options.seed
            ),
            place / f"{split}.npz",
            weights.repeat(views) if training and weights is not None else None,
        )

    own = {"average_decay": 0.99, "precision": "fp32", "workers": 0}
    train, validation = (lambda: rows("train")), (lambda: rows("validation"))
    return Stage(HEADS, learner, train, validation, chosen.epochs, chosen.batch, own=own)


def _temporal(options: DefaultOptions, data: DefaultFaces, run: RunFolder) -> Stage:
    chosen, place = options.motion, run.stage(TEMPORAL)

    def learner() -> MotionLearner:
        torch.manual_seed(options.seed)
        return MotionLearner(MotionNet(), chosen, CLASSES)

    def rows(split: str) -> MotionRows:
        return MotionRows(place / f"{split}.npz", split, data.folder, chosen)

    own = {"average_decay": 0.995, "precision": "fp32", "workers": 0}
    train, validation = (lambda: rows("train")), (lambda: rows("validation"))
    return Stage(TEMPORAL, learner, train, validation, chosen.epochs, chosen.batch, own=own)


def _attention(options: DefaultOptions, data: DefaultFaces, run: RunFolder) -> Stage:
    chosen = options.attention
    kept = bool(options.start) and not options.start_epochs

    def learner() -> AttentionLearner:
        torch.manual_seed(options.seed)
        spatial = trained_spatial(options, run)
        attention = CascadedAttention(spatial.features)
        if kept:
            attention_from_bundle(attention, options.start)
        return AttentionLearner(attention, copy.deepcopy(spatial.head), chosen, CLASSES)

    def rows(split: str) -> KeptRows:
        clips = chosen.clips if split == "train" else chosen.validation_clips

        def made() -> Any:
            shape, network = face_shape(data.folder), trained_spatial(options, run)
            return view_clips(network, shape, split, data.folder, chosen)

        return KeptRows(clips, made, run.stage(ATTENTION) / f"{split}.npz")

    epochs = 0 if kept else chosen.epochs
    own = {"average_decay": 0.99, "precision": "bf16", "workers": 0}
    train, validation = (lambda: rows("train")), (lambda: rows("validation"))
    return Stage(ATTENTION, learner, train, validation, epochs, chosen.batch, own=own)


def trained_spatial(options: DefaultOptions, run: RunFolder, *, heads: bool = True) -> CompactMSAU:
    """The spatial network of a run in evaluation mode, without its auxiliary tasks; with its heads
    as their own stage left them, if ``heads``.

    Raises:
        RunUnfinished: it, or its heads, have not been trained to their end.
    """
    network = trained_network(SYSTEM, run, CLASSES)
    assert isinstance(network, CompactMSAU)
    network.segmentation = network.components = None
    if heads:
        with_weights(heads_of(network), run, HEADS)
    return network.eval()


def trained_temporal(run: RunFolder) -> MotionNet:
    """The temporal network of a run. Raises RunUnfinished where it is not trained."""
    return with_weights(MotionNet(), run, TEMPORAL)


def trained_attention(run: RunFolder, features: int) -> CascadedAttention:
    """The attention of a run. Raises RunUnfinished where it is not trained."""
    return with_weights(CascadedAttention(features), run, ATTENTION)


def measure(network: nn.Module, options: Any, data: DefaultFaces, run: RunFolder) -> Found:
    """Figures of the spatial network with its heads; the bundle's are measured with its export."""
    return measured(trained_spatial(options, run), data, CROP_PX)


def parts(system: System, run: RunFolder, options: Any, data: DefaultFaces) -> Any:
    """See training.exporting.default."""
    from ..exporting.default import default_parts

    return default_parts(run, options, data.folder)


SYSTEM = System(
    name="default",
    paper="003, IV-A, on a compact backbone",
    options=DefaultOptions,
    crop_px=lambda options: CROP_PX,
    stages=default_stages,
    last_stage=JOINT,
    network=compact_network,
    data=default_faces,
    measure=measure,
    parts=parts,
    units=told_blendshapes,
)
