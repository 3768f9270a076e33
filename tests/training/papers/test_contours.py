"""The 68 landmarks among MediaPipe's, and F2ED's labels among the words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mediapipe.python.solutions import face_mesh_connections as mesh

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.training.datasets.face_splits import load_splits
from ferstream.training.datasets.label_lists import basic8_shares, f2ed_words, word_shares
from ferstream.training.datasets.synthetic import (
    POSES,
    SyntheticFaces,
    SyntheticOptions,
    load_synthetic_head,
)
from ferstream.training.datasets.synthetic.kit import MESH_NUMBERS
from ferstream.training.errors import OptionsWrong
from ferstream.training.papers.f2ed.pose_images import (
    BROWS,
    EYES,
    JAW,
    LIPS,
    MESH_OF_68,
    NOSE,
    contours_of,
    in_crop,
)


def test_they_stand_in_mediapipes_own_groups() -> None:
    def group(*names: str) -> set[int]:
        edges = [edge for name in names for edge in getattr(mesh, f"FACEMESH_{name}")]
        return {end for edge in edges for end in edge}

    assert set(JAW) <= group("FACE_OVAL") and set(LIPS) <= group("LIPS")
    assert set(BROWS[:5]) <= group("RIGHT_EYEBROW") and set(BROWS[5:]) <= group("LEFT_EYEBROW")
    assert set(EYES[:6]) <= group("RIGHT_EYE") and set(EYES[6:]) <= group("LEFT_EYE")
    assert set(NOSE) <= group("NOSE") and len(set(MESH_OF_68)) == 68


def test_the_jaw_goes_round_the_oval_once() -> None:
    """From ear to ear by the chin, never back."""
    neighbours: dict[int, set[int]] = {}
    for a, b in mesh.FACEMESH_FACE_OVAL:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    order = [10, 338]
    while len(order) < len(neighbours):
        order.append(next(n for n in neighbours[order[-1]] if n != order[-2]))
    places = [order.index(number) for number in JAW]
    assert places == sorted(places, reverse=True)


@pytest.mark.parametrize("pose", ["front", "bird"])
def test_they_lie_where_the_3d_faces_own_lie(data_dir: Path, pose: str) -> None:
    """On a face that has both: within a fortieth of the picture, the eyes within a hundredth."""
    options = SyntheticOptions(taxonomy="f2ed54", colour="grey", poses=tuple(POSES))
    maker = SyntheticFaces(load_synthetic_head(data_dir), options)
    place = [MESH_NUMBERS.index(number) for number in MESH_OF_68]
    gaps = []
    for index in range(6):
        image = maker.image(index, pose=pose)
        gaps.append(np.linalg.norm(image.mesh_xy[place] - image.landmarks_xy, axis=1) / 96)
    gap = np.median(gaps, axis=0)
    assert gap.mean() < 1 / 40 and gap[36:48].mean() < 1 / 100, gap.round(3).tolist()
    assert gap[:17].max() < 1 / 20


def test_contours_come_from_the_set_or_its_mesh(tiny_dir: Path) -> None:
    faces = load_splits("fer2013plus", tiny_dir).train
    taken = contours_of(faces)
    assert taken.shape == (len(faces), 68, 2)
    corner = int(np.flatnonzero(faces.landmark_index == 33)[0])
    assert np.array_equal(taken[:, 36], faces.landmarks_xy[:, corner])
    own = np.zeros((len(faces), 68, 2), np.float32)
    assert contours_of(replace(faces, contours_xy=own)) is own
    with pytest.raises(OptionsWrong, match="no landmarks to draw poses from"):
        contours_of(replace(faces, landmark_index=faces.landmark_index + 1000))


def test_points_move_with_their_crop(tiny_dir: Path) -> None:
    """The corner of an eye lies where the crop has it, whatever the picture."""
    faces = load_splits("fer2013plus", tiny_dir).train
    (row, *_) = np.flatnonzero(faces.seen)
    points = in_crop(contours_of(faces)[row], faces.matrix(int(row), 64))
    anchors = in_crop(faces.anchors_xy[row], faces.matrix(int(row), 64))
    np.testing.assert_allclose(points[[36, 39, 42, 45]], anchors[[0, 1, 2, 3]], atol=0.1)


def test_f2ed_labels_are_shared_out_among_words() -> None:
    labels, words = load_taxonomy("f2ed54").labels, load_taxonomy("emo135")
    basic8 = load_taxonomy("basic8").labels
    known = {*words.labels, *basic8}
    assert f2ed_words().keys() == {label for label in labels if label not in known}
    eight, among = basic8_shares(labels), word_shares(labels)
    np.testing.assert_allclose(eight.sum(1), 1, atol=1e-5)
    assert (eight >= 0).all() and (among >= 0).all() and (among.sum(1) <= 1 + 1e-5).all()
    neutral = eight[:, basic8.index("neutral")]
    np.testing.assert_allclose(neutral, 1 - among.sum(1), atol=1e-5)
    awe = labels.index("awe")
    assert words.labels[int(among[awe].argmax())] == "amazement"
    assert basic8[int(eight[awe].argmax())] == "surprise"
    with pytest.raises(OptionsWrong, match="'hunger' is neither"):
        basic8_shares(("joy", "hunger"))
    with pytest.raises(OptionsWrong, match="'hunger' is neither"):
        word_shares(("joy", "hunger"))
