"""Similarities of emotions: in meaning (F_word) and in looks (F_exp).

How near any set of labels is in meaning: F_word for labels that are not among the 135 words.

K labels, W = 135 words.

The shipped word similarities know the 135 words of paper 000 and not FER+'s eight names, which are
families of words. So a label is taken as the words that it stands for
(`training.datasets.label_lists`: a word for itself, a basic expression for the words that fit it),
and two labels are alike as far as their words are: the cosine of the two shares under the words'
similarity. For two of the 135 words that is the shipped similarity itself
(`training.datasets.word_meaning`: which words a judge names together, and norms). The affinities of
words to expressions are the project's own judgement; a file of word vectors stands in for all of
it.

F_word of labels that are families of words comes through the words too: a label becomes its words,
F_word of the 135 spreads them, and each word goes back to the labels that it belongs to. Equation 5
itself, on eight labels, would give half of a label to the one or two that are a little like it:
surprise would become happiness nearly as much as surprise. It was made for many words.

How alike emotions look: F_exp from expression embeddings (paper 000, eq. 1 to 3).

K emotions, N images, D embedding dimensions.

Decisions: eq. 1 squares the distance and eq. 2 squares it again; both are followed. A distance of
0 (every image of one emotion also stands under the other) would make eq. 2 infinite, so distances
are at least ``FLOOR``.

How near emotion words are in meaning (paper 000, eq. 4 and 5, sections 3.3 and 4.4).

K words, N samples, D dimensions of a word embedding.

Decisions: the paper calls Word2Vec(C_i, C_j) a distance and uses it as a similarity (near words
must have large entries); here it is the cosine of the two word vectors, and 0 where that is
negative, since a label cannot be less than absent. A distance (Table 4) is 1 - cosine. The
shipped matrix (`training.datasets.word_meaning`) stands in where no word file is given.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ferstream.engines.taxonomy import load_taxonomy

from ...datasets.label_lists import is_known, word_shares
from ...datasets.word_meaning import word_meaning
from ...errors import OptionsWrong

Array = npt.NDArray[np.float32]


def similarity_of_labels(labels: Sequence[str], vectors: Path | None = None) -> Array:
    """Similarities (K, K), 1 on the diagonal: by a file of word vectors, else by the shipped words.

    Where no vectors are given, neutral and labels that no built-in list knows are like nothing but
    themselves: no word fits them.

    Raises:
        OptionsWrong: a label that the file does not have.
    """
    if vectors is not None:
        return similarity_of_words(labels, vectors)
    return shared_similarity(_word_shares(labels), word_meaning())


def matrix_of_labels(labels: Sequence[str], meaning_KK: Array, vectors: bool = False) -> Array:
    """F_word (K, K), each row summing to 1.

    Eq. 4 and 5 of the labels' own similarities where word ``vectors`` gave these; else the words'
    F_word, rolled up, which for the 135 words is the same. Neutral is itself alone.
    """
    if vectors:
        return word_matrix(meaning_KK)
    return rolled_up(_word_shares(labels), word_matrix(word_meaning()))


def _word_shares(labels: Sequence[str]) -> Array:
    """(K, 135): the words of each label, none of one that no built-in list knows."""
    known = [at for at, label in enumerate(labels) if is_known(label)]
    share = np.zeros((len(labels), len(word_meaning())), np.float32)
    if known:
        share[known] = word_shares(tuple(labels[at] for at in known))
    return share


def rolled_up(share_KW: Array, word_WW: Array) -> Array:
    """Labels to words (``share_KW``), words to like words, and back to labels: (K, K)."""
    share = np.asarray(share_KW, np.float64)
    mass = share.sum(axis=1, keepdims=True)
    share = share / np.where(mass > 0, mass, 1)
    belongs = share / np.maximum(share.sum(axis=0, keepdims=True), 1e-12)
    matrix = belongs @ np.asarray(word_WW, np.float64) @ share.T
    matrix[mass[:, 0] == 0, mass[:, 0] == 0] = 1
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), np.float32)


def shared_similarity(share_KW: Array, similarity_WW: Array) -> Array:
    """Cosine (K, K) of labels' shares of words under the words' similarity, -1..1.

    A label without words is like itself only.
    """
    share = np.asarray(share_KW, np.float64)
    product = share @ np.asarray(similarity_WW, np.float64) @ share.T
    length = np.sqrt(np.maximum(product.diagonal(), 0))
    there = length > 0
    cosine = np.eye(len(share))
    scaled = product[np.ix_(there, there)] / np.outer(length[there], length[there])
    cosine[np.ix_(there, there)] = scaled
    return np.asarray(np.clip(cosine, -1, 1), np.float32)


Floats = npt.NDArray[np.floating[Any]]
Matrix = npt.NDArray[np.float32]

FLOOR = 1e-3
"""The least distance eq. 2 sees; single precision is 1e-6 about 0."""
BLOCK = 2048


def hausdorff(a_ND: Floats, b_MD: Floats, *, block: int = BLOCK) -> tuple[float, float]:
    """Directed Hausdorff distances d_H(A, B) and d_H(B, A) (eq. 1), both in one pass.

    Only ``block`` x ``block`` distances are held at a time.
    """
    a, b = np.asarray(a_ND, np.float32), np.asarray(b_MD, np.float32)
    # |a - b|^2 as one product: (-2a, |a|^2, 1) . (b, 1, |b|^2).
    left = np.concatenate([-2 * a, _square(a), np.ones_like(a[:, :1])], axis=1)
    right = np.concatenate([b, np.ones_like(b[:, :1]), _square(b)], axis=1).T
    nearest_a = np.full(len(a), np.inf, np.float32)
    nearest_b = np.full(len(b), np.inf, np.float32)
    for i in range(0, len(a), block):
        rows = slice(i, i + block)
        for j in range(0, len(b), block):
            columns = slice(j, j + block)
            distance = left[rows] @ right[:, columns]
            np.minimum(nearest_a[rows], distance.min(axis=1), out=nearest_a[rows])
            np.minimum(nearest_b[columns], distance.min(axis=0), out=nearest_b[columns])
    return max(float(nearest_a.max()), 0.0), max(float(nearest_b.max()), 0.0)


def hausdorff_matrix(
    embedding_ND: Floats,
    label_N: npt.NDArray[np.integer[Any]],
    classes: int,
    *,
    block: int = BLOCK,
) -> Matrix:
    """d_H(C_i, C_j) of all pairs of emotions, (K, K), 0 on the diagonal.

    Raises:
        OptionsWrong: an emotion without an image has no distance.
    """
    order = np.argsort(label_N, kind="stable")
    counts = np.bincount(label_N, minlength=classes)
    if len(counts) > classes:
        raise OptionsWrong(f"label {len(counts) - 1} is outside the {classes} emotions")
    if not counts.all():
        empty = np.flatnonzero(counts == 0).tolist()
        raise OptionsWrong(f"no image of emotions {empty}: F_exp needs at least one of each")
    points = np.asarray(embedding_ND, np.float32)[order]
    groups = np.split(points, np.cumsum(counts)[:-1])
    distance = np.zeros((classes, classes), np.float32)
    for i in range(classes):
        for j in range(i + 1, classes):
            distance[i, j], distance[j, i] = hausdorff(groups[i], groups[j], block=block)
    return distance


def expression_similarity(distance_KK: Floats) -> Matrix:
    """F_exp (K, K) from directed Hausdorff distances (eq. 2 and 3), each row summing to 1.

    Row i holds how far emotion i may be taken for the others.
    """
    similarity = 1 / np.square(np.maximum(np.asarray(distance_KK, np.float64), FLOOR))
    return row_normalised(similarity)


def row_normalised(similarity_KK: Floats) -> Matrix:
    """Eq. 3 and eq. 5: the diagonal becomes the sum of the rest of its row, then each row is
    divided by its sum; so every diagonal is 0.5. A row without any similarity is its own emotion.
    """
    similarity = np.array(similarity_KK, np.float64)
    np.fill_diagonal(similarity, 0)
    rest = similarity.sum(axis=1)
    np.fill_diagonal(similarity, np.where(rest > 0, rest, 1))
    return np.asarray(similarity / similarity.sum(axis=1, keepdims=True), np.float32)


def _square(points_ND: Matrix) -> Matrix:
    return np.asarray(np.square(points_ND).sum(axis=1, keepdims=True), np.float32)


NEUTRAL = "neutral"


def read_word_vectors(path: Path, words: Sequence[str]) -> npt.NDArray[np.float32]:
    """Vectors (K, D) of the words from a text file of word2vec (a first line "count D") or GloVe.

    The file is read line by line and only the words asked for are kept. A word that stands there
    in other letters' case only is taken so, the first one; a word's own spelling comes first.

    Raises:
        OptionsWrong: no such file, a line that is none, vectors of different lengths, or missing
            words.
    """
    if not path.is_file():
        raise OptionsWrong(f"no file of word vectors at {path}")
    exact: dict[str, npt.NDArray[np.float32]] = {}
    folded: dict[str, npt.NDArray[np.float32]] = {}
    wanted, lower = set(words), {word.lower() for word in words}
    size = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            word, _, rest = line.rstrip().partition(" ")
            if number == 1 and rest.strip().isdigit() and word.isdigit():
                continue
            if word not in wanted and word.lower() not in lower:
                continue
            vector = _vector(rest, f"{path}, line {number}")
            size = size or len(vector)
            if len(vector) != size:
                raise OptionsWrong(f"{path}, line {number}: {len(vector)} numbers, not {size}")
            if word in wanted:
                exact.setdefault(word, vector)
            folded.setdefault(word.lower(), vector)
    missing = [word for word in words if word not in exact and word.lower() not in folded]
    if missing:
        raise OptionsWrong(
            f"{path} has no vector of {len(missing)} of {len(words)} words ("
            f"{', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}): give a larger vocabulary"
        )
    return np.stack([exact[word] if word in exact else folded[word.lower()] for word in words])


def cosine(vectors_KD: Floats) -> Matrix:
    """Cosine of every two words' vectors, (K, K) -1..1."""
    vectors = np.asarray(vectors_KD, np.float64)
    norm = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray((vectors / norm) @ (vectors / norm).T, np.float32)


