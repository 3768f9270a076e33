"""Semantic neighbourhood-aware facial expression recognition (paper 001).

A two-scale network (Table II) learns from the faces about which it is steady: in every step it is
asked about each face and about a semantic neighbour, the same face with a slightly other code
(eq. 9), and faces whose two answers diverge by more than a threshold (eq. 11) or by more than the
batch does on average (eq. 14) teach nothing in that step. Four stages:

autoencoder   the asymmetric autoencoder learns to rebuild every layer (eq. 4)
classifier    the plain two-scale network, whose eyes the next stage borrows
refine        the decoder learns to look real to it and to a critic (eq. 5 to 8)
expression    the two-scale network from scratch, under masks (Algorithm 1); measured, exported

Without a mask (the paper's "w/o Ours") the last stage is the whole; with a ``teacher`` run, whose
autoencoder is taken, too.

Where the paper is silent: the two answers that a mask compares come from the network as it is in
that step and in evaluation mode, or dropout and the neighbours' statistics would diverge by
themselves; masks count from the first step; the noise's scale and the threshold of eq. 11, which
it "estimated experimentally"; no augmentation. Where it contradicts itself: its text gives focal
loss and eq. 11 cross entropy; the ablation has both. Its 63 faces a batch are nine of each of
seven classes; the 64 here are eight of each of eight. Momentum is Nesterov's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.face_splits import Splits
from ..errors import OptionsWrong
from ..learning.checkpoint import load_weights
from ..learning.drawn_sets import AUGMENTATIONS, FaceImages
from ..learning.draws import class_weights, selective_batches
from ..learning.learner import Recipe
from ..learning.options import Options, option
from ..learning.run_folder import RunFolder, open_run
from ..learning.system import Stage, System
from ..networks.neighborhood import AsymmetricAutoencoder, AutoencoderSize, TwoScale, TwoScaleSize
from ..papers.neighborhood.figures import (
    FacesAndSequences,
    faces_and_sequences,
    neighborhood_figures,
)
from ..papers.neighborhood.masked_learner import ExpressionLearner
from ..papers.neighborhood.neighbours import (
    PERCEIVED_WEIGHTS,
    LayerwiseLearner,
    NeighbourGenerator,
    Refinement,
    RefiningLearner,
    RefiningWeights,
    neighbour_generator,
)

MASKS = ("none", "threshold", "batch")
"""Table VIII's w/o Ours, with Ours (T), with Ours (BT)."""
BALANCES = ("batch", "weighted", "none")
"""Table VIII's batch balancing (selective learning), weighted loss, no balancing."""


