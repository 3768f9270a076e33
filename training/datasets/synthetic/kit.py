"""ICT-FaceKit: its reader, its landmarks, and its mesh made coarser.

Which vertices of the 3D face are landmarks.

The 68 points of the Multi-PIE markup (dlib's too), with ICT-FaceKit's own vertex numbers as its
README lists them under "Facial Landmarks": 0-16 jaw, 17-21 and 22-26 brows, 27-30 nose bridge,
31-35 nose base, 36-41 and 42-47 eyes, 48-59 outer and 60-67 inner lip line. The first half of
each pair is the face's own right, the picture's left.

The 160 points are those of MediaPipe's mesh that a teacher's landmarks have too; their vertices
were found by running that mesh on synthetic faces (mesh_vertices.json says how well they fit).

A coarser mesh whose vertices are vertices of the fine one, so that its shapes stay linear.

N vertices, T triangles.

Reader of ICT-FaceKit, the 3D face from which the synthetic faces are made.

USC Institute for Creative Technologies, MIT licence. Read from the packed file or from the
original folder of .obj files. Lengths in cm, x to the face's own left, y up, z to the viewer.

N vertices, Q quads, E expression shapes, I identity shapes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ferstream.stream.faces.align import ANCHOR_LANDMARKS

from ..arrays import stored_arrays
from ..fer import DataMissing

LANDMARK_VERTICES = (
    *(1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966),
    *(3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443),
    *(268, 493, 1914, 2044, 1401),
    *(3615, 4240, 4114, 2734, 2509),
    *(978, 4527, 4942, 4857),
    *(1140, 2075, 1147, 4269, 3360),
    *(1507, 1542, 1537, 1528, 1518, 1511),
    *(3742, 3751, 3756, 3721, 3725, 3732),
    *(5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841),
    *(5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966),
)
KIT_VERTICES = 26719
"""How many vertices the mesh has that these numbers are for."""

JAW = tuple(range(17))
BROWS = (tuple(range(17, 22)), tuple(range(22, 27)))
EYES = (tuple(range(36, 42)), tuple(range(42, 48)))
NOSE_BASE = tuple(range(31, 36))
OUTER_LIPS = tuple(range(48, 60))
INNER_LIPS = tuple(range(60, 68))

ANCHORS_OF_68 = (36, 39, 42, 45, 27, 33)
"""The landmarks that can stand for `stream.align.ANCHOR_LANDMARKS` (MediaPipe's 33, 133, 362,
263, 168, 2) where a mesh has no 160: outer and inner eye corners, nose bridge, nose base."""


def _mesh() -> dict[int, int]:
    listed = json.loads(Path(__file__).with_name("mesh_vertices.json").read_text("utf-8"))
    return {int(number): int(vertex) for number, vertex in listed["vertices"].items()}


MESH_NUMBERS = tuple(sorted(_mesh()))
"""MediaPipe's numbers of the 160 points, ascending."""
MESH_VERTICES = tuple(_mesh()[number] for number in MESH_NUMBERS)
"""Their vertices in ICT-FaceKit."""
ANCHORS_OF_MESH = tuple(MESH_NUMBERS.index(number) for number in ANCHOR_LANDMARKS)
"""Where the anchors stand among the 160."""


Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


def simplify(points: Floats, triangles: Ints, reach: Floats) -> tuple[Ints, Ints]:
    """Merge neighbours along edges.

    Args:
        points: (N, 3).
        triangles: (T, 3); vertices that no triangle uses are left out.
        reach: (N,) how far a vertex may gather others, same unit as the points; 0 keeps it
            for itself. The most detailed places (smallest reach) choose first.

    Returns:
        (M,) the vertices kept, ascending, and the triangles (S, 3) in numbers 0..M-1.
    """
    start, neighbour = _neighbours(len(points), triangles)
    owner = np.full(len(points), -1, np.int64)
    used = np.zeros(len(points), bool)
    used[triangles] = True
    where, how_far = points.tolist(), reach.tolist()
    for seed in np.argsort(reach, kind="stable").tolist():
        if not used[seed] or owner[seed] >= 0:
            continue
        owner[seed] = seed
        radius = how_far[seed]
        front = [seed] if radius > 0 else []
        here = where[seed]
        while front:
            vertex = front.pop()
            for other in neighbour[start[vertex] : start[vertex + 1]].tolist():
                if owner[other] >= 0 or how_far[other] <= 0:
                    continue
                there = where[other]
                gap = sum((a - b) ** 2 for a, b in zip(here, there, strict=True))
                if gap < radius * radius:
                    owner[other] = seed
                    front.append(other)
    merged = owner[triangles]
    distinct = (
        (merged[:, 0] != merged[:, 1])
        & (merged[:, 1] != merged[:, 2])
        & (merged[:, 0] != merged[:, 2])
    )
    merged = merged[distinct]
    kept, compact = np.unique(merged, return_inverse=True)
    return kept.astype(np.int32), compact.reshape(-1, 3).astype(np.int32)


