"""TMSAU-Net, fine-grained expressions in video (paper 003, IV-B and V-F).

MSAU-Net learns on the frames about the clips' key frames (stages "units" and "joint", see
.msau) and stays as it is from then on. Over its features of a clip's frames the cascaded attention
learns (stage "attention", eq. 3 to 5); beside it a stream of motion learns (stage "temporal":
optical flow, or a back end of Table V). Both streams' probabilities are fused.

Decided where the paper is silent or contradicts itself:
- "Trained via the fusion of softmax losses given the fixed weights of MSAU-Net" (V-B): the streams
  share no weights then, so the sum of their losses trains each of them by its own, one after the
  other here. Each has both softmax losses with IV-A's weights, 0.5 and 0.5.
- A momentum is named and no optimizer: stochastic gradient descent. Neither are epochs.
- The fusion's weight is chosen on validation clips; ``fusion`` sets the paper's 0.5 or 0.7 instead.
- Plain two-stream: GoogLeNet learns on the same frames (stage "frames") in MSAU-Net's place, and
  frames count alike. NAN: the attention without a stream of motion.
- FG-Emotions cannot be had from a public place; the default is synthetic clips with its 33 words,
  split as its Table I says. What is measured on them is called synthetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ferstream.engines.manifest import Supervision

from ..datasets.label_lists import parent_shares
from ..datasets.learning_clips import ClipSplits, load_clips
from ..errors import OptionsWrong
from ..learning.checkpoint import load_weights
from ..learning.drawn_sets import CropClips, FaceImages, FlowStacks, FrameFeatures
from ..learning.draws import DrawnSet
from ..learning.learner import Batch, Learner, Recipe
from ..learning.losses import vote_cross_entropy
from ..learning.run_folder import RunFolder
from ..learning.system import Found, Stage, System
from ..networks.clip_streams import ClipNetwork, GoogLeNetFrames, temporal_stream
from ..networks.msau import TreeScores
from ..networks.tmsau import SpatialStream, Tmsau
from ..papers.msau.clip_figures import frame_features, measure_clips
from .msau import fitted, msau_stages, told_units
from .msau_options import OPTIMIZERS
from .tmsau_options import (
    FRAMES,
    TMSAU,
    TmsauOptions,
    frames_network,
    frames_px,
    msau_options,
    taken_options,
    trained_frames,
)

TEMPORAL, ATTENTION = "temporal", "attention"
"""Stages."""
LEAF_WEIGHT, BASIC_WEIGHT = 0.5, 0.5
"""Of the two softmax losses (IV-A)."""


class TreeLearner(Learner):
    """Two softmax losses over the label tree (IV-A); ``parents_KP`` says what is above what."""

    options: TmsauOptions
    parents_KP: Tensor

    def __init__(
        self, network: nn.Module, options: TmsauOptions, parents_KP: Tensor, rate: float
    ) -> None:
        kind = OPTIMIZERS[options.optimizer]
        betas = (options.momentum if kind == "sgd" else 0.9, 0.999)
        decay, one_cycle = options.weight_decay, options.one_cycle
        recipe = Recipe(kind, rate, betas, weight_decay=decay, one_cycle=one_cycle)
        super().__init__(network, options, recipe)
        self.classes = len(parents_KP)
        self.register_buffer("parents_KP", parents_KP, persistent=False)

    def tree_scores(self, batch: Batch) -> TreeScores:
        """Scores of leaves and basic classes."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        said = self.tree_scores(batch)
        leaf = vote_cross_entropy(said.leaf, batch["target"], batch["counts"])
        parts = {"leaf": leaf}
        loss = LEAF_WEIGHT * leaf
        if said.basic is not None:
            above = batch["target"] @ self.parents_KP
            parts["basic"] = vote_cross_entropy(said.basic, above, batch["counts"])
            loss = loss + BASIC_WEIGHT * parts["basic"]
        return loss, parts

    def scores(self, batch: Batch) -> Tensor:
        return self.tree_scores(batch).leaf


class GoogLeNetLearner(TreeLearner):
    """The plain two-stream's network of frames."""

    network: GoogLeNetFrames

    def tree_scores(self, batch: Batch) -> TreeScores:
        scores: TreeScores = self.network(batch["crop"])[1]
        return scores


class TemporalLearner(TreeLearner):
    """The stream of motion."""

    def tree_scores(self, batch: Batch) -> TreeScores:
        scores: TreeScores = self.network(batch["motion"])
        return scores


class AttentionLearner(TreeLearner):
    """The spatial stream over features of frames; everything else in the network stays."""

    network: ClipNetwork

    def tree_scores(self, batch: Batch) -> TreeScores:
        scores: TreeScores = self.network.streams.spatial(batch["feature"], batch["mask"])[0]
        return scores


def clips_of(options: TmsauOptions, folder: str | None) -> ClipSplits:
    """The clips that options name."""
    return load_clips(
        options.faces,
        folder,
        frames=options.frames,
        clip_px=options.clip_px,
        limit=options.limit,
        seed=options.seed,
    )


