"""The readers of judged faces: what they give, and what they say of wrong files."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferstream import _one_line
from ferstream.training.datasets.fer import DataMissing
from ferstream.training.datasets.judged import (
    GRADES,
    LabelsWrong,
    load_fairface,
    load_judged_clips,
    load_judged_photographs,
    load_wild,
)
from tests.training.judged_layout import (
    BOX,
    NAMED,
    WORDS,
    rewritten,
    write_fairface,
    write_judged_clips,
    write_wild,
    write_words,
)


@pytest.fixture
def folder(tmp_path: Path, tiny_dir: Path) -> Path:
    return shutil.copytree(tiny_dir, tmp_path / "data")


def test_photographs_have_their_judgements(folder: Path) -> None:
    path = write_words(folder)
    found = load_judged_photographs("validation", folder)
    assert len(found) == 97, "the twin is left out"
    assert found.second is None
    stored = np.load(path)
    first = int(found.photographs.image[5])
    assert found.judged.words[5].tolist() == stored["words"][first].tolist()
    assert found.judged.valence[5] == stored["valence"][first] / 4
    assert found.judged.intensity[5] == pytest.approx(stored["intensity"][first] / 3)
    assert found.judged.basic[5] == stored["basic"][first]


def test_test_faces_have_two_judges(folder: Path) -> None:
    stored = np.load(write_words(folder))
    found = load_judged_photographs("test", folder)
    assert found.second is not None and len(found.second) == len(found) == 97
    rows = np.flatnonzero(stored["image"] == found.photographs.image[3])
    for judged, row in zip((found.judged, found.second), rows, strict=True):
        assert judged.words[3].tolist() == stored["words"][row].tolist()


def test_named_words_count_by_their_place(folder: Path) -> None:
    write_words(folder)
    judged = load_judged_photographs("train", folder).judged
    counts = judged.named(GRADES)
    assert counts.shape == (97, 135)
    assert counts[7, judged.words[7, :NAMED]].tolist() == pytest.approx(GRADES[:NAMED])
    assert np.count_nonzero(counts[7]) == NAMED and np.count_nonzero(judged.named()[7]) == NAMED


def test_words_are_told_by_name_not_by_place(folder: Path) -> None:
    """A file with the same words in another order says the same."""
    path = write_words(folder)
    before = load_judged_photographs("test", folder).judged.words
    stored = np.load(path)
    turned = np.where(stored["words"] >= 0, len(WORDS) - 1 - stored["words"], -1)
    rewritten(path, words=turned, word_names=stored["word_names"][::-1])
    np.testing.assert_array_equal(load_judged_photographs("test", folder).judged.words, before)


def test_an_unreadable_face_has_no_expression(folder: Path) -> None:
    path = write_words(folder)
    basic = np.load(path)["basic"].copy()
    basic[0] = 255
    rewritten(path, basic=basic)
    judged = load_judged_photographs("train", folder).judged
    assert judged.basic[0] == -1 and judged.readable.tolist() == [False] + [True] * 96


def test_pictures_of_both_sets(folder: Path) -> None:
    write_wild(folder)
    write_fairface(folder)
    wild, fair = load_wild("test", folder), load_fairface(folder)
    assert wild.names == tuple(f"{n:05}.jpg" for n in range(1, 6)) and wild.second is None
    assert len(load_wild("validation", folder)) == 1 and len(load_wild("train", folder)) == 0
    assert fair.second is not None and fair.judged.basic[0] != fair.second.basic[0]
    assert fair.groups["age"].tolist() == ["3-9", "20-29", "3-9", "20-29", "3-9"]
    np.testing.assert_allclose(fair.boxes, [BOX] * 5, err_msg="the one that main names")
    for picture in fair.pictures():
        assert picture.shape == (400, 512, 3) and picture.dtype == np.uint8


def changed(column: str, where: Any, value: Any) -> Callable[[Path], None]:
    """What spoils one column of a file."""

    def spoil(path: Path) -> None:
        content = np.load(path)[column].copy()
        if content.dtype.kind == "U":
            content = content.astype("<U40")
        elif content.dtype.itemsize < 4:
            content = content.astype(np.int32)
        content[where] = value
        rewritten(path, **{column: content})

    return spoil


def shorter(column: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        rewritten(path, **{column: np.load(path)[column][:-1]})

    return spoil


def without(column: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        columns = dict(np.load(path))
        del columns[column]
        np.savez(path, **columns)

    return spoil


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def damaged(path: Path) -> None:
    """A compressed file with a byte changed in the middle."""
    columns = dict(np.load(path))
    np.savez_compressed(path, **columns)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(bytes(content))


WRONG_WORDS = [
    (changed("word_names", 3, "hangriness"), "words that are not among the 135: hangriness"),
    (changed("image", 4, 10**6), "judges image 1000000, but there are 294"),
    (changed("image", 4, -2), "judges image -2, but there are 294"),
    (changed("split", 0, 2), "image 0 is of the test split, labels.npz says otherwise"),
    (changed("words", (0, 1), 135), "names word 135 of 135"),
    (changed("words", (0, 1), -2), "names word"),
    (changed("basic", 0, 8), "basic holds numbers other than 0..7 and 255"),
    (changed("intensity", 0, 4), "intensity goes beyond 0..3"),
    (changed("valence", 0, -5), "valence goes beyond -4..4"),
    (shorter("image"), "image has 391 rows, 392 expected"),
    (shorter("rater"), "rater has 391 rows, 392 expected"),
    (shorter("valence"), "columns are not of one length"),
    (without("words"), "no column words"),
    (without("word_names"), "no column word_names"),
    (cut_off, "cannot be read"),
    (one_array, "cannot be read"),
    (damaged, "cannot be read"),
]


@pytest.mark.parametrize(("spoil", "said"), WRONG_WORDS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_wrong_words_are_said_in_one_line(
    folder: Path, spoil: Callable[[Path], None], said: str, split: str
) -> None:
    """Whichever split is asked for, but for a split of its own that is wrong."""
    path = write_words(folder)
    spoil(path)
    if "test split" in said and split == "train":
        load_judged_photographs(split, folder)
        return
    with pytest.raises(LabelsWrong) as caught:
        load_judged_photographs(split, folder)
    line = _one_line(caught.value)
    assert said in line and "words.npz" in line and "unexpected" not in line


WRONG_PICTURES = [
    (changed("word_names", 3, "hangriness"), "words that are not among the 135: hangriness"),
    (changed("main", 1, 7), "main points to faces"),
    (changed("main", 1, -1), "main points to faces"),
    (changed("offset", 2, 10**6), "main points to faces"),
    (changed("offset", slice(None), 10**6), "main points to faces"),
    (changed("offset", slice(3, None), 10**6), "main points to faces"),
    (shorter("main"), "main has"),
    (shorter("name"), "name has"),
    (shorter("offset"), "offset has"),
    (without("basic"), "no column basic"),
    (without("words"), "no column words"),
    (changed("basic", 0, 9), "basic holds numbers"),
    (without("offset"), "no column offset"),
    (cut_off, "cannot be read"),
    (one_array, "cannot be read"),
    (damaged, "cannot be read"),
]


@pytest.mark.parametrize(("spoil", "said"), WRONG_PICTURES)
@pytest.mark.parametrize("name", ["wild", "fairface"])
def test_wrong_labels_of_pictures_are_said(
    folder: Path, spoil: Callable[[Path], None], said: str, name: str
) -> None:
    path = {"wild": write_wild, "fairface": write_fairface}[name](folder)
    spoil(path)
    with pytest.raises(LabelsWrong, match=said):
        load_wild("test", folder) if name == "wild" else load_fairface(folder)


def test_missing_files_are_said(folder: Path) -> None:
    with pytest.raises(DataMissing, match=r"words\.npz is missing"):
        load_judged_photographs("test", folder)
    with pytest.raises(DataMissing, match=r"wild.*labels\.npz is missing"):
        load_wild("test", folder)
    write_fairface(folder)
    (folder / "fairface" / "images.zip").unlink()
    with pytest.raises(DataMissing, match=r"images\.zip is missing"):
        load_fairface(folder)


def test_pictures_that_are_missing_or_damaged_are_named(folder: Path) -> None:
    write_wild(folder)
    archive = folder / "wild" / "images.zip"
    with zipfile.ZipFile(archive) as whole:
        first = whole.read("00001.jpg")
    with zipfile.ZipFile(archive, "w") as fewer:
        fewer.writestr("00001.jpg", first)
    with pytest.raises(DataMissing, match=r"lacks 00002\.jpg"):
        load_wild("test", folder).pictures()
    with zipfile.ZipFile(archive, "w") as spoiled:
        spoiled.writestr("00001.jpg", b"no picture")
    with pytest.raises(LabelsWrong, match=r"00001\.jpg .* no picture"):
        load_wild("test", folder).pictures()
    archive.write_bytes(b"no archive")
    with pytest.raises(LabelsWrong, match="cannot be read"):
        load_wild("test", folder).pictures()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two clips by name, their judgements in another order than their times."""
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    write_judged_clips(tmp_path, ["b.mp4", "a.mp4", "b.mp4", "a.mp4"], [1.0, 0.5, 0.0, 0.2])
    return tmp_path


