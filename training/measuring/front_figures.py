"""The face front end as exported: all its figures, beside MediaPipe's mesh and YuNet's boxes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ferstream.engines.bundle import load_bundle
from ferstream.engines.engine import Engine, open_engine
from ferstream.engines.ort import OrtEngine
from ferstream.stream.faces.detect import FaceDetector, FaceMesh
from ferstream.stream.faces.own import DETECTOR, LANDMARKS, OwnDetector, OwnLandmarks
from ferstream.stream.faces.own_front import TRUST, OwnMesh, OwnNetwork

from ..datasets.faceless import faceless_pictures
from ..datasets.judged import load_fairface, load_wild
from ..datasets.point_faces import ORIGINS, load_point_faces
from ..datasets.readers.finder import FaceFinder
from .detector_figures import FACELESS, SETS, detector_figures, false_faces
from .detector_figures import found as found_faces
from .landmark_figures import (
    alignment_costs,
    followed_by,
    followed_by_mesh,
    mesh_figures,
    opening_figures,
    point_figures,
    tremble,
)

_RUNS = 300
_WITH_MESH = ("wild", "clips")
"""Origins whose points are the mesh's own, as this program runs it."""
_FARTHEST, _DEAREST, _FOUND = 0.025, 0.003, 0.98
"""What is wanted: at most that distance from the mesh's points, in distances of the outer eye
corners; at most so much accuracy lost; at least so many of YuNet's faces found."""


def landmark_engine(folder: Path, precision: str) -> Engine:
    """The exported landmark network, on one thread."""
    name = "landmarks.onnx" if precision == "fp32" else f"landmarks.{precision}.onnx"
    return OrtEngine(folder / name, LANDMARKS, precision=precision, threads=1)


def detector_engine(folder: Path, precision: str) -> Engine:
    """The exported detector, on one thread."""
    name = "detector.onnx" if precision == "fp32" else f"detector.{precision}.onnx"
    return OrtEngine(folder / name, DETECTOR, precision=precision, threads=1)


