"""A small prepared set of action units, without expressions as DISFA and BP4D leave one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ferstream.training.datasets.learning_faces import LearningFaces
from ferstream.training.datasets.readers import prepared


def write_prepared(
    folder: Path, faces: LearningFaces, names: tuple[str, ...], labels: tuple[str, ...] = ()
) -> Path:
    """Faces with units, as `ferstream data prepare` leaves them; each label in turn, if any."""
    folder.mkdir()
    count = len(faces)
    facts = {
        "format": prepared.FORMAT,
        "complete": True,
        "about": folder.name,
        "layout": "disfa",
        "kind": "images",
        "labels": list(labels),
        "units": list(names),
        "shards": 1,
        "options": {"crop_px": 48},
        "fingerprint": "0",
    }
    (folder / prepared.SET).write_text(json.dumps(facts))
    np.savez(
        prepared.shard_path(folder, 0),
        crops=faces.crops(48)[:, 0],
        landmarks=np.random.default_rng(1).uniform(4, 44, (count, 468, 2)).astype(np.float16),
        offset=np.arange(count + 1),
        name=np.array(faces.names),
        split=np.array(["all"] * count),
        subject=np.array([f"person {row // 4}" for row in range(count)]),
        pose=np.array([""] * count),
        label=(np.arange(count) % len(labels) if labels else np.full(count, -1)).astype(np.int16),
        votes=np.zeros((count, 0), np.uint8),
        units=np.where(np.arange(count)[:, None] % 2, 1, -1).repeat(len(names), 1).astype(np.int8),
    )
    return folder
