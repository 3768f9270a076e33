"""The face front end: what finds faces in a picture, and the table of what can.

A front end has a detector, which says where faces are, and a landmark network, which says where
each one's points are. A `Follower` uses both on the frames of one source. Another front end is a
file in this folder with a function that opens both, and a line in `FRONT_ENDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import FrontEndUnavailable

if TYPE_CHECKING:
    from ferstream.engines.bundle import Bundle

    from ..frame import Frame
    from .detect import Detection
    from .mesh import Mesh, Region
    from .sight import Face


@dataclass(frozen=True, slots=True)
class Trust:
    """From which scores of its closer looks on a detector is believed, 0..1. These are those of
    MediaPipe's near network: no part of 2,000 pictures without a face has `sure`."""

    least: float = 0.0
    """Below it is no face, whatever the landmark network says."""
    likely: float = 0.6
    """A face that the landmark network refused counts if it does not refuse this look's region."""
    sure: float = 0.7
    """A face counts that the landmark network refuses again."""
    plain: float = 0.72
    clear: float = 0.15
    """With less than the first a face counts only where its crop is so clear: badges and headlights
    are neither."""
    flipped: float = 0.75
    """A face stands on its head: all of those had 0.81 and more."""
    upright: float = 0.8
    upright_presence: float = 0.99
    """With these two, the second the landmark network's, nobody is looked at head over heels: of
    wild's validation part turned so, no face has both."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a detector is shown of a picture: the whole of it, or a part."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    near: bool = True
    """Whether large faces are looked for, or small ones."""
    tile: int | None = None
    """Which of its overlapping parts, as `detect.tiles_of` numbers them; None: the whole."""
    bordered: bool = False
    """Whether it has a border, for faces that its edge cuts off, or that fill it."""


class Detector(Protocol):
    """Finds faces in a picture (H, W, 3) uint8 RGB; keeps nothing between pictures. Not for use by
    two threads at once."""

    @property
    def trust(self) -> Trust:
        """What its closer looks are worth."""

    def looks(
        self,
        rgb: NDArray[np.uint8],
        *,
        thorough: bool = False,
        fine: bool = True,
        near: bool = True,
        far: bool = True,
    ) -> list[Look]:
        """What it has to be shown to find faces in the whole of a picture, with `thorough` in its
        tiles too (with `fine` in the small ones); `near` and `far` say whether large and small
        faces are looked for."""

    def look(self, looks: Sequence[Look]) -> list[list[Detection]]:
        """Faces in each of them, in pixels of its picture: of pictures of any number of sources, in
        one batch where it can."""

    def joined(self, found: Sequence[list[Detection]]) -> list[Detection]:
        """Faces of several looks at one picture, best first, each of them once."""

    def detect(
        self,
        rgb: NDArray[np.uint8],
        *,
        thorough: bool = False,
        fine: bool = True,
        near: bool = True,
        far: bool = True,
    ) -> list[Detection]:
        """The faces of `looks`, `joined`; with `thorough` and where there are none, those that a
        border shows."""

    def look_closer(self, rgb: NDArray[np.uint8], region: Region) -> Detection | None:
        """The surest face within a region, seen upright and at its own scale."""

    def close(self) -> None:
        """Free what it holds."""


@runtime_checkable
class PursuingDetector(Detector, Protocol):
    """A detector that can also say where faces went between two frames."""

    def pursuit(self) -> Pursuit:
        """For the faces of one source."""


class Pursuit(Protocol):
    """Says where the faces of one source went since the frame before."""

    def moved(self, rgb: NDArray[np.uint8], regions: Mapping[int, Region]) -> list[Region]:
        """Where faces are in this frame (H, W, 3) that should be in these regions, by id."""

    def keep(self, rgb: NDArray[np.uint8], regions: Mapping[int, Region]) -> None:
        """Where each face that is seen is in this frame, by id; others are let go."""


class Landmarker(Protocol):
    """Finds the points of faces; safe to call from several threads."""

    def run(self, rgb: NDArray[np.uint8], regions: Sequence[Region]) -> list[Mesh]:
        """One mesh for each region of a picture (H, W, 3), in order."""

    def run_many(
        self, wanted: Sequence[tuple[NDArray[np.uint8], Sequence[Region]]]
    ) -> list[list[Mesh]]:
        """The same of several pictures, in one batch where it can."""

    def close(self) -> None:
        """Free what it holds."""


class BaseLandmarker:
    """A landmark network that takes pictures one by one."""

    def run(self, rgb: NDArray[np.uint8], regions: Sequence[Region]) -> list[Mesh]:
        """See `Landmarker`."""
        raise NotImplementedError

    def run_many(
        self, wanted: Sequence[tuple[NDArray[np.uint8], Sequence[Region]]]
    ) -> list[list[Mesh]]:
        """See `Landmarker`."""
        return [self.run(rgb, regions) for rgb, regions in wanted]


class Follower(Protocol):
    """The faces of one source, from frame to frame."""

    left_out: int
    """Faces beyond those that are followed at most, when it was last looked for new ones."""

    @property
    def joined(self) -> Mapping[int, int]:
        """Ids that the latest frame showed to be of somebody known, with that one's."""

    def expect(self, frame: Frame) -> list[Region]:
        """Where known faces should be in the next frame, so that those of several sources go
        through the landmark network together; `update` with the same frame follows."""

    def search(self, frame: Frame, meshes: Sequence[Mesh] | None = None) -> list[Look]:
        """Follow the known faces, and tell what of the frame the detector is to be shown, so that
        pictures of several sources go through it together; `update` with the same frame
        follows."""

    def update(
        self,
        frame: Frame,
        meshes: Sequence[Mesh] | None = None,
        seen: Sequence[list[Detection]] | None = None,
    ) -> list[Face]:
        """The faces of the next frame, by id; `meshes` are of the regions that `expect` gave,
        `seen` of the looks that `search` gave."""

    def restart(self) -> None:
        """Begin anew, as with a camera opened again; who comes back soon is known by looks."""

    def reset(self) -> None:
        """Forget every face; ids go on counting."""

    def settled(self) -> Mapping[int, int]:
        """At a recording's end: ids that the whole of it shows to be somebody else's, with that
        one's."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a front end is opened with: a bundle that may have networks for it, and how networks are
    run, as for `engines.engine.open_engine`."""

    bundle: Bundle
    backend: str = "auto"
    precision: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """A detector and a landmark network that belong together."""

    name: str
    opener: str
    """Function of an `Opening` that gives both: module and name."""
    library: str = ""
    """Module that it needs beside the base installation, brought by the extra of its name."""
    model: str = ""
    """A file of that module without which it is of no use, as some releases lack it."""

    @property
    def installed(self) -> bool:
        """Whether what it needs is here."""
        if not self.library:
            return True
        module = find_spec(self.library)
        if module is None or not self.model:
            return module is not None
        return any(Path(at, self.model).is_file() for at in module.submodule_search_locations or ())

    def open(self, opening: Opening) -> tuple[Detector, Landmarker]:
        """Both, opened. Raises FrontEndUnavailable and what opening an engine raises."""
        if not self.installed:
            raise FrontEndUnavailable(
                f"faces cannot be found by {self.name}, which is not installed whole: "
                f"pip install 'ferstream[{self.name}]', or leave the choice to auto"
            )
        module, _, name = self.opener.partition(":")
        opened: tuple[Detector, Landmarker] = getattr(
            importlib.import_module(f".{module}", __package__), name
        )(opening)
        return opened