def stream_of_motion(options: TmsauOptions, classes: int) -> nn.Module | None:
    """The back end, fresh; None where the variant has none."""
    if not options.moves:
        return None
    return temporal_stream(
        options.back_end,
        classes,
        options.basic_classes,
        fields=options.fields,
        px=options.stream_px,
        width=options.width,
        dropout=options.dropout,
    )


def tmsau_network(options: TmsauOptions, classes: int) -> ClipNetwork:
    """Frames' network and both streams of a variant, fresh."""
    frames: Any = frames_network(options, classes)
    spatial = SpatialStream(
        frames.features,
        classes,
        options.basic_classes,
        reduced=options.reduced,
        attention=options.attends,
        dropout=options.dropout,
    )
    return ClipNetwork(frames, Tmsau(spatial, stream_of_motion(options, classes)))


def tmsau_stages(options: TmsauOptions, data: ClipSplits, run: RunFolder) -> Sequence[Stage]:
    """The frames' network, unless it is taken from another run; motion; attention."""
    shares = parent_shares(data.labels)
    if shares.shape[1] > options.basic_classes:
        raise OptionsWrong(
            f"these labels have {shares.shape[1]} basic classes, not {options.basic_classes}: "
            f"give --basic-classes {shares.shape[1]}"
        )
    parents = torch.zeros(len(data.labels), options.basic_classes)
    parents[:, : shares.shape[1]] = torch.from_numpy(shares)
    classes, fields, px = len(data.labels), options.fields, frames_px(options)

    def temporal() -> TemporalLearner:
        torch.manual_seed(options.seed)
        stream = stream_of_motion(options, classes)
        assert stream is not None
        return TemporalLearner(stream, options, parents, options.rate)

    def motion(split: str) -> DrawnSet:
        clips, training = getattr(data, split), split == "train"
        if options.back_end == "flow":
            return FlowStacks(clips, fields, training=training)
        return CropClips(clips, options.input_px, training=training)

    def attention() -> AttentionLearner:
        torch.manual_seed(options.seed)
        network = tmsau_network(options, classes)
        network.frames = trained_frames(options, data.labels, run)
        if network.streams.temporal is not None:
            load_weights(network.streams.temporal, run.checkpoint(TEMPORAL), run.system, TEMPORAL)
            network.streams.temporal.requires_grad_(False)
        return AttentionLearner(network, options, parents, options.rate)

    def features(split: str) -> DrawnSet:
        frames, clips = trained_frames(options, data.labels, run), getattr(data, split)
        training = split == "train"
        views = (False, True) if training else (False,)
        found = [frame_features(frames, clips, px, mirrored=mirrored) for mirrored in views]
        return FrameFeatures(clips, np.stack(found), training=training)

    stages = [] if options.msau else list(_frames_stages(options, data, run, parents))
    if options.moves:
        epochs = options.temporal_epochs
        train, validation = (lambda: motion("train")), (lambda: motion("validation"))
        stages.append(Stage(TEMPORAL, temporal, train, validation, epochs))
    train, validation = (lambda: features("train")), (lambda: features("validation"))
    return [*stages, Stage(ATTENTION, attention, train, validation, options.epochs)]


def _frames_stages(
    options: TmsauOptions, data: ClipSplits, run: RunFolder, parents: Tensor
) -> Sequence[Stage]:
    """MSAU-Net's two stages on frames about the key frames, or GoogLeNet's one."""
    stills, batch = data.stills(options.stills), options.frames_batch
    if options.variant != "two-stream":
        stages = msau_stages(msau_options(options), stills, run)
        return [replace(stage, batch=batch) for stage in stages]

    def learner() -> GoogLeNetLearner:
        torch.manual_seed(options.seed)
        network = frames_network(options, len(data.labels))
        return GoogLeNetLearner(network, options, parents, options.frames_rate)

    def train() -> FaceImages:
        return FaceImages(stills.train, options.crop_px, augmentation="corners")

    def validation() -> FaceImages:
        return FaceImages(stills.validation, options.crop_px)

    return [Stage(FRAMES, learner, train, validation, options.frames_epochs, batch)]


def measure(network: Any, options: TmsauOptions, data: ClipSplits, run: RunFolder) -> Found:
    """See training.papers.msau.clip_figures."""
    return measure_clips(network, options, data, run, frames_px(options))


def units(options: TmsauOptions) -> tuple[tuple[str, ...], Supervision, str]:
    """Names of the units that MSAU-Net tells of a frame, and how they were learned."""
    if options.variant == "two-stream":
        return (), "derived", "none: GoogLeNet detects no action units"
    return told_units(taken_options(options))


def parts(system: System, run: RunFolder, options: TmsauOptions, data: ClipSplits) -> Any:
    """See training.exporting.clip."""
    from ..exporting.clip import clip_parts

    return clip_parts(system, run, options, data)


SYSTEM = System(
    name=TMSAU,
    paper="003, Fine-Grained Facial Expression Recognition in the Wild (video)",
    options=TmsauOptions,
    crop_px=frames_px,
    stages=tmsau_stages,
    last_stage=ATTENTION,
    network=tmsau_network,
    data=clips_of,
    measure=measure,
    fitted=fitted,
    parts=parts,
    units=units,
)
