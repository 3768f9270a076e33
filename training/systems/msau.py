"""MSAU-Net, the multi-scale action-unit network (paper 003, IV-A; progressive erasing, V-E).

A branch is a DRML network: a layer with weights of its own for every region of the face, the
largest activations of its last convolution (MAC) beside a fully connected feature. Where the
first branch's strongest activation looks is magnified for the second. Two trainings (end of IV-A):

units  every branch learns to detect action units by the multi-label loss (eq. 2);
joint  detection stays as it is; both branches learn the leaves and the basic classes above them
       by a softmax loss each, and the second to be surer than the first by a ranking loss (eq. 1).

Where the paper is silent or contradicts itself:
- IV-A fixes the detection module in the second training, V-B computes the multi-label loss "at
  the same time" as the softmax losses. ``unit_detection`` fixed is IV-A, learning is V-B.
- The margin of eq. 1 is not told: 0.05, as in the paper that it comes from (RA-CNN). Branches are
  "alternatively optimized" there, as the part that looks for the region has weights of its own;
  here it has none, and the three losses are added with their weights of 0.5.
- Epochs, and the optimizer beside momentum and weight decay: SGD, 40 epochs.
- Units: DRML's twelve of DISFA. BP4D and DISFA are learned from with ``units``; else from what the
  faces know of units themselves: their own labels, a teacher's blendshapes for FER+, the default
  bundle's for all others (training.datasets.unit_labels).
- Classes are evened out by showing rarer ones more often, where the paper multiplies their
  pictures beforehand (III, Table I).
- The basic classes of other labels than the 33: training.datasets.label_lists.

B batch, K leaves, P basic classes, U action units.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ferstream.engines.manifest import Supervision

from ..datasets.face_splits import Splits
from ..datasets.label_lists import parent_shares
from ..datasets.readers.prepared import SET, read_facts
from ..errors import OptionsWrong
from ..learning.checkpoint import load_weights
from ..learning.drawn_sets import FaceImages
from ..learning.draws import sampling_weights
from ..learning.from_bundles import with_blendshapes
from ..learning.learner import Batch, Learner
from ..learning.losses import ranking_loss, unit_label_loss, vote_cross_entropy
from ..learning.run_folder import RunFolder
from ..learning.system import LabelledData, Stage, System
from ..learning.unit_labels import UnitImages, UnitSet, unit_sets
from ..networks.msau import VARIANTS, Msau, Scale, answer
from ..papers.msau.figures import msau_figures
from .msau_options import MsauOptions

UNITS, JOINT = "units", "joint"
__all__ = ["JOINT", "SYSTEM", "UNITS", "MsauOptions", "msau_network", "msau_stages"]


class UnitsLearner(Learner):
    """The first training: every branch's detection of action units, the classifiers idle."""

    network: Msau

    def __init__(self, network: Msau, options: MsauOptions) -> None:
        super().__init__(network, options, options.recipe)
        for heads in (network.coarse_heads, network.fine_heads):
            if heads is not None:
                heads.requires_grad_(False)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 2 of each branch, added up."""
        out = self.network(batch["crop"])
        parts = {"coarse": _units_loss(out.coarse, batch)}
        if out.fine is not None:
            parts["fine"] = _units_loss(out.fine, batch)
        return sum(parts.values(), torch.zeros((), device=self.device)), parts


class JointLearner(Learner):
    """The second training: leaves, basic classes and the order of the two scales."""

    network: Msau
    options: MsauOptions
    parents_KP: Tensor

    def __init__(self, network: Msau, options: MsauOptions, labels: tuple[str, ...]) -> None:
        super().__init__(network, options, options.recipe)
        self.classes = len(labels)
        shares = torch.zeros(len(labels), options.basic_classes)
        known = torch.from_numpy(parent_shares(labels))
        shares[:, : known.shape[1]] = known
        self.register_buffer("parents_KP", shares, persistent=False)
        has_units = VARIANTS[options.variant].units
        self.fixed = has_units and options.unit_detection == "fixed"
        self.learning = has_units and not self.fixed
        if self.fixed:
            for parameter in network.unit_parameters():
                parameter.requires_grad_(False)

    def on_train_start(self) -> None:
        if self.fixed:
            # Also the means and deviations that batch normalisation keeps.
            for branch in self.network.branches:
                branch.trunk.eval()

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Both softmax losses of both scales and eq. 1, weighted."""
        out, options = self.network(batch["crop"]), self.options
        target_BK, counts_B = batch["target"], batch["counts"]
        scales = [scale for scale in (out.coarse, out.fine) if scale is not None]
        parts = {
            "leaves": _summed(
                [vote_cross_entropy(s.scores.leaf, target_BK, counts_B) for s in scales]
            )
        }
        loss = options.leaf_weight * parts["leaves"]
        basic = [s.scores.basic for s in scales if s.scores.basic is not None]
        if basic:
            # No matrix product: mixed precision would round the raters' shares.
            target_BP = (target_BK[:, :, None] * self.parents_KP).sum(1)
            parts["basic"] = _summed([vote_cross_entropy(b, target_BP, counts_B) for b in basic])
            loss = loss + options.basic_weight * parts["basic"]
        if out.fine is not None:
            coarse, fine = out.coarse.scores.leaf, out.fine.scores.leaf
            parts["ranking"] = ranking_loss(coarse, fine, target_BK, options.margin)
            loss = loss + options.ranking_weight * parts["ranking"]
        if self.learning:
            parts["units"] = _summed([_units_loss(scale, batch) for scale in scales])
            loss = loss + options.unit_weight * parts["units"]
        return loss, parts

    def scores(self, batch: Batch) -> Tensor:
        return answer(self.network(batch["crop"])).logits


