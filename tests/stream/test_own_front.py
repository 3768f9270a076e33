"""The own networks in MediaPipe's place; the detector's search with a network of any kind; which
front end is taken."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from ferstream import Recognizer, open_source
from ferstream.engines.bundle import Bundle, load_bundle, write_bundle
from ferstream.engines.errors import BundleCorrupt, ContractMismatch, EngineFailed
from ferstream.engines.manifest import NETWORKS
from ferstream.stream.errors import FrontEndUnavailable
from ferstream.stream.faces import front
from ferstream.stream.faces.detect import Detection, FaceDetector
from ferstream.stream.faces.front import Look
from ferstream.stream.faces.head import MEAN_HEAD, posed_head
from ferstream.stream.faces.mesh import Region
from ferstream.stream.faces.own_front import OwnMesh, six_points
from ferstream.stream.faces.points import REACH

from .test_own_faces import Landmarks, points_of, turned_head

FIVE = ((33, 133), (362, 263), (4,), (61,), (291,))


class Spots:
    """A network that takes a bright spot for a face, its points at the spot's corners."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def look(self, picture: NDArray[np.uint8]) -> list[Detection]:
        self.seen.append(picture.shape)
        rows, columns = np.nonzero(picture[..., 0] > 128)
        if not len(rows):
            return []
        box = (
            float(columns.min()),
            float(rows.min()),
            float(np.ptp(columns) + 1),
            float(np.ptp(rows) + 1),
        )
        points = np.tile([box[0], box[1] + box[3] / 2], (6, 1))
        points[1, 0] += box[2]
        return [Detection(box, 0.9, points)]

    def close(self) -> None:
        self.seen.clear()


