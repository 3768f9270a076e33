"""The default bundle's network on any labelled faces, and what the papers' ideas add to it.

`CompactMSAU` (paper 003, IV-A, on a backbone made for a CPU) learns in up to three stages:

before       another set's labels and blendshapes, such as the synthetic face's (``pretrain``);
blendshapes  the intensities of 52 action units, where the faces have a teacher's;
joint        expressions by both scales, the second to be surer (eq. 1), blendshapes on beside them.

The paper then fixes the action units' weights; here one small backbone serves both, so they keep
learning. ``word_weight`` adds what a judge said of faces (training.datasets.judged): the 135 words,
each on its own, the 33 classes above them, valence, arousal and intensity. ``beside`` mixes in
another judged set, ``start`` begins with a bundle's network, ``teachers`` lets bundles' answers
join the labels. ``segmentation_weight`` and ``component_weight`` give all stages paper 002's two
auxiliary tasks (its eq. 2, 3 and 5). The default bundle's spatial network is this with words
(systems/default.py).

B batch, K expressions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self

from ferstream.engines.manifest import Supervision
from ferstream.engines.taxonomy import roll_up

from ..datasets.augment import CROP_PX
from ..datasets.face_splits import Splits
from ..datasets.fer import BASIC8
from ..datasets.learning_faces import LearningFaces, wild_faces
from ..datasets.parsing import Parsing
from ..datasets.synthetic.expressions import ARKIT_NAMES
from ..datasets.task_faces import TaskFaces, joined, load_task
from ..errors import OptionsWrong
from ..learning.checkpoint import load_weights
from ..learning.drawn_sets import AUGMENTATIONS, JUDGED, FaceImages
from ..learning.draws import BESIDE, shown_weights
from ..learning.from_bundles import start_from_bundle, taught, with_blendshapes
from ..learning.learner import Batch, Learner, Recipe
from ..learning.losses import action_unit_loss, judged_loss, ranking_loss, vote_cross_entropy
from ..learning.options import Options, option
from ..learning.run_folder import RunFolder
from ..learning.system import Stage, System
from ..networks.compact_msau import CompactMSAU
from .slfer import component_loss, segmentation_loss

BEFORE, BLENDSHAPES, JOINT = "before", "blendshapes", "joint"


@dataclass(frozen=True)
class CompactOptions(Options):
    """The default values are the default bundle's."""

    epochs: int = option(51, "Times that every face is shown in the joint training")
    batch: int = option(128, "Faces behind one step of the optimizer, over all processes")
    average_decay: float = option(
        0.998,
        "Of the moving average of weights that is validated and kept; 0: no average",
    )
    blendshape_epochs: int = option(
        3,
        "Of the training on blendshapes alone, which comes before; 0: none",
    )
    pretrain: str = option(
        "",
        "Another set to learn from first, as for --faces; none: from scratch",
    )
    pretrain_epochs: int = option(10, "Of that")
    pretrain_rate: float = option(0.02, "Highest learning rate of that")
    rate: float = option(0.1, "Highest learning rate of SGD with momentum 0.9")
    warmup: float = option(
        0.15,
        "Share of steps in which the rate climbs, before it falls to nothing",
    )
    weight_decay: float = option(5e-4, "Pull of the weights towards 0")
    balance: float = option(0.4, "Rarer classes are shown more often: 1 all alike, 0 as they come")
    blendshape_weight: float = option(2.0, "Of the blendshapes' loss; 0: a network without them")
    coarse_weight: float = option(0.5, "Of the first scale's own cross entropy")
    word_weight: float = option(
        0.0,
        "Of the losses of what a judge said, summed over words (the default bundle: 0.12), for "
        "faces that were judged; 0: without",
    )
    affect_weight: float = option(0.5, "Of valence, arousal and intensity, where words are learned")
    beside: str = option(
        "",
        "Another set of judged faces to learn from at the same time: wild; none: without",
    )
    beside_share: float = option(0.15, "Of the faces shown that come from it")
    start: str = option(
        "",
        "A bundle whose spatial network the training begins with, such as default; none: from "
        "scratch",
    )
    teachers: str = option(
        "",
        "Bundles, with commas between, whose averaged answers join the labels "
        "(learning/from_bundles.py), such as default; none: without",
    )
    teacher_share: float = option(0.4, "Of the labels that are theirs")
    ranking_weight: float = option(0.5, "Of the ranking loss")
    margin: float = option(0.05, "By how much the second scale should be surer (paper 003, eq. 1)")
    segmentation_weight: float = option(0.0, "Of paper 002's segmentation (there 0.5); 0: without")
    component_weight: float = option(0.0, "Of the component task (paper 002: 0.5); 0: without")
    components: int = option(4, "How many parts of a face dominate it (paper 002, Figure 3)")
    parsing: str = option(
        "landmarks",
        "Labels of the pixels of faces that bring none: landmarks (polygons) or a folder of masks",
    )
    mask_classes: int = option(19, "Labels in that folder's masks: 19, put together to eight, or 8")
    segmentation_width: int = option(64, "Channels of the segmentation task's first convolution")
    augmentation: str = option(
        "rich",
        "rich (turned, scaled, mirrored, lit, erased), varied (also of other tones and fewer "
        "pixels), crops or corners",
    )
    dropout: float = option(0.3, "Of the heads' features")

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