def _units_loss(scale: Scale, batch: Batch) -> Tensor:
    """Eq. 2 of every branch of a scale; faces that only fill up a batch say nothing."""
    labels_BU = batch["units"] * batch["counts"][:, None]
    return _summed([unit_label_loss(logits, labels_BU) for logits in scale.units])


def _summed(losses: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(losses)).sum()


def msau_network(options: MsauOptions, classes: int) -> Msau:
    """The network of a variant, for K labels."""
    network = Msau(
        classes,
        options.basic_classes,
        size=options.size(),
        variant=options.variant,
        regions=options.regions,
        dropout=options.dropout,
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def msau_stages(options: MsauOptions, data: Splits, run: RunFolder) -> Sequence[Stage]:
    """Units, where the variant has them, then the joint training on what they left."""
    needed = parent_shares(data.labels).shape[1]
    if VARIANTS[options.variant].basic and needed > options.basic_classes:
        raise OptionsWrong(
            f"these labels have {needed} basic classes, not {options.basic_classes}: give "
            f"--basic-classes {needed}"
        )
    has_units = VARIANTS[options.variant].units
    crop_px = options.crop_px

    @cache
    def units(folders: str) -> tuple[UnitSet, UnitSet]:
        own = (data.train, data.validation)
        if not folders and data.train.units is None and data.train.blendshapes is None:
            own = (with_blendshapes(data.train), with_blendshapes(data.validation))
        return unit_sets(folders, own, options.unit_names, options.seed)

    def network() -> Msau:
        torch.manual_seed(options.seed)
        return msau_network(options, len(data.labels))

    def joint() -> JointLearner:
        made = network()
        if has_units:
            load_weights(made, run.checkpoint(UNITS), run.system, UNITS)
        return JointLearner(made, options, data.labels)

    def detected(split: int, augmentation: str | None) -> UnitImages:
        return units(options.units)[split].images(crop_px, options.unit_evenness, augmentation)

    def faces() -> FaceImages | UnitImages:
        augmentation = options.augmentation
        balance = options.balance
        weights = sampling_weights(data.train.target, balance) if balance else None
        if has_units and options.unit_detection == "learning":
            return units("")[0].images(crop_px, options.unit_evenness, augmentation, weights)
        return FaceImages(data.train, crop_px, augmentation=augmentation, weights=weights)

    first = Stage(
        UNITS,
        lambda: UnitsLearner(network(), options),
        lambda: detected(0, options.augmentation),
        lambda: detected(1, None),
        options.unit_epochs,
    )
    second = Stage(
        JOINT, joint, faces, lambda: FaceImages(data.validation, crop_px), options.epochs
    )
    return [first, second] if has_units else [second]


def fitted(options: MsauOptions, data: LabelledData) -> dict[str, Any]:
    """As many outputs of the second softmax as there are basic classes."""
    return {"basic_classes": max(parent_shares(data.labels).shape[1], options.basic_classes)}


def knows_units(faces: str) -> bool:
    """Whether a set has action units of its own: the rendered 3D face has, a prepared one may."""
    if (Path(faces) / SET).is_file():
        return bool(read_facts(Path(faces))["units"])
    return faces != "fer2013plus"


def told_units(options: MsauOptions) -> tuple[tuple[str, ...], Supervision, str]:
    """Names of the units that a bundle tells, and how they were learned."""
    if not VARIANTS[options.variant].units:
        return (), "derived", "none: this variant detects no action units"
    if not options.units and not knows_units(options.faces):
        whose = "a teacher" if options.faces == "fer2013plus" else "the default bundle"
        how = f"{whose}'s blendshapes, which are no annotation"
        return options.unit_names, "weakly supervised", f"detected by the first scale from {how}"
    whose = options.units or options.faces
    return options.unit_names, "trained", f"detected by the first scale, labels of {whose}"


SYSTEM = System(
    name="msau",
    paper="003, Fine-Grained Facial Expression Recognition in the Wild: images",
    options=MsauOptions,
    crop_px=lambda options: int(options.crop_px),
    stages=msau_stages,
    last_stage=JOINT,
    network=msau_network,
    measure=msau_figures,
    fitted=fitted,
    units=told_units,
)
