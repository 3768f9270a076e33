"""Twins and unreadable files, found by looking at every picture."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from ferstream.training.datasets.readers import read_set
from ferstream.training.datasets.readers.check import (
    check,
    difference_hash,
    leaking,
    near_pairs,
    twins,
)
from ferstream.training.datasets.readers.pixels import read_picture
from tests.training import layouts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes; their pictures all differ."""
    folder = tmp_path / "set"
    layouts.classes(folder)
    return folder


def test_a_sound_set_is_ok(root: Path) -> None:
    done: list[int] = []
    report = check(read_set(root), progress=done.append)
    assert report.ok and report.read and done == list(range(1, 10))
    assert not report.exact and not report.near and not report.twins_in_a_split
    assert report.counts["train"] == {"amused": 2, "bored": 2, "confused": 2}


def test_exact_twins_are_told_apart(root: Path) -> None:
    shutil.copy(root / "train/amused/0.png", root / "val/bored/twin.png")
    shutil.copy(root / "train/amused/1.png", root / "train/bored/relabelled.png")
    shutil.copy(root / "train/confused/0.png", root / "train/confused/again.png")
    report = check(read_set(root))
    pairs = {(pair.first, pair.second): pair.across for pair in report.exact}
    assert pairs == {
        ("train/amused/0.png", "val/bored/twin.png"): "train / validation",
        ("train/amused/1.png", "train/bored/relabelled.png"): "amused / bored",
    }
    assert report.exact_count == 2 and report.twins_in_a_split == 1 and not report.ok
    assert not report.near, "what is exactly the same is not counted twice"


def test_near_twins_across_splits(root: Path) -> None:
    pixels = read_picture(root / "train/amused/0.png")[..., ::-1]
    brighter = np.clip(pixels * 0.8 + 30, 0, 255).astype(np.uint8)
    larger = cv2.resize(brighter, (90, 90), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(root / "val/amused/copy.jpg"), larger, [cv2.IMWRITE_JPEG_QUALITY, 85])
    cv2.imwrite(str(root / "train/amused/copy.jpg"), larger)
    report = check(read_set(root))
    assert {(pair.first, pair.second) for pair in report.near} == {
        ("train/amused/0.png", "val/amused/copy.jpg"),
        ("train/amused/copy.jpg", "val/amused/copy.jpg"),
    }, "near twins in one split under one label are no leak"
    assert report.ok, "they are for people to judge"


def test_without_splits_twins_under_two_labels_matter(tmp_path: Path) -> None:
    for name in ("a", "b"):
        layouts.picture(tmp_path / name / "same.png", seed=1)
        layouts.picture(tmp_path / name / "own.png")
    report = check(read_set(tmp_path))
    assert [pair.across for pair in report.exact] == ["a / b"]


def test_unreadable_files_are_listed(root: Path) -> None:
    (root / "train/amused/0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "val/bored/0.png").write_bytes(b"")
    report = check(read_set(root))
    assert [(p.kind, p.where) for p in report.problems] == [
        ("unreadable", "train/amused/0.png"),
        ("unreadable", "val/bored/0.png"),
    ]
    assert not report.ok
    assert json.loads(json.dumps(report.to_json()))["problems"][0]["where"] == "train/amused/0.png"


def test_flat_pictures_are_no_twins(root: Path) -> None:
    for split, shade in (("train", 250), ("val", 251)):
        flat = np.full((40, 40, 3), shade, np.uint8)
        cv2.imwrite(str(root / split / "amused/flat.png"), flat)
    assert difference_hash(np.full((40, 40), 3, np.uint8)) is None
    assert not check(read_set(root)).near


def test_people_in_several_splits_are_named(tmp_path: Path) -> None:
    layouts.jaffe(tmp_path)
    faces = read_set(tmp_path)
    split = ("train", "test", "train", "train")
    moved = (replace(i, split=s) for i, s in zip(faces.items, split, strict=True))
    report = check(replace(faces, items=tuple(moved)), read=False)
    assert report.shared_people == ["KA"] and check(faces, read=False).shared_people == []


def test_classes_without_an_item_are_named(tmp_path: Path) -> None:
    layouts.raf(tmp_path)
    report = check(read_set(tmp_path), read=False)
    assert report.absent == ["fear", "disgust", "sadness", "anger"] and not report.read


@pytest.mark.parametrize("name", ["mmi", "ferv39k", "disfa", "fer+"])
def test_clips_videos_and_stacks_are_looked_at(name: str, tmp_path: Path) -> None:
    layouts.WRITERS[name][1](tmp_path)
    report = check(read_set(tmp_path))
    assert report.read and not [p for p in report.problems if p.kind == "unreadable"]


def test_a_twin_clip_is_found(tmp_path: Path) -> None:
    layouts.ferv39k(tmp_path)
    clips = tmp_path / "2_ClipsforFaceCrop"
    shutil.rmtree(clips / "Crime/Fear/0001")
    shutil.copytree(clips / "Action/Sad/0010", clips / "Crime/Fear/0001")
    report = check(read_set(tmp_path))
    assert [pair.across for pair in report.exact] == ["train / test"]


def slow_pairs(
    hashes: npt.NDArray[np.uint8], keys: npt.NDArray[np.int64], bits: int
) -> set[tuple[int, int, int]]:
    """All near pairs, each compared with each."""
    found = set()
    for one, other in combinations(range(len(hashes)), 2):
        apart = int(np.unpackbits(hashes[one] ^ hashes[other]).sum())
        if apart <= bits and keys[one] != keys[other]:
            found.add((one, other, apart))
    return found


def test_near_pairs_are_those_of_a_full_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hashes = np.repeat(rng.integers(0, 256, (60, 32), dtype=np.uint8), 6, axis=0)
    for row in hashes:
        for bit in rng.integers(0, 256, rng.integers(0, 9)):
            row[bit // 8] ^= np.uint8(1 << (bit % 8))
    keys = rng.integers(0, 3, len(hashes))
    wanted = slow_pairs(hashes, keys, 7)
    assert len(wanted) > 100
    for block in (1 << 20, 8):
        monkeypatch.setattr("ferstream.training.datasets.readers.check._BLOCK", block)
        found = list(near_pairs(hashes, keys))
        assert set(found) == wanted and len(found) == len(wanted), "each pair once"
    with pytest.raises(ValueError, match="8 bits"):
        next(near_pairs(hashes, keys, 8))


def test_what_stays_of_twins_in_several_splits(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for split in ("train", "val", "test"):
        layouts.picture(root / split / "a/same.png", seed=1)
        layouts.picture(root / split / "b/own.png")
    faces = read_set(root)
    same = [item.name.endswith("same.png") for item in faces.items]
    groups = twins([b"same" if one else bytes([at]) for at, one in enumerate(same)])
    out = leaking(faces, groups)
    stays = {faces.items[at].name: faces.items[than].name for at, than in out.items()}
    assert stays == dict.fromkeys(("train/a/same.png", "val/a/same.png"), "test/a/same.png")
