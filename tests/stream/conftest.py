"""Fixtures that several files of these tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ferstream.stream.faces.detect import FaceDetector
from ferstream.stream.faces.mesh import FaceMesh
from ferstream.stream.recognize import Recognizer

if TYPE_CHECKING:
    from .serving import Served


@pytest.fixture(scope="module")
def networks() -> Iterator[tuple[FaceDetector, FaceMesh]]:
    """The networks that find faces."""
    detector, mesh = FaceDetector(), FaceMesh(workers=1)
    yield detector, mesh
    mesh.close()
    detector.close()


@pytest.fixture(scope="module")
def recognizer() -> Iterator[Recognizer]:
    """The default bundle's, on this machine's fastest backend."""
    with Recognizer() as one:
        yield one


@pytest.fixture(scope="module")
def service(recognizer: Recognizer) -> Iterator[Served]:
    """A service with room for crowds from one address."""
    from ferstream.stream.serve.guard import Limits

    from .serving import served

    limits = Limits(live_per_address=200, message_bytes=2**20)
    with served(recognizer, limits, max_visitors=120) as one:
        yield one


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Every third frame of the sample, as JPEG."""
    from .serving import jpegs

    return jpegs(3)
