"""Which words are near in meaning: by hand on few, and what the shipped matrix says of some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.training.data_cli import meaning
from ferstream.training.datasets.judged import LabelsWrong
from ferstream.training.datasets.word_meaning import (
    meaning_of,
    meaning_of_data,
    norm_similarity,
    word_meaning,
    write_meaning,
)

WORDS = load_taxonomy("emo135")


def like(one: str, other: str) -> float:
    return float(word_meaning()[WORDS.index(one), WORDS.index(other)])


def test_words_of_the_same_company_by_hand() -> None:
    """Words 0 and 1 never go together but both with 2: they mean about the same; 3 is alone."""
    named = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    found = meaning_of(named, np.eye(4, dtype=np.float32), prior=0)
    together = np.array([[1, 0, 0.5**0.5], [0, 1, 0.5**0.5], [0.5**0.5, 0.5**0.5, 1]])
    length = np.linalg.norm(together, axis=1)
    wanted = (together @ together.T / np.outer(length, length)) ** 2
    np.testing.assert_allclose(found[:3, :3], wanted, atol=1e-6)
    assert found[0, 1] == pytest.approx(1 / 9)
    assert found[3].tolist() == [0, 0, 0, 1]


def test_norms_decide_for_words_that_nobody_names() -> None:
    named = np.zeros((50, 3))
    named[:25, 0] = named[25:, 1] = 1
    norms = np.array([[1, 0, 0.9], [0, 1, 0], [0.9, 0, 1]], np.float32)
    found = meaning_of(named, norms)
    assert found[2, 0] > 0.5 > 10 * found[2, 1]
    assert found[0, 1] == 0


def test_norms_by_people() -> None:
    norms = norm_similarity()
    np.testing.assert_allclose(norms, norms.T)
    np.testing.assert_array_equal(norms.diagonal(), 1)
    assert norms[WORDS.index("rage"), WORDS.index("fury")] > 0.6
    assert norms[WORDS.index("rage"), WORDS.index("bliss")] < 0.1
    assert (norms.sum(axis=1) == 1).sum() == 135 - 105, "words that the norms lack"


def test_the_shipped_matrix() -> None:
    matrix = word_meaning()
    assert matrix.shape == (135, 135) and matrix.min() >= 0
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix.diagonal(), 1)
    assert (np.linalg.eigvalsh(matrix) > -0.05).all(), "a cosine, but for its rounding"


@pytest.mark.parametrize(
    ("one", "near", "far"),
    [
        ("surprise", "astonishment", "contentment"),
        ("fury", "rage", "vengefulness"),
        ("anger", "outrage", "grief"),
        ("grief", "sorrow", "anger"),
        ("happiness", "cheerfulness", "pride"),
        ("fear", "terror", "disgust"),
        ("loathing", "revulsion", "worry"),
    ],
)
def test_meaning_not_strength(one: str, near: str, far: str) -> None:
    assert like(one, near) > 0.09
    assert like(one, near) > 4 * like(one, far)


def test_a_word_resembles_its_own_family_most() -> None:
    family = np.array(WORDS.family_of)
    own = family[:, None] == family[None]
    matrix = word_meaning()
    assert matrix[own & ~np.eye(135, dtype=bool)].mean() > 2 * matrix[~own].mean()


def test_it_is_what_the_command_makes(data_dir: Path, tmp_path: Path) -> None:
    meaning(tmp_path / "made.csv", str(data_dir))
    import ferstream.training.datasets as package

    shipped = Path(package.__file__).with_name("word_meaning.csv")
    assert (tmp_path / "made.csv").read_bytes() == shipped.read_bytes()


def test_it_is_made_of_training_faces_alone(tiny_dir: Path, tmp_path: Path) -> None:
    """Other judgements of test faces change nothing; none of the training faces do."""
    import shutil

    from tests.training.judged_layout import rewritten, write_words

    folder = shutil.copytree(tiny_dir, tmp_path / "data")
    path = write_words(folder)
    before = meaning_of_data(folder)
    columns = dict(np.load(path))
    words, tested = columns["words"].copy(), columns["split"] > 0
    words[tested] = np.roll(words[tested], 1, axis=0)
    rewritten(path, words=words)
    np.testing.assert_array_equal(meaning_of_data(folder), before)
    words[~tested] = np.roll(words[~tested], 1, axis=0)
    words[0, 0] = -1 if words[0, 0] != 3 else 4
    rewritten(path, words=words)
    assert not np.array_equal(meaning_of_data(folder), before)
    rewritten(path, basic=np.full(len(words), 99, np.uint8))
    with pytest.raises(LabelsWrong, match="basic"):
        meaning_of_data(folder)


def test_written_as_read(tmp_path: Path) -> None:
    write_meaning(tmp_path / "a.csv", word_meaning())
    head, first, *_ = (tmp_path / "a.csv").read_text().splitlines()
    assert head.split(",")[1:] == list(WORDS.labels)
    values = [float(value) for value in first.split(",")[1:]]
    np.testing.assert_allclose(values, word_meaning()[0], atol=5e-4)