def word_matrix(similarity_KK: Floats) -> Matrix:
    """F_word (eq. 4 and 5) from similarities, each row summing to 1, the diagonal 0.5.

    A word that is like only one other becomes the same label as that one: eq. 5 gives half to each.
    """
    return row_normalised(np.maximum(similarity_KK, 0))


def similarity_of_words(words: Sequence[str], path: Path | None = None) -> Matrix:
    """Similarities (K, K) of words by a file of word vectors, or by the shipped matrix.

    The shipped matrix has the 135 words; neutral is like none of them.

    Raises:
        OptionsWrong: a word that the file or the shipped matrix does not have.
    """
    if path is not None:
        return cosine(read_word_vectors(path, words))
    labels = load_taxonomy("emo135").labels
    strange = [word for word in words if word not in labels and word != NEUTRAL]
    if strange:
        raise OptionsWrong(
            f"the shipped word similarities have no {strange[0]!r}: give a file of word vectors"
        )
    known = [at for at, word in enumerate(words) if word != NEUTRAL]
    rows = [labels.index(words[at]) for at in known]
    similarity = np.eye(len(words), dtype=np.float32)
    similarity[np.ix_(known, known)] = word_meaning()[np.ix_(rows, rows)]
    return similarity


def semantic_distances(
    scores_NK: Floats,
    label_N: npt.NDArray[np.integer[Any]],
    similarity_KK: Floats,
    tops: Sequence[int] = (1, 5, 10),
) -> dict[str, tuple[float, float]]:
    """Table 4: mean word distance of the truth to the top-k words and to the rest of all words.

    Gives {"top1": (predicted, rest), ...}, distances 1 - similarity. The truth among the top k
    counts with its distance 0 to itself; it never counts among the rest.

    Raises:
        OptionsWrong: a k that leaves no rest.
    """
    classes = scores_NK.shape[1]
    if max(tops) > classes - 2:
        raise OptionsWrong(f"top {max(tops)} of {classes} words leaves no rest to compare with")
    distance_NK = 1 - np.asarray(similarity_KK, np.float64)[label_N]
    rows = np.arange(len(label_N))
    distance_NK[rows, label_N] = 0
    order_NK = np.argsort(-scores_NK, axis=1, kind="stable")
    found = {}
    for k in tops:
        near = np.zeros(scores_NK.shape, bool)
        np.put_along_axis(near, order_NK[:, :k], True, axis=1)
        rest = ~near
        rest[rows, label_N] = False
        found[f"top{k}"] = (float(distance_NK[near].mean()), float(distance_NK[rest].mean()))
    return found


