"""Faces found, aligned and cached: the same pixels as run time's, whatever stopped the run."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from ferstream.stream.faces.align import ANCHOR_LANDMARKS, ANCHOR_TEMPLATE, crop
from ferstream.stream.faces.detect import FaceDetector, FaceMesh, find_meshes
from ferstream.stream.sources import open_source
from ferstream.training.datasets.readers import LabelError, PreparedError, read_set
from ferstream.training.datasets.readers import prepare as module
from ferstream.training.datasets.readers.finder import FaceFinder
from ferstream.training.datasets.readers.prepare import PrepareOptions, prepare
from ferstream.training.datasets.readers.prepared import Prepared, load_prepared, shard_path
from tests.training import layouts

Image = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def sample() -> list[Image]:
    """Some frames of the built-in sample, which shows one real face."""
    frames = list(open_source("sample").frames())
    return [frame.pixels for frame in frames[::12]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, sample: list[Image]) -> Path:
    """A set of faces: large, small, tight, grey, turned; and what shows none."""
    folder = tmp_path_factory.mktemp("faces") / "set"
    face = sample[0]
    turned = cv2.warpAffine(face, cv2.getRotationMatrix2D((320, 240), 20, 1.0), (640, 480))
    pictures = {
        "train/happy/large.png": cv2.resize(face, None, fx=2, fy=2),
        "train/happy/small.png": cv2.resize(face, (320, 240), interpolation=cv2.INTER_AREA),
        "train/happy/turned.png": turned,
        "train/sad/grey.png": cv2.cvtColor(sample[3], cv2.COLOR_RGB2GRAY),
        "test/happy/plain.png": sample[5],
        "test/sad/other.jpg": sample[7],
    }
    for name, pixels in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    layouts.picture(folder / "train/sad/nobody.png")
    layouts.text(folder / "train/sad/broken.jpg", "no picture")
    (folder / "train/sad/twin.png").write_bytes((folder / "test/happy/plain.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The set prepared; tests leave it as it is."""
    return prepare(read_set(root), tmp_path_factory.mktemp("prepared") / "out")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures or clips a shard, so that a few items make several."""
    monkeypatch.setattr(module, "IMAGES_A_SHARD", 2)
    monkeypatch.setattr(module, "CLIPS_A_SHARD", 1)


def test_what_shows_no_face_is_dropped_and_said(done: Prepared) -> None:
    assert done.facts["faces"] == 6 and done.facts["items"] == 9
    assert done.facts["dropped"] == {
        "exact twin in another split": 1,
        "no face found": 1,
        "unreadable": 1,
    }
    lines = (done.folder / "dropped.csv").read_text().splitlines()
    assert lines[0] == "name,why" and len(lines) == 4
    assert "train/sad/twin.png,twin of test/happy/plain.png (test)" in lines
    assert any(line.startswith("train/sad/broken.jpg,") and "broken.jpg" in line for line in lines)


def test_prepared_faces_are_a_set_like_any_other(done: Prepared) -> None:
    faces = read_set(done.folder)
    assert faces.layout == "prepared" and faces.labels == ("happiness", "sadness")
    assert faces.counts() == {
        "train": {"happiness": 3, "sadness": 1},
        "test": {"happiness": 1, "sadness": 1},
    }
    assert [item.name for item in faces.split("test").items] == [
        "test/happy/plain.png",
        "test/sad/other.jpg",
    ]
    assert faces.picture(2).shape == (64, 64)
    assert faces.items == done.faces.items


def test_crops_are_those_of_run_time(done: Prepared, root: Path, sample: list[Image]) -> None:
    at = [item.name for item in done.faces.items].index("test/happy/plain.png")
    detector, mesh = FaceDetector(), FaceMesh(workers=1)
    (found,) = find_meshes(sample[5], detector.detect(sample[5], thorough=True), mesh, detector)
    assert np.array_equal(done.crops[at], crop(sample[5], found.xy, 64))
    mesh.close()
    detector.close()


def test_landmarks_lie_in_their_crops(done: Prepared) -> None:
    landmarks = done.landmarks.astype(np.float64)
    assert landmarks.shape == (6, 468, 2) and done.times_s.tolist() == [0.0] * 6
    anchors = landmarks[:, list(ANCHOR_LANDMARKS)]
    apart = np.linalg.norm(anchors - (ANCHOR_TEMPLATE * 64 - 0.5), axis=-1)
    assert apart.mean() < 2, "aligned on the template, whatever its size and roll were"


def test_a_tight_face_is_found_without_the_detector(sample: list[Image]) -> None:
    finder = FaceFinder()
    whole = finder.crop(sample[0], 64)
    assert whole is not None
    detector, mesh = FaceDetector(), FaceMesh(workers=1)
    (found,) = find_meshes(sample[0], detector.detect(sample[0]), mesh, detector)
    low, high = found.xy.min(0).astype(int), found.xy.max(0).astype(int)
    tight = np.ascontiguousarray(sample[0][low[1] : high[1], low[0] : high[0]])
    crop_of_tight = finder.crop(cv2.resize(tight, (48, 48), interpolation=cv2.INTER_AREA), 64)
    assert crop_of_tight is not None
    alike = np.corrcoef(
        crop_of_tight.pixels[12:52, 12:52].ravel(), whole.pixels[12:52, 12:52].ravel()
    )
    assert alike[0, 1] > 0.9
    assert finder.crop(np.full((48, 48), 128, np.uint8), 64) is None
    mesh.close()
    detector.close()


def test_the_labelled_face_is_taken_of_several(sample: list[Image]) -> None:
    finder = FaceFinder()
    small = cv2.resize(sample[7], (480, 360), interpolation=cv2.INTER_AREA)
    both = np.full((480, 1120, 3), 90, np.uint8)
    both[:, :640], both[60:420, 640:] = sample[0], small
    largest, labelled = finder.crop(both, 64), finder.crop(both, 64, box=(800, 100, 150, 180))
    assert largest is not None and labelled is not None
    alone = finder.crop(small, 64)
    assert alone is not None
    assert np.abs(labelled.pixels.astype(int) - alone.pixels).mean() < 8
    assert np.abs(labelled.pixels.astype(int) - largest.pixels).mean() > 8
    assert finder.crop(both, 64, box=(5, 400, 60, 60)) is None, "no face where the set says"


@pytest.fixture
def clips(tmp_path: Path, sample: list[Image]) -> Path:
    """Two clips of a face, one that loses it in the middle, and one without any."""
    root = tmp_path / "clips"
    blank = np.full_like(sample[0], 120)
    for name, pixels in {
        "smile/a": sample[:6],
        "smile/b": [*sample[:2], blank, *sample[3:5]],
        "frown/c": sample[4:8],
        "frown/d": [blank] * 3,
    }.items():
        (root / name).mkdir(parents=True)
        for at, picture in enumerate(pixels):
            cv2.imwrite(str(root / name / f"{at}.png"), picture[..., ::-1])
    return root


def test_clips_keep_the_frames_that_show_the_face(
    clips: Path, tmp_path: Path, small_shards: None
) -> None:
    out = prepare(read_set(clips), tmp_path / "out", PrepareOptions(crop_px=48, clip_frames=5))
    faces = out.faces
    assert faces.kind == "clips" and out.facts["shards"] == 4
    spans = {i.name: (i.frames[1] - i.frames[0]) if i.frames else 0 for i in faces.items}
    assert spans == {"frown/c": 4, "smile/a": 5, "smile/b": 4}
    assert out.facts["dropped"] == {"no face found": 1}
    at = [item.name for item in faces.items].index("smile/a")
    first, end = faces.items[at].frames or (0, 0)
    assert out.times_s[first:end].tolist() == pytest.approx([0, 0.04, 0.08, 0.16, 0.2])
    assert np.array_equal(faces.clip(at, 5)[4][1], out.crops[end - 1])
    assert faces.picture(at).shape == (48, 48)


def test_votes_units_and_people_come_along(tmp_path: Path, sample: list[Image]) -> None:
    layouts.jaffe(tmp_path / "jaffe")
    for path in (tmp_path / "jaffe").glob("*.tiff"):
        cv2.imwrite(str(path), sample[0][..., ::-1])
    people = prepare(read_set(tmp_path / "jaffe"), tmp_path / "j").faces
    assert people.subjects == ("KA", "KL")
    layouts.bp4d(tmp_path / "bp4d")
    for path in (tmp_path / "bp4d/2D+3D").rglob("*.jpg"):
        cv2.imwrite(str(path), sample[0][..., ::-1])
    options = PrepareOptions(drop_twins=False)
    units = prepare(read_set(tmp_path / "bp4d"), tmp_path / "b", options).faces
    assert units.units == read_set(tmp_path / "bp4d").units and not units.labels
    assert units.unit_labels[1].tolist() == read_set(tmp_path / "bp4d").unit_labels[1].tolist()
    assert {item.label for item in units.items} == {None}


def test_a_stopped_run_goes_on_to_the_same_end(
    root: Path, tmp_path: Path, small_shards: None
) -> None:
    faces = read_set(root)
    whole = prepare(faces, tmp_path / "whole")

    def stop(count: int) -> None:
        if count >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(faces, tmp_path / "stopped", progress=stop)
    made = sorted(path.name for path in (tmp_path / "stopped").glob("shard-*.npz"))
    assert made == ["shard-00000.npz", "shard-00001.npz"]
    with pytest.raises(PreparedError, match="is not finished: run the same"):
        load_prepared(tmp_path / "stopped")
    (tmp_path / "stopped/shard-00001.npz").write_bytes(b"PK half a shard")
    stamp = (tmp_path / "stopped/shard-00000.npz").stat().st_mtime_ns
    resumed = prepare(faces, tmp_path / "stopped")
    assert (tmp_path / "stopped/shard-00000.npz").stat().st_mtime_ns == stamp
    assert resumed.facts == whole.facts
    for number in range(whole.facts["shards"]):
        same = [shard_path(p.folder, number).read_bytes() for p in (whole, resumed)]
        assert same[0] == same[1]
    again = prepare(faces, tmp_path / "stopped")
    assert again.fingerprint == whole.fingerprint


def test_a_killed_run_goes_on(
    root: Path, tmp_path: Path, repository: Path, small_shards: None
) -> None:
    code = (
        "import sys\n"
        "from ferstream.training.datasets.readers import prepare as module, read_set\n"
        "module.IMAGES_A_SHARD = 2\n"
        "module.prepare(read_set(sys.argv[1]), sys.argv[2], progress=print)\n"
    )
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(root), str(out)],
        cwd=repository,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not (out / "shard-00000.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    for path in out.glob("shard-*.npz"):
        with np.load(path) as shard:
            assert len(shard["offset"]) == len(shard["name"]) + 1
    assert not json.loads((out / "set.json").read_text())["complete"]
    assert prepare(read_set(root), out).facts["faces"] == 6
    assert not list(out.glob(".*.part"))


def test_other_data_or_options_need_another_folder(
    root: Path, done: Prepared, tmp_path: Path
) -> None:
    faces = read_set(root)
    relabelled = replace(faces, items=(replace(faces.items[0], label=1), *faces.items[1:]))
    for other, options in ((faces, PrepareOptions(crop_px=48)), (relabelled, PrepareOptions())):
        with pytest.raises(PreparedError, match="from other data, labels or options"):
            prepare(other, done.folder, options)
    assert load_prepared(done.folder).fingerprint == done.fingerprint
    with pytest.raises(PreparedError, match=r"holds photo\.jpg: name an empty"):
        layouts.picture(tmp_path / "photo.jpg")
        prepare(faces, tmp_path)


def test_two_runs_on_one_folder(root: Path, tmp_path: Path) -> None:
    faces = read_set(root)

    def at_work(count: int) -> None:
        with pytest.raises(PreparedError, match="another ferstream data prepare is at work"):
            prepare(faces, tmp_path / "out")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(faces, tmp_path / "out", progress=at_work)


def test_problems_of_the_set_are_among_the_dropped(tmp_path: Path, sample: list[Image]) -> None:
    layouts.jaffe(tmp_path / "set")
    for path in (tmp_path / "set").glob("*.tiff"):
        cv2.imwrite(str(path), sample[0][..., ::-1])
    layouts.picture(tmp_path / "set/KA.XX1.39.tiff")
    out = prepare(read_set(tmp_path / "set", strict=False), tmp_path / "out")
    assert out.facts["dropped"] == {"label": 1} and out.facts["faces"] == 4


def test_nobody_at_all(tmp_path: Path) -> None:
    layouts.classes(tmp_path / "set")
    with pytest.raises(PreparedError, match=r"not one of 9 items .* shows a face .*no face found"):
        prepare(read_set(tmp_path / "set"), tmp_path / "out")


def test_wrong_folders_and_options(tmp_path: Path, root: Path) -> None:
    with pytest.raises(PreparedError, match="make them with ferstream data prepare"):
        load_prepared(tmp_path)
    (tmp_path / "set.json").write_text('{"format": 9}')
    with pytest.raises(PreparedError, match="is of format 9, this version reads 1"):
        load_prepared(tmp_path)
    (tmp_path / "set.json").write_text("{")
    with pytest.raises(PreparedError, match="is damaged"):
        load_prepared(tmp_path)
    with pytest.raises(PreparedError, match="8 pixels: 16 to 512"):
        PrepareOptions(crop_px=8)
    with pytest.raises(PreparedError, match="0 frames"):
        PrepareOptions(clip_frames=0)
    with pytest.raises(PreparedError, match="cannot be written"):
        prepare(read_set(root), layouts.text(tmp_path / "file", "x") / "below")
    with pytest.raises(LabelError):
        read_set(root).split("nothing")


def test_a_lost_shard_is_named(done: Prepared, tmp_path: Path) -> None:
    copy = shutil.copytree(done.folder, tmp_path / "copy")
    shard_path(copy, 0).write_bytes(b"PK")
    with pytest.raises(PreparedError, match=r"shard-00000\.npz is missing or damaged"):
        read_set(copy)
