"""The face detector: how it is taught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ...learning.draws import DrawnSet
from ...learning.learner import Batch, Learner
from ...learning.options import option
from ...learning.run_folder import RunFolder
from ...learning.scene_targets import SceneTargets
from ...networks.detector_net import DetectorNet
from .one_network import FrontOptions, train_network, with_weights

NAME = "detector"
_HARD, _RARE = 2.0, 0.5
"""Of the focal loss: how much less an easy cell counts, and how much a face counts against none."""


@dataclass(frozen=True)
class DetectorOptions(FrontOptions):
    """What one training of the face detector is made of."""

    scenes: int = option(6000, "Shown in an epoch, each another one")
    side_px: int = option(128, "Of a scene")
    epochs: int = option(20, "Times that so many are shown")
    batch: int = option(32, "Scenes behind one step")
    box_weight: float = option(2.0, "Of the boxes' errors")
    points_weight: float = option(2.0, "Of the points' errors")


class DetectorLearner(Learner):
    """Focal loss where a face is, absolute errors of what it is like."""

    def __init__(self, network: DetectorNet, options: DetectorOptions) -> None:
        super().__init__(network, options, options.recipe)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        options = self.options
        assert isinstance(options, DetectorOptions)
        picture = batch["picture"].contiguous(memory_format=torch.channels_last)
        out = self.network(picture)
        face, here = batch["face"], batch["face"] == 1
        told = here.sum().clamp(min=1)
        score = focal_loss(out.score, here.to(out.score.dtype))[face >= 0].sum() / told
        box = (out.box - batch["box"])[here].abs().sum() / (told * 4)
        points = (out.points - batch["points"])[here].abs().sum() / (told * 10)
        loss = score + options.box_weight * box + options.points_weight * points
        return loss, {"score": score, "box": box, "points": points}


def focal_loss(logit: Tensor, target: Tensor) -> Tensor:
    """Cross entropy that cells which are sure and right hardly add to (Lin et al. 2017)."""
    plain = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    wrong = torch.where(target > 0, 1 - torch.sigmoid(logit), torch.sigmoid(logit))
    share = torch.where(target > 0, _RARE, 1 - _RARE)
    return share * wrong**_HARD * plain


def train_detector(run: Path, options: DetectorOptions) -> RunFolder:
    """Train, or go on where it was stopped; raises as `train_network`."""

    def learner(_: DrawnSet) -> DetectorLearner:
        begun = trained_detector(options.start).train() if options.start else DetectorNet()
        return DetectorLearner(begun, options)

    few = max(options.scenes // 20, 1)
    return train_network(
        NAME,
        run,
        options,
        learner,
        lambda faces, training: SceneTargets(
            faces, options.side_px, options.scenes if training else few
        ),
    )


def trained_detector(run: str | Path) -> DetectorNet:
    """The network of a run as its last checkpoint has it; raises as `with_weights`."""
    network = with_weights(DetectorNet(), NAME, run)
    assert isinstance(network, DetectorNet)
    return network
