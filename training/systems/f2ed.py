"""Expression recognition with synthesised poses (paper 004, F2ED).

FaPE-GAN learns to turn a face to another pose (eq. 1 to 3); its faces fill up the poses that each
expression is rarely seen in; and Fa-Net, on LightCNN, learns expressions from real and made faces
together (section 4.2, Fig. 5). ``protocol`` cuts one pool of faces into the learning tasks of
section 4.1; the generator sees their training faces only.

Where the paper is silent: generator and face network see the same aligned crops of 128 pixels,
LightCNN's, not the 256 of the pictures; its "10 steps" between two falls of the rate are epochs;
batches of 16 pairs; a hundred epochs of pre-training; Nesterov's momentum, no weight decay; random
shifts alone vary the crops; a tenth of the training faces validate where it has no validation set.
"The real input image" of eq. 1 is the face to be turned; the generator minimises -log D
(training.papers.f2ed.pose_gan). F2ED is not public: the usual faces are the 3D head's in F2ED's
four poses and 54 words, and what is measured on them is synthetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..datasets.face_splits import Splits
from ..datasets.learning_faces import LearningFaces
from ..datasets.task_faces import PROTOCOLS, TaskFaces, load_task
from ..errors import OptionsWrong
from ..learning.checkpoint import load_weights
from ..learning.drawn_sets import AUGMENTATIONS, FaceImages
from ..learning.learner import Batch, Learner, Recipe
from ..learning.losses import vote_cross_entropy
from ..learning.options import Options, option
from ..learning.run_folder import RunFolder
from ..learning.system import Found, Stage, System, measured
from ..networks.f2ed import BLOCKS, RESIDUAL_BLOCKS, WIDTH, WIDTHS, FaNet
from ..papers.f2ed.figures import add_made_figures, add_task_figures
from ..papers.f2ed.pose_gan import (
    EPOCHS,
    LAMBDA,
    RATE,
    FaPEGan,
    FaPELearner,
    balanced_faces,
    kept_faces,
    load_gan,
    pose_stage,
)

PRETRAIN, EXPRESSIONS = "pretrain", "expressions"
"""Fa-Net's stages; FaPE-GAN's comes before them."""
CHOICES = {
    "protocol": PROTOCOLS,
    "synthesis": ("yes", "no"),
    "augmentation": tuple(AUGMENTATIONS),
    "schedule": ("steps", "cycle"),
}


@dataclass(frozen=True)
class F2edOptions(Options):
    """The default values are the paper's."""

    faces: str = option(
        "synthetic:f2ed54:poses",
        "synthetic:f2ed54:poses, a folder that `ferstream data prepare` made of F2ED or others, "
        "or fer2013plus with --protocol none and --synthesis no",
    )
    epochs: int = option(100, "Times that Fa-Net is shown every face, real or made")
    batch: int = option(
        128,
        "Faces behind one step of Fa-Net: 128 on F2ED, 64 on FER2013, 32 on JAFFE",
    )
    protocol: str = option(
        "er-ss",
        "er-ss, er-ue (rare expressions), er-up (a rare pose), er-zid (unseen people), or none: "
        "the set's own splits",
    )
    rare_pose: str = option("half_left", "The pose that is rare in er-up")
    validation_share: float = option(
        0.1,
        "Of the training faces (in er-zid, people) that validate where the paper has no validation",
    )
    synthesis: str = option(
        "yes",
        "yes: FaPE-GAN's faces beside the real ones; no: Fa-Net alone, first row of Table 5",
    )
    pretrain: str = option(
        "",
        "Faces that Fa-Net learns from first (Table 4), named as with --faces; none: it does not",
    )
    crop_px: int = option(128, "Side of the crops, a multiple of 16")
    gan_epochs: int = option(
        EPOCHS,
        "Times that FaPE-GAN is shown as many pairs as there are training faces",
    )
    gan_batch: int = option(16, "Pairs behind one step of FaPE-GAN")
    gan_rate: float = option(RATE, "Adam's learning rate for FaPE-GAN")
    l1_weight: float = option(LAMBDA, "Lambda of eq. 3")
    gan_width: int = option(WIDTH, "Channels of FaPE-GAN's first convolutions")
    gan_blocks: int = option(RESIDUAL_BLOCKS, "Residual blocks of the generator")
    made_most: int = option(
        0,
        "Faces of one expression in one pose to fill up to, at most; 0: as its most frequent pose",
    )
    layers: int = option(29, "Layers of LightCNN, 29 or 9")
    widths: tuple[int, ...] = option(
        WIDTHS,
        "Channels of LightCNN after its stem and each of its four groups",
    )
    dropout: float = option(0.5, "Before the classifier")
    schedule: str = option(
        "steps",
        "steps (SGD whose rate falls) or cycle (Adam, one cycle of its rate, for short trainings)",
    )
    rate: float = option(
        0.01,
        "Fa-Net's learning rate: 0.01 on F2ED, 2e-3 on FER2013, 5e-4 on JAFFE",
    )
    decay: float = option(0.457, "The rate falls to this share of itself")
    decay_every: int = option(10, "after so many epochs, again and again")
    augmentation: str = option(
        "crops",
        "crops (random shifts) or rich (turned, scaled, mirrored, lit, erased)",
    )
    pretrain_epochs: int = option(100, "Times that Fa-Net is shown the faces of --pretrain")
    pretrain_batch: int = option(128, "Faces behind one step of pre-training")
    pretrain_rate: float = option(0.01, "Learning rate of pre-training")

    @classmethod
    def fast(cls) -> F2edOptions:
        """Small crops and narrow networks: a look, not a result."""
        return cls(
            limit=4_000,
            epochs=12,
            batch=64,
            precision="fp32",
            crop_px=48,
            gan_epochs=3,
            gan_rate=1e-3,
            gan_width=16,
            gan_blocks=3,
            layers=9,
            widths=(16, 32, 64, 64, 64),
            dropout=0.2,
            schedule="cycle",
            rate=1e-3,
            pretrain_epochs=8,
            pretrain_batch=64,
            pretrain_rate=1e-3,
        )

    def check(self) -> None:
        super().check()
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise OptionsWrong(f"{name} {getattr(self, name)!r}: there are {', '.join(known)}")
        self.at_least(1, "gan_epochs", "gan_batch", "gan_blocks", "pretrain_epochs")
        self.at_least(1, "pretrain_batch", "decay_every")
        self.at_least(0, "l1_weight", "made_most", "dropout", "validation_share")
        self.at_least(4, "gan_width")
        for name in ("rate", "gan_rate", "pretrain_rate", "decay"):
            if not getattr(self, name) > 0:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("dropout", "validation_share"):
            if getattr(self, name) >= 1:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be below 1")
        if self.crop_px % 16 or self.crop_px < 32:
            raise OptionsWrong(f"crop_px is {self.crop_px}: it must be a multiple of 16 from 32 on")
        if self.layers not in BLOCKS:
            raise OptionsWrong(f"layers is {self.layers}: LightCNN has 9 or 29")
        if len(self.widths) != len(WIDTHS) or min(self.widths) < 1:
            raise OptionsWrong(f"widths {self.widths}: LightCNN needs five numbers from 1 on")


