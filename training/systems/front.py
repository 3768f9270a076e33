"""The two networks of the face front end, each trained in one run folder in one stage.

B faces in a batch, each seen twice by the landmark network; P points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ferstream.stream.faces.own import CROP_PX

from ..datasets.point_faces import PointFaces, load_point_faces
from ..errors import OptionsWrong
from ..learning.checkpoint import load_weights
from ..learning.draws import Draw, DrawnSet
from ..learning.fit import fit
from ..learning.front_images import PointViews, SceneTargets
from ..learning.learner import CLIMB, Batch, Learner, Recipe
from ..learning.options import PRECISIONS, Options, option
from ..learning.run_folder import RunFolder, open_run, start_run
from ..learning.system import DONE, loader_of
from ..networks.front_nets import DetectorNet, LandmarkNet

STAGE = "network"


@dataclass(frozen=True)
class FrontOptions(Options):
    """What trainings of the front end have in common."""

    faces: str = option("runs/front/faces", "folder that `ferstream data landmarks` made")
    start: str = option("", "run whose weights it begins with; none: from nothing")
    # The fastest of the three for these small convolutions on a CPU.
    precision: str = option("fp32", "bf16 or fp16 (mixed), or fp32")
    average_decay: float = option(0.998, "Of the moving average of weights; 0: no average")
    save_every_min: float = option(5.0, "Minutes between checkpoints within an epoch")
    peak_rate: float = option(0.002, "Highest learning rate")
    weight_decay: float = option(0.02, "Of AdamW")

    @property
    def recipe(self) -> Recipe:
        """One cycle of AdamW."""
        return Recipe("adamw", self.peak_rate, weight_decay=self.weight_decay, one_cycle=CLIMB)


def train_network(
    name: str,
    run: Path,
    options: FrontOptions,
    learner: Callable[[DrawnSet], Learner],
    views: Callable[[PointFaces, bool], DrawnSet],
) -> RunFolder:
    """Train, or go on where it was stopped; `trained_network` reads the run.

    Args:
        name: of the network, which checkpoints carry.
        learner: made for the set that is learned.
        views: the faces of a split as they are shown, in training or else.

    Raises:
        OptionsWrong: there are no faces where the options say.
        RunMismatch: the folder holds another training.
    """
    cv2.setNumThreads(1)
    train, validation = (faces_of(options.faces, split) for split in ("train", "validation"))
    about = {"name": options.faces, "train": len(train), "validation": len(validation)}
    started = start_run(run, name, options, {**about, "fingerprint": train.fingerprint})
    stage = started.stage(STAGE)
    if (stage / DONE).exists():
        return started
    shown = views(train, True)
    module = learner(shown)
    module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.mark = {"system": name, "stage": STAGE, "options": asdict(options)}
    loader = loader_of(shown, options, training=True)
    held = loader_of(views(validation, False), options, training=False)
    module.steps = len(loader) * options.epochs
    started.begin()
    stage.mkdir(parents=True, exist_ok=True)
    fit(
        module,
        loader,
        held,
        run=stage,
        epochs=options.epochs,
        seed=options.seed,
        average_decay=options.average_decay,
        precision=PRECISIONS[options.precision],
        save_every_min=options.save_every_min,
    )
    (stage / DONE).touch()
    return started


def with_weights(network: nn.Module, name: str, run: str | Path) -> nn.Module:
    """A network with what a run's last checkpoint holds, in evaluation mode.

    Raises:
        RunUnfinished, CheckpointDamaged, CheckpointForeign: see `training.learning.run_folder`.
    """
    load_weights(network, open_run(run).checkpoint(STAGE), name, STAGE)
    return network.eval()


def faces_of(folder: str, split: str) -> PointFaces:
    """A split of the faces in a folder. Raises OptionsWrong where they are not there."""
    try:
        return load_point_faces(Path(folder) / f"{split}.npz")
    except FileNotFoundError as error:
        raise OptionsWrong(
            f"{error.filename} is missing: make it with `ferstream data landmarks {folder}`"
        ) from error


LANDMARKS = "landmarks"
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
        LANDMARKS,
        run,
        options,
        learner,
        lambda faces, training: PointViews(faces, CROP_PX, varied=training),
    )


def trained_landmarks(run: str | Path) -> LandmarkNet:
    """The network of a run as its last checkpoint has it; raises as `with_weights`."""
    network = with_weights(LandmarkNet(), LANDMARKS, run)
    assert isinstance(network, LandmarkNet)
    return network


def _mean_face(views: DrawnSet) -> Tensor:
    """The mean of some faces' points (P, 2), in crop sides from the middle."""
    rows = range(0, len(views), max(len(views) // 500, 1))
    shown = [views[Draw(row, row)] for row in rows]
    return torch.stack([one["points"].mean(0) for one in shown if one["present"].any()]).mean(0)


DETECTOR = "detector"
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
        DETECTOR,
        run,
        options,
        learner,
        lambda faces, training: SceneTargets(
            faces, options.side_px, options.scenes if training else few
        ),
    )


def trained_detector(run: str | Path) -> DetectorNet:
    """The network of a run as its last checkpoint has it; raises as `with_weights`."""
    network = with_weights(DetectorNet(), DETECTOR, run)
    assert isinstance(network, DetectorNet)
    return network
