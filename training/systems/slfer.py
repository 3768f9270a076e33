"""SLFER, semantic learning for facial expression recognition (paper 002).

An expression classification task (ECT) on a ResNet18 with squeeze-and-excitation learns together
with two auxiliary tasks on the same features: a segmentation task (ST) that says which part of the
face each pixel shows, and a component task (CT) that says which parts dominate the picture. Both
learn from an external parser's labels and are taken away for testing.

Where the paper is silent: widths of the heads (training.networks.slfer), pictures of 256 pixels
behind its random crops of 224, no mirroring. Where it slips: eq. 3 lacks its minus sign. Its
backbone is pretrained on MS-Celeb-1M; here on what ``pretrained`` names, else on nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..datasets.face_splits import Splits
from ..datasets.parsing import IGNORED, Parsing
from ..errors import OptionsWrong
from ..learning.drawn_sets import AUGMENTATIONS, FaceImages
from ..learning.learner import Batch, Learner, Recipe
from ..learning.losses import vote_cross_entropy
from ..learning.options import Options, option
from ..learning.run_folder import RunFolder
from ..learning.system import Stage, System
from ..networks.backbones import WIDTH, load_pretrained
from ..networks.slfer import Slfer

VARIANTS = {
    "baseline": (False, False, False),
    "ct": (False, True, False),
    "st": (True, False, False),
    "ct+st": (True, True, False),
    "proposed": (True, True, True),
}
"""Table 1: which of segmentation task, component task and excitation each variant has."""


@dataclass(frozen=True)
class SlferOptions(Options):
    """The default values are the paper's."""

    variant: str = option(
        "proposed",
        "baseline, ct, st, ct+st or proposed (both, with excitation): the rows of Table 1",
    )
    crop_px: int = option(224, "Side of the crops, a multiple of 16")
    rate: float = option(1e-4, "Adam's learning rate")
    decay_epochs: tuple[int, ...] = option(
        (10, 18, 25, 32),
        "The rate falls to a tenth after each of these",
    )
    segmentation_weight: float = option(0.5, "Lambda 1 of eq. 5 (Table 3a)")
    component_weight: float = option(0.5, "Lambda 2 of eq. 5 (Table 3b)")
    components: int = option(4, "How many parts of a face dominate it (Figure 3)")
    parsing: str = option(
        "landmarks",
        "Pixels' labels: landmarks (polygons), given (with the set), or a folder of masks",
    )
    mask_classes: int = option(19, "Labels in that folder's masks: 19, put together to eight, or 8")
    segmentation_width: int = option(256, "Channels of the segmentation task's first convolution")
    backbone_width: int = option(
        WIDTH,
        "Channels of the backbone's first stage, a multiple of 16; 64 make the paper's ResNet18",
    )
    augmentation: str = option(
        "crops",
        "crops (the paper's random crops) or rich (turned, scaled, mirrored, lit, erased)",
    )
    pretrained: str = option(
        "",
        "File of weights of a ResNet18 trained on faces, safe to load; none: from scratch",
    )

    @classmethod
    def fast(cls) -> SlferOptions:
        """Small crops, few faces, no pretrained weights: a look, not a result."""
        return cls(
            limit=6_000,
            epochs=4,
            batch=64,
            crop_px=64,
            rate=1e-3,
            decay_epochs=(2, 3),
            segmentation_width=64,
            augmentation="rich",
        )

    def check(self) -> None:
        super().check()
        self.at_least(0, "segmentation_weight", "component_weight")
        self.at_least(1, "components")
        self.at_least(4, "segmentation_width")
        if self.backbone_width % 16 or self.backbone_width < 16:
            raise OptionsWrong(
                f"backbone_width is {self.backbone_width}: it must be a multiple of 16 from 16 on"
            )
        if self.variant not in VARIANTS:
            raise OptionsWrong(f"variant {self.variant!r}: there are {', '.join(VARIANTS)}")
        if self.augmentation not in AUGMENTATIONS:
            raise OptionsWrong(
                f"augmentation {self.augmentation!r}: there are {', '.join(AUGMENTATIONS)}"
            )
        if self.crop_px % 16 or self.crop_px < 32:
            raise OptionsWrong(f"crop_px is {self.crop_px}: it must be a multiple of 16 from 32 on")
        if not self.rate > 0:
            raise OptionsWrong(f"rate is {self.rate}: it must be above 0")


