"""Every layout, as a tiny copy of itself: found, read, counted, its pixels seen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ferstream.training.datasets.fer import BASIC8, MIN_VOTES
from ferstream.training.datasets.readers import (
    LAYOUTS,
    FaceSet,
    LabelError,
    LayoutError,
    read_set,
    recognise,
)
from ferstream.training.datasets.readers.sequences import peak_frames
from tests.media import level
from tests.training import layouts
from tests.training.layout_files import Written
from tests.training.layouts import WRITERS

Read = tuple[FaceSet, Written]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Written]]:
    """All layouts, each in a folder of its own; tests leave them as they are."""
    made = {}
    for name, (_, write) in WRITERS.items():
        root = tmp_path_factory.mktemp("layouts") / name
        root.mkdir()
        made[name] = (root, write(root))
    return made


@pytest.fixture(params=WRITERS)
def one(request: pytest.FixtureRequest, written: dict[str, tuple[Path, Written]]) -> Read:
    root, expected = written[request.param]
    return read_set(root), expected


def test_layout_is_recognised(one: Read, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["one"]
    assert one[0].layout == WRITERS[name][0]


def test_classes_are_counted_per_split(one: Read) -> None:
    faces, expected = one
    there = {
        split: {name: count for name, count in counts.items() if count or not faces.labels}
        for split, counts in faces.counts().items()
    }
    assert there == expected.counts
    assert len(faces.subjects) == expected.people and faces.kind == expected.kind
    if expected.labels:
        assert faces.labels == expected.labels
    for said in expected.said:
        assert any(said in note for note in faces.notes), faces.notes


def test_every_picture_can_be_read(one: Read) -> None:
    faces, _ = one
    seen = list(faces.pictures())
    assert len(seen) == len(faces)
    for item, pixels in seen:
        assert isinstance(pixels, np.ndarray), f"{item.name}: {pixels}"
        assert pixels.dtype == np.uint8 and min(pixels.shape[:2]) >= 40
    assert len({item.name for item in faces.items}) == len(faces)
    last = seen[-1][1]
    assert isinstance(last, np.ndarray) and np.array_equal(faces.picture(len(faces) - 1), last)


def test_targets_and_units_fit_the_labels(one: Read) -> None:
    faces, _ = one
    if faces.labels:
        np.testing.assert_allclose(faces.targets.sum(1), 1)
        assert (faces.targets.argmax(1) == faces.label_index).all()
    assert faces.unit_labels.shape == (len(faces), len(faces.units))
    assert np.isin(faces.unit_labels, (-1, 0, 1)).all()


def test_every_layout_is_written_here() -> None:
    covered = {layout for layout, _ in WRITERS.values()}
    assert covered == set(LAYOUTS) - {"prepared", "fer+packed"}


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"folders", "clip-folders"}))
def test_an_empty_folder_is_told_what_is_expected(name: str, tmp_path: Path) -> None:
    with pytest.raises((LayoutError, FileNotFoundError, ValueError)) as caught:
        read_set(tmp_path, name)
    assert str(tmp_path) in str(caught.value)
    if name not in ("prepared", "fer+packed"):
        assert LAYOUTS[name].expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_of_nothing_names_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"raf-basic.*ferv39k.*--layout"):
        read_set(tmp_path)
    with pytest.raises(LayoutError, match="is not there"):
        read_set(tmp_path / "gone")
    with pytest.raises(LayoutError, match="is no folder"):
        read_set(layouts.text(tmp_path / "file", "x"))
    with pytest.raises(LayoutError, match="no layout 'imagenet'"):
        read_set(tmp_path, "imagenet")


def test_any_folders_are_not_yet_classes(tmp_path: Path) -> None:
    for name in ("photos", "notes", "music", "code", "mail"):
        layouts.text(tmp_path / name / "readme.txt", "x")
    layouts.picture(tmp_path / "photos/1.jpg")
    with pytest.raises(LayoutError, match="none of the layouts"):
        read_set(tmp_path)


def test_both_halves_of_raf_have_to_be_named(tmp_path: Path) -> None:
    layouts.raf(tmp_path)
    layouts.raf(tmp_path, "compound")
    with pytest.raises(LayoutError, match="raf-basic, raf-compound with --layout"):
        recognise(tmp_path)
    assert read_set(tmp_path, "raf-compound").labels[0] == "happily surprised"


def test_a_raf_list_in_an_unnamed_folder_tells_its_half(tmp_path: Path) -> None:
    for half, numbers in (("basic", (1, 7)), ("compound", (1, 11))):
        root = tmp_path / half[0]
        layouts.text(root / "list_patition_label.txt", *(f"train_{n}.jpg {n}" for n in numbers))
        for number in numbers:
            layouts.picture(root / f"aligned/train_{number}_aligned.jpg")
        assert read_set(root).layout == f"raf-{half}"


def test_votes_follow_the_protocol_of_the_packed_form(tmp_path: Path) -> None:
    layouts.fer2013(tmp_path)
    faces = read_set(tmp_path)
    first, third = faces.items[0], faces.items[2]
    assert first.votes == (0, 0, 0, 0, 9, 0, 0, 0), "a single vote is noise"
    np.testing.assert_allclose(faces.targets[2][[0, 3]], [6 / 9, 3 / 9], rtol=1e-6)
    assert third.name == "fer2013.csv#4" and BASIC8[third.label or 0] == "neutral"
    assert MIN_VOTES == 5


def test_packed_form_is_read_by_its_own_reader(tiny_dir: Path) -> None:
    faces = read_set(tiny_dir)
    assert faces.layout == "fer+packed" and read_set(tiny_dir / "fer2013plus").items == faces.items
    assert faces.splits == ("train", "validation", "test")
    assert all(count == 12 for counts in faces.counts().values() for count in counts.values())
    train = faces.split("train")
    assert train.picture(3).shape == (48, 48)
    assert np.array_equal(train.picture(3), faces.picture(3))


def test_rows_of_votes_and_of_pixels_must_fit(tmp_path: Path) -> None:
    layouts.fer2013(tmp_path)
    path = tmp_path / "fer2013new.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(LabelError, match=r"7 rows of votes for 8 rows of fer2013\.csv"):
        read_set(tmp_path)


def test_boxes_of_affectnet_are_kept(written: dict[str, tuple[Path, Written]]) -> None:
    assert read_set(written["affectnet"][0]).items[0].box == (4.0, 5.0, 30.0, 31.0)


def test_action_units_of_disfa(written: dict[str, tuple[Path, Written]]) -> None:
    faces = read_set(written["disfa"][0])
    twelve = faces.units.index("AU12")
    assert faces.unit_labels[:4, twelve].tolist() == [-1, 1, 1, 1], "on from intensity 2"
    levels = [level(pixels) for _, pixels in faces.pictures() if isinstance(pixels, np.ndarray)]
    assert levels[:4] == [0, 1, 2, 3], "each frame of the video to its own labels"
    assert level(faces.picture(2)) == 2


def test_unknown_action_units_of_bp4d_are_zero(written: dict[str, tuple[Path, Written]]) -> None:
    faces = read_set(written["bp4d"][0]).split("train")
    assert faces.unit_labels[:, faces.units.index("AU24")].tolist() == [-1, 0]
    assert faces.items[0].subject == "F001" and faces.items[0].label is None


def test_action_units_of_ck_plus(written: dict[str, tuple[Path, Written]]) -> None:
    faces = read_set(written["ck+"][0])
    on = {name for name, value in zip(faces.units, faces.unit_labels[0], strict=True) if value > 0}
    assert on == {"AU12", "AU25"}


@pytest.mark.parametrize(
    ("name", "places"), [("ck+", [0, 2, 3, 4]), ("oulu-casia", [0, 2, 3, 4]), ("mmi", [0, 3, 4, 5])]
)
def test_peak_frames(
    name: str, places: list[int], written: dict[str, tuple[Path, Written]]
) -> None:
    clips = read_set(written[name][0])
    stills = peak_frames(clips)
    assert stills.kind == "images" and len(stills) == 4 * len(clips)
    assert [int(item.name.rpartition("#")[2]) for item in stills.items[:4]] == places
    labels = [stills.labels[item.label or 0] for item in stills.items[:4]]
    assert labels[0] == "neutral" and set(labels[1:]) == {clips.labels[clips.items[0].label or 0]}
    assert all(isinstance(pixels, np.ndarray) for _, pixels in stills.pictures())
    if name == "mmi":
        assert level(stills.picture(1)) == 3


def test_official_folds(written: dict[str, tuple[Path, Written]]) -> None:
    root = written["dfew"][0]
    names = [{i.name for i in read_set(root, fold=f).split("test").items} for f in (1, 2)]
    assert names == [{"Clip/clip_224x224_16f/00001"}, {"Clip/clip_224x224_16f/00002"}]
    with pytest.raises(LayoutError, match=r"set_3\.csv is missing"):
        read_set(root, fold=3)
    with pytest.raises(LabelError, match="folds 1 to 5, so none numbered 6"):
        read_set(root, fold=6)


def test_poses_of_f2ed(written: dict[str, tuple[Path, Written]]) -> None:
    for name in ("f2ed", "f2ed-list"):
        faces = read_set(written[name][0])
        assert {item.pose for item in faces.items} <= {
            "front",
            "half left",
            "half right",
            "bird view",
        }
        assert all(item.subject for item in faces.items)
    assert faces.items[0].pose == "bird view"


def test_a_split_that_is_not_there_is_named(written: dict[str, tuple[Path, Written]]) -> None:
    with pytest.raises(LabelError, match="no split 'validation': it has train, test"):
        read_set(written["raf-basic"][0]).split("validation")


def test_clips_are_thinned_evenly(written: dict[str, tuple[Path, Written]]) -> None:
    faces = read_set(written["mmi"][0])
    taken = faces.clip(0, 3)
    assert [level(pixels) for _, pixels in taken] == [0, 4, 8]
    assert [time for time, _ in taken] == pytest.approx([0, 4 / 30, 8 / 30], abs=1e-3)
    assert faces.clip_length(0) == 9 and len(faces.clip(0, 50)) == 9
    assert level(faces.picture(0)) == 4, "the middle"


def test_frames_are_ordered_by_number(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        layouts.picture(tmp_path / f"a/clip/{number}.png", seed=number)
        layouts.picture(tmp_path / f"b/clip/{number}.png", seed=number)
    faces = read_set(tmp_path)
    ordered = [layouts.picture(tmp_path / "one.png", seed=n) for n in (1,)]
    assert np.array_equal(faces.clip(0, 3)[0][1], read_back(ordered[0]))


def read_back(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    from ferstream.training.datasets.readers.pixels import read_picture

    return read_picture(path)


def test_pixels_are_read_when_asked_for(written: dict[str, tuple[Path, Written]]) -> None:
    root = shutil.copytree(written["folders"][0], written["folders"][0].with_name("copy"))
    faces = read_set(root)
    shutil.rmtree(root)
    assert len(faces) == 9
    assert all("is missing" in str(pixels) for _, pixels in faces.pictures())


def test_nothing_needs_pytorch(repository: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['lightning'] = None\n"
        "from ferstream.training import data_cli\n"
        "from ferstream.training.datasets.readers import prepare, sheet\n"
        "assert 'mediapipe' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, timeout=60)
