"""The hyper-parameters of paper 000's system: training.systems.emo135 says what they do.

Emo135, semantic-rich recognition guided by correlations between emotion words (paper 000).

An expression embedding learns from triplets which faces look alike (section 3.3, its [33]); it
finds training faces that stand under the wrong word (Algorithm 1) and how far each word's faces
can be taken for another's (F_exp, eq. 1 to 3). Then the whole network learns the words (section
3.4): embedding, fully connected layers, and three correlation layers that begin as F_exp, against
labels that F_word spreads over words of like meaning (eq. 4 to 6).

Where the paper is silent: triplets. Its embedding comes from a set that people judged; without a
file of such triplets the raters' votes and a teacher's blendshapes tell the odd one, of any three
faces in a batch; so a batch teaches more than its judged triplets would. That embedding's training
(Adam here) and size (`training.networks.emo135`); momentum of 0.9 for SGD, no decay.
Y is the raters' vote distribution where there is one. What cleaning may touch:
`papers/emo135/labels.py`. F_word of labels that are no words:
`papers/emo135/similarity.py`. The paper's set with 135 words is not to be had; any set does,
FER+'s eight expressions too. Nearest to it is "fer2013plus:words" (`datasets/learning_faces.py`),
whose faces have several words each: triplets compare the sets, spread by F_word; Algorithm 1 takes
words from faces, not faces from the set; for F_exp a word's faces are all of which it was named.
"Without embedding" the classifier reads a trunk of the same size that saw no triplets; cleaning and
F_exp stay, as in the paper, whose set was made before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..datasets.face_splits import Splits
from ..datasets.fer import SPLITS
from ..datasets.learning_faces import kept_faces, one_word_each, spread_faces
from ..errors import OptionsWrong
from ..learning.checkpoint import load_weights
from ..learning.drawn_sets import AUGMENTATIONS, FaceImages
from ..learning.fit import processes
from ..learning.learner import Batch, Learner, Recipe
from ..learning.losses import vote_cross_entropy
from ..learning.options import Options, option
from ..learning.run_folder import RunFolder, open_run
from ..learning.system import Found, Stage, System, measured
from ..networks.emo135 import CorrelationNet, ExpressionEmbedding, FaceTrunk, embedded_faces
from ..papers.emo135.embedding import EmbeddingLearner, transformed_cross_entropy, triplet_accuracy
from ..papers.emo135.figures import (
    draw_pictures,
    meaning_figures,
    set_figures,
    set_tables,
    word_tables,
)
from ..papers.emo135.labels import (
    NEIGHBOURS,
    THRESHOLD,
    Correlations,
    cleaned,
    find_correlations,
    load_correlations,
)
from ..papers.emo135.similarity import (
    Matrix,
    matrix_of_labels,
    read_similarity,
    similarity_of_labels,
)
from ..papers.emo135.triplets import (
    ComparedFaces,
    FaceTriplets,
    Triplets,
    drawn_triplets,
    judged_triplets,
)


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

    epochs: int = option(100, "Times that every face is shown while the words are learned")
    batch: int = option(240, "Faces behind one step of the optimizer, over all processes")
    variant: str = option(
        "full",
        "full, no-embedding, no-layers, no-label (the ablations of Table 2), plain (none of them)",
    )
    crop_px: int = option(224, "Side of the crops, 32 or more")
    rate: float = option(0.005, "SGD's learning rate while the words are learned")
    one_cycle: float = option(
        0.0,
        "Both rates climb for this share of all steps and fall to nothing; 0: they stay",
    )
    widths: tuple[int, ...] = option(
        (64, 128, 256, 512),
        "Channels of the trunk's stages, each of which halves the picture",
    )
    blocks: int = option(2, "Residual blocks in each stage")
    augmentation: str = option(
        "rich",
        "crops (random crops) or rich (turned, scaled, mirrored, lit, erased)",
    )
    triplets: str = option(
        "",
        "File of judged triplets, three image names a line, the odd one last; none: see below",
    )
    triplet_gap: float = option(
        0.1,
        "By how much an odd face is farther away where no file says which it is",
    )
    blendshape_share: float = option(
        0.5,
        "Of blendshapes in the distance that then tells; the rest is the raters' votes'",
    )
    triplet_batch: int = option(
        80,
        "Triplets behind one step of the embedding, or faces among which all triplets count",
    )
    embedding: str = option(
        "",
        "Run folder of an emo135 run whose embedding is taken; none: it is trained here",
    )
    embedding_epochs: int = option(20, "Times that every triplet, or face, is shown")
    embedding_rate: float = option(5e-4, "Adam's learning rate for the embedding")
    cleaning: str = option(
        "yes",
        "yes or no: whether Algorithm 1 takes faces out of the training set",
    )
    neighbours: int = option(NEIGHBOURS, "K of Algorithm 1")
    threshold: float = option(
        THRESHOLD,
        "Sigma of Algorithm 1, of squared distances on the unit sphere",
    )
    remove: float = option(
        0.0,
        "Sigma is such that this share of training faces goes (0.31 in the paper); 0: as given",
    )
    word_vectors: str = option(
        "",
        "File of word vectors (word2vec or GloVe, text) for F_word; none: the shipped similarities",
    )
    ratings: str = option(
        "",
        "CSV matrix of rated word similarities to compare word models with (Table 3); none: F_exp",
    )

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


__all__ = ["SYSTEM", "VARIANTS", "Emo135Options", "WordLearner", "emo135_network", "emo135_stages"]


class WordLearner(Learner):
    """Learns the words with the entire framework, the embedding too (section 4.1)."""

    network: CorrelationNet
    word: Tensor

    def __init__(self, network: CorrelationNet, options: Emo135Options, word_KK: Matrix) -> None:
        recipe = Recipe("sgd", options.rate, betas=(0.9, 0.999), one_cycle=options.one_cycle)
        super().__init__(network, options, recipe)
        self.classes = len(word_KK)
        self.spread = VARIANTS[options.variant].label
        self.register_buffer("word", torch.from_numpy(word_KK), persistent=False)

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 6, or cross entropy to the label as it is."""
        logits = self.network(batch["crop"])
        if self.spread:
            return transformed_cross_entropy(logits, batch["target"], self.word), {}
        return vote_cross_entropy(logits, batch["target"], batch["counts"]), {}

    def scores(self, batch: Batch) -> Tensor:
        return self.network.recognise(batch["crop"]).logits