OWN, MEDIAPIPE = "own", "mediapipe"
_MODEL = "modules/face_landmark/face_landmark.tflite"
FRONT_ENDS = (
    FrontEnd(OWN, "own_front:open_own"),
    # Releases after 0.10.21 bring no models.
    FrontEnd(MEDIAPIPE, "detect:open_mediapipe", "mediapipe", _MODEL),
    FrontEnd("dlib", "dlib_front:open_dlib", "dlib"),
)


def front_end_names() -> tuple[str, ...]:
    """What may be asked for."""
    return ("auto", *(one.name for one in FRONT_ENDS))


def front_end(name: str, bundle: Bundle) -> FrontEnd:
    """The front end of that name.

    `auto` is MediaPipe where it is installed and the bundle has no networks that find faces, or
    says that its own are not as good yet; else the bundle's own. Raises ValueError for a name that
    is none, FrontEndUnavailable where `auto` finds nothing.
    """
    known = {one.name: one for one in FRONT_ENDS}
    if name != "auto":
        if name not in known:
            raise ValueError(f"no front end {name!r}: there are {', '.join(front_end_names())}")
        return known[name]
    faces, others = bundle.manifest.faces, known[MEDIAPIPE]
    if others.installed and (faces is None or faces.short_of):
        return others
    if faces is None:
        raise FrontEndUnavailable(
            f"bundle {bundle.manifest.name} has no networks that find faces, and MediaPipe is not "
            "installed: use the default bundle, or pip install 'ferstream[mediapipe]'"
        )
    return known[OWN]


def open_front_end(
    name: str = "auto",
    bundle: Bundle | None = None,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> tuple[Detector, Landmarker]:
    """The front end of that name, opened for a bundle; None: the default one.

    Raises as `front_end`, `FrontEnd.open` and, for no bundle, `load_bundle`.
    """
    from ferstream.engines.bundle import load_bundle

    bundle = bundle or load_bundle()
    return front_end(name, bundle).open(Opening(bundle, backend, precision, threads))
