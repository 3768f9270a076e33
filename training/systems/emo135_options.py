"""The hyper-parameters of paper 000's system: training.systems.emo135 says what they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..data.cleaning import NEIGHBOURS, THRESHOLD
from ..data.face_images import AUGMENTATIONS
from ..errors import OptionsWrong
from ..options import Options


class Parts(NamedTuple):
    """What a variant has."""

    embedding: bool
    layers: bool
    label: bool


VARIANTS = {
    "full": Parts(True, True, True),
    "no-embedding": Parts(False, True, True),
    "no-layers": Parts(True, False, True),
    "no-label": Parts(True, True, False),
    "plain": Parts(False, False, False),
}
"""Table 2: embedding, correlation layers, correlation label; plain is a backbone with an MLP."""


@dataclass(frozen=True)
class Emo135Options(Options):
    """The default values are the paper's (section 4.1), where it gives any."""

    epochs: int = 100
    """Times that every face is shown while the words are learned"""
    batch: int = 240
    """Faces behind one step of the optimizer, over all processes"""
    variant: str = "full"
    """full, no-embedding, no-layers, no-label (the ablations of Table 2), plain (none of them)"""
    crop_px: int = 224
    """Side of the crops, 32 or more"""
    rate: float = 0.005
    """SGD's learning rate while the words are learned"""
    one_cycle: float = 0.0
    """Both rates climb for this share of all steps and fall to nothing; 0: they stay"""
    widths: tuple[int, ...] = (64, 128, 256, 512)
    """Channels of the trunk's stages, each of which halves the picture"""
    blocks: int = 2
    """Residual blocks in each stage"""
    augmentation: str = "rich"
    """crops (random crops) or rich (turned, scaled, mirrored, lit, erased)"""
    triplets: str = ""
    """File of judged triplets, three image names a line, the odd one last; none: see below"""
    triplet_gap: float = 0.1
    """By how much an odd face is farther away where no file says which it is"""
    blendshape_share: float = 0.5
    """Of blendshapes in the distance that then tells; the rest is the raters' votes'"""
    triplet_batch: int = 80
    """Triplets behind one step of the embedding, or faces among which all triplets count"""
    embedding_epochs: int = 20
    """Times that every triplet, or face, is shown"""
    embedding_rate: float = 5e-4
    """Adam's learning rate for the embedding"""
    cleaning: str = "yes"
    """yes or no: whether Algorithm 1 takes faces out of the training set"""
    neighbours: int = NEIGHBOURS
    """K of Algorithm 1"""
    threshold: float = THRESHOLD
    """Sigma of Algorithm 1, of squared distances on the unit sphere"""
    remove: float = 0.0
    """Sigma is such that this share of training faces goes (0.31 in the paper); 0: as given"""
    word_vectors: str = ""
    """File of word vectors (word2vec or GloVe, text) for F_word; none: the shipped similarities"""
    ratings: str = ""
    """CSV matrix of rated word similarities to compare word models with (Table 3); none: F_exp"""

    @classmethod
    def fast(cls) -> Emo135Options:
        """Small crops, few faces, a small trunk: a look, not a result."""
        return cls(
            limit=8_000,
            epochs=9,
            batch=64,
            crop_px=48,
            rate=0.1,
            one_cycle=0.3,
            widths=(32, 64, 128, 256),
            blocks=1,
            triplet_batch=64,
            embedding_epochs=4,
            embedding_rate=3e-3,
            remove=0.1,
            precision="fp32",
        )

    def check(self) -> None:
        super().check()
        self.at_least(1, "blocks", "triplet_batch", "embedding_epochs", "neighbours")
        self.at_least(0, "triplet_gap", "blendshape_share", "one_cycle", "remove")
        self.at_least(32, "crop_px")
        if self.variant not in VARIANTS:
            raise OptionsWrong(f"variant {self.variant!r}: there are {', '.join(VARIANTS)}")
        if self.augmentation not in AUGMENTATIONS:
            raise OptionsWrong(
                f"augmentation {self.augmentation!r}: there are {', '.join(AUGMENTATIONS)}"
            )
        if self.cleaning not in ("yes", "no"):
            raise OptionsWrong(f"cleaning is {self.cleaning!r}: it must be yes or no")
        if not self.widths or min(self.widths) < 8:
            raise OptionsWrong(f"widths are {self.widths}: stages of 8 channels or more")
        for name in ("rate", "embedding_rate", "threshold"):
            if not getattr(self, name) > 0:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("blendshape_share", "one_cycle", "remove"):
            if getattr(self, name) > 1:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be 0 to 1")
