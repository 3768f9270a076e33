"""Emo135, semantic-rich recognition guided by correlations between emotion words (paper 000).

An expression embedding learns from triplets which faces look alike (section 3.3, its [33]); it
finds training faces that stand under the wrong word (Algorithm 1) and how far each word's faces
can be taken for another's (F_exp, eq. 1 to 3). Then the whole network learns the words (section
3.4): embedding, fully connected layers, and three correlation layers that begin as F_exp, against
labels that F_word spreads over words of like meaning (eq. 4 to 6).

Where the paper is silent: triplets. Its embedding comes from a set that people judged; without a
file of such triplets the raters' votes and a teacher's blendshapes tell the odd one, of any three
faces in a batch; so a batch teaches more than its judged triplets would. That embedding's training
(Adam here) and size (`training.networks.expression_embedding`); momentum of 0.9 for SGD, no decay.
Y is the raters' vote distribution where there is one. What cleaning may touch:
`training.correlations`. F_word of labels that are no words: `training.label_similarity`. The
paper's set with 135 words is not to be had; any set does, FER+'s eight expressions too. Nearest to
it is "fer2013plus:words" (`training.data.word_sets`), whose faces have several words each: triplets
compare the sets, spread by F_word; Algorithm 1 takes words from faces, not faces from the set; and
a word's faces are, for F_exp, all of which it was named. "Without
embedding" the classifier reads a trunk of the same size that saw no triplets; cleaning and F_exp
stay, as in the paper, whose set was made before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import load_weights
from ..correlations import Correlations, find_correlations, load_correlations
from ..data.cleaning import cleaned
from ..data.face_images import FaceImages
from ..data.face_splits import Splits
from ..data.face_triplets import ComparedFaces, FaceTriplets, drawn_triplets, judged_triplets
from ..data.fer import SPLITS
from ..data.triplets import Triplets
from ..data.word_sets import kept_faces, one_word_each, spread_faces
from ..embedding_learner import EmbeddingLearner
from ..emo135_figures import (
    draw_pictures,
    meaning_figures,
    set_figures,
    set_tables,
    word_tables,
)
from ..errors import OptionsWrong
from ..expression_similarity import Matrix
from ..fit import processes
from ..label_similarity import matrix_of_labels, similarity_of_labels
from ..learner import Batch, Learner, Recipe
from ..losses import vote_cross_entropy
from ..losses_emo135 import transformed_cross_entropy, triplet_accuracy
from ..networks.correlation import CorrelationNet
from ..networks.expression_embedding import ExpressionEmbedding, FaceTrunk, embedded_faces
from ..run_folder import RunFolder
from ..system import Found, Stage, System, measured
from ..word_distance import read_similarity
from .emo135_options import VARIANTS, Emo135Options

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
    """The one that the first stage left."""
    network = new_embedding(options)
    load_weights(network, run.checkpoint("embedding"), "emo135", "embedding")
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
        found.save(run.path)
    return found


def emo135_stages(options: Emo135Options, data: Splits, run: RunFolder) -> Sequence[Stage]:
    """First the embedding, then, with what it found out about the set, the words."""
    if len(data.labels) < 3:
        raise OptionsWrong(f"{len(data.labels)} labels: correlations need at least 3")
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

    return [
        Stage(
            "embedding",
            embedding_learner,
            embedding_faces,
            validation_triplets,
            options.embedding_epochs,
            options.triplet_batch,
        ),
        Stage("words", word_learner, kept, lambda: images("validation", None), options.epochs),
    ]


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