class SlferLearner(Learner):
    """The joint training of ECT, ST and CT."""

    network: Slfer
    options: SlferOptions

    def __init__(self, network: Slfer, options: SlferOptions, classes: int) -> None:
        recipe = Recipe("adam", options.rate, betas=(0.5, 0.999), decay_epochs=options.decay_epochs)
        super().__init__(network, options, recipe)
        self.classes = classes

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 5: L = L_EC + lambda_1 L_S + lambda_2 L_C."""
        out = self.network(batch["crop"])
        expression = vote_cross_entropy(out.logits, batch["target"], batch["counts"])
        loss, parts = expression, {"expression": expression}
        if out.semantic is not None:
            parts["segmentation"] = segmentation_loss(out.semantic, batch["semantic"])
            loss = loss + self.options.segmentation_weight * parts["segmentation"]
        if out.components is not None:
            parts["components"] = component_loss(
                out.components, batch["components"], batch["parsed"]
            )
            loss = loss + self.options.component_weight * parts["components"]
        return loss, parts

    def scores(self, batch: Batch) -> Tensor:
        return self.network.recognise(batch["crop"]).logits


def segmentation_loss(logits_BJSS: Tensor, semantic_BSS: Tensor) -> Tensor:
    """Eq. 2: cross entropy of every pixel's class, averaged over the pixels that are known."""
    known = (semantic_BSS != IGNORED).sum()
    loss = F.cross_entropy(logits_BJSS.float(), semantic_BSS, ignore_index=IGNORED, reduction="sum")
    return loss / known.clamp(min=1)


def component_loss(logits_BJ: Tensor, dominant_BJ: Tensor, parsed_B: Tensor) -> Tensor:
    """Eq. 3: binary cross entropy summed over the classes, averaged over the faces parsed."""
    loss_BJ = F.binary_cross_entropy_with_logits(logits_BJ.float(), dominant_BJ, reduction="none")
    return (loss_BJ.sum(1) * parsed_B).sum() / parsed_B.sum().clamp(min=1)


def slfer_network(options: SlferOptions, classes: int) -> Slfer:
    """The network of a variant."""
    segmentation, components, excite = VARIANTS[options.variant]
    return Slfer(
        classes,
        excite=excite,
        segmentation=segmentation,
        components=components,
        width=options.segmentation_width,
        backbone_width=options.backbone_width,
    )


def slfer_stages(options: SlferOptions, data: Splits, run: RunFolder) -> Sequence[Stage]:
    """One stage: the three tasks learn together."""
    segmentation, components, _ = VARIANTS[options.variant]
    parsing = Parsing(options.parsing, options.mask_classes)
    needed = parsing if segmentation or components else None

    def learner() -> SlferLearner:
        torch.manual_seed(options.seed)
        network = slfer_network(options, len(data.labels))
        if options.pretrained:
            load_pretrained(network.backbone, Path(options.pretrained))
        return SlferLearner(network, options, len(data.labels))

    def train() -> FaceImages:
        return FaceImages(
            data.train,
            options.crop_px,
            augmentation=options.augmentation,
            parsing=needed,
            components=options.components,
        )

    def validation() -> FaceImages:
        return FaceImages(data.validation, options.crop_px)

    return [Stage("joint", learner, train, validation, options.epochs)]


SYSTEM = System(
    name="slfer",
    paper="002, Semantic Learning for Facial Expression Recognition",
    options=SlferOptions,
    crop_px=lambda options: int(options.crop_px),
    stages=slfer_stages,
    last_stage="joint",
    network=slfer_network,
)
