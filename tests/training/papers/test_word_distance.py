"""Word similarities, F_word, Tables 3 and 4 and transformed cross entropy of paper 000."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.training.datasets.fer import BASIC8
from ferstream.training.datasets.word_meaning import word_meaning
from ferstream.training.errors import OptionsWrong
from ferstream.training.papers.emo135.embedding import transformed_cross_entropy
from ferstream.training.papers.emo135.similarity import (
    correlation_of_word_models,
    cosine,
    read_similarity,
    read_word_vectors,
    semantic_distances,
    similarity_of_words,
    word_matrix,
)

GLOVE = "the 9 9 9\njoy 1 0 0\nGlee 4 3 0\nrage 0 0 2\nglee 3 4 0\nANGER -1 0 1\n"
WORDS = ("joy", "glee", "anger")


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text(GLOVE)
    return path


@pytest.mark.parametrize("head", ["", "6 3\n"], ids=["glove", "word2vec"])
def test_vectors_are_read_in_the_words_order(tmp_path: Path, head: str) -> None:
    """Its own spelling comes before another letter case, whichever stands first."""
    path = tmp_path / "vectors.txt"
    path.write_text(head + GLOVE)
    assert read_word_vectors(path, WORDS).tolist() == [[1, 0, 0], [3, 4, 0], [-1, 0, 1]]


def test_cosine_by_hand(glove: Path) -> None:
    found = cosine(read_word_vectors(glove, WORDS))
    root = np.sqrt(0.5)
    wanted = [[1, 0.6, -root], [0.6, 1, -0.6 * root], [-root, -0.6 * root, 1]]
    assert np.allclose(found, wanted, atol=1e-6)
    assert np.array_equal(similarity_of_words(WORDS, glove), found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joy 1 2\nglee 1\nanger 1 2\n", "line 2: 1 numbers, not 2"),
        ("joy 1 x\n", "line 1: .*expected a word"),
        ("joy\n", "line 1: a word without numbers"),
        ("joy 1 2\n", r"2 of 3 words \(glee, anger\)"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(text)
    with pytest.raises(OptionsWrong, match=message):
        read_word_vectors(path, WORDS)


def test_word_matrix_by_hand() -> None:
    """Eq. 4 and 5: what is unlike counts nothing, the diagonal is the rest's sum, rows sum to 1."""
    found = word_matrix(np.array([[1, 0.6, 0.2], [0.6, 1, -0.4], [0.2, -0.4, 1]]))
    assert np.allclose(found, [[0.5, 0.375, 0.125], [0.5, 0.5, 0], [0.5, 0, 0.5]])


def test_the_shipped_matrix_serves_all_words_and_some() -> None:
    labels = load_taxonomy("emo135").labels
    whole = similarity_of_words(labels)
    assert np.array_equal(whole, word_meaning())
    some = similarity_of_words(("joy", "anger"))
    at = labels.index("joy"), labels.index("anger")
    assert some[0, 1] == whole[at]
    matrix = word_matrix(whole)
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(matrix.diagonal(), 0.5, atol=1e-6)
    with pytest.raises(OptionsWrong, match="no 'hunger'"):
        similarity_of_words(("joy", "hunger"))


