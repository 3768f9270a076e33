"""Synthetic faces from the real 3D face; skipped where it is absent."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ferstream.stream.faces.align import ANCHOR_LANDMARKS
from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.faces.mesh import FaceMesh, Region
from ferstream.training.datasets.readers.finder import FaceFinder
from ferstream.training.datasets.synthetic import (
    ACTION_UNITS,
    ARKIT_NAMES,
    LANDMARK_VERTICES,
    MESH_NUMBERS,
    PARSING_CLASSES,
    POSES,
    SyntheticFaces,
    SyntheticHead,
    SyntheticOptions,
    load_synthetic_head,
)


@pytest.fixture(scope="module")
def head(data_dir: Path) -> SyntheticHead:
    if not (data_dir / "ict_facekit").is_dir():
        pytest.skip(f"no ict_facekit in {data_dir}")
    return load_synthetic_head(data_dir)


def test_landmarks_and_names_are_those_of_the_teacher(head: SyntheticHead, data_dir: Path) -> None:
    assert head.kept[head.landmarks].tolist() == list(LANDMARK_VERTICES)
    with np.load(data_dir / "fer2013plus/teacher.npz") as teacher:
        assert teacher["landmark_index"].tolist() == list(MESH_NUMBERS)
        assert teacher["blendshape_names"].tolist() == list(ARKIT_NAMES)
    assert head.mesh.shape == (160,)


@pytest.mark.parametrize("pose", ["front", "bird"])
def test_run_time_finds_the_faces_and_agrees_on_their_anchors(
    head: SyntheticHead, pose: str
) -> None:
    faces = SyntheticFaces(head, SyntheticOptions(size_px=256, faults=0.5))
    detector, mesh = FaceDetector(), FaceMesh(workers=1)
    errors = []
    for index in range(8):
        image = faces.image(index, pose=pose)
        found = detector.detect(image.pixels)
        if not found:
            continue
        first = mesh.run(image.pixels, [found[0].region])[0]
        xy = mesh.run(image.pixels, [Region.around(first.xy)])[0].xy
        width = np.linalg.norm(xy[454] - xy[234])
        errors.append((xy[list(ANCHOR_LANDMARKS)] - image.anchors_xy) / width)
    detector.close()
    mesh.close()
    assert len(errors) >= 7
    assert np.linalg.norm(np.mean(errors, axis=0), axis=-1).max() < 0.035
    assert np.linalg.norm(errors, axis=-1).mean() < 0.025


@pytest.mark.parametrize("yaw_deg", [-60.0, 45.0, 60.0])
def test_a_turned_head_is_found_and_placed(
    head: SyntheticHead, yaw_deg: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POSES, "front", (yaw_deg, 0.0))
    faces, finder = SyntheticFaces(head, SyntheticOptions(size_px=256, faults=0.5)), FaceFinder()
    apart = []
    for index in range(6):
        image = faces.image(index, pose="front")
        (found,) = finder.faces(image.pixels)
        gap = found.xy[list(ANCHOR_LANDMARKS)] - image.anchors_xy
        apart.append(np.linalg.norm(gap, axis=1).mean() / 256)
    assert np.median(apart) < 0.03


def test_units_do_what_they_are_named_after(head: SyntheticHead) -> None:
    faces = SyntheticFaces(head, SyntheticOptions(faults=0, strength=(1, 1), framing="crop"))

    def gap(word: str, above: int, below: int) -> float:
        shown = [faces.image(index, word).landmarks_xy for index in range(5)]
        return float(np.mean([points[below, 1] - points[above, 1] for points in shown]))

    def width(word: str) -> float:
        shown = [faces.image(index, word).landmarks_xy for index in range(5)]
        return float(np.mean([points[54, 0] - points[48, 0] for points in shown]))

    assert gap("surprise", 62, 66) > gap("neutral", 62, 66) + 5  # the jaw drops
    assert width("happiness") > 1.1 * width("neutral")
    assert gap("surprise", 19, 37) > gap("neutral", 19, 37) + 1  # brows leave the eyes
    assert gap("anger", 19, 37) < gap("neutral", 19, 37) - 1
    assert gap("fear", 37, 41) > gap("neutral", 37, 41)  # eyes open wide


def test_a_blink_hides_the_eyes(head: SyntheticHead) -> None:
    faces = SyntheticFaces(head, SyntheticOptions(taxonomy="fg33", faults=0, framing="crop"))
    eye = PARSING_CLASSES.index("eye")
    shut = np.mean([(faces.image(index, "relief").parsing == eye).sum() for index in range(5)])
    wide = np.mean([(faces.image(index, "terror").parsing == eye).sum() for index in range(5)])
    assert shut < 0.6 * wide
    assert faces.image(0, "relief").action_units[ACTION_UNITS.index("AU43")] > 0.2


@pytest.mark.parametrize("pose", POSES)
def test_every_class_of_the_parsing_is_seen(head: SyntheticHead, pose: str) -> None:
    image = SyntheticFaces(head).image(0, pose=pose)
    shares = np.bincount(image.parsing.ravel(), minlength=8) / image.parsing.size
    for name, least in (("skin", 0.1), ("hair", 0.05), ("nose", 0.005), ("mouth", 0.003)):
        assert shares[PARSING_CLASSES.index(name)] > least, name
    for name in ("neck", "eye", "background"):
        assert shares[PARSING_CLASSES.index(name)] > 0.001, name


def test_the_true_flow_carries_one_frame_to_the_next(head: SyntheticHead) -> None:
    options = SyntheticOptions(faults=0, supersample=3, frames=4, rate_hz=10)
    clip = SyntheticFaces(head, options).clip(2, "surprise", moment="onset")
    grey = clip.pixels.mean(-1).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(96.0), np.arange(96.0)), -1).astype(np.float32)
    step = int(np.abs(clip.flow).mean(axis=(1, 2, 3)).argmax())
    where = clip.flow_seen[step] & (np.abs(clip.flow[step]).max(-1) > 0.7)
    carried = cv2.remap(grey[step + 1], grid + clip.flow[step], None, cv2.INTER_LINEAR)
    assert where.sum() > 100
    left = np.abs(carried - grey[step])[where].mean()
    assert left < 0.5 * np.abs(grey[step + 1] - grey[step])[where].mean()


def test_expressions_can_be_read_off_the_pixels_of_unknown_people(head: SyntheticHead) -> None:
    """A linear read-out of small crops, eight classes, tested on people it has not seen."""

    def drawn(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        options = SyntheticOptions(
            size_px=32, framing="crop", colour="grey", people=(first, 100), strength=(0.8, 1.0)
        )
        faces = SyntheticFaces(head, options)
        images = [faces.image(index) for index in range(count)]
        pixels = np.stack([image.pixels.ravel() for image in images]).astype(np.float64)
        pixels -= pixels.mean(1, keepdims=True)
        pixels /= pixels.std(1, keepdims=True)
        return pixels, np.array([image.label for image in images])

    pixels, labels = drawn(0, 320)
    kernel = pixels @ pixels.T + 1000 * np.eye(len(pixels))
    weights = np.linalg.solve(kernel, np.eye(8)[labels] - 1 / 8)
    unknown, truth = drawn(500, 80)
    right = (unknown @ pixels.T @ weights).argmax(1) == truth
    assert right.mean() > 0.4
