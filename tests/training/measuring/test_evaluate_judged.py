"""Bundles measured on judged faces: which faces count, and what a set that is missing means."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ferstream.engines.bundle import Bundle
from ferstream.training.datasets.fer import FerPlus
from ferstream.training.datasets.judged import LabelsWrong, load_fairface, load_wild
from ferstream.training.measuring.evaluate import (
    disturbed,
    found_crops,
    intersection,
    judged_sections,
)
from tests.engines import tiny as tiny_networks
from tests.training.judged_layout import rewritten, write_fairface, write_wild, write_words


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_networks.bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def folder(tmp_path: Path, tiny_dir: Path) -> Path:
    return shutil.copytree(tiny_dir, tmp_path / "data")


def test_all_sections_of_the_test_split(bundle: Bundle, folder: Path) -> None:
    write_words(folder)
    write_wild(folder)
    write_fairface(folder)
    told: list[str] = []
    found = judged_sections(bundle, "test", folder, told=told.append)
    assert list(found) == ["words", "affect", "steady", "wild", "fairface"] and told == []
    words = found["words"]
    expressive = sum(number % 8 > 0 for number in range(196, 293))
    assert words["n"] == found["affect"]["n"] == words["judges"]["n"] == expressive
    assert found["steady"]["n"] == expressive and 0 < found["steady"]["first_word"] <= 1
    assert 0 <= words["r2_from_basic"] <= 1 and 10 <= words["words_used"] <= 135
    assert "intensity_r" in found["affect"] and "valence_ccc" not in found["affect"]
    wild, fair = found["wild"], found["fairface"]
    assert (wild["n"], wild["found"], wild["basic_n"]) == (5, 4, 4), "one shows no face"
    assert (fair["n"], fair["found"], fair["basic_n"]) == (5, 5, 4), "one is judged two ways"
    assert {name: group["n"] for name, group in fair["age"].items()} == {"3-9": 2, "20-29": 2}
    assert {name: group["n"] for name, group in fair["gender"].items()} == {"Female": 2, "Male": 2}
    assert fair["words"]["n"] == 4, "the neutral one has no words"


def test_the_validation_split_leaves_the_test_set_alone(bundle: Bundle, folder: Path) -> None:
    write_words(folder)
    write_wild(folder)
    write_fairface(folder).write_bytes(b"must not be read")
    found = judged_sections(bundle, "validation", folder)
    assert list(found) == ["words", "affect", "steady", "wild"]
    assert found["wild"]["n"] == 1 and "judges" not in found["words"]


def test_a_set_that_is_not_there_is_told(bundle: Bundle, folder: Path) -> None:
    told: list[str] = []
    assert judged_sections(bundle, "test", folder, told=told.append) == {}
    assert len(told) == 3 and "words.npz is not there" in told[0]


def test_a_damaged_set_is_no_missing_one(bundle: Bundle, folder: Path) -> None:
    path = write_words(folder)
    rewritten(path, image=np.load(path)["image"] + 1000)
    with pytest.raises(LabelsWrong, match="judges image"):
        judged_sections(bundle, "test", folder)


def test_the_judged_face_is_the_one_that_counts(bundle: Bundle, folder: Path) -> None:
    """A face elsewhere in the picture is not the judged one."""
    path = write_wild(folder)
    faces = np.load(path)["faces"].copy()
    faces[1, :4] = (20, 200, 90, 120)
    rewritten(path, faces=faces)
    write_fairface(folder)
    crops, seen, quality = found_crops(bundle, load_wild("test", folder))
    assert quality.shape == (3,) and (quality > 0.2).all()
    assert seen.tolist() == [False, True, True, True, False] and len(crops) == 3
    crops, seen, _ = found_crops(bundle, load_fairface(folder))
    assert seen.all() and crops.shape == (5, 1, tiny_networks.CROP_PX, tiny_networks.CROP_PX)


def test_disturbed_faces_are_shifted_and_paler(tiny: FerPlus) -> None:
    """Those without landmarks are their own crops, so that each pixel can be followed."""
    plain = tiny.subset(~tiny.seen)
    crops, moved = plain.crops(48), disturbed(plain, 48, 1, 0)
    mean = plain.crops(48, (1, 0)).mean(axis=(1, 2, 3), keepdims=True)
    wanted = mean + 0.9 * (crops[..., :-1] - mean)
    np.testing.assert_allclose(moved[..., 1:], wanted, atol=0.51)
    up = disturbed(plain, 48, 0, -1)
    assert np.abs(up[:, :, :-1].astype(int) - crops[:, :, 1:]).max() <= 0.1 * 255 + 1


def test_intersection_over_union() -> None:
    assert intersection((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert intersection((0, 0, 2, 2), (1, 0, 2, 2)) == pytest.approx(1 / 3)
    assert intersection((0, 0, 2, 2), (2, 2, 2, 2)) == 0
    assert intersection((0, 0, 0, 0), (0, 0, 0, 0)) == 0
