"""A made-up 3D face in the layouts of the real one, so that synthetic faces need no data.

An egg of a few hundred vertices with two eyeballs, a row of teeth and round bumps for shapes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ferstream.training.datasets.synthetic.kit import FaceKit

Floats = npt.NDArray[np.float32]

MATERIALS = ("M_BackHead", "M_EyeLashes", "M_Face", "M_ScleraLeft", "M_ScleraRight", "M_Teeth")
_AROUND, _DOWN = 36, 25


def _points(*rows: tuple[float, float]) -> list[tuple[float, float]]:
    return list(rows)


def _mirrored(right: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return right + [(-x, y) for x, y in right[::-1]]


def landmark_places() -> Floats:
    """Where the 68 landmarks are meant to lie on the front (68, 2), cm."""
    jaw = _mirrored([(-7.3, 3.5), (-7, 1.5), (-6.6, -0.5), (-6.2, -2.4), (-5.4, -4.5)])
    jaw = jaw[:5] + _points((-4, -6), (-2.8, -6.6), (-1.4, -7), (0, -7.2)) + [
        (1.4, -7), (2.8, -6.6), (4, -6), *jaw[5:]
    ]  # fmt: skip
    brows = _mirrored([(-5.4, 5.2), (-4.6, 5.9), (-3.6, 6.2), (-2.4, 6.1), (-1.2, 5.9)])
    nose = _points((0, 3.7), (0, 2.6), (0, 1.6), (0, 0.4))
    base = _points((-1.25, -1.1), (-0.6, -1.1), (0, -1.2), (0.6, -1.1), (1.25, -1.1))
    right_eye = _points((-4.5, 3.4), (-3.9, 3.9), (-2.8, 3.9), (-1.8, 3.2), (-2.7, 3), (-3.9, 3))
    left_eye = [(-right_eye[at][0], right_eye[at][1]) for at in (3, 2, 1, 0, 5, 4)]
    mouth = _points((-2.5, -3.5), (-1.7, -2.8), (-0.7, -2.4), (0, -2.5))
    upper = mouth + [(-x, y) for x, y in mouth[-2::-1]]
    lower = _points((1.8, -4), (1, -4.3), (0, -4.4), (-1, -4.3), (-1.8, -4))
    inner = _points((-2.2, -3.5), (-1, -3.3), (0, -3.3), (1, -3.3), (2.2, -3.5))
    inner += _points((1, -3.5), (0, -3.5), (-1, -3.5))
    return np.array(jaw + brows + nose + base + right_eye + left_eye + upper + lower + inner)


def tiny_kit() -> FaceKit:
    """The made-up face."""
    egg, egg_quads = _ball((0, 2.5, 0), (7.5, 10, 9.5), _AROUND, _DOWN)
    parts, quads, material = [egg], [egg_quads], [_egg_materials(egg, egg_quads)]
    for side, name in ((1, "M_ScleraLeft"), (-1, "M_ScleraRight")):
        ball, ball_quads = _ball((3.1 * side, 3.4, 7.6), (1.2, 1.2, 1.4), 10, 7)
        quads.append(ball_quads + sum(map(len, parts)))
        material.append(np.full(len(ball_quads), MATERIALS.index(name)))
        parts.append(ball)
    teeth = np.array([[-1, -3.6, 9.3], [1, -3.6, 9.3], [1, -3.2, 9.3], [-1, -3.2, 9.3]], np.float32)
    quads.append(np.arange(4)[None] + sum(map(len, parts)))
    material.append(np.array([MATERIALS.index("M_Teeth")]))
    parts.append(teeth)
    neutral = np.concatenate(parts).astype(np.float32)
    names, shapes = _shapes(neutral)
    rng = np.random.default_rng(5)
    wide = neutral * rng.normal(0, 0.02, (4, 1, 3))
    front = np.where(neutral[: len(egg), 2] > 0, 0, 99)
    places = landmark_places()
    gap = ((neutral[None, : len(egg), :2] - places[:, None]) ** 2).sum(-1) + front
    return FaceKit(
        neutral=neutral,
        expression=shapes.astype(np.float16),
        expression_names=names,
        identity=wide.astype(np.float16),
        faces=np.concatenate(quads).astype(np.int32),
        face_material=np.concatenate(material).astype(np.uint8),
        material_names=MATERIALS,
        landmarks=tuple(int(vertex) for vertex in gap.argmin(1)),
    )


def write_objects(kit: FaceKit, folder: Path) -> Path:
    """The made-up face as ICT-FaceKit's folder of .obj files."""
    place = folder / "FaceXModel"
    place.mkdir(parents=True)
    _write_object(place / "generic_neutral_mesh.obj", kit, kit.neutral)
    for name, shape in zip(kit.expression_names, kit.expression, strict=True):
        _write_object(place / f"{name}.obj", kit, kit.neutral + shape)
    for number, shape in enumerate(kit.identity):
        _write_object(place / f"identity{number:03d}.obj", kit, kit.neutral + shape)
    listed = {"idx_to_landmark_verts": list(kit.landmarks)}
    (place / "vertex_indices.json").write_text(json.dumps(listed), "utf-8")
    return folder