@dataclass(frozen=True)
class NeighborhoodOptions(Options):
    """The default values are the paper's, where it gives any."""

    epochs: int = option(50, "Of the last stage: times that every face is shown, masked or not")
    batch: int = option(
        64,
        "Faces behind one step; where batches are balanced, a multiple of the classes (paper: 63)",
    )
    mask: str = option(
        "batch",
        "What masks faces: none, threshold (eq. 11) or batch, whose mean is the threshold (eq. 14)",
    )
    threshold: float = option(0.3, "Of eq. 11, in nats; the paper names no value")
    noise: float = option(
        0.5,
        "Standard deviation of eq. 9's noise, in spreads of the codes; the paper names no value",
    )
    balance: str = option(
        "batch",
        "batch (as many of every class in each batch), weighted (loss) or none (Table VIII)",
    )
    focus: float = option(2.0, "Of the focal loss; 0 is cross entropy (Table VIII)")
    teacher: str = option(
        "",
        "Finished neighborhood run whose autoencoder is taken instead of training one",
    )
    crop_px: int = option(112, "Side of the crops, a multiple of 16")
    widths: tuple[int, ...] = option(
        (64, 128, 256, 512, 128),
        "Kernels of Conv 1 to Conv 5 (Table II)",
    )
    full: tuple[int, ...] = option((64, 32), "Values of Ori-FC and Half-FC (Table II)")
    dropout: float = option(0.5, "Before both of them")
    rate: float = option(
        1e-2,
        "Learning rate of classifier and expression stage (SGD, momentum 0.9)",
    )
    weight_decay: float = option(2e-3, "Of the same")
    decay_epochs: tuple[int, ...] = option(
        (10, 20, 30, 40),
        "The rate falls to a tenth after each of these",
    )
    one_cycle: float = option(
        0.0,
        "Instead: climb for this share of the steps, then fall to nothing; 0: as above",
    )
    classifier_epochs: int = option(50, "Of the plain network behind eq. 5")
    code_widths: tuple[int, ...] = option((16, 32, 64, 80), "Kernels of E-Conv-a to d (Table I)")
    code: int = option(64, "Values of the code")
    autoencoder_epochs: int = option(
        50,
        "Of the autoencoder's pre-training; its rate falls to a tenth after each fifth",
    )
    autoencoder_batch: int = option(256, "Faces behind one of its steps")
    autoencoder_rate: float = option(
        1e-3,
        "Its learning rate (SGD, momentum 0.9, weight decay 0.0004)",
    )
    refine_epochs: int = option(100, "Of the decoder's refinement")
    refine_batch: int = option(64, "Faces behind one of its steps")
    refine_rate: float = option(1e-4, "The decoder's learning rate in it (RMSprop)")
    critic_rate: float = option(2e-5, "The critic's (RMSprop)")
    perceived_weights: tuple[float, ...] = option(
        PERCEIVED_WEIGHTS,
        "Of what the classifier's Conv 3 to 5 see, beside the pixels' 1 (eq. 5)",
    )
    clip: float = option(0.01, "Largest weight of the critic")
    augmentation: str = option(
        "none",
        "none (as in the paper), crops (random) or rich (turned, scaled, mirrored, lit, erased)",
    )

    @classmethod
    def fast(cls) -> NeighborhoodOptions:
        """Small crops, small networks, few faces: a look, not a result.

        What this narrow classifier sees is larger than its pixels by far: at the paper's weights
        (100 for Conv 3) eq. 5 is 15 of it and 0.09 of pixels, and the decoder draws a grid.
        """
        return cls(
            limit=8_000,
            epochs=5,
            precision="fp32",
            crop_px=48,
            widths=(16, 32, 64, 128, 64),
            rate=0.05,
            weight_decay=5e-4,
            one_cycle=0.3,
            dropout=0.2,
            classifier_epochs=2,
            code_widths=(8, 16, 32, 48),
            autoencoder_epochs=5,
            autoencoder_batch=32,
            autoencoder_rate=0.05,
            refine_epochs=2,
            refine_rate=3e-4,
            critic_rate=1e-4,
            perceived_weights=(1.0, 1e-3, 1e-5),
            augmentation="rich",
        )

    def check(self) -> None:
        super().check()
        self.at_least(0, "threshold", "noise", "focus", "weight_decay", "dropout", "one_cycle")
        self.at_least(1, "classifier_epochs", "autoencoder_epochs", "refine_epochs", "code")
        self.at_least(1, "autoencoder_batch", "refine_batch")
        for name, known in (
            ("mask", MASKS),
            ("balance", BALANCES),
            ("augmentation", ("none", *AUGMENTATIONS)),
        ):
            if getattr(self, name) not in known:
                raise OptionsWrong(f"{name} {getattr(self, name)!r}: there are {', '.join(known)}")
        for name in ("rate", "autoencoder_rate", "refine_rate", "critic_rate", "clip"):
            if not getattr(self, name) > 0:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.crop_px % 16 or self.crop_px < 32:
            raise OptionsWrong(f"crop_px is {self.crop_px}: it must be a multiple of 16 from 32 on")
        if len(self.perceived_weights) != 3 or not min(self.perceived_weights) >= 0:
            raise OptionsWrong(
                f"perceived_weights is {self.perceived_weights}: it must be three numbers from 0 on"
            )
        for name, count in (("widths", 5), ("full", 2), ("code_widths", 4)):
            values = getattr(self, name)
            if len(values) != count or min(values) < 1:
                raise OptionsWrong(f"{name} is {values}: it must be {count} numbers from 1 on")
        if self.dropout >= 1 or self.one_cycle >= 1:
            raise OptionsWrong("dropout and one_cycle are shares: each must be below 1")
        if self.autoencoder_batch % self.accumulate:
            raise OptionsWrong(
                f"autoencoder_batch {self.autoencoder_batch} cannot be split into accumulate "
                f"{self.accumulate} equal parts: choose one that divides it"
            )

    @property
    def autoencoder_size(self) -> AutoencoderSize:
        """Table I at this size."""
        return AutoencoderSize(self.crop_px, self.code_widths, self.code)


def neighborhood_network(options: NeighborhoodOptions, classes: int) -> TwoScale:
    """Table II at the options' size."""
    one, two = options.full
    size = TwoScaleSize(options.crop_px, options.widths, (one, two))
    return TwoScale(classes, size=size, dropout=options.dropout)