def new_embedding(options: Emo135Options) -> ExpressionEmbedding:
    """An embedding that has not learned anything."""
    return ExpressionEmbedding(FaceTrunk(widths=options.widths, blocks=options.blocks))


def learned_embedding(options: Emo135Options, run: RunFolder) -> ExpressionEmbedding:
    """The one that the first stage left, here or in the run that the options name.

    Raises:
        RunUnfinished, CheckpointForeign: the named run is no such run, or not as far.
    """
    source = open_run(Path(options.embedding)) if options.embedding else run
    network = new_embedding(options)
    load_weights(network, source.checkpoint("embedding"), "emo135", "embedding")
    return network


def emo135_network(
    options: Emo135Options, classes: int, similarity_KK: Matrix | None = None
) -> CorrelationNet:
    """The network of a variant; F_exp None where a checkpoint will fill in its layers."""
    similarity = torch.eye(classes) if similarity_KK is None else torch.from_numpy(similarity_KK)
    embedding, layers, _ = VARIANTS[options.variant]
    return CorrelationNet(new_embedding(options), similarity, embedded=embedding, correlated=layers)


def triplets_of(options: Emo135Options, data: Splits, split: str, meaning_KK: Matrix) -> Triplets:
    """A split's triplets: judged ones, or drawn where the file has none of it."""
    judged = judged_triplets(Path(options.triplets), data)[split] if options.triplets else None
    if judged:
        return judged
    seed = (options.seed, list(SPLITS).index(split))
    faces = spread_faces(getattr(data, split), word_matrix_of(options, data, meaning_KK))
    share, gap = options.blendshape_share, options.triplet_gap
    return drawn_triplets(faces, len(faces), seed=seed, blendshape_share=share, gap=gap)


def word_matrix_of(options: Emo135Options, data: Splits, meaning_KK: Matrix) -> Matrix:
    """F_word of the set's labels."""
    return matrix_of_labels(data.labels, meaning_KK, bool(options.word_vectors))


def correlations_of(
    options: Emo135Options, data: Splits, run: RunFolder, meaning_KK: Matrix
) -> Correlations:
    """Algorithm 1 and F_exp by the run's embedding, found once and kept in the run folder."""
    if (known := load_correlations(run.path)) is not None:
        return known
    points = embedded_faces(learned_embedding(options, run), data.train, options.crop_px)
    named = data.train.named
    found = find_correlations(
        points if named is None else points[np.nonzero(named >= 0)[0]],
        one_word_each(data.train).label,
        data.labels,
        meaning_KK,
        neighbours=options.neighbours,
        threshold=options.threshold,
        share=options.remove,
        clean=options.cleaning == "yes",
        complete=named is None,
    )
    if processes()[1] == 0:
        run.begin()
        found.save(run.path)
    return found


