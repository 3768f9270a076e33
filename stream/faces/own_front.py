"""The bundle's own networks in a front end: a detector, and meshes for trackers; their engines
serve several threads, and processes that are forked from this one."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from ferstream.engines.bundle import Bundle
from ferstream.engines.contract import Array, NetworkSpec, Tensors
from ferstream.engines.engine import Engine, open_engine
from ferstream.engines.errors import ContractMismatch
from ferstream.engines.manifest import FaceNetworks

from ..errors import FrontEndUnavailable
from ..process import hold
from .detect import Detection, FaceDetector
from .front import Opening, Trust
from .head import MEAN_HEAD
from .mesh import Mesh, Region
from .own import OwnDetector, OwnLandmarks, Runs, Square, mesh_of_points
from .points import POINTS, REACH

TRUST = Trust(
    least=0.75,
    likely=0.75,
    sure=0.85,
    plain=0.8,
    clear=0.3,
    flipped=0.88,
    upright=0.95,
    upright_presence=0.0,
)
"""Of closer looks with the own detector, chosen on wild's validation part: of 342 of its faces as
they are, 156 of 20 to 64 pixels and 229 spoiled ones (dark, blurred, pale, half in shadow, coarse
JPEG) 341, 156 and 222 are kept, of 1,413 places in 350 pictures without a face one. Of faces seen
upside down 1 in 200 has 0.95; seen upright, all but 20 of the 727 have 0.88."""
FIVE = ((33, 133), (362, 263), (4,), (61,), (291,))
_EARS = (234, 454)
_REGION = 1.5
"""Side of a `Region`, in longer sides of the face's landmarks."""


class OwnNetwork:
    """The own detector as one of a `FaceDetector`'s networks; it sees near and far faces."""

    def __init__(self, engine: Runs, least_score: float = 0.5) -> None:
        self._detector = OwnDetector(engine, least_score=least_score)

    def look(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Faces in a picture (H, W, 3), in pixels of it."""
        return self.look_many([picture])[0]

    def look_many(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """The same of several pictures, those of one size in one batch."""
        return [
            [Detection(one.box, one.score, six_points(one.points_xy)) for one in found]
            for found in self._detector.detect_many(pictures)
        ]

    def close(self) -> None:
        """Free the engine."""
        self._detector.engine.close()


class OwnMesh:
    """The own landmarks as whole meshes."""

    def __init__(self, engine: Runs) -> None:
        self._landmarks = OwnLandmarks(engine)

    def run(self, rgb: NDArray[np.uint8], regions: Sequence[Region]) -> list[Mesh]:
        """One mesh per region of a frame (H, W, 3), in order; all in one batch."""
        return self.run_many([(rgb, regions)])[0]

    def run_many(
        self, wanted: Sequence[tuple[NDArray[np.uint8], Sequence[Region]]]
    ) -> list[list[Mesh]]:
        """The same of several frames, all in one batch."""
        shown = [(rgb, [_square(one) for one in regions]) for rgb, regions in wanted]
        told = self._landmarks.run_many(shown)
        points = [one.points_xy for faces in told for one in faces]
        meshes = iter(mesh_of_points(np.stack(points)) if points else ())
        return [[Mesh(next(meshes), one.presence) for one in faces] for faces in told]

    def close(self) -> None:
        """Free the engine."""
        self._landmarks.engine.close()


def open_own(opening: Opening) -> tuple[FaceDetector, OwnMesh]:
    """Both networks of the bundle, for any number of threads, and for forked processes too.

    Raises FrontEndUnavailable for a bundle without them, ContractMismatch for one whose landmarks
    are others than this version reads, and what `open_engine` raises.
    """
    faces = _known(opening.bundle)
    network = OwnNetwork(_engine(opening, "detector"), faces.least_score)
    return FaceDetector(near=network, far=network, trust=TRUST), open_landmarks(opening)


def open_landmarks(opening: Opening) -> OwnMesh:
    """The landmark network alone; raises as `open_own`."""
    _known(opening.bundle)
    return OwnMesh(_engine(opening, "landmarks"))


def _engine(opening: Opening, network: str) -> SharedEngine:
    return SharedEngine(
        partial(
            open_engine,
            opening.bundle,
            network,
            backend=opening.backend,
            precision=opening.precision,
            threads=opening.threads,
        )
    )


def _known(bundle: Bundle) -> FaceNetworks:
    """What the bundle says of its networks that find faces, if it has such as are used here."""
    name, faces = bundle.manifest.name, bundle.manifest.faces
    if faces is None:
        raise FrontEndUnavailable(
            f"bundle {name} has no networks that find faces: use the default bundle, or "
            "--faces mediapipe"
        )
    if faces.points != len(POINTS):
        raise ContractMismatch(
            f"bundle {name} has a network of {faces.points} landmarks, this version reads "
            f"{len(POINTS)}: use a bundle of this version"
        )
    return faces


def _square(region: Region) -> Square:
    """What the landmark network is shown of a region."""
    return region.x, region.y, REACH / _REGION * region.side_px, region.roll_rad


def six_points(five_xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """The six points (6, 2) of a `Detection` of the own detector's five (5, 2): the mean head in
    the pose that these say gives the ears."""
    of_five, ears = _head()
    centred = of_five - of_five.mean(0)
    fitted = np.linalg.lstsq(centred, five_xy - five_xy.mean(0), rcond=None)[0]
    sides = (ears - of_five.mean(0)) @ fitted + five_xy.mean(0)
    return np.concatenate([five_xy[:3], five_xy[3:].mean(0, keepdims=True), sides])


@cache
def _head() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The five points of the mean head (5, 3), and its ears (2, 3)."""
    return np.array([MEAN_HEAD[list(of)].mean(0) for of in FIVE]), MEAN_HEAD[list(_EARS)]


_shared: weakref.WeakSet[SharedEngine] = weakref.WeakSet()


class SharedEngine:
    """An engine for any number of threads, which take turns, and for processes that are forked from
    this one: each opens its own when it first runs it.

    Raises what `open_one` raises.
    """

    def __init__(self, open_one: Callable[[], Engine]) -> None:
        self._open = open_one
        self._lock = threading.Lock()
        self._engine: Engine | None = self._opened()
        self.spec: NetworkSpec = self._engine.spec
        _shared.add(self)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """All outputs by name; raises what `Engine.run` raises."""
        with self._lock:
            if self._engine is None:
                self._engine = self._opened()
            return self._engine.run(inputs)

    def close(self) -> None:
        """Free the engine; where it is run again, it is opened again."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def leave(self) -> None:
        """In a forked child: engine and lock are the parent's, and stay as they are."""
        self._engine, self._lock = None, threading.Lock()

    def _opened(self) -> Engine:
        engine = self._open()
        hold(engine)
        return engine


def _leave_all() -> None:
    for one in list(_shared):
        one.leave()


if hasattr(os, "register_at_fork"):
    # After that of `process`, so that the parent's engines are never let go of.
    os.register_at_fork(after_in_child=_leave_all)