def test_clips_stand_in_the_order_of_their_times(clips: Path) -> None:
    stored, found = np.load(clips / "judged.npz"), load_judged_clips(clips)
    assert found.clips.tolist() == ["a.mp4", "a.mp4", "b.mp4", "b.mp4"]
    assert found.times_s.tolist() == pytest.approx([0.2, 0.5, 0.0, 1.0])
    for row, was in enumerate([3, 1, 2, 0]):
        assert found.judged.basic[row] == stored["basic"][was, 0]
        assert found.second.words[row].tolist() == stored["words"][was, 1].tolist()


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (changed("clip", 0, "../a.mp4"), DataMissing, r"judges \.\./a\.mp4, which is not in"),
        (changed("clip", 0, "gone.mp4"), DataMissing, r"judges gone\.mp4, which is not in"),
        (changed("word_names", 0, "hangriness"), LabelsWrong, "hangriness"),
        (shorter("time_s"), LabelsWrong, "time_s has 3 rows, 4 expected"),
        (without("box"), LabelsWrong, "no column box"),
        (cut_off, LabelsWrong, "cannot be read"),
        (Path.unlink, DataMissing, r"judged\.npz is missing"),
    ],
)
def test_wrong_judgements_of_clips_are_said(
    clips: Path, spoil: Callable[[Path], None], error: type[Exception], said: str
) -> None:
    spoil(clips / "judged.npz")
    with pytest.raises(error, match=said):
        load_judged_clips(clips)


def test_real_counts(data_dir: Path) -> None:
    found = {split: load_judged_photographs(split, data_dir) for split in ("validation", "test")}
    assert len(found["test"]) == 1055 and found["test"].second is not None
    assert 1700 < len(found["validation"]) <= 1800
    shows = found["test"].judged.basic > 0
    assert shows.sum() == 964
    assert len(load_wild("test", data_dir)) == 671 and len(load_fairface(data_dir)) == 270