def spotted(height: int, width: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    frame = np.zeros((height, width, 3), np.uint8)
    x, y, columns, rows = box
    frame[y : y + rows, x : x + columns] = 255
    return frame


def test_one_network_for_near_and_far_looks_once() -> None:
    spots = Spots()
    detector = FaceDetector(near=spots, far=spots)
    (found,) = detector.detect(spotted(720, 1280, (640, 320, 80, 60)))
    assert len(spots.seen) == 1 and max(spots.seen[0]) == 256
    assert found.box == pytest.approx((640, 320, 80, 60), abs=6)
    detector.close()
    assert not spots.seen


def test_tiles_and_borders_are_told_in_the_frame() -> None:
    spots = Spots()
    detector = FaceDetector(near=spots, far=spots)
    frame = spotted(540, 960, (700, 400, 60, 50))
    ((tile,), (bordered,), nobody) = detector.look(
        [Look(frame, tile=3), Look(frame, bordered=True), Look(frame, tile=0)]
    )
    assert tile.box == pytest.approx((700, 400, 60, 50), abs=4)
    assert bordered.box == pytest.approx((700, 400, 60, 50), abs=8)
    assert nobody == []


@pytest.mark.parametrize("roll", [0.0, 1.2])
def test_a_closer_look_is_told_in_the_frame(roll: float) -> None:
    spots = Spots()
    detector = FaceDetector(near=spots, far=spots)
    frame = spotted(300, 400, (180, 130, 40, 40))
    found = detector.look_closer(frame, Region(205, 148, 60, roll))
    assert found is not None and found.score == pytest.approx(0.9)
    x, y, width, height = found.box
    assert (x + width / 2, y + height / 2) == pytest.approx((200, 150), abs=1.5)
    turned_side = 40 * (abs(math.cos(roll)) + abs(math.sin(roll)))
    assert width == pytest.approx(turned_side, abs=3)


@pytest.mark.parametrize("yaw_deg", [0, 30, -45])
def test_ears_follow_from_five_points(yaw_deg: float) -> None:
    head = turned_head(yaw_deg, 5, 60)
    five = np.array([head[list(of), :2].mean(0) for of in FIVE])
    six = six_points(five)
    np.testing.assert_allclose(six[:3], five[:3])
    np.testing.assert_allclose(six[4:], head[[234, 454], :2], atol=1e-6)
    np.testing.assert_allclose(posed_head(six)[:, :2], head[:, :2], atol=0.06 * 60)


def test_meshes_are_looked_for_where_a_region_says() -> None:
    points = points_of(np.column_stack([MEAN_HEAD[:, :2] * 0.5, MEAN_HEAD[:, 2]]))
    network = Landmarks(points)
    region = Region(100, 80, 90, 0.5)
    mesh, other = OwnMesh(network.engine).run(
        np.zeros((160, 200, 3), np.uint8), [region, Region(50, 50, 60, 0.0)]
    )
    assert mesh.landmarks.shape == (468, 3) and mesh.shows_face
    assert len(network.crops) == 2
    middle = (other.xy.min(0) + other.xy.max(0)) / 2
    assert middle == pytest.approx([50, 50], abs=3)
    found = Region.around(mesh.xy)
    assert found.roll_rad == pytest.approx(0.5, abs=0.03)
    wide = np.linalg.norm(mesh.xy[454] - mesh.xy[234])
    assert wide == pytest.approx(0.5 * 90 * REACH / 1.5, rel=0.03)


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    with open_source("sample") as source:
        return next(iter(source.frames())).pixels


def without_networks(folder: Path) -> Bundle:
    """The default bundle as it was before it had networks that find faces."""
    opened = load_bundle()
    manifest = replace(
        opened.manifest,
        faces=None,
        networks={name: opened.manifest.networks[name] for name in NETWORKS},
    )
    files = {n: opened.path / n for n in opened.manifest.files if n.split(".")[0] in NETWORKS}
    return write_bundle(folder, manifest, files)


def test_auto_takes_mediapipe_where_the_own_networks_fall_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = load_bundle()
    faces = opened.manifest.faces
    assert faces is not None
    good, young = (
        replace(opened, manifest=replace(opened.manifest, faces=replace(faces, short_of=short)))
        for short in ((), ("eyes are never closed",))
    )
    older = without_networks(tmp_path / "older")
    model = tmp_path / "whole" / "modules" / "face_landmark" / "face_landmark.tflite"
    model.parent.mkdir(parents=True)
    model.touch()
    whole = SimpleNamespace(submodule_search_locations=[str(tmp_path / "whole")])
    without_models = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    for here, wanted in (
        (whole, ("own", "mediapipe", "mediapipe")),
        (without_models, ("own", "own", "")),
        (None, ("own", "own", "")),
    ):
        monkeypatch.setattr(front, "find_spec", lambda name, here=here: here)
        for bundle, name in zip((good, young, older), wanted, strict=True):
            if name:
                assert front.front_end("auto", bundle).name == name
    with pytest.raises(FrontEndUnavailable, match=r"MediaPipe is not installed: .* pip install"):
        front.front_end("auto", older)
    with pytest.raises(FrontEndUnavailable, match=r"ferstream\[mediapipe\]"):
        front.open_front_end("mediapipe", good)
    with pytest.raises(FrontEndUnavailable, match="has no networks that find faces"):
        Recognizer(older, faces="own")
    with pytest.raises(ValueError, match="no front end 'nobody': there are auto, own, mediapipe"):
        Recognizer(faces="nobody")


def test_other_landmarks_than_are_read_here_are_refused() -> None:
    opened = load_bundle()
    faces = opened.manifest.faces
    assert faces is not None
    odd = replace(opened, manifest=replace(opened.manifest, faces=replace(faces, points=98)))
    with pytest.raises(ContractMismatch, match="98 landmarks, this version reads 106"):
        front.open_front_end("own", odd)


def test_the_own_front_end_loads_no_other() -> None:
    told = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; from ferstream import Recognizer, open_source\n"
            "with Recognizer(faces='own') as r, open_source('sample') as s:\n"
            "    assert r.process(next(iter(s.frames()))).faces\n"
            "print([n for n in ('mediapipe', 'dlib', 'jax', 'tensorflow') if n in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "[]\n"


def test_a_network_that_answers_no_numbers_is_said_to_be_damaged(tmp_path: Path) -> None:
    import onnx

    opened = load_bundle()
    for network in ("detector", "landmarks"):
        model = onnx.load(opened.path / f"{network}.int8.onnx")
        for tensor in model.graph.initializer:
            if tensor.name.endswith("_scale"):
                tensor.CopyFrom(
                    onnx.numpy_helper.from_array(
                        np.full_like(onnx.numpy_helper.to_array(tensor), np.nan), tensor.name
                    )
                )
        files = {name: opened.path / name for name in opened.manifest.files}
        changed = {**files, f"{network}.int8.onnx": model.SerializeToString()}
        bundle = write_bundle(tmp_path / network, opened.manifest, changed)
        detector, mesh = front.open_front_end("own", bundle)
        frame = np.full((64, 64, 3), 90, np.uint8)
        with pytest.raises(EngineFailed, match=rf"{network} in int8 .* gave NaN or infinity"):
            detector.detect(frame)
            mesh.run(frame, [Region(32, 32, 40, 0.0)])


def test_a_damaged_network_is_refused_with_its_bundle(tmp_path: Path) -> None:
    opened = load_bundle()
    place = shutil.copytree(opened.path, tmp_path / "damaged")
    content = bytearray((place / "landmarks.int8.onnx").read_bytes())
    content[5000] ^= 1
    (place / "landmarks.int8.onnx").write_bytes(content)
    with pytest.raises(BundleCorrupt, match=r"landmarks\.int8\.onnx has sha256"):
        load_bundle(place)


@pytest.fixture(scope="module")
def own() -> Iterator[tuple[front.Detector, front.Landmarker]]:
    detector, mesh = front.open_front_end("own", threads=1)
    yield detector, mesh
    detector.close()
    mesh.close()


Both = tuple[front.Detector, front.Landmarker]
PLACES = [Region(170, 120, side, 0.1) for side in (90, 120, 150)]


def test_threads_share_the_own_networks(own: Both, portrait: NDArray[np.uint8]) -> None:
    detector, mesh = own
    wanted = mesh.run(portrait, PLACES)
    boxes = [one.box for one in detector.detect(portrait)]

    def look(_: int) -> bool:
        found = mesh.run(portrait, PLACES)
        same = [
            np.array_equal(a.landmarks, b.landmarks) for a, b in zip(found, wanted, strict=True)
        ]
        return all(same) and [one.box for one in detector.detect(portrait)] == boxes

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(look, range(20)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_opens_the_own_networks_anew(
    own: Both, portrait: NDArray[np.uint8]
) -> None:
    detector, mesh = own
    wanted = mesh.run(portrait, PLACES)[0].landmarks

    def child() -> None:
        right = np.array_equal(mesh.run(portrait, PLACES)[0].landmarks, wanted)
        found = detector.detect(portrait)
        with Recognizer(faces="own") as recognizer:
            seen = recognizer.process(portrait).faces
        os._exit(0 if right and found and seen else 3)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
    assert process.exitcode == 0
    np.testing.assert_array_equal(mesh.run(portrait, PLACES)[0].landmarks, wanted)
