"""The landmarks' groups are MediaPipe's own."""

from __future__ import annotations

import json
from importlib import resources

from mediapipe.python.solutions import face_mesh_connections as mesh


def test_groups_are_those_of_mediapipes_table() -> None:
    text = (
        resources.files("ferstream.training.datasets")
        .joinpath("landmark_groups.json")
        .read_text("utf-8")
    )
    groups: dict[str, list[int]] = json.loads(text)
    assert len(groups) == 9
    for name, numbers in groups.items():
        edges: frozenset[tuple[int, int]] = getattr(mesh, f"FACEMESH_{name.upper()}")
        assert numbers == sorted({end for edge in edges for end in edge}), name