def neighborhood_stages(
    options: NeighborhoodOptions, data: FacesAndSequences, run: RunFolder
) -> Sequence[Stage]:
    """The stages that the options ask for.

    Raises:
        OptionsWrong: balanced batches do not fit the classes.
        RunUnfinished, CheckpointForeign: the teacher is no such run, or not as far.
    """
    labels, label_N = data.labels, data.train.label
    alike = label_N if options.balance == "batch" else None
    if alike is not None:
        selective_batches(alike, len(labels), options.batch, seed=options.seed)

    def made_by(teacher: RunFolder) -> NeighbourGenerator:
        return neighbour_generator(options.autoencoder_size, options.noise, teacher)

    weight_K = None
    if options.balance == "weighted":
        weight_K = torch.from_numpy(class_weights(label_N, len(labels)))
    if options.teacher and options.mask != "none":
        made_by(teacher_of(options, run))

    def learner_of(network: TwoScale, generator: NeighbourGenerator | None) -> ExpressionLearner:
        recipe = Recipe(
            "sgd",
            options.rate,
            betas=(0.9, 0.999),
            weight_decay=options.weight_decay,
            decay_epochs=options.decay_epochs,
            one_cycle=options.one_cycle,
        )
        threshold = options.threshold if options.mask == "threshold" else None
        return ExpressionLearner(
            network,
            options,
            recipe,
            labels,
            focus=options.focus,
            generator=generator,
            threshold=threshold,
            weight_K=weight_K,
        )

    def train() -> FaceImages:
        varied = None if options.augmentation == "none" else options.augmentation
        return FaceImages(data.train, options.crop_px, augmentation=varied)

    def validation() -> FaceImages:
        return FaceImages(data.validation, options.crop_px)

    def autoencoder() -> LayerwiseLearner:
        torch.manual_seed(options.seed)
        recipe = Recipe(
            "sgd",
            options.autoencoder_rate,
            betas=(0.9, 0.999),
            weight_decay=4e-4,
            decay_epochs=tuple(range(10, options.autoencoder_epochs, 10)),
            one_cycle=options.one_cycle,
        )
        network = AsymmetricAutoencoder(options.autoencoder_size)
        return LayerwiseLearner(network, options, recipe)

    def classifier() -> ExpressionLearner:
        torch.manual_seed(options.seed)
        network = neighborhood_network(options, len(labels))
        return learner_of(network, None)

    def refine() -> RefiningLearner:
        torch.manual_seed(options.seed)
        network = Refinement(options.autoencoder_size)
        load_weights(network.generator, run.checkpoint("autoencoder"), SYSTEM.name, "autoencoder")
        eyes = neighborhood_network(options, len(labels))
        load_weights(eyes, run.checkpoint("classifier"), SYSTEM.name, "classifier")
        rates = (options.refine_rate, options.critic_rate)
        weights = RefiningWeights(perceived=options.perceived_weights)
        return RefiningLearner(network, options, rates, eyes, options.clip, weights)

    def expression() -> ExpressionLearner:
        torch.manual_seed(options.seed)
        network = neighborhood_network(options, len(labels))
        generator = None
        if options.mask != "none":
            generator = made_by(teacher_of(options, run))
        return learner_of(network, generator)

    def stage(name: str, learner: Any, epochs: int, batch: int = 0) -> Stage:
        even = alike if learner in (classifier, expression) else None
        return Stage(name, learner, train, validation, epochs, batch, even)

    last = stage("expression", expression, options.epochs)
    if options.mask == "none" or options.teacher:
        return [last]
    return [
        stage("autoencoder", autoencoder, options.autoencoder_epochs, options.autoencoder_batch),
        stage("classifier", classifier, options.classifier_epochs),
        stage("refine", refine, options.refine_epochs, options.refine_batch),
        last,
    ]


def fitted(options: NeighborhoodOptions, data: Splits) -> dict[str, Any]:
    """A batch that holds as many of every class, near the one of the options and no larger than
    the training set."""
    if options.balance != "batch":
        return {}
    share = math.lcm(len(np.unique(data.train.label)), options.accumulate)
    shares = min(round(options.batch / share), len(data.train) // share)
    return {"batch": max(shares, 1) * share}


def teacher_of(options: NeighborhoodOptions, run: RunFolder) -> RunFolder:
    """The run whose autoencoder makes the neighbours: the teacher, or this run itself."""
    return open_run(Path(options.teacher)) if options.teacher else run


SYSTEM = System(
    name="neighborhood",
    paper="001, Semantic Neighborhood-Aware Deep Facial Expression Recognition",
    options=NeighborhoodOptions,
    crop_px=lambda options: int(options.crop_px),
    stages=neighborhood_stages,
    last_stage="expression",
    fitted=fitted,
    network=neighborhood_network,
    data=faces_and_sequences,
    measure=neighborhood_figures,
)