class FaNetLearner(Learner):
    """The training of Fa-Net, on the faces of before or on those of the task."""

    network: FaNet

    def __init__(
        self, network: FaNet, options: F2edOptions, classes: int, rate: float, epochs: int
    ) -> None:
        falls = tuple(range(options.decay_every, epochs, options.decay_every))
        recipe = Recipe("sgd", rate, decay_epochs=falls, decay=options.decay)
        if options.schedule == "cycle":
            recipe = Recipe("adam", rate, one_cycle=0.3)
        super().__init__(network, options, recipe)
        self.classes = classes

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy of the expression."""
        return vote_cross_entropy(self.scores(batch), batch["target"], batch["counts"]), {}

    def scores(self, batch: Batch) -> Tensor:
        return self.network.recognise(batch["crop"]).logits


def fa_net(options: F2edOptions, classes: int) -> FaNet:
    """Fa-Net for K classes."""
    a, b, c, d, e = options.widths
    size = {"layers": options.layers, "crop_px": options.crop_px}
    return FaNet(classes, widths=(a, b, c, d, e), dropout=options.dropout, **size)


def fape_gan(options: F2edOptions) -> FaPEGan:
    """FaPE-GAN, untrained."""
    return FaPEGan(options.gan_width, options.gan_blocks)


def f2ed_faces(options: F2edOptions, folder: str | None) -> TaskFaces:
    """The faces, cut by the protocol; and those to learn from first."""
    return load_task(
        options.faces,
        folder,
        options.protocol,
        rare_pose=options.rare_pose,
        validation_share=options.validation_share,
        pretrain=options.pretrain,
        limit=options.limit,
        seed=options.seed,
    )


def f2ed_stages(options: F2edOptions, data: TaskFaces, run: RunFolder) -> Sequence[Stage]:
    """FaPE-GAN where its faces are wanted, pre-training where it is (section 5.1), and the task."""
    stages = [_poses(options, data)] if options.synthesis == "yes" else []
    if (before := data.pretraining) is not None:
        fresh = partial(fa_net, options, len(before.labels))
        length = (options.pretrain_rate, options.pretrain_epochs, options.pretrain_batch)
        stages.append(_fa_net(PRETRAIN, options, before, fresh, lambda: before.train, *length))
    network, faces = partial(_begun, options, data, run), partial(_balanced, options, data, run)
    length = (options.rate, options.epochs, options.batch)
    return [*stages, _fa_net(EXPRESSIONS, options, data, network, faces, *length)]


def fitted(options: F2edOptions, data: TaskFaces) -> dict[str, Any]:
    """No faces are made in other poses where nobody knows whose faces these are, or their poses."""
    known = data.train.poses is not None and data.train.people is not None
    return {} if known else {"synthesis": "no"}


def _poses(options: F2edOptions, data: TaskFaces) -> Stage:
    """FaPE-GAN learns from pairs of the training faces alone."""

    def learner() -> FaPELearner:
        torch.manual_seed(options.seed)
        return FaPELearner(fape_gan(options), options, options.gan_rate, options.l1_weight)

    epochs, batch = options.gan_epochs, options.gan_batch
    return pose_stage(learner, data, options.crop_px, options.seed, epochs, batch)


def _fa_net(
    name: str,
    options: F2edOptions,
    data: Splits,
    network: Callable[[], FaNet],
    faces: Callable[[], LearningFaces],
    rate: float,
    epochs: int,
    batch: int,
) -> Stage:
    """Fa-Net learns the labels of a set from these faces."""

    def learner() -> FaNetLearner:
        torch.manual_seed(options.seed)
        return FaNetLearner(network(), options, len(data.labels), rate, epochs)

    def train() -> FaceImages:
        return FaceImages(faces(), options.crop_px, augmentation=options.augmentation)

    def validation() -> FaceImages:
        return FaceImages(data.validation, options.crop_px)

    return Stage(name, learner, train, validation, epochs, batch)


def _begun(options: F2edOptions, data: TaskFaces, run: RunFolder) -> FaNet:
    """Fa-Net fresh, or as pre-training left it with a fresh classifier."""
    if data.pretraining is None:
        return fa_net(options, len(data.labels))
    network = fa_net(options, len(data.pretraining.labels))
    load_weights(network, run.checkpoint(PRETRAIN), run.system, PRETRAIN)
    return network.for_expressions(len(data.labels))


def _balanced(options: F2edOptions, data: TaskFaces, run: RunFolder) -> LearningFaces:
    """Real training faces, and made ones where they are wanted."""
    if options.synthesis == "no":
        return data.train
    gan, most = fape_gan(options), options.made_most or None
    return balanced_faces(run, gan, data.train, options.crop_px, most=most, seed=options.seed)


def f2ed_measured(
    network: torch.nn.Module, options: F2edOptions, data: TaskFaces, run: RunFolder
) -> Found:
    """The usual figures, the tasks' own, and the generator's."""
    metrics, predictions = measured(network, data, options.crop_px)
    made = len(kept_faces(run)[0]) if options.synthesis == "yes" else None
    add_task_figures(metrics, predictions, data, made)
    if made is not None:
        generator = load_gan(fape_gan(options), run).generator
        add_made_figures(metrics, generator, data, options.crop_px, run.path, options.seed)
    return metrics, predictions


SYSTEM = System(
    name="f2ed",
    paper="004, A Fine-Grained Facial Expression Database (F2ED)",
    options=F2edOptions,
    crop_px=lambda options: int(options.crop_px),
    stages=f2ed_stages,
    last_stage=EXPRESSIONS,
    network=fa_net,
    data=f2ed_faces,
    measure=f2ed_measured,
    fitted=fitted,
)
