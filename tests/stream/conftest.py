"""Fixtures that several files of these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.faces.mesh import FaceMesh


@pytest.fixture(scope="module")
def networks() -> Iterator[tuple[FaceDetector, FaceMesh]]:
    """The networks that find faces."""
    detector, mesh = FaceDetector(), FaceMesh(workers=1)
    yield detector, mesh
    mesh.close()
    detector.close()