class CompactLearner(Learner):
    """Expressions where ``classes`` is above 0, blendshapes and words where the faces have some,
    and paper 002's tasks where the network has them."""

    network: CompactMSAU
    options: CompactOptions
    roll_up: Tensor

    def __init__(
        self,
        network: CompactMSAU,
        options: CompactOptions,
        classes: int,
        rate: float,
        *,
        blendshapes: bool,
        judged: bool,
    ) -> None:
        decay, warmup = options.weight_decay, options.warmup
        recipe = Recipe("sgd", rate, weight_decay=decay, one_cycle=warmup)
        super().__init__(network, options, recipe)
        self.classes = classes
        self.register_buffer(
            "roll_up", torch.from_numpy(roll_up("emo135", "fg33")), persistent=False
        )
        taught = {
            network.head: classes > 0,
            network.coarse_head: classes > 0,
            network.body.fine: classes > 0 or judged,
            network.blendshapes: blendshapes,
            network.judged: judged,
        }
        for module, learns in taught.items():
            if module is not None:
                module.requires_grad_(learns)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of what these faces teach; paper 002's part is its eq. 5."""
        out, options = self.network(batch["crop"]), self.options
        target, counts = batch["target"], batch["counts"]
        parts: dict[str, Tensor] = {}
        loss = torch.zeros((), device=self.device)
        if self.classes:
            parts["expression"] = vote_cross_entropy(out.logits, target, counts)
            parts["coarse"] = vote_cross_entropy(out.coarse, target, counts)
            parts["ranking"] = ranking_loss(out.coarse, out.logits, target, options.margin)
            loss = (
                parts["expression"]
                + options.coarse_weight * parts["coarse"]
                + options.ranking_weight * parts["ranking"]
            )
        if out.judged is not None and "judge" in batch:
            words, affect, judge = (batch[name] for name in JUDGED)
            known = counts * judge.sum(1)
            parts |= judged_loss(out.judged, words, affect, known, self.roll_up)
            loss = (
                loss
                + options.word_weight * (parts["words"] + parts["fine"])
                + options.affect_weight * parts["affect"]
            )
        if out.blendshapes is not None and "blendshapes" in batch:
            known = batch["seen"] * counts * (batch["blendshapes"].sum(1) > 0)
            parts["blendshapes"] = action_unit_loss(out.blendshapes, batch["blendshapes"], known)
            loss = loss + options.blendshape_weight * parts["blendshapes"]
        if out.semantic is not None:
            parts["segmentation"] = segmentation_loss(out.semantic, batch["semantic"])
            loss = loss + options.segmentation_weight * parts["segmentation"]
        if out.components is not None:
            labels, parsed = batch["components"], batch["parsed"]
            parts["components"] = component_loss(out.components, labels, parsed)
            loss = loss + options.component_weight * parts["components"]
        return loss, parts

    def scores(self, batch: Batch) -> Tensor:
        return self.network.recognise(batch["crop"]).logits