def _write_object(path: Path, kit: FaceKit, points: Floats) -> None:
    lines = ["mtllib any.mtl", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points), "vt 0 0"]
    for number, name in enumerate(kit.material_names):
        lines.append(f"usemtl {name}")
        for quad in kit.faces[kit.face_material == number] + 1:
            corners = quad[:3] if quad[2] == quad[3] else quad
            lines.append("f " + " ".join(f"{corner}/1/1" for corner in corners))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _ball(
    centre: tuple[float, float, float], radii: tuple[float, float, float], around: int, down: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """A sphere of quads seen from outside; its poles are rings of one place."""
    longitude = np.arange(around) / around * 2 * np.pi
    latitude = np.linspace(0.02, np.pi - 0.02, down)
    x = np.sin(latitude)[:, None] * np.sin(longitude)
    z = np.sin(latitude)[:, None] * np.cos(longitude)
    y = np.repeat(np.cos(latitude)[:, None], around, 1)
    points = np.stack([x, y, z], -1).reshape(-1, 3) * radii + centre
    quads = [
        (row * around + at, (row + 1) * around + at, (row + 1) * around + on, row * around + on)
        for row in range(down - 1)
        for at in range(around)
        for on in ((at + 1) % around,)
    ]
    return points.astype(np.float32), np.array(quads)


def _egg_materials(egg: Floats, quads: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    behind = egg[quads].mean(1)[:, 2] < 0
    return np.where(behind, MATERIALS.index("M_BackHead"), MATERIALS.index("M_Face"))


def _shapes(neutral: Floats) -> tuple[tuple[str, ...], Floats]:
    """Round bumps (E, N, 3) at the places that the shapes are named after."""
    at = {
        "browDown": (3.5, 5.8, -0.5),
        "browInnerUp": (1.5, 5.8, 0.5),
        "eyeBlink": (3.1, 3.9, -0.8),
        "eyeWide": (3.1, 3.9, 0.4),
        "mouthDimple": (2.6, -3.4, 0.3),
        "mouthFrown": (2.4, -3.6, -0.6),
        "mouthSmile": (2.4, -3.4, 0.9),
        "noseSneer": (1.2, -0.5, 0.5),
    }
    names, shapes = [], []
    for name, (x, y, up) in at.items():
        for side, end in ((1, "_L"), (-1, "_R")):
            near = np.exp(-((neutral[:, :2] - (x * side, y)) ** 2).sum(1) / 2) * (neutral[:, 2] > 4)
            names.append(name + end)
            shapes.append(near[:, None] * np.array([0.3 * side, up, 0.1]))
    open_jaw = np.clip((-3.4 - neutral[:, 1]) / 2, 0, 1) * (neutral[:, 2] > 0)
    names.append("jawOpen")
    shapes.append(open_jaw[:, None] * np.array([0, -2.0, -0.3]))
    return tuple(names), np.stack(shapes).astype(np.float32)
