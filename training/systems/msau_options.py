"""MSAU-Net's hyper-parameters: training.systems.msau says what they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from typing_extensions import Self

from ..errors import OptionsWrong
from ..learning.drawn_sets import AUGMENTATIONS
from ..learning.learner import Recipe
from ..learning.options import Options, option
from ..networks.drml import DrmlSize
from ..networks.msau import MOST_REGIONS, VARIANTS

DETECTIONS = ("fixed", "learning")
OPTIMIZERS: dict[str, Literal["sgd", "adamw"]] = {"sgd": "sgd", "adamw": "adamw"}


@dataclass(frozen=True)
class MsauOptions(Options):
    """The default values are the paper's."""

    batch: int = option(8, "Faces behind one step of the optimizer, over all processes")
    variant: str = option(
        "msau",
        "plain-cnn, au-cnn (units), au-z-cnn (and the second scale) or msau: the rows of Table II",
    )
    regions: int = option(
        1,
        "Regions that are looked at closely, each erased for the next: 1 to 5 (V-E, Figure 7)",
    )
    units: str = option(
        "",
        "Prepared sets of action units (DISFA, BP4D), commas between them; none: those of the "
        "faces",
    )
    action_units: tuple[int, ...] = option(
        (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
        "Numbers of the units that are detected",
    )
    unit_detection: str = option(
        "fixed",
        "In the joint training: fixed (IV-A), or learning on by eq. 2 (V-B)",
    )
    unit_epochs: int = option(40, "Of the first training")
    unit_evenness: float = option(
        1.0,
        "How far label 0 evens out a unit's on and off labels: 1 wholly, 0 not at all",
    )
    unit_weight: float = option(0.5, "Of eq. 2 in the joint training, where detection learns on")
    leaf_weight: float = option(0.5, "Of the leaves' softmax loss")
    basic_weight: float = option(0.5, "Of the basic classes' softmax loss")
    ranking_weight: float = option(0.5, "Of the ranking loss")
    margin: float = option(0.05, "By how much the second scale should be surer (eq. 1)")
    basic_classes: int = option(
        6,
        "Outputs of the second softmax: at least as many as there are basic classes",
    )
    optimizer: str = option("sgd", "sgd or adamw")
    rate: float = option(1e-4, "Learning rate")
    momentum: float = option(0.9, "Of sgd")
    weight_decay: float = option(5e-4, "Pull of the weights towards 0")
    one_cycle: float = option(
        0.0,
        "Share of steps in which the rate climbs before it falls to nothing; 0: it stays",
    )
    balance: float = option(1.0, "Rarer classes are shown more often: 1 all alike, 0 as they come")
    augmentation: str = option(
        "corners",
        "corners (of the four corners and the centre, mirrored), crops or rich",
    )
    crop_px: int = option(170, "Side of the crops; less 10 a multiple of twice the grid")
    grid: int = option(8, "Regions a side that have weights of their own")
    stem: int = option(32, "Kernels of Conv 1 and of the region layer")
    middle: int = option(16, "Kernels of Conv 4 to 6")
    last: int = option(256, "Kernels of Conv 7: values of the MAC descriptor")
    hidden: int = option(4096, "First fully connected layer")
    full: int = option(2048, "Second fully connected layer: values of the global feature")
    dropout: float = option(0.5, "Of the fully connected layers")

    @classmethod
    def fast(cls) -> Self:
        """Smaller faces and layers, detection learning on: a look, not a result."""
        return cls(
            limit=7_000,
            unit_epochs=1,
            epochs=3,
            batch=32,
            precision="fp32",
            unit_detection="learning",
            optimizer="adamw",
            rate=1.5e-3,
            one_cycle=0.3,
            balance=0.0,
            augmentation="crops",
            crop_px=82,
            grid=6,
            stem=8,
            last=96,
            hidden=256,
            full=128,
            dropout=0.1,
        )

    def check(self) -> None:
        super().check()
        self.at_least(1, "stem", "middle", "last", "hidden", "full", "grid", "unit_epochs")
        self.at_least(2, "basic_classes")
        self.at_least(0, "leaf_weight", "basic_weight", "ranking_weight", "unit_weight", "margin")
        self.at_least(0, "balance", "unit_evenness", "weight_decay", "momentum", "one_cycle")
        self.at_least(0, "dropout")
        for name, known in (
            ("variant", VARIANTS),
            ("unit_detection", DETECTIONS),
            ("optimizer", OPTIMIZERS),
            ("augmentation", AUGMENTATIONS),
        ):
            if getattr(self, name) not in known:
                value = getattr(self, name)
                raise OptionsWrong(f"{name} {value!r} is unknown: there are {', '.join(known)}")
        for name in ("dropout", "one_cycle", "momentum"):
            if getattr(self, name) >= 1:
                raise OptionsWrong(f"{name} is {getattr(self, name)}: it must be below 1")
        if not self.rate > 0:
            raise OptionsWrong(f"rate is {self.rate}: it must be above 0")
        if not 1 <= self.regions <= MOST_REGIONS:
            raise OptionsWrong(f"regions is {self.regions}: it must be 1 to {MOST_REGIONS}")
        if self.regions > 1 and not VARIANTS[self.variant].zoom:
            raise OptionsWrong(f"variant {self.variant} looks at nothing closely: leave regions 1")
        if not self.action_units or len(set(self.action_units)) < len(self.action_units):
            raise OptionsWrong("action_units must name units, each once, such as 1,2,4,12")
        try:
            self.size()
        except ValueError as error:
            raise OptionsWrong(str(error)) from error

    def size(self) -> DrmlSize:
        """Of each branch."""
        return DrmlSize(
            crop_px=self.crop_px,
            grid=self.grid,
            stem=self.stem,
            middle=self.middle,
            last=self.last,
            hidden=self.hidden,
            full=self.full,
            units=len(self.action_units),
        )

    @property
    def unit_names(self) -> tuple[str, ...]:
        """U names such as AU12."""
        return tuple(f"AU{number}" for number in self.action_units)

    @property
    def recipe(self) -> Recipe:
        """Of both trainings."""
        kind = OPTIMIZERS[self.optimizer]
        betas = (self.momentum, 0.999) if kind == "sgd" else (0.9, 0.999)
        decay = self.weight_decay
        return Recipe(kind, self.rate, betas, weight_decay=decay, one_cycle=self.one_cycle)
