"""The front end's trainings from a folder of faces to networks that engines run, in small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ferstream.stream.faces.own import CROP_PX, OwnDetection, OwnDetector, OwnFace
from ferstream.stream.faces.points import PLACE
from ferstream.training.datasets.point_faces import PointFaces, load_point_faces
from ferstream.training.errors import OptionsWrong, RunMismatch
from ferstream.training.exporting import front as exporting
from ferstream.training.learning.checkpoint import read_checkpoint
from ferstream.training.measuring.detector_figures import LabelledPicture, found_of
from ferstream.training.measuring.front_figures import (
    cpu_times,
    detector_engine,
    landmark_engine,
)
from ferstream.training.measuring.landmark_figures import (
    errors,
    opening_figures,
    point_figures,
    tremble,
)
from ferstream.training.networks.front_nets import DetectorNet, LandmarkNet
from ferstream.training.systems.front import (
    DetectorOptions,
    LandmarkOptions,
    focal_loss,
    train_detector,
    train_landmarks,
    trained_detector,
    trained_landmarks,
    wing,
)
from tests.training.conftest import lightning_warns
from tests.training.datasets.test_front_data import head_points


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen drawn faces as both splits."""
    rng = np.random.default_rng(0)
    pictures, points = [], []
    for _ in range(16):
        xy = head_points(float(rng.uniform(45, 60)), float(rng.uniform(-30, 30)))
        picture = rng.integers(60, 90, (110, 100)).astype(np.uint8)
        cv2.fillPoly(picture, [xy[:36].round().astype(np.int32)], 190)
        for eye in (xy[56:64], xy[64:72], xy[84:96]):
            cv2.fillPoly(picture, [eye.round().astype(np.int32)], 20)
        pictures.append(picture)
        points.append(xy)
    faces = PointFaces(
        pictures,
        np.stack(points),
        np.ones(16, np.bool_),
        np.zeros((16, 3), np.float32),
        rng.uniform(0, 1, (16, 2)).astype(np.float32),
        np.arange(16, dtype=np.int8) % 4,
    )
    place = tmp_path_factory.mktemp("faces")
    for split in ("train", "validation", "test"):
        faces.save(place / f"{split}.npz")
    return place


