"""Words, affect and classes learned on: losses with known answers, and the stage on toy data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ferstream.engines.taxonomy import roll_up
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.fer import load_fer_plus
from ferstream.training.datasets.judged import GRADES, judged_columns, load_judged_photographs
from ferstream.training.datasets.learning_faces import wild_faces
from ferstream.training.learning.default_learners import face_features
from ferstream.training.learning.draws import Draw, KeptRows
from ferstream.training.learning.losses import affect_loss, judged_loss, label_loss
from ferstream.training.networks.compact_msau import CompactMSAU, JudgedHeads


def test_labels_that_do_not_exclude_each_other() -> None:
    logits = torch.tensor([[0.0, 2.0], [9.0, 9.0]])
    graded = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    wanted = F.softplus(torch.tensor(0.0)) + (F.softplus(torch.tensor(2.0)) - 0.5 * 2.0)
    known = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(label_loss(logits, graded, known), wanted)
    assert label_loss(logits, graded, torch.zeros(2)).item() == 0


def test_affect_that_agrees_costs_nothing() -> None:
    said = torch.tensor([[-0.5, 0.1, 0.2], [0.5, 0.3, 0.9], [0.0, -0.9, 0.4]])
    assert affect_loss(said, said, torch.ones(3)).item() == pytest.approx(0, abs=1e-4)
    flat = said.mean(0).expand(3, 3)
    assert affect_loss(flat, said, torch.ones(3)).item() > 1, "no concordance without variance"
    wrong = said.clone()
    wrong[2] = 1
    masked = affect_loss(wrong, said, torch.tensor([1.0, 1.0, 0.0])).item()
    assert masked == pytest.approx(0, abs=1e-4), "a face that was not judged says nothing"


def test_a_class_counts_as_its_best_word() -> None:
    heads = JudgedHeads(4).eval()
    words = torch.zeros(1, 135)
    words[0, 5], words[0, 90] = 1.0, 0.4
    classes = torch.from_numpy(roll_up("emo135", "fg33"))
    out = heads(torch.randn(1, 4))
    parts = judged_loss(out, words, torch.zeros(1, 3), torch.ones(1), classes)
    fine = torch.zeros(1, 33)
    for word in (5, 90):
        for at in classes[word].nonzero()[:, 0].tolist():
            fine[0, at] = max(float(fine[0, at]), float(words[0, word]))
    torch.testing.assert_close(parts["fine"], label_loss(out.fine, fine, torch.ones(1)))


def test_columns_of_photographs(judged_dir: Path) -> None:
    """Graded by place, in the order of the photographs; zeros where nobody judged."""
    data = load_fer_plus("validation", judged_dir)
    some = data.subset(np.arange(len(data))[::3])
    columns = judged_columns(some, judged_dir, "validation")
    found = load_judged_photographs("validation", judged_dir)
    row = int(np.flatnonzero(found.photographs.image == some.image[4])[0])
    named = found.judged.words[row]
    assert columns.words[4, named[0]] == GRADES[0]
    assert columns.words[4, named[3]] == pytest.approx(GRADES[3])
    assert columns.words[4].sum() == pytest.approx(sum(GRADES[:4]))
    assert columns.judge[4].argmax() == found.judged.basic[row] and columns.judge[4].sum() == 1


def test_without_judgements_columns_are_zeros(tiny_dir: Path) -> None:
    data = load_fer_plus("train", tiny_dir)
    columns = judged_columns(data, tiny_dir, "train")
    assert not any(column.any() for column in columns)
    assert load_splits("fer2013plus", tiny_dir).train.words is None


def test_wild_faces_are_aligned_by_the_mesh(judged_dir: Path) -> None:
    index = load_fer_plus("train", judged_dir).landmark_index
    faces = wild_faces("train", index, judged_dir)
    assert len(faces) == 3 and faces.name == "wild" and faces.judge is not None
    np.testing.assert_array_equal(faces.target, faces.judge)
    assert faces.judge.sum(axis=1).tolist() == [1, 1, 1]
    crop = faces.crop(0, 48)
    assert crop.shape == (48, 48) and crop.std() > 20
    assert faces.landmarks_xy.shape == (3, len(index), 2)
    assert len(wild_faces("test", index, judged_dir)) == 1, "the other shows no face"


def test_features_are_made_once(judged_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CompactMSAU(judged=True)
    faces = load_splits("fer2013plus", judged_dir, limit=20).train
    path = tmp_path / "heads" / "x.npz"
    rows = KeptRows(40, lambda: face_features(network, faces, 2, 0), path)
    assert len(rows) == 40 and not path.parent.exists(), "nothing is made before it is wanted"
    row = rows[Draw(3, 0, counts=False)]
    made = rows.columns
    assert row["counts"] == 0 and torch.equal(row["feature"], made["feature"][3])
    assert made["feature"].shape == (40, 672) and made["words"].shape == (40, 135)
    torch.testing.assert_close(made["words"][:20], made["words"][20:])
    assert not torch.equal(made["feature"][:20], made["feature"][20:]), "the second view is varied"

    def never() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        raise AssertionError("made again")

    again = KeptRows(40, never, path).columns
    torch.testing.assert_close(again["feature"], made["feature"])
