"""The 3D face's two layouts, the rasteriser and the thinning, on a made-up head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferstream.training.datasets.fer import DataMissing
from ferstream.training.datasets.synthetic import (
    SyntheticHead,
    load_face_kit,
    load_synthetic_head,
    write_packed,
)
from ferstream.training.datasets.synthetic.camera import rasterize
from ferstream.training.datasets.synthetic.kit import FaceKit, simplify
from tests.training.tiny_head import tiny_kit, write_objects


def written(kit: FaceKit, folder: Path) -> Path:
    (folder / "ict_facekit").mkdir(parents=True)
    write_packed(kit, folder / "ict_facekit/ict_facekit.npz")
    return folder


def rewritten(folder: Path, **changes: np.ndarray | None) -> Path:  # type: ignore[type-arg]
    """The packed file with arrays exchanged, or left out where None."""
    path = folder / "ict_facekit/ict_facekit.npz"
    arrays = {**np.load(path), **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return folder


def test_the_packed_file_is_read_from_any_of_its_folders(tmp_path: Path) -> None:
    kit = tiny_kit()
    written(kit, tmp_path)
    for place in ("", "ict_facekit", "ict_facekit/ict_facekit.npz"):
        read = load_face_kit(tmp_path / place)
        assert np.array_equal(read.neutral, kit.neutral)
        assert np.array_equal(read.expression, kit.expression)
        assert np.array_equal(read.faces, kit.faces)
        assert read.landmarks == kit.landmarks and read.material_names == kit.material_names


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERSTREAM_DATA", str(written(tiny_kit(), tmp_path)))
    assert len(load_synthetic_head().landmarks) == 68


def test_the_folder_of_objects_gives_the_same_face(tmp_path: Path) -> None:
    kit = tiny_kit()
    write_objects(kit, tmp_path)
    for place in (tmp_path, tmp_path / "FaceXModel"):
        read = load_face_kit(place)
        assert np.allclose(read.neutral, kit.neutral, atol=1e-5)
        assert np.allclose(read.identity, kit.identity, atol=2e-3)
        order = [read.expression_names.index(name) for name in kit.expression_names]
        assert np.allclose(read.expression[order], kit.expression, atol=2e-3)
        assert read.landmarks == kit.landmarks
        used = {read.material_names[number] for number in read.face_material}
        assert used == {kit.material_names[number] for number in kit.face_material}
        assert len(read.faces) == len(kit.faces)
        assert len(SyntheticHead(read).triangles) == len(SyntheticHead(kit).triangles)


def test_what_is_not_there_or_not_so_is_one_line(tmp_path: Path) -> None:
    kit = tiny_kit()

    def refused(folder: Path, says: str) -> None:
        with pytest.raises(DataMissing, match=says) as told:
            load_face_kit(folder)
        assert "\n" not in str(told.value)
        assert "expected ict_facekit/ict_facekit.npz" in str(told.value)

    refused(tmp_path / "nowhere", r"no 3D face at .*nowhere")
    cut = written(kit, tmp_path / "cut") / "ict_facekit/ict_facekit.npz"
    cut.write_bytes(cut.read_bytes()[:2000])
    refused(cut, "cannot be read")
    refused(rewritten(written(kit, tmp_path / "a"), identity=None), "has no identity")
    flat = np.zeros((5, 2), np.float32)
    refused(
        rewritten(written(kit, tmp_path / "b"), neutral=flat), r"neutral has the shape \(5, 2\)"
    )
    fewer = np.zeros((3, 7, 3), np.float16)
    refused(rewritten(written(kit, tmp_path / "c"), identity=fewer), "do not fit each other")
    far = np.full_like(kit.faces, 99_999)
    refused(rewritten(written(kit, tmp_path / "d"), faces=far), r"99999\.\.99999 of")
    refused(rewritten(written(kit, tmp_path / "e"), landmarks=None), "need 68 landmarks")
    pickled = np.array([{"a": 1}], object)
    refused(rewritten(written(kit, tmp_path / "f"), neutral=pickled), "cannot be read")


def test_a_wrong_object_is_named(tmp_path: Path) -> None:
    place = write_objects(tiny_kit(), tmp_path) / "FaceXModel"
    short = place / "jawOpen.obj"
    whole = short.read_text("utf-8")
    short.write_text("v 0 0 0\n", "utf-8")
    with pytest.raises(DataMissing, match=r"jawOpen\.obj has 1 vertices"):
        load_face_kit(tmp_path)
    short.write_text("v a b c\n", "utf-8")
    with pytest.raises(DataMissing, match=r"jawOpen\.obj is not a mesh"):
        load_face_kit(tmp_path)
    short.write_text(whole, "utf-8")
    for path in place.glob("identity*.obj"):
        path.unlink()
    with pytest.raises(DataMissing, match="lacks identity"):
        load_face_kit(tmp_path)


TRIANGLE = np.array([[1, 1], [1, 7], [7, 1]], np.float32)
"""Seen from the front: anticlockwise in space, whose y points up."""


def test_a_triangle_covers_its_pixels() -> None:
    cover = rasterize(TRIANGLE, np.ones(3, np.float32), np.array([[0, 1, 2]], np.int32), (9, 9))
    wanted = [y * 9 + x for y in range(1, 8) for x in range(1, 8) if x + y <= 8]
    assert cover.pixel.tolist() == wanted
    assert np.allclose(cover.share.sum(1), 1, atol=1e-5)
    places = cover.blend(TRIANGLE, np.array([[0, 1, 2]], np.int32))
    assert np.allclose(places, np.stack([cover.pixel % 9, cover.pixel // 9], 1), atol=1e-4)


def test_the_nearer_triangle_is_seen_and_backs_are_not() -> None:
    points = np.concatenate([TRIANGLE, TRIANGLE])
    depth = np.array([5, 5, 5, 2, 2, 2], np.float32)
    both = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    assert set(rasterize(points, depth, both, (9, 9)).triangle) == {1}
    turned = np.array([[0, 1, 2], [3, 5, 4]], np.int32)
    assert set(rasterize(points, depth, turned, (9, 9)).triangle) == {0}
    outside = rasterize(points + np.float32(100), depth, both, (9, 9))
    assert outside.pixel.size == 0


def test_neighbours_cover_without_gap_or_overlap() -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2) * 8
    grid += rng.uniform(-2, 2, grid.shape)
    at = np.arange(81).reshape(9, 9)
    corners = [at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]]
    a, b, c, d = (corner.ravel() for corner in corners)
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    cover = rasterize(grid.astype(np.float32), np.ones(81, np.float32), triangles, (70, 70))
    inside = {y * 70 + x for y in range(4, 60) for x in range(4, 60)}
    assert inside <= set(cover.pixel.tolist()) and len(set(cover.pixel)) == len(cover.pixel)


def test_thinning_keeps_vertices_that_ask_for_it() -> None:
    kit = tiny_kit()
    triangles = np.concatenate([kit.faces[:, [0, 1, 2]], kit.faces[:, [0, 2, 3]]])
    reach = np.full(len(kit.neutral), 2.5, np.float32)
    reach[:50] = 0
    kept, thin = simplify(kit.neutral, triangles, reach)
    assert set(range(50)) <= set(kept.tolist())
    assert len(kept) < 0.5 * len(kit.neutral) and thin.max() == len(kept) - 1
    everything, same = simplify(kit.neutral, triangles, np.zeros_like(reach))
    assert len(everything) == len(kit.neutral)
    assert len(same) == len(triangles)
