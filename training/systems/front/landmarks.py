"""The landmark network: how it is taught.

B faces in a batch, each seen twice; P points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ferstream.stream.faces.own import CROP_PX

from ...learning.draws import Draw, DrawnSet
from ...learning.learner import Batch, Learner
from ...learning.options import option
from ...learning.point_views import PointViews
from ...learning.run_folder import RunFolder
from ...networks.landmark_net import LandmarkNet
from .one_network import FrontOptions, train_network, with_weights

NAME = "landmarks"
_WING_PX, _CURVE_PX = 5.0, 1.0


@dataclass(frozen=True)
class LandmarkOptions(FrontOptions):
    """What one training of the landmark network is made of."""

    epochs: int = option(12, "Times that as many faces are shown as there are")
    batch: int = option(48, "Faces behind one step, each seen twice")
    pair_weight: float = option(
        0.5, "Of how the errors of two views differ: a still face's points should not tremble"
    )
    presence_weight: float = option(0.5, "Of the presence's cross entropy")
    pose_weight: float = option(0.5, "Of the pose's error in units of 10 degrees")
    opening_weight: float = option(1.0, "Of the error of the eyes' opening")


class LandmarkLearner(Learner):
    """Points by wing loss, and what else the network tells of a face."""

    def __init__(self, network: LandmarkNet, options: LandmarkOptions) -> None:
        super().__init__(network, options, options.recipe)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        options = self.options
        assert isinstance(options, LandmarkOptions)
        crop = batch["crop"].flatten(0, 1).contiguous(memory_format=torch.channels_last)
        out = self.network(crop)
        faces = len(batch["points"])
        here = batch["present"]
        error_px = CROP_PX * (out.points.reshape(faces, 2, -1, 2) - batch["points"])
        known = batch["known"][:, None, :, None]
        total = known.sum().clamp(min=1.0) * 4
        points = (wing(error_px) * known).sum() / total
        pair = ((error_px[:, 0] - error_px[:, 1]).abs() * known[:, 0]).sum() / (total / 2)
        presence = F.binary_cross_entropy_with_logits(out.presence, here.reshape(-1, 1))
        turned = (out.pose.reshape(faces, 2, 3) - batch["pose"]) / 10
        pose = (turned.abs() * here).sum() / (here.sum().clamp(min=1.0) * 3)
        seen = batch["opening_known"][:, None]
        opened = (out.opening.reshape(faces, 2, 2) - batch["opening"][:, None]).abs()
        opening = (opened * seen).sum() / (seen.sum().clamp(min=1.0) * 2)
        loss = (
            points
            + options.pair_weight * pair
            + options.presence_weight * presence
            + options.pose_weight * pose
            + options.opening_weight * opening
        )
        parts = {"points": points, "pair": pair, "presence": presence, "pose": pose}
        return loss, {**parts, "opening": opening}


def wing(error_px: Tensor) -> Tensor:
    """Wing loss (Feng et al. 2018, equation 5): errors up to some pixels count by their logarithm,
    so that small ones are still worth mending."""
    away = error_px.abs()
    curved = _WING_PX * torch.log1p(away / _CURVE_PX)
    offset = _WING_PX - _WING_PX * torch.log1p(torch.tensor(_WING_PX / _CURVE_PX))
    return torch.where(away < _WING_PX, curved, away - offset)


def train_landmarks(run: Path, options: LandmarkOptions) -> RunFolder:
    """Train, or go on where it was stopped; raises as `train_network`."""

    def learner(views: DrawnSet) -> LandmarkLearner:
        if options.start:
            return LandmarkLearner(trained_landmarks(options.start).train(), options)
        network = LandmarkNet()
        network.set_mean(_mean_face(views))
        return LandmarkLearner(network, options)

    return train_network(
        NAME,
        run,
        options,
        learner,
        lambda faces, training: PointViews(faces, CROP_PX, varied=training),
    )


def trained_landmarks(run: str | Path) -> LandmarkNet:
    """The network of a run as its last checkpoint has it; raises as `with_weights`."""
    network = with_weights(LandmarkNet(), NAME, run)
    assert isinstance(network, LandmarkNet)
    return network


def _mean_face(views: DrawnSet) -> Tensor:
    """The mean of some faces' points (P, 2), in crop sides from the middle."""
    rows = range(0, len(views), max(len(views) // 500, 1))
    shown = [views[Draw(row, row)] for row in rows]
    return torch.stack([one["points"].mean(0) for one in shown if one["present"].any()]).mean(0)