def correlation_of_word_models(
    models: Mapping[str, Floats], reference_KK: Floats
) -> dict[str, float]:
    """Table 3: Pearson's correlation of each model's similarities with a reference matrix, over
    the pairs of different words (the upper triangle; a matrix that is not symmetric is averaged
    with its transpose)."""
    pairs = np.triu_indices(len(reference_KK), 1)

    def flat(matrix_KK: Floats) -> npt.NDArray[np.float64]:
        matrix = np.asarray(matrix_KK, np.float64)
        return np.asarray(((matrix + matrix.T) / 2)[pairs])

    wanted = flat(reference_KK)
    return {name: float(np.corrcoef(flat(model), wanted)[0, 1]) for name, model in models.items()}


def read_similarity(path: Path, words: Sequence[str]) -> Matrix:
    """A similarity or rating matrix (K, K) from a CSV file with the words in its first row and
    first column, in any order; the shape of the shipped matrix.

    Raises:
        OptionsWrong: no such file, a word is missing, or a field is no number.
    """
    if not path.is_file():
        raise OptionsWrong(f"no file of rated similarities at {path}")
    with path.open(encoding="utf-8", newline="") as lines:
        head, *rows = list(csv.reader(lines))
    places, cells = {word: at for at, word in enumerate(head)}, {row[0]: row for row in rows if row}
    missing = [word for word in words if word not in places or word not in cells]
    if missing:
        raise OptionsWrong(f"{path} has no row and column of {missing[0]!r}")
    try:
        return np.array([[float(cells[a][places[b]]) for b in words] for a in words], np.float32)
    except (ValueError, IndexError) as error:
        raise OptionsWrong(f"{path}: a field that is no number ({error})") from error


def _vector(text: str, where: str) -> npt.NDArray[np.float32]:
    try:
        vector = np.array(text.split(), np.float32)
    except ValueError as error:
        raise OptionsWrong(f"{where}: {error}; expected a word and its numbers") from error
    if not len(vector):
        raise OptionsWrong(f"{where}: a word without numbers")
    return vector