@pytest.fixture(scope="module")
def landmarks(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two steps."""
    run = tmp_path_factory.mktemp("runs") / "landmarks"
    with lightning_warns():
        train_landmarks(run, LandmarkOptions(faces=str(folder), epochs=1, batch=8))
    return run


def test_a_training_is_kept_and_goes_on_elsewhere(
    landmarks: Path, folder: Path, tmp_path: Path
) -> None:
    options = LandmarkOptions(faces=str(folder), epochs=1, batch=8)
    before = read_checkpoint(landmarks / "network/last.ckpt")
    assert before["global_step"] == 2
    train_landmarks(landmarks, options)  # done: nothing is trained again
    with pytest.raises(RunMismatch, match="epochs"):
        train_landmarks(landmarks, replace(options, epochs=2))
    started = LandmarkOptions(
        faces=str(folder), epochs=1, batch=8, start=str(landmarks), peak_rate=1e-9
    )
    with lightning_warns():
        train_landmarks(tmp_path / "more", started)
    was, now = (trained_landmarks(run).points.weight for run in (landmarks, tmp_path / "more"))
    torch.testing.assert_close(was, now, atol=1e-5, rtol=0)
    fresh = LandmarkNet().points.weight
    assert (was - fresh).abs().max() > 1e-3


def test_faces_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OptionsWrong, match="ferstream data landmarks"):
        train_detector(tmp_path / "run", DetectorOptions(faces=str(tmp_path / "none")))


def test_exported_landmarks_say_what_the_network_says(
    landmarks: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "SAMPLES", 8)
    exporting.export_landmarks(landmarks, folder, tmp_path)
    crop = np.random.default_rng(1).integers(0, 255, (3, 1, CROP_PX, CROP_PX), np.uint8)
    with torch.no_grad():
        wanted = trained_landmarks(landmarks)(torch.from_numpy(crop))
    exact, lower = (landmark_engine(tmp_path, precision) for precision in ("fp32", "int8"))
    told = exact.run({"crop": crop})
    np.testing.assert_allclose(told["points"], wanted.points.numpy(), atol=2e-3)
    np.testing.assert_allclose(told["pose"], wanted.pose.numpy(), atol=0.2)
    # Half a crop's pixel is what eight bits may cost.
    away = np.abs(lower.run({"crop": crop})["points"] - told["points"])
    assert away.mean() * CROP_PX < 0.5
    assert all(ms > 0 for ms in cpu_times({"landmarks": lower}).values())


class Oracle:
    """Landmarks that are right, or off by so many pixels to the right."""

    def __init__(self, faces: PointFaces, off_px: float) -> None:
        self.faces, self.off_px = faces, off_px

    def run(self, picture: Any, squares: Any) -> list[Any]:
        (row,) = [at for at, one in enumerate(self.faces.pictures) if one is picture]
        points = self.faces.points_xy[row] + np.array([self.off_px, 0], np.float32)
        right, left = self.faces.opening[row].tolist()
        yaw, pitch, roll = self.faces.pose_deg[row].tolist()
        return [OwnFace(points, 0.9, (yaw + 2, pitch, roll - 359), (1 - right, 1 - left))]


def test_figures_of_points_pose_and_opening(folder: Path) -> None:
    faces = load_point_faces(folder / "test.npz")
    right = point_figures(Oracle(faces, 0.0), faces)  # type: ignore[arg-type]
    assert right["nme"] == 0 and right["seen"] == 1 and right["n"] == 16
    assert right["pose_deg"] == pytest.approx([2, 0, 1], abs=1e-4)
    off = point_figures(Oracle(faces, 1.0), faces)  # type: ignore[arg-type]
    apart = np.linalg.norm(faces.points_xy[:, PLACE[263]] - faces.points_xy[:, PLACE[33]], axis=1)
    assert off["nme"] == pytest.approx(float((1 / apart).mean()), rel=1e-4)
    assert off["nme_lips"] == pytest.approx(off["nme_oval"], rel=1e-4)
    opened = opening_figures(Oracle(faces, 0.0), faces)  # type: ignore[arg-type]
    assert opened["r"] == pytest.approx(-1)


def test_trembling_is_the_spread_of_a_still_face(landmarks: Path, folder: Path) -> None:
    faces = load_point_faces(folder / "test.npz").take(np.arange(3))
    assert tremble(lambda picture, points: faces.points_xy[0], faces) < 1e-6
    steps = iter(range(1000))

    def swaying(picture: Any, points: Any) -> Any:
        return faces.points_xy[0] + np.float32(2 * (next(steps) % 2))

    # Half of the frames are 2 pixels off in x and y: a spread of 1 in each.
    wanted = [np.sqrt(2) * errors(xy, xy + np.array([1.0, 0.0])).mean() for xy in faces.points_xy]
    assert tremble(swaying, faces) == pytest.approx(float(np.mean(wanted)), rel=1e-4)


def test_a_detector_is_trained_exported_and_run_at_any_size(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = DetectorOptions(faces=str(folder), epochs=1, batch=8, scenes=16, side_px=64)
    with lightning_warns():
        train_detector(tmp_path / "run", options)
    monkeypatch.setattr(exporting, "SAMPLES", 16)
    exporting.export_detector(tmp_path / "run", folder, tmp_path)
    network = trained_detector(tmp_path / "run")
    engines = [detector_engine(tmp_path, precision) for precision in ("fp32", "int8")]
    for height, width in ((64, 64), (96, 160)):
        picture = np.random.default_rng(0).integers(0, 255, (1, 1, height, width), np.uint8)
        with torch.no_grad():
            wanted = network(torch.from_numpy(picture))
        exact, lower = (engine.run({"picture": picture}) for engine in engines)
        np.testing.assert_allclose(exact["score"], wanted.score.numpy(), atol=0.02)
        np.testing.assert_allclose(exact["points"], wanted.points.numpy(), atol=0.02)
        assert np.abs(lower["score"] - exact["score"]).mean() < 0.3
    assert OwnDetector(engines[1]).detect(np.zeros((50, 90, 3), np.uint8)) == []


def test_losses_at_known_places() -> None:
    assert wing(torch.zeros(1)).item() == 0
    assert wing(torch.tensor([1.0])).item() == pytest.approx(5 * np.log(2))
    both = wing(torch.tensor([4.999, 5.001, -9.0]))
    assert both[0].item() == pytest.approx(both[1].item(), abs=0.01)
    assert both[2].item() - both[1].item() == pytest.approx(4, abs=0.01)
    sure = focal_loss(torch.tensor([6.0, -6.0]), torch.tensor([1.0, 0.0]))
    wrong = focal_loss(torch.tensor([-6.0, 6.0]), torch.tensor([1.0, 0.0]))
    assert sure.max() < 1e-6 and wrong.min() > 2.9
    assert sum(p.numel() for p in DetectorNet().parameters()) < 300_000


def test_found_faces_are_counted_by_what_the_detector_saw(folder: Path) -> None:
    class Detector:
        longer_px = 100

        def detect(self, picture: Any) -> list[OwnDetection]:
            if not picture.any():  # alone with its border
                return []
            return [OwnDetection((10.0, 10.0, 20.0, 20.0), 0.9, np.zeros((5, 2)))]

    boxes = np.array([[12, 8, 22, 25], [12, 8, 80, 80], [60, 60, 20, 20]], np.float32)
    grey = np.full((200, 200, 3), 9, np.uint8)
    figures = found_of(
        Detector(),  # type: ignore[arg-type]
        [LabelledPicture(grey, boxes, 0), LabelledPicture(np.zeros_like(grey), boxes[2:], 0)],
    )
    assert figures["faces"] == 4
    assert figures["found"] == 0.25
    assert figures["main"] == 0.5
    assert figures["by_width"] == {"0-16": [1, 3], "32-64": [0, 1]}