def _neighbours(count: int, triangles: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Edges as lists: those of vertex v are neighbour[start[v] : start[v + 1]]."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    both = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
    start = np.searchsorted(both[:, 0], np.arange(count + 1))
    return start, np.ascontiguousarray(both[:, 1])


Halves = npt.NDArray[np.float16]

PACKED = "ict_facekit/ict_facekit.npz"
NEUTRAL_OBJ = "generic_neutral_mesh.obj"
LAYOUT = (
    "expected ict_facekit/ict_facekit.npz with neutral (N, 3), expression (E, N, 3), "
    "expression_names (E,), identity (I, N, 3), faces (Q, 4), face_material (Q,), "
    "material_names (M,); or ICT-FaceKit's folder FaceXModel/ with generic_neutral_mesh.obj, "
    "identity000.obj... and browDown_L.obj...; a mesh of another topology also needs landmarks "
    "(68,), or vertex_indices.json beside its .obj files"
)
_SHAPES = {
    "neutral": (None, 3),
    "expression": (None, None, 3),
    "expression_names": (None,),
    "identity": (None, None, 3),
    "faces": (None, 4),
    "face_material": (None,),
    "material_names": (None,),
}


@dataclass(frozen=True)
class FaceKit:
    """The face model's arrays.

    neutral (N, 3) float32 cm; expression (E, N, 3) and identity (I, N, 3) float16 offsets;
    faces (Q, 4) int32 vertex numbers, a triangle repeats its last; face_material (Q,) numbers
    into material_names; landmarks (68,) vertex numbers, see `landmarks`.
    """

    neutral: Floats
    expression: Halves
    expression_names: tuple[str, ...]
    identity: Halves
    faces: Ints
    face_material: npt.NDArray[np.uint8]
    material_names: tuple[str, ...]
    landmarks: tuple[int, ...] = LANDMARK_VERTICES

    @property
    def mesh(self) -> tuple[int, ...]:
        """Vertices of the 160 points of MediaPipe's mesh; none for a mesh of another topology."""
        return MESH_VERTICES if len(self.neutral) == KIT_VERTICES else ()

    def __post_init__(self) -> None:
        vertices, quads = len(self.neutral), len(self.faces)
        fitting = (
            self.expression.shape[1] == vertices
            and self.identity.shape[1] == vertices
            and len(self.expression_names) == len(self.expression)
            and len(self.face_material) == quads
        )
        if not fitting:
            raise DataMissing(f"the face kit's arrays do not fit each other: {LAYOUT}")
        if len(self.landmarks) != 68 or not 0 <= max(self.landmarks) < vertices:
            raise DataMissing(
                f"the face kit's {vertices} vertices need 68 landmarks of their own: {LAYOUT}"
            )
        numbers = int(self.faces.min()), int(self.faces.max())
        if numbers[0] < 0 or numbers[1] >= vertices:
            raise DataMissing(
                f"the face kit's faces name vertices {numbers[0]}..{numbers[1]} "
                f"of {vertices}: {LAYOUT}"
            )


def load_face_kit(folder: str | Path | None = None) -> FaceKit:
    """Read the face kit.

    Args:
        folder: the data folder (with ict_facekit/ below it), ict_facekit/ itself, the packed
            file, or ICT-FaceKit's own folder (or its FaceXModel/). Without one, the folder
            that FERSTREAM_DATA names, else ../shared/data.

    Raises:
        DataMissing: nothing of the two layouts is there, or its arrays are not as expected.
    """
    place = Path(folder or os.environ.get("FERSTREAM_DATA") or "../shared/data")
    for packed in (place, place / PACKED, place / Path(PACKED).name):
        if packed.suffix == ".npz" and packed.is_file():
            return _from_packed(packed)
    for originals in (place, place / "FaceXModel", place / "ict_facekit/FaceXModel"):
        if (originals / NEUTRAL_OBJ).is_file():
            return _from_objects(originals)
    raise DataMissing(f"no 3D face at {place}: {LAYOUT}")


def write_packed(kit: FaceKit, path: str | Path) -> None:
    """Write the packed layout, which is read some hundred times faster than the .obj files."""
    np.savez_compressed(
        path,
        neutral=kit.neutral,
        expression=kit.expression,
        expression_names=np.array(kit.expression_names),
        identity=kit.identity,
        faces=kit.faces,
        face_material=kit.face_material,
        material_names=np.array(kit.material_names),
        landmarks=np.array(kit.landmarks, np.int32),
    )


def _from_packed(path: Path) -> FaceKit:
    try:
        packed = stored_arrays(path)
        arrays = {name: packed[name] for name in _SHAPES if name in packed}
        landmarks = packed.get("landmarks", LANDMARK_VERTICES)
    except (OSError, ValueError) as error:
        raise DataMissing(f"{path} cannot be read ({error}): {LAYOUT}") from error
    for name, wanted in _SHAPES.items():
        if name not in arrays:
            raise DataMissing(f"{path} has no {name}: {LAYOUT}")
        got = arrays[name].shape
        if len(got) != len(wanted) or any(w not in (None, g) for w, g in zip(wanted, got)):  # noqa: B905
            raise DataMissing(f"{path}: {name} has the shape {got}: {LAYOUT}")
    return FaceKit(
        neutral=arrays["neutral"].astype(np.float32),
        expression=arrays["expression"].astype(np.float16),
        expression_names=tuple(str(name) for name in arrays["expression_names"]),
        identity=arrays["identity"].astype(np.float16),
        faces=arrays["faces"].astype(np.int32),
        face_material=arrays["face_material"].astype(np.uint8),
        material_names=tuple(str(name) for name in arrays["material_names"]),
        landmarks=tuple(int(number) for number in landmarks),
    )


def _from_objects(folder: Path) -> FaceKit:
    """The original layout: every shape is a whole mesh, of which only the vertices differ."""
    neutral = _vertices(folder / NEUTRAL_OBJ)
    faces, material, names = _faces(folder / NEUTRAL_OBJ)
    others = sorted(path for path in folder.glob("*.obj") if path.name != NEUTRAL_OBJ)
    people = [path for path in others if path.stem.startswith("identity")]
    moves = [path for path in others if path not in people]
    if not people or not moves:
        raise DataMissing(f"{folder} lacks identity or expression files: {LAYOUT}")
    return FaceKit(
        neutral=neutral,
        expression=_offsets(moves, neutral),
        expression_names=tuple(path.stem for path in moves),
        identity=_offsets(people, neutral),
        faces=faces,
        face_material=material,
        material_names=names,
        landmarks=_landmarks(folder, len(neutral)),
    )


def _landmarks(folder: Path, vertices: int) -> tuple[int, ...]:
    """The kit's own list beside its meshes; its documented numbers where there is none."""
    listed = folder / "vertex_indices.json"
    if vertices == KIT_VERTICES or not listed.is_file():
        return LANDMARK_VERTICES
    try:
        numbers = json.loads(listed.read_text("utf-8"))["idx_to_landmark_verts"]
        return tuple(int(number) for number in numbers)
    except (ValueError, KeyError, TypeError) as error:
        raise DataMissing(f"{listed} has no idx_to_landmark_verts: {LAYOUT}") from error


def _offsets(paths: list[Path], neutral: Floats) -> Halves:
    offsets = np.empty((len(paths), *neutral.shape), np.float16)
    for row, path in enumerate(paths):
        vertices = _vertices(path)
        if len(vertices) != len(neutral):
            raise DataMissing(
                f"{path} has {len(vertices)} vertices, the neutral mesh {len(neutral)}: {LAYOUT}"
            )
        offsets[row] = vertices - neutral
    return offsets


def _vertices(path: Path) -> Floats:
    try:
        lines = path.read_bytes().splitlines()
        values = b" ".join(line[2:] for line in lines if line.startswith(b"v ")).split()
        return np.array(values, np.float64).reshape(-1, 3).astype(np.float32)
    except ValueError as error:
        raise DataMissing(f"{path} is not a mesh of x y z vertices: {LAYOUT}") from error


def _faces(path: Path) -> tuple[Ints, npt.NDArray[np.uint8], tuple[str, ...]]:
    """Faces with their materials; `f 1/1/1 2/2/2 3/3/3 4/4/4` counts from one."""
    faces: list[list[int]] = []
    material: list[int] = []
    names: dict[str, int] = {}
    now = 0
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("usemtl "):
            now = names.setdefault(line.split()[1], len(names))
        elif line.startswith("f "):
            corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            if len(corners) not in (3, 4):
                raise DataMissing(f"{path}: a face has {len(corners)} corners: {LAYOUT}")
            faces.append(corners if len(corners) == 4 else [*corners, corners[-1]])
            material.append(now)
    if not faces:
        raise DataMissing(f"{path} has no faces: {LAYOUT}")
    # In the packed file materials are numbered by name.
    order = sorted(names)
    renumbered = np.array([order.index(name) for name in names] or [0], np.uint8)
    return np.array(faces, np.int32), renumbered[material], tuple(order or ["M_Face"])
