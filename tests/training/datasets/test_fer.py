from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ferstream.engines.taxonomy import load_taxonomy
from ferstream.stream.faces.align import ANCHOR_TEMPLATE
from ferstream.training.datasets.fer import BASIC8, DataMissing, FerPlus, data_folder, load_fer_plus
from tests.training.layout import BLENDSHAPES, INDEX


def test_tiny_split_has_every_field(tiny: FerPlus) -> None:
    n = len(tiny)
    assert n == 97, "the twin is left out"
    assert tiny.pixels.shape == (n, 48, 48) and tiny.pixels.dtype == np.uint8
    assert tiny.votes.shape == tiny.raw_votes.shape == (n, 8)
    assert tiny.blendshapes.shape == (n, 52) and tiny.blendshape_names == BLENDSHAPES
    assert tiny.landmarks_xy.shape == (n, 160, 2) and tiny.anchors_xy.shape == (n, 6, 2)
    assert tiny.landmark_index.tolist() == INDEX.tolist()
    assert load_taxonomy("basic8").labels == BASIC8


def test_votes_are_a_distribution_without_single_votes(tiny: FerPlus) -> None:
    usable = tiny.raw_votes.max(1) > 1
    np.testing.assert_allclose(tiny.votes[usable].sum(1), 1, rtol=1e-6)
    assert (tiny.raw_votes == 1).any() and not tiny.votes[tiny.raw_votes == 1].any()


def test_a_photograph_of_none_of_the_eight_is_not_rated(tiny: FerPlus) -> None:
    assert not tiny.rated[-1] and tiny.rated[:-1].all()


def test_a_face_the_teacher_missed_stays_as_it_is(tiny: FerPlus) -> None:
    missed = int(np.flatnonzero(~tiny.seen)[0])
    np.testing.assert_array_equal(tiny.matrices(48)[missed], [[1, 0, 0], [0, 1, 0]])
    centre = tiny.matrices(96)[missed] @ [23.5, 23.5, 1]
    np.testing.assert_allclose(centre, [47.5, 47.5])


def test_alignment_brings_the_anchors_home(tiny: FerPlus) -> None:
    seen = tiny.subset(tiny.seen)
    matrices = seen.matrices(64)
    moved = np.einsum("nij,nlj->nli", matrices[:, :, :2], seen.anchors_xy) + matrices[:, None, :, 2]
    assert np.abs(moved - (ANCHOR_TEMPLATE * 64 - 0.5)).max() < 1.5


def test_landmarks_beyond_belief_are_not_trusted(tmp_path: Path, tiny_dir: Path) -> None:
    place = shutil.copytree(tiny_dir, tmp_path / "data") / "fer2013plus"
    stored = dict(np.load(place / "teacher.npz"))
    stored["landmarks"][1] = (stored["landmarks"][1] - 24) * 4 + 24
    stored["landmarks"][2] = (stored["landmarks"][2] - 24) / 4 + 24
    np.savez(place / "teacher.npz", **stored)
    assert load_fer_plus("train", tmp_path / "data").seen[:4].tolist() == [True, False, False, True]


def test_subset_keeps_names_and_picks_rows(tiny: FerPlus) -> None:
    few = tiny.subset(np.array([4, 2]))
    assert len(few) == 2 and few.blendshape_names == tiny.blendshape_names
    np.testing.assert_array_equal(few.pixels, tiny.pixels[[4, 2]])
    np.testing.assert_array_equal(few.landmark_index, tiny.landmark_index)
    assert few.majority.tolist() == tiny.majority[[4, 2]].tolist()


def test_missing_folder_shows_the_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERSTREAM_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataMissing, match=r"pixels_a\.npz(.|\n)*FERSTREAM_DATA") as caught:
        data_folder()
    assert "elsewhere" in str(caught.value) and isinstance(caught.value, FileNotFoundError)
    with pytest.raises(DataMissing, match="named"):
        data_folder(tmp_path / "named")


@pytest.mark.parametrize("name", ["labels", "teacher", "pixels_a", "pixels_b"])
def test_missing_file_is_named(name: str, tmp_path: Path, tiny_dir: Path) -> None:
    place = shutil.copytree(tiny_dir, tmp_path / "data") / "fer2013plus"
    (place / f"{name}.npz").unlink()
    with pytest.raises(DataMissing, match=rf"{name}\.npz is missing(.|\n)*teacher\.npz"):
        load_fer_plus("test", tmp_path / "data")


def test_the_folder_comes_from_the_environment(
    tiny_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERSTREAM_DATA", str(tiny_dir))
    assert data_folder() == tiny_dir
    assert len(load_fer_plus("validation")) == 97


def test_real_protocol_counts(real: FerPlus) -> None:
    rated = real.subset(real.rated)
    assert len(rated) == 3552
    assert set(rated.majority.tolist()) == set(range(8))
    np.testing.assert_allclose(rated.votes.sum(1), 1, rtol=1e-6)
    assert 0.85 < real.seen.mean() < 0.97


def test_real_splits_share_no_photograph(real: FerPlus, data_dir: Path) -> None:
    seen: set[bytes] = {photograph.tobytes() for photograph in real.pixels}
    total = len(real)
    for split in ("train", "validation"):
        data = load_fer_plus(split, data_dir)
        seen |= {photograph.tobytes() for photograph in data.pixels}
        total += len(data)
    assert len(seen) == total