def test_neutral_is_like_no_emotion() -> None:
    """Neutral's label stays what it is, among words and among FER+'s eight classes."""
    matrix = word_matrix(similarity_of_words(("neutral", "anger", "fury")))
    assert matrix.tolist() == [[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]]
    assert word_matrix(similarity_of_words(BASIC8))[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_table_4_by_hand() -> None:
    similarity = np.array(
        [[1, 0.9, 0.5, 0.1], [0.9, 1, 0.4, 0.2], [0.5, 0.4, 1, 0.3], [0.1, 0.2, 0.3, 1]]
    )
    scores = np.array([[0.1, 0.9, 0.0, 0.0], [0.0, 0.2, 0.5, 0.3]])
    found = semantic_distances(scores, np.array([0, 2]), similarity, tops=(1, 2))
    # First sample, truth 0: ranked 1, 0, 2, 3. Second, truth 2: ranked 2, 3, 1, 0.
    assert found["top1"] == pytest.approx(((0.1 + 0) / 2, (0.5 + 0.9 + 0.7 + 0.6 + 0.5) / 5))
    assert found["top2"] == pytest.approx(((0.1 + 0 + 0 + 0.7) / 4, (0.5 + 0.9 + 0.6 + 0.5) / 4))
    with pytest.raises(OptionsWrong, match="top 3 of 4"):
        semantic_distances(scores, np.array([0, 2]), similarity, tops=(3,))


def test_predictions_of_sense_are_nearer_than_the_rest() -> None:
    """Scores that follow the meaning, as the paper's do; random ones are no nearer."""
    similarity = word_meaning()
    rng = np.random.default_rng(0)
    label = rng.integers(0, 135, 300)
    noise = rng.normal(0, 0.2, (300, 135))
    for near, rest in semantic_distances(similarity[label] + noise, label, similarity).values():
        assert near < rest - 0.1
    near, rest = semantic_distances(noise, label, similarity)["top10"]
    assert near == pytest.approx(rest, abs=0.03)


def test_correlation_of_word_models_by_hand() -> None:
    reference = np.array([[1, 0.1, 0.2], [0.1, 1, 0.6], [0.2, 0.6, 1]])
    lopsided = np.array([[7, 0.0, 0.4], [0.2, 7, 0.6], [0.0, 0.6, 7]])
    found = correlation_of_word_models(
        {"same": 3.0 * reference + 1.0, "against": -reference, "lopsided": lopsided}, reference
    )
    assert found == pytest.approx({"same": 1, "against": -1, "lopsided": 1})
    model = np.array([[1, 1, 2], [1, 1, 2], [2, 2, 1]], np.float64)
    other = correlation_of_word_models({"m": model}, reference)
    assert other["m"] == pytest.approx(np.corrcoef([1, 2, 2], [0.1, 0.2, 0.6])[0, 1])


def test_a_rating_matrix_is_read_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(",anger,joy,glee\njoy,0.1,1,0.9\nanger,1,0.1,0\nglee,0,0.9,1\n")
    wanted = np.array([[1, 0.9, 0.1], [0.9, 1, 0], [0.1, 0, 1]], np.float32)
    assert np.array_equal(read_similarity(path, WORDS), wanted)
    with pytest.raises(OptionsWrong, match="'rage'"):
        read_similarity(path, ("rage",))
    path.write_text(",joy\njoy,much\n")
    with pytest.raises(OptionsWrong, match="no number"):
        read_similarity(path, ("joy",))


def test_transformed_cross_entropy_by_hand() -> None:
    """Eq. 6 with F_word Y = (0.5, 0.25) for the second of two words, P = (0.2, 0.8)."""
    word = torch.tensor([[0.75, 0.5], [0.25, 0.25]])
    target = torch.tensor([[0.0, 1.0]])
    logits = torch.tensor([[0.0, np.log(4.0)]])
    wanted = -(0.5 * np.log(0.2) + 0.5 * np.log(0.8) + 0.25 * np.log(0.8) + 0.75 * np.log(0.2))
    assert transformed_cross_entropy(logits, target, word).item() == pytest.approx(wanted)
    single = torch.logit(torch.tensor([[0.2, 0.8]]))
    found = transformed_cross_entropy(single, target, word, "sigmoid")
    assert found.item() == pytest.approx(wanted)


def test_without_word_correlation_it_is_binary_cross_entropy() -> None:
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    target = torch.eye(6)[torch.tensor([0, 5, 2, 2, 1])]
    p = logits.softmax(1)
    wanted = -(target * p.log() + (1 - target) * (1 - p).log()).sum(1).mean()
    found = transformed_cross_entropy(logits, target, torch.eye(6))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_sure_and_wrong_is_finite_and_is_mended(kind: str) -> None:
    word = torch.from_numpy(word_matrix(word_meaning()))
    logits = torch.full((1, 135), -1.0)
    logits[0, 3] = 200.0
    logits.requires_grad_()
    loss = transformed_cross_entropy(logits, torch.eye(135)[[7]], word, kind)  # type: ignore[arg-type]
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 3] > 0
    assert logits.grad[0, 7] < 0


def test_a_like_word_costs_less_than_an_unlike_one() -> None:
    labels = load_taxonomy("emo135").labels
    word = torch.from_numpy(word_matrix(word_meaning()))
    target = torch.eye(135)[[labels.index("anger")]]

    def cost(said: str) -> float:
        logits = torch.zeros(1, 135)
        logits[0, labels.index(said)] = 4.0
        return transformed_cross_entropy(logits, target, word).item()

    assert cost("anger") < cost("fury") < cost("bliss")
