"""Action units as labels -1, 0 and 1, from whoever knows them; and the classes above labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.label_lists import basic_parents, parent_shares
from ferstream.training.datasets.learning_faces import LearningFaces
from ferstream.training.datasets.synthetic.expressions import ARKIT_NAMES
from ferstream.training.errors import OptionsWrong
from ferstream.training.learning.drawn_sets import FaceImages
from ferstream.training.learning.draws import Draw
from ferstream.training.learning.unit_labels import (
    UnitImages,
    strengths,
    teaching_shares,
    unit_labels,
    unit_sets,
    unit_values,
)
from tests.training.unit_layout import write_prepared

NAMES = ("AU1", "AU12", "AU23")


@pytest.fixture(scope="module")
def faces(tiny_dir: Path) -> LearningFaces:
    return load_splits("fer2013plus", str(tiny_dir)).train


def smiling(faces: LearningFaces, left: list[float]) -> LearningFaces:
    """Teacher's smiles on the left alone, brows always at 1 %; the last face is not seen."""
    shapes = np.zeros((len(faces), 52), np.float32)
    shapes[:, ARKIT_NAMES.index("mouthSmileLeft")] = np.resize(left, len(faces))
    shapes[:, ARKIT_NAMES.index("browInnerUp")] = 0.01
    seen = np.arange(len(faces)) < len(faces) - 1
    return replace(faces, blendshapes=shapes, seen=seen, units=None)


def test_a_unit_is_the_mean_of_its_shapes(faces: LearningFaces) -> None:
    blendshapes = smiling(faces, [0.8]).blendshapes
    assert blendshapes is not None
    np.testing.assert_allclose(unit_values(blendshapes, NAMES)[0], [0.01, 0.4, 0], atol=1e-6)


def test_a_teacher_says_on_off_or_nothing(faces: LearningFaces) -> None:
    """Half of a unit's strength is on, a fifth is off; a faint, a mute and an unseen one are 0."""
    given = smiling(faces, [1.0, 0.6, 0.3, 0.1])
    strength = strengths(given, NAMES)
    assert strength.tolist() == pytest.approx([0, 0.5, 0])
    found = unit_labels(given, NAMES, strength)
    assert found.dtype == np.int8 and found[:4, 1].tolist() == [1, 1, 0, -1]
    assert not found[:, [0, 2]].any() and not found[-1].any()


def test_a_sets_own_labels_come_by_name(faces: LearningFaces) -> None:
    units = np.tile(np.array([[1, -1]], np.int8), (len(faces), 1))
    own = replace(faces, units=units, unit_names=("AU12", "AU9"))
    found = unit_labels(own, NAMES, strengths(own, NAMES))
    assert found[0].tolist() == [0, 1, 0]
    with pytest.raises(OptionsWrong, match="knows none of the units AU4: name others with"):
        unit_labels(own, ("AU4",), strengths(own, ("AU4",)))
    none = replace(faces, units=None, blendshapes=None)
    with pytest.raises(OptionsWrong, match="with --units"):
        unit_labels(none, NAMES, strengths(none, NAMES))


def test_the_commoner_label_is_dropped_until_both_are_as_common(faces: LearningFaces) -> None:
    """Anew at every showing, the same for the same draw; the picture does not depend on it."""
    labels = np.full((len(faces), 2), -1, np.int8)
    labels[::4, 0] = 1
    shares = teaching_shares(labels)
    there = int((labels[:, 0] > 0).sum())
    assert shares[0, 0] == pytest.approx(there / (len(faces) - there)) and shares[1, 0] == 1
    assert shares[0, 1] == 0 and (teaching_shares(labels, 0) == 1).all()
    images = FaceImages(faces, 48, augmentation="corners")
    shown = UnitImages([images], labels, shares)
    draws = [Draw(row, 1000 * key + row) for key in range(5) for row in range(len(faces))]
    units = torch.stack([shown[draw]["units"] for draw in draws])
    on, off = int((units[:, 0] > 0).sum()), int((units[:, 0] < 0).sum())
    assert on == 5 * there and off == pytest.approx(on, rel=0.3) and not units[:, 1].any()
    item, plain = shown[draws[7]], images[draws[7]]
    assert torch.equal(item["units"], shown[draws[7]]["units"])
    assert torch.equal(item["crop"], plain["crop"])


def test_units_are_learned_from_sets_of_their_own(faces: LearningFaces, tmp_path: Path) -> None:
    """Two of them, that know different units; nobody is both trained and validated on."""
    first = write_prepared(tmp_path / "first", faces.take(np.arange(40)), ("AU1", "AU5"))
    second = write_prepared(tmp_path / "second", faces.take(np.arange(24)), ("AU12",))
    train, validation = unit_sets(f"{first}, {second}", (faces, faces), NAMES, seed=0)
    assert [part.name for part in train.faces] == ["first", "second"]
    assert len(train.labels) == sum(map(len, train.faces)) and len(validation.labels) >= 8
    border = len(train.faces[0])
    assert train.labels[:border, 0].all() and not train.labels[:border, 1:].any()
    assert train.labels[border:, 1].all() and not train.labels[border:, 0].any()
    shown = train.images(40, 0)
    item = shown[Draw(border, 1)]
    assert item.keys() == {"crop", "counts", "units"} and item["crop"].shape == (1, 40, 40)
    assert torch.equal(item["crop"][0], torch.from_numpy(train.faces[1].crop(0, 40)))
    people: list[set[int]] = []
    for part in (train.faces[0], validation.faces[0]):
        assert part.people is not None
        people.append(set(part.people.tolist()))
    assert people[0] and people[1] and not people[0] & people[1]
    with pytest.raises(OptionsWrong, match="no folder 'nowhere' of action units"):
        unit_sets("nowhere", (faces, faces), NAMES, seed=0)


def test_the_33_leaves_have_the_papers_tree() -> None:
    fg33 = load_taxonomy("fg33")
    names, index = basic_parents(fg33.labels)
    assert names == ("happiness", "love", "surprise", "anger", "fear", "sadness")
    assert index.tolist() == list(fg33.family_of)
    assert parent_shares(fg33.labels).sum(0).tolist() == [7, 2, 3, 9, 5, 7]


def test_other_labels_have_classes_above_them() -> None:
    names, index = basic_parents(load_taxonomy("basic8").labels)
    assert names == ("neutral", "happiness", "surprise", "sadness", "anger", "fear")
    assert index.tolist() == [0, 1, 2, 3, 4, 4, 5, 4]
    names, _ = basic_parents(load_taxonomy("f2ed54").labels)
    assert set(names) == {"happiness", "love", "surprise", "anger", "fear", "sadness", "neutral"}
    names, index = basic_parents(("happily surprised", "bliss", "anger"))
    assert names[index[0]] == "happily surprised" and names[index[1]] == "happiness"
