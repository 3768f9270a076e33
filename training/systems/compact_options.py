"""Options of the system `compact`."""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Self

from ..data.face_images import AUGMENTATIONS
from ..errors import OptionsWrong
from ..options import Options

BESIDE = ("wild",)
"""Sets of judged faces without votes, which can stand beside others."""


@dataclass(frozen=True)
class CompactOptions(Options):
    """The default values are the default bundle's."""

    epochs: int = 51
    """Times that every face is shown in the joint training"""
    batch: int = 128
    """Faces behind one step of the optimizer, over all processes"""
    average_decay: float = 0.998
    """Of the moving average of weights that is validated and kept; 0: no average"""
    blendshape_epochs: int = 3
    """Of the training on blendshapes alone, which comes before; 0: none"""
    pretrain: str = ""
    """Another set to learn from first, as for --faces; none: from scratch"""
    pretrain_epochs: int = 10
    """Of that"""
    pretrain_rate: float = 0.02
    """Highest learning rate of that"""
    rate: float = 0.1
    """Highest learning rate of SGD with momentum 0.9"""
    warmup: float = 0.15
    """Share of steps in which the rate climbs, before it falls to nothing"""
    weight_decay: float = 5e-4
    """Pull of the weights towards 0"""
    balance: float = 0.4
    """Rarer classes are shown more often: 1 all alike, 0 as they come"""
    blendshape_weight: float = 2.0
    """Of the blendshapes' loss; 0: a network without them"""
    coarse_weight: float = 0.5
    """Of the first scale's own cross entropy"""
    word_weight: float = 0.0
    """Of the losses of what a judge said, summed over words (the default bundle: 0.12), for faces
    that were judged; 0: without"""
    affect_weight: float = 0.5
    """Of valence, arousal and intensity, where words are learned"""
    beside: str = ""
    """Another set of judged faces to learn from at the same time: wild; none: without"""
    beside_share: float = 0.15
    """Of the faces shown that come from it"""
    start: str = ""
    """A bundle whose spatial network the training begins with, such as default; none: from
    scratch"""
    teachers: str = ""
    """Bundles, with commas between, whose averaged answers join the labels (training.teachers),
    such as default; none: without"""
    teacher_share: float = 0.4
    """Of the labels that are theirs"""
    ranking_weight: float = 0.5
    """Of the ranking loss"""
    margin: float = 0.05
    """By how much the second scale should be surer (paper 003, eq. 1)"""
    segmentation_weight: float = 0.0
    """Of the segmentation task (paper 002: 0.5); 0: without"""
    component_weight: float = 0.0
    """Of the component task (paper 002: 0.5); 0: without"""
    components: int = 4
    """How many parts of a face dominate it (paper 002, Figure 3)"""
    parsing: str = "landmarks"
    """Labels of the pixels of faces that bring none: landmarks (polygons) or a folder of masks"""
    mask_classes: int = 19
    """Labels in that folder's masks: 19, put together to eight, or 8"""
    segmentation_width: int = 64
    """Channels of the segmentation task's first convolution"""
    augmentation: str = "rich"
    """rich (turned, scaled, mirrored, lit, erased), varied (also of other tones and fewer pixels),
    crops or corners"""
    dropout: float = 0.3
    """Of the heads' features"""

    @classmethod
    def fast(cls) -> Self:
        """Few faces, shown few times: a look, not a result."""
        return cls(
            limit=8_000,
            blendshape_epochs=1,
            epochs=7,
            pretrain_epochs=6,
            batch=64,
            rate=0.02,
            pretrain_rate=0.01,
            precision="fp32",
            balance=0.0,
            average_decay=0.99,
        )

    def check(self) -> None:
        super().check()
        self.at_least(0, "blendshape_epochs", "blendshape_weight", "coarse_weight", "margin")
        self.at_least(0, "ranking_weight", "segmentation_weight", "component_weight", "balance")
        self.at_least(0, "weight_decay", "warmup", "dropout", "word_weight")
        self.at_least(0, "affect_weight", "beside_share", "teacher_share")
        self.at_least(1, "pretrain_epochs", "components")
        self.at_least(4, "segmentation_width")
        if self.beside not in ("", *BESIDE):
            raise OptionsWrong(f"beside {self.beside!r}: there is {', '.join(BESIDE)}")
        for name in ("dropout", "warmup", "beside_share", "teacher_share"):
            if getattr(self, name) >= 1:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be below 1")
        if self.augmentation not in AUGMENTATIONS:
            raise OptionsWrong(
                f"augmentation {self.augmentation!r}: there are {', '.join(AUGMENTATIONS)}"
            )
        for name in ("rate", "pretrain_rate"):
            if not getattr(self, name) > 0:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be above 0")