def compact_network(options: CompactOptions, classes: int) -> CompactMSAU:
    """The network with the tasks that the options ask for, for K labels."""
    network = CompactMSAU(
        classes,
        judged=options.word_weight > 0,
        blendshapes=options.blendshape_weight > 0,
        segmentation=options.segmentation_weight > 0,
        components=options.component_weight > 0,
        width=options.segmentation_width,
        dropout=options.dropout,
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def compact_faces(options: CompactOptions, folder: str | None) -> TaskFaces:
    """The faces with their own splits, and those to learn from first; where blendshapes are wanted
    and no face has any, those that the default bundle estimates.

    Raises:
        OptionsWrong: words are wanted and none of them has any.
    """
    data = load_task(
        options.faces,
        folder,
        "none",
        rare_pose="",
        validation_share=0.0,
        pretrain=options.pretrain,
        limit=options.limit,
        seed=options.seed,
    )
    sets = [data.train] if data.pretraining is None else [data.train, data.pretraining.train]
    if options.blendshape_weight > 0 and all(faces.blendshapes is None for faces in sets):
        data = replace(
            data,
            train=with_blendshapes(data.train),
            validation=with_blendshapes(data.validation),
        )
    if options.word_weight > 0 and data.train.words is None:
        raise OptionsWrong(f"{data.train.name} has no judged faces: give --word-weight 0")
    if options.teachers:
        teachers = [name.strip() for name in options.teachers.split(",")]
        data = replace(data, train=taught(data.train, teachers, options.teacher_share))
    if options.beside:
        data = with_wild_faces(data, folder)
    return data


def with_wild_faces(data: TaskFaces, folder: str | None) -> TaskFaces:
    """The faces with the wild ones mixed into training; the other splits stay.

    Raises:
        OptionsWrong: their labels are not the eight basic expressions, or nobody judged them.
    """
    if data.labels != BASIC8 or data.train.words is None or data.train.blendshapes is None:
        raise OptionsWrong(
            f"wild faces go beside fer2013plus with its judgements, not {data.train.name}"
        )
    wild = wild_faces("train", data.train.landmark_index, folder)
    return replace(data, train=joined([data.train, wild]))


class Part(NamedTuple):
    """One stage of the training: what is learned from, for how long and how fast."""

    name: str
    faces: Splits
    epochs: int
    rate: float


def compact_stages(options: CompactOptions, data: TaskFaces, run: RunFolder) -> Sequence[Stage]:
    """What is learned before, blendshapes where the faces have some, then all together."""
    parts = [Part(JOINT, data, options.epochs, options.rate)]
    told = options.blendshape_weight > 0 and data.train.blendshapes is not None
    if told and options.blendshape_epochs and not options.start:
        parts.insert(0, Part(BLENDSHAPES, data, options.blendshape_epochs, options.rate))
    if data.pretraining is not None:
        epochs, rate = options.pretrain_epochs, options.pretrain_rate
        parts.insert(0, Part(BEFORE, data.pretraining, epochs, rate))
    before = [None, *parts]
    return [_stage(part, ground, options, run) for part, ground in zip(parts, before, strict=False)]


def _stage(part: Part, before: Part | None, options: CompactOptions, run: RunFolder) -> Stage:
    """A part's stage, which goes on from what the part ``before`` left."""
    faces, expressions = part.faces, part.name != BLENDSHAPES
    blendshapes = options.blendshape_weight > 0 and faces.train.blendshapes is not None
    judged = expressions and options.word_weight > 0 and faces.train.words is not None
    tasks = options.segmentation_weight > 0 or options.component_weight > 0
    known = "given" if faces.train.parsing is not None else options.parsing
    parsing = Parsing(known, options.mask_classes) if tasks else None
    weights = shown_weights(faces.train, options.balance, options.beside_share)

    def learner() -> CompactLearner:
        torch.manual_seed(options.seed)
        network = compact_network(options, len(faces.labels))
        if before is not None:
            learned = compact_network(options, len(before.faces.labels))
            load_weights(learned, run.checkpoint(before.name), run.system, before.name)
            network.go_on_from(learned)
        elif options.start:
            start_from_bundle(network, options.start, faces.train)
        classes = len(faces.labels) if expressions else 0
        told = {"blendshapes": blendshapes, "judged": judged}
        return CompactLearner(network, options, classes, part.rate, **told)

    def images(split: LearningFaces, augmentation: str | None = None) -> FaceImages:
        # A classifier's validation looks at its scores alone, not at those of auxiliary tasks.
        whole = augmentation is not None or not expressions
        return FaceImages(
            split,
            CROP_PX,
            augmentation=augmentation,
            parsing=parsing if whole else None,
            components=options.components,
            weights=weights if augmentation else None,
            blendshapes=blendshapes and whole,
            judged=judged and whole,
        )

    return Stage(
        part.name,
        learner,
        lambda: images(faces.train, options.augmentation),
        lambda: images(faces.validation),
        part.epochs,
    )


def told_blendshapes(options: CompactOptions) -> tuple[tuple[str, ...], Supervision, str]:
    """Names of the units that a bundle tells, and how they were learned."""
    if not options.blendshape_weight:
        return (), "derived", "none: this network was trained without action units"
    # Prepared sets have none: the default bundle estimated them.
    sets = [name for name in (options.pretrain, options.faces) if name.startswith("synthetic")]
    if "fer2013plus" in (options.pretrain, options.faces):
        whose = " and ".join(["fer2013plus", *sets])
        return (
            ARKIT_NAMES,
            "weakly supervised",
            f"blendshapes of {whose}, a teacher's on photographs",
        )
    if not sets:
        whose = "blendshapes that the default bundle estimates, which are no annotation"
        return ARKIT_NAMES, "weakly supervised", whose
    return ARKIT_NAMES, "trained", f"blendshapes of {' and '.join(sets)}, which is rendered"


SYSTEM = System(
    name="compact",
    paper="003, IV-A, on a compact backbone",
    options=CompactOptions,
    crop_px=lambda options: CROP_PX,
    stages=compact_stages,
    last_stage=JOINT,
    network=compact_network,
    data=compact_faces,
    units=told_blendshapes,
)