def front_figures(
    folder: Path,
    faces: Path,
    data: str | None,
    *,
    bundle: str = "default",
    precision: str = "int8",
    told: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Everything about what lies in a folder; what is not there is left out.

    landmarks: `point_figures` by origin, `opening` on rendered faces, `tremble` and `mesh`
    (tremble, and nme of wild and clip faces looked at again) and `alignment`; detector:
    `detector_figures`; together: judged faces found in the search of a first frame, of all, and
    faces found in pictures without one; cpu_ms: process time of one face by network, one thread.
    """
    found: dict[str, Any] = {"precision": precision}
    engines: dict[str, Engine] = {}
    if (folder / "landmarks.onnx").is_file():
        engines["landmarks"] = landmark_engine(folder, precision)
        found["landmarks"] = _landmarks(OwnLandmarks(engines["landmarks"]), faces, told)
        costs = alignment_costs(load_bundle(bundle), OwnLandmarks(engines["landmarks"]), data)
        found["alignment"] = costs
    if (folder / "detector.onnx").is_file():
        told("detector")
        engines["detector"] = detector_engine(folder, precision)
        found["detector"] = detector_figures(OwnDetector(engines["detector"]), data)
    if len(engines) == 2:
        told("faces found by both together")
        found["together"] = _together(folder, data, precision)
    engines["spatial"] = open_engine(load_bundle(bundle), "spatial", threads=1)
    found["cpu_ms"] = cpu_times(engines)
    return found


def summed_up(figures: dict[str, Any]) -> dict[str, Any]:
    """What a bundle says of them."""
    points = {name: figures["landmarks"][name] for name in ORIGINS if name in figures["landmarks"]}
    told = {
        "distance": {name: found["nme"] for name, found in points.items()},
        "seen": {name: found["seen"] for name, found in points.items()},
        "pose_deg": {name: float(np.mean(found["pose_deg"])) for name, found in points.items()},
        "found": {name: figures["detector"][name]["found"] for name in SETS},
        "main": {name: figures["detector"][name]["main"] for name in SETS},
        "alignment": {
            f"{name}, {what}": row["own"][what] - row["mesh"][what]
            for name, row in figures["alignment"].items()
            for what in row["own"]
        },
    }
    data = (
        "test splits; distance to MediaPipe's mesh in distances of the outer eye corners, share of "
        "YuNet's faces found, accuracy gained where these points align faces"
    )
    rounded = {
        name: {of: round(value, 4) for of, value in found.items()} for name, found in told.items()
    }
    return {"data": data, **rounded}


def shortfalls(figures: dict[str, Any]) -> tuple[str, ...]:
    """Where these figures are not yet what is wanted, in words."""
    told = summed_up(figures)
    short = [
        f"points of {name} are {100 * told['distance'][name]:.1f} % from the mesh's, "
        f"{100 * _FARTHEST:.1f} % wanted"
        for name in _WITH_MESH
        if not told["distance"][name] <= _FARTHEST
    ]
    short += [
        f"alignment costs {-100 * lost:.1f} points on {name}, {100 * _DEAREST:.1f} wanted"
        for name, lost in told["alignment"].items()
        if not lost >= -_DEAREST
    ]
    short += [
        f"{100 * share:.1f} % of YuNet's faces in {name} are found, {100 * _FOUND:.0f} % wanted"
        for name, share in told["found"].items()
        if not share >= _FOUND
    ]
    return tuple(short)


def cpu_times(engines: dict[str, Engine]) -> dict[str, float]:
    """Process time of one run of each network on one example, ms, in turns."""
    inputs = {name: engine.spec.example(H=192, W=320, C=1) for name, engine in engines.items()}
    spent = dict.fromkeys(engines, 0.0)
    for turn in range(_RUNS + 20):
        for name, engine in engines.items():
            start_s = time.process_time()
            engine.run(inputs[name])
            spent[name] += (time.process_time() - start_s) * (turn >= 20)
    return {name: round(1e3 * total / _RUNS, 4) for name, total in spent.items()}


def _together(folder: Path, data: str | None, precision: str) -> dict[str, Any]:
    """What a tracker would be given of pictures that stand alone."""
    network = OwnNetwork(detector_engine(folder, precision))
    mesh = OwnMesh(landmark_engine(folder, precision))
    finder = FaceFinder((FaceDetector(near=network, far=network, trust=TRUST), mesh))
    report: dict[str, Any] = {}
    for faces in (load_wild("test", data), load_fairface(data)):
        seen = found_faces(faces, finder)
        report[faces.name] = {"faces": len(seen), "found": int(seen.sum())}
    false = false_faces(faceless_pictures(FACELESS), finder)
    report["without a face"] = {"pictures": FACELESS, "false_faces": sum(false)}
    return report


def _landmarks(
    landmarks: OwnLandmarks, folder: Path, told: Callable[[str], None]
) -> dict[str, Any]:
    test = load_point_faces(folder / "test.npz")
    found: dict[str, Any] = {"mesh": {}}
    mesh = FaceMesh(workers=1)
    for origin in ORIGINS:
        faces = test.of(origin)
        if not len(faces):
            continue
        told(f"landmarks of {len(faces)} {origin} faces")
        found[origin] = point_figures(landmarks, faces)
        if origin in _WITH_MESH:
            found["mesh"][origin] = mesh_figures(mesh, faces)
        if np.isfinite(faces.opening).all(1).any():
            found[origin]["opening"] = opening_figures(landmarks, faces)
    stills = test.of("wild")
    if len(stills):
        told("trembling")
        found["tremble"] = tremble(followed_by(landmarks), stills)
        found["mesh"]["tremble"] = tremble(followed_by_mesh(mesh), stills)
    mesh.close()
    return found