def emo135_stages(options: Emo135Options, data: Splits, run: RunFolder) -> Sequence[Stage]:
    """First the embedding, then, with what it found out about the set, the words."""
    if len(data.labels) < 3:
        raise OptionsWrong(f"{len(data.labels)} labels: correlations need at least 3")
    if options.embedding:
        learned_embedding(options, run)
    known = load_correlations(run.path)
    if options.ratings:
        read_similarity(Path(options.ratings), data.labels)
    vectors = Path(options.word_vectors) if options.word_vectors else None
    meaning = known.meaning if known else similarity_of_labels(data.labels, vectors)

    def images(split: str, augmentation: str | None) -> FaceImages:
        return FaceImages(getattr(data, split), options.crop_px, augmentation=augmentation)

    def embedding_learner() -> EmbeddingLearner:
        torch.manual_seed(options.seed)
        return EmbeddingLearner(
            new_embedding(options),
            options,
            Recipe("adam", options.embedding_rate, one_cycle=options.one_cycle),
            blendshape_share=options.blendshape_share,
            gap=options.triplet_gap,
        )

    def embedding_faces() -> FaceTriplets | ComparedFaces:
        if options.triplets:
            shown = images("train", options.augmentation)
            return FaceTriplets(shown, triplets_of(options, data, "train", meaning))
        faces = spread_faces(data.train, word_matrix_of(options, data, meaning))
        return ComparedFaces(FaceImages(faces, options.crop_px, augmentation=options.augmentation))

    def validation_triplets() -> FaceTriplets:
        judged = triplets_of(options, data, "validation", meaning)
        return FaceTriplets(images("validation", None), judged)

    def word_learner() -> WordLearner:
        torch.manual_seed(options.seed)
        found = correlations_of(options, data, run, meaning)
        network = emo135_network(options, len(data.labels), found.similarity)
        if VARIANTS[options.variant].embedding:
            network.backbone.load_state_dict(learned_embedding(options, run).state_dict())
        return WordLearner(network, options, word_matrix_of(options, data, found.meaning))

    def kept() -> FaceImages:
        faces = kept_faces(data.train, correlations_of(options, data, run, meaning).keep)
        return FaceImages(faces, options.crop_px, augmentation=options.augmentation)

    words = Stage("words", word_learner, kept, lambda: images("validation", None), options.epochs)
    if options.embedding:
        return [words]
    embedding = Stage(
        "embedding",
        embedding_learner,
        embedding_faces,
        validation_triplets,
        options.embedding_epochs,
        options.triplet_batch,
    )
    return [embedding, words]


def emo135_measured(
    network: nn.Module, options: Emo135Options, data: Splits, run: RunFolder
) -> Found:
    """A classifier's figures, and what the paper says of its set and its words (4.3 and 4.4)."""
    metrics, predictions = measured(network, data, options.crop_px)
    embedding, found = learned_embedding(options, run), load_correlations(run.path)
    assert found is not None, "the stage of the words has left it"
    for split in ("validation", "test"):
        points = embedded_faces(embedding, getattr(data, split), options.crop_px)
        triplets = triplets_of(options, data, split, found.meaning)
        a, b, odd = torch.from_numpy(points[triplets.rows]).unbind(1)
        metrics[split]["triplet_accuracy"] = float(triplet_accuracy(a, b, odd))
        logits, faces = predictions[f"{split}_logits"], getattr(data, split)
        metrics[split] |= meaning_figures(logits, faces.label, found.meaning)
        if faces.named is not None:
            metrics[split] |= set_figures(logits, faces.named)
    sigma = float(found.threshold)
    typical = cleaned(points, data.test.label, neighbours=options.neighbours, threshold=sigma).keep
    metrics["tables"] = {
        **set_tables(found, one_word_each(data.train), predictions, typical),
        **word_tables(found, data.labels, predictions, options.ratings, options.word_vectors),
    }
    metrics["pictures"] = draw_pictures(run.path, one_word_each(data.train), found)
    return metrics, predictions


SYSTEM = System(
    name="emo135",
    paper="000, Semantic-Rich Facial Emotional Expression Recognition",
    options=Emo135Options,
    crop_px=lambda options: int(options.crop_px),
    stages=emo135_stages,
    last_stage="words",
    network=emo135_network,
    measure=emo135_measured,
)
