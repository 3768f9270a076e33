"""The landmark network and the detector as ONNX files, in float and in INT8, and in a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ferstream.calibration.int8 import qdq_from_onnx
from ferstream.engines.bundle import Bundle, load_bundle, write_bundle
from ferstream.engines.contract import CELL_PX
from ferstream.engines.manifest import FACE_NETWORKS, FaceNetworks
from ferstream.stream.faces.own import CROP_PX, DETECTOR, LANDMARKS
from ferstream.stream.faces.points import POINTS

from ..datasets.scenes import Scenes
from ..learning.draws import Draw
from ..learning.front_images import PointViews
from ..measuring.front_figures import shortfalls, summed_up
from ..systems.front import (
    DetectorOptions,
    faces_of,
    trained_detector,
    trained_landmarks,
)
from .export import onnx_from_module, onnx_from_network

SAMPLES = 512
"""Crops, and scenes by the eighth, whose activations give the ranges of INT8."""


def export_landmarks(run: Path, faces: Path, out: Path) -> tuple[Path, Path]:
    """landmarks.onnx and landmarks.int8.onnx in ``out``, from a training's last checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    exact, lower = out / "landmarks.onnx", out / "landmarks.int8.onnx"
    onnx_from_network(trained_landmarks(run), LANDMARKS, exact)
    train = faces_of(str(faces), "train")
    views = PointViews(train, CROP_PX, varied=True)
    rows = np.random.default_rng(0).permutation(len(train))[: SAMPLES // 2].tolist()
    crops = np.concatenate([views[Draw(row, row)]["crop"].numpy() for row in rows])
    qdq_from_onnx(exact, lower, {"crop": crops}, method="percentile")
    return exact, lower


def export_detector(run: Path, faces: Path, out: Path) -> tuple[Path, Path]:
    """detector.onnx and detector.int8.onnx in ``out``, from a training's last checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    exact, lower = out / "detector.onnx", out / "detector.int8.onnx"
    side = DetectorOptions().side_px
    picture = torch.randint(0, 255, (2, 1, side, side + 32), dtype=torch.uint8)
    names = tuple(tensor.name for tensor in DETECTOR.outputs)
    free = {"picture": {0: "B", 2: "H", 3: "W"}}
    onnx_from_module(
        trained_detector(run),
        {"picture": picture},
        names,
        exact,
        free=free,
        steps=dict.fromkeys("HW", CELL_PX),
    )
    scenes = Scenes(faces_of(str(faces), "train"), side)
    shown = [scenes.scene(np.random.default_rng(at)).grey for at in range(SAMPLES // 8)]
    qdq_from_onnx(exact, lower, {"picture": np.stack(shown)[:, None]}, method="percentile")
    return exact, lower


def put_into_bundle(
    bundle: str | Path, folder: Path, figures: dict[str, Any], precision: str = "int8"
) -> Bundle:
    """A bundle's networks that find faces replaced by those of a folder, with their figures.

    Args:
        bundle: its folder, or "default"; all else in it stays.
        folder: where the exports above wrote, in this precision.
        figures: of `front_figures`; they say too whether another front end comes first.

    Raises BundleError, ContractMismatch and OSError as `write_bundle` does.
    """
    opened = load_bundle(bundle)
    form = "" if precision == "fp32" else f".{precision}"
    kept = [name for name in opened.manifest.files if name.split(".")[0] not in FACE_NETWORKS]
    manifest = replace(
        opened.manifest,
        networks={**opened.manifest.networks, "detector": DETECTOR, "landmarks": LANDMARKS},
        faces=FaceNetworks(
            len(POINTS), CROP_PX, measured=summed_up(figures), short_of=shortfalls(figures)
        ),
    )
    files = {
        **{name: opened.path / name for name in kept},
        **{f"{name}{form}.onnx": folder / f"{name}{form}.onnx" for name in FACE_NETWORKS},
    }
    return write_bundle(opened.path, manifest, files)
